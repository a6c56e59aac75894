"""Copy the report of the fault tests to docs/reliability.md: `make figures`.

It reads build/faults/*.json, which `make test-faults` writes, and writes between the two markers of
the document.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.faults.report import FOLDER

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main() -> None:
    """Write the figures to the document."""
    found = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    if not found:
        sys.exit("There are no figures yet: run `make test` and `make test-faults` first.")
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{markdown(found)}\n{END}{after}")
    print(f"{DOCUMENT.name} has the figures of {len(found)} runs.")


def markdown(sections: list[dict[str, Any]]) -> str:
    """Return a table for each section."""
    lines: list[str] = []
    for section in sections:
        lines += [f"### {section['section'].replace('_', ' ').capitalize()}", ""]
        if section["numbers"]:
            lines += ["| what | how many |", "| --- | ---: |"]
            lines += [
                f"| {name.replace('_', ' ')} | {_shown(number)} |"
                for name, number in sorted(section["numbers"].items())
            ]
            lines.append("")
        lines += [f"- {subject}: {text}" for subject, text in sorted(section["notes"].items())]
        if section["notes"]:
            lines.append("")
    return "\n".join(lines)


def _shown(number: float) -> str:
    return f"{number:,.1f}" if isinstance(number, float) else f"{number:,}"


if __name__ == "__main__":
    main()
