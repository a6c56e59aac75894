"""Read the URL patterns of Tornado's routes as paths of OpenAPI."""

import itertools
import re
from dataclasses import dataclass

_NAMED_GROUP = re.compile(r"\(\?P<(?P<name>\w+)>(?P<pattern>[^)]*)\)")
_ALTERNATIVES = re.compile(r"\(\?:([^)]*)\)")


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A path of OpenAPI, such as `/things/{id}`, with the pattern of each of its values."""

    path: str
    patterns: dict[str, str]


def path_templates(pattern: str) -> list[PathTemplate]:
    """Return the paths of a URL pattern: the first is the route, the others are its aliases.

    Args:
        pattern: The pattern, with alternatives such as `(?:a|b)` and named groups.
    """
    patterns = {match["name"]: f"^{match['pattern']}$" for match in _NAMED_GROUP.finditer(pattern)}
    template = _NAMED_GROUP.sub(r"{\g<name>}", pattern)
    fixed_and_alternatives = _ALTERNATIVES.split(template)
    choices = [
        part.split("|") if position % 2 else [part]
        for position, part in enumerate(fixed_and_alternatives)
    ]
    return [
        PathTemplate(re.sub(r"\\(.)", r"\1", "".join(parts)), patterns)
        for parts in itertools.product(*choices)
    ]
