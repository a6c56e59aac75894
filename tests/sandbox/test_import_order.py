"""Import order of the sandbox's parts."""

import re

from datalayer_stripe import sandbox
from tests.test_architecture import PACKAGE, ROOT, graph_of

PREFIX = f"{PACKAGE}.sandbox."


def test_parts_import_only_parts_below_them() -> None:
    order = re.findall(r"^    (\w+)(?:/|\.py) ", str(sandbox.__doc__), re.MULTILINE)
    rank = {part: number for number, part in enumerate(order)}
    upward = []
    parts = set()
    for module, targets in graph_of(ROOT, PACKAGE).items():
        part = part_of(module)
        parts |= {part} - {None}
        for target in map(part_of, targets):
            if part and target and part not in (target, "__main__") and rank[target] <= rank[part]:
                upward.append((module, target))
    assert parts == {*order, "__main__"}
    assert upward == []


def part_of(module: str) -> str | None:
    """Return the sandbox's part that a module belongs to; None outside the sandbox."""
    return module.removeprefix(PREFIX).split(".")[0] if module.startswith(PREFIX) else None
