"""Write `benchmarks/results.md`, the plot, and the tables of `docs/performance.md`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tables
from benchmarks.plot import draw_rates
from benchmarks.profile import Profile
from benchmarks.rounds import Results
from benchmarks.scenarios import Bursts, Comparison
from benchmarks.targets import check_targets

_ROOT = Path(__file__).parents[1]
RESULTS = _ROOT / "benchmarks" / "results.md"
DOCUMENT = _ROOT / "docs" / "performance.md"
PLOT = _ROOT / "docs" / "images" / "performance.svg"

_PROFILED = 16
"""How many parts and functions of the profile are listed."""


@dataclass(frozen=True)
class Report:
    """All that one run of the benchmark has measured.

    Attributes:
        machine: Machine, versions and date.
        method: How it was measured, in one sentence.
        main: The main comparison.
        compared: Further comparisons by key.
        bursts: The copies of one event; None if they were not measured.
        profile: The profile; None if there is none.
        soak: The rows of the soak; empty if there was none.
    """

    machine: Mapping[str, str]
    method: str
    main: Results
    compared: dict[str, Comparison]
    bursts: Bursts | None
    profile: Profile | None
    soak: str

    def sections(self) -> dict[str, str]:
        """Return the generated sections, by their names in the documents."""
        checked = check_targets(self.main, self.compared, self.bursts)
        sections = {
            "targets": tables.target_table(checked),
            "rates": tables.rate_table(self.main),
            "ratios": tables.ratio_table(self.main),
            "details": "\n".join(
                tables.detail_table(self.main, number) for number in self.main.connections
            ),
            "comparisons": "\n".join(
                f"### {one.title}\n\n{tables.comparison_table(one)}"
                for one in self.compared.values()
            ),
        }
        if self.bursts:
            sections["copies"] = tables.burst_table(self.bursts)
        if self.soak:
            sections["soak"] = self.soak
        if self.profile:
            sections["profile"] = profile_table(self.profile)
        sections["machine"] = machine_table(self.machine, self.method)
        return sections


_TITLES = {
    "targets": "Targets",
    "rates": "Events per second",
    "ratios": "Ratios",
    "details": "Latency, processor time and memory",
    "comparisons": "Comparisons",
    "copies": "50 copies of one event at once",
    "soak": "Soak",
    "profile": "Where the processor time of the service goes",
    "machine": "Machine and method",
}


def write(report: Report) -> None:
    """Write the results, the plot and the tables in the document."""
    sections = report.sections()
    RESULTS.write_text(results_text(sections), encoding="utf-8")
    PLOT.write_text(draw_rates(report.main), encoding="utf-8")
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(replace_sections(document, sections), encoding="utf-8")


def results_text(sections: Mapping[str, str]) -> str:
    """Return the text of the results."""
    head = (
        "# Results of `make bench`\n\n"
        "Generated; docs/performance.md explains them. Values are medians of all rounds, with the "
        "lowest and the highest round. Compare the ratios: absolute values depend on the machine.\n"
    )
    return head + "".join(f"\n## {_TITLES[name]}\n\n{text}" for name, text in sections.items())


def replace_sections(document: str, sections: Mapping[str, str]) -> str:
    """Return a document with new text between `<!-- results: NAME … -->` and `<!-- end … -->`.

    A section that was not measured is left empty.
    """

    def replaced(found: re.Match[str]) -> str:
        text = sections.get(found["name"], "Not measured in this run.\n")
        return f"{found['start']}\n\n{text}\n{found['end']}"

    pattern = (
        r"(?P<start><!-- results: (?P<name>\w+)\.[^>]*-->)\n.*?(?P<end><!-- end of results -->)"
    )
    return re.sub(pattern, replaced, document, flags=re.DOTALL)


def profile_table(profile: Profile) -> str:
    """Return the tables of the profile."""
    if profile.note:
        return f"{profile.note}\n"
    parts = [
        [f"`{part.name}`", f"{part.with_calls:.1%}", f"{part.alone:.1%}"]
        for part in profile.parts[:_PROFILED]
    ]
    functions = [[f"`{name}`", f"{share:.1%}"] for name, share in profile.functions[:_PROFILED]]
    return (
        tables.table(["package or module", "with the libraries it calls", "alone"], parts)
        + "\n"
        + tables.table(["function", "share of samples"], functions)
    )


def machine_table(machine: Mapping[str, str], method: str) -> str:
    """Return the table of the machine, and how it was measured."""
    return (
        tables.table(["what", "value"], [list(item) for item in machine.items()]) + f"\n{method}\n"
    )
