"""Count what the fault tests try.

Each section is written to `build/faults/<section>.json`, and shown in a table after the tests.
`figures` copies the files to docs/reliability.md.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build" / "faults"


@dataclass
class Section:
    """Numbers by name, and notes by subject."""

    numbers: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


_sections: defaultdict[str, Section] = defaultdict(Section)


def count(section: str, **numbers: float) -> None:
    """Add to the numbers of a section. Adding 0 creates a number."""
    kept = _sections[section].numbers
    for name, number in numbers.items():
        kept[name] = kept.get(name, 0) + number


def maximum(section: str, **numbers: float) -> None:
    """Keep the maximum of each number, such as the longest recovery."""
    kept = _sections[section].numbers
    for name, number in numbers.items():
        kept[name] = max(kept.get(name, number), number)


def note(section: str, subject: str, text: str) -> None:
    """Keep a line of text, such as the story that fails without a guard."""
    _sections[section].notes[subject] = text


def sections() -> Mapping[str, Section]:
    """Return everything that was counted in this process."""
    return _sections


def write(folder: Path = FOLDER) -> None:
    """Write a JSON file for each section. Files of other sections are kept."""
    for name, section in _sections.items():
        folder.mkdir(parents=True, exist_ok=True)
        content = {"section": name, "numbers": section.numbers, "notes": section.notes}
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def table() -> list[str]:
    """Return the lines of the table: each section, its numbers, its notes."""
    lines: list[str] = []
    for name, section in sorted(_sections.items()):
        lines.append(name)
        width = max((len(key) for key in (*section.numbers, *section.notes)), default=0)
        lines += [
            f"  {_words(key):<{width}}  {_number(value):>10}"
            for key, value in section.numbers.items()
        ]
        lines += [f"  {subject:<{width}}  {text}" for subject, text in section.notes.items()]
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: float) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
