"""Read a Dockerfile: its stages, and the instructions of each."""

import re
from dataclasses import dataclass, field

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class Instruction:
    """One instruction, such as `RUN`, with its arguments on one line."""

    keyword: str
    arguments: str


@dataclass
class Stage:
    """What one `FROM` starts."""

    image: str
    name: str = ""
    instructions: list[Instruction] = field(default_factory=list)


def read_instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile, without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(keyword.upper(), arguments.strip()) for keyword, arguments in found]


def read_stages(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile in their order."""
    stages: list[Stage] = []
    for one in read_instructions(text):
        if one.keyword == "FROM":
            image, *name = re.split(r"\s+as\s+", one.arguments, flags=re.IGNORECASE)
            stages.append(Stage(image, *name))
        else:
            stages[-1].instructions.append(one)
    return stages


def substitute(text: str, variables: dict[str, str]) -> str:
    """Replace `$name` and `${name}` as a build does outside of `RUN`."""
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)
