"""Tests of the documentation site; `make docs` builds it and checks links and docstrings."""

import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import datalayer_stripe
import datalayer_stripe.testing

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/datalayer/datalayer-stripe/"
PAGES = sorted(DOCS.rglob("*.md"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def headings(path: Path) -> set[str]:
    """Return the anchors that GitHub gives to a file's headings."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_links_into_the_repository_lead_to_existing_files(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(rf"\]\({REPOSITORY}(?:blob|tree)/main/([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        assert (ROOT / name).exists(), target
        assert not anchor or anchor in headings(ROOT / name), target


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_page_links_to_no_file_outside_docs(path: Path) -> None:
    """Such a link works on GitHub and is broken in the site."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (path.parent / target).resolve().is_relative_to(DOCS), target


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(re.findall(r": (\S+\.md)$", text, re.MULTILINE)) == sorted(
        str(path.relative_to(DOCS)) for path in PAGES
    )


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("plugin-api.md", datalayer_stripe),
        ("testing.md", datalayer_stripe.testing),
    ],
)
def test_reference_lists_every_public_name(page: str, module: ModuleType) -> None:
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    prefix = re.escape(module.__name__)
    listed = re.findall(rf"^::: {prefix}\.(\w+)$", text, re.MULTILINE)
    public = [name for name in module.__all__ if not name.startswith("__")]
    assert sorted(listed) == sorted(public)


def test_diagram_of_the_layers_has_the_order_of_the_design() -> None:
    design = (DOCS / "design.md").read_text(encoding="utf-8").partition("\n## Layers\n")[2]
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", design, re.MULTILINE)
    order = [re.findall(r"`(\w+)`", row) for row in rows]
    row_of = {name: number for number, names in enumerate(order) for name in names}
    diagram = (DOCS / "index.md").read_text(encoding="utf-8")
    boxes = re.findall(r"</b><br>([^\"]+)\"\]$", diagram, re.MULTILINE)
    numbers = [{row_of[name] for name in box.split(", ")} for box in boxes]
    assert len(numbers) > 4
    packages = {path.parent.name for path in (ROOT / "datalayer_stripe").glob("*/__init__.py")}
    assert packages <= set(", ".join(boxes).split(", ")), "each package is in a box"
    for upper, lower in pairwise(numbers):
        assert max(upper) < min(lower), (upper, lower)


def test_tests_named_in_the_reliability_page_exist() -> None:
    text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / "tests" / name).exists()) == []


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_lists_and_tables_start_after_a_blank_line(path: Path) -> None:
    """Python-Markdown shows a list that follows a paragraph's line as part of the paragraph."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    start = r"(?:- |\d+\. |\|)"
    for before, line in zip(prose.splitlines(), prose.splitlines()[1:], strict=False):
        if re.match(start, line):
            assert not before or re.match(rf"{start}|<!--", before), line
