"""Statistics, targets, tables and the plot of the benchmark."""

import re
from xml.etree import ElementTree

import pytest

from benchmarks import tables
from benchmarks.measure import Measurement
from benchmarks.plot import draw_rates
from benchmarks.profile import Part, summarize
from benchmarks.report import DOCUMENT, Report, replace_sections, results_text
from benchmarks.rounds import Results
from benchmarks.scenarios import COPIES, HOT_ACCOUNT, SPREAD_ACCOUNTS, Bursts, Comparison
from benchmarks.soak import soak_table
from benchmarks.summary import ratio, spread
from benchmarks.systems import CEILING, ONE_TRANSACTION, SERVICE
from benchmarks.targets import Target, check_targets


def measurement(rate: float, p50: float = 1.0) -> Measurement:
    return Measurement(
        rate=rate,
        p50=p50,
        p99=2.0,
        server_ms=0.5,
        database_ms=0.25,
        server_mib=80.0,
        database_mib=150.0,
    )


def results(rates: dict[tuple[str, int], tuple[float, ...]]) -> Results:
    found = Results()
    for (name, connections), values in rates.items():
        for value in values:
            found.add(name, connections, measurement(value, p50=1000 / value))
    return found


MAIN = results(
    {
        (SERVICE, 1): (200, 210, 190),
        (CEILING, 1): (4000, 4000, 4000),
        (ONE_TRANSACTION, 1): (250, 210, 380),
        (SERVICE, 64): (2000, 1000, 3000),
        (CEILING, 64): (4000, 4000, 4000),
        (ONE_TRANSACTION, 64): (500, 500, 1000),
    }
)
HOT = Comparison(
    "One hot account",
    results({(HOT_ACCOUNT, 64): (80, 90, 100), (SPREAD_ACCOUNTS, 64): (100, 100, 100)}),
    HOT_ACCOUNT,
    SPREAD_ACCOUNTS,
)
STORED = Comparison("20 stored events", None, "stored events", "no stored events", "Not measured.")
MISSING = Comparison("Drivers", None, "a", "b", "Not measured: there is one driver.")
BURSTS = Bursts({"new": spread([20, 30, 24]), "done": spread([10]), "ceiling": spread([5])})


def report() -> Report:
    return Report(
        machine={"date": "today"},
        method="As described.",
        main=MAIN,
        compared={"hot": HOT, "stored": STORED, "drivers": MISSING},
        bursts=BURSTS,
        profile=summarize("main (a.py:1);run (/x/site-packages/tornado/web.py:3) 3\n"),
        soak="",
    )


def verdicts() -> dict[str, str]:
    checked = check_targets(MAIN, {"hot": HOT, "stored": STORED}, BURSTS)
    return {one.target.what: one.target.verdict(one.value.median) for one in checked if one.value}


def test_spread_is_the_median_with_lowest_and_highest() -> None:
    assert spread([3, 1, 2]).text(0) == "2 (1–3)"
    assert spread([1234.56]).text(1) == "1,234.6 (1,234.6–1,234.6)"


def test_ratio_compares_the_values_of_each_round() -> None:
    # The machine was half as fast in the second round.
    assert ratio([200, 100, 200], [100, 50, 100]) == spread([2, 2, 2])
    with pytest.raises(ValueError, match="longer"):
        ratio([1], [1, 2])


@pytest.mark.parametrize(
    ("value", "is_maximum", "verdict"),
    [
        (3, False, "aim met"),
        (2, False, "met"),
        (1.9, False, "**not met**"),
        (1, True, "aim met"),
        (2, True, "met"),
        (2.1, True, "**not met**"),
    ],
)
def test_verdict_of_a_target(value: float, is_maximum: bool, verdict: str) -> None:
    target = Target("x", required=2, aim=1 if is_maximum else 3, is_maximum=is_maximum)
    assert target.verdict(value) == verdict


def test_targets_are_compared_with_what_was_measured() -> None:
    assert verdicts() == {
        f"rate of {ONE_TRANSACTION}, 64 connections": "met",  # the median of 4, 2 and 3
        f"rate of {CEILING}, 64 connections": "aim met",  # the median of 0.5, 0.25 and 0.75
        "a lone delivery, time of one transaction alone": "met",  # 1.25, 1, 2
        "One hot account, rate of spread accounts": "met",
        f"{COPIES} copies of a new event at once": "met",
        f"{COPIES} copies of an event that is done at once": "aim met",
    }


def test_a_target_that_was_not_measured_is_said_so() -> None:
    text = tables.target_table(check_targets(MAIN, {"hot": HOT, "stored": STORED}, None))
    lines = [line for line in text.splitlines() if "not measured in this run" in line]
    assert ["stripe-sync-engine" in line for line in lines].count(True) == 1
    assert ["20 stored events, rate of no stored events" in line for line in lines].count(True) == 1
    assert all(line.endswith("| – |") for line in lines)


def test_results_have_a_section_for_everything_that_was_measured() -> None:
    text = results_text(report().sections())
    assert re.findall("^## (.+)$", text, re.MULTILINE) == [
        "Targets",
        "Events per second",
        "Ratios",
        "Latency, processor time and memory",
        "Comparisons",
        "50 copies of one event at once",
        "Where the processor time of the service goes",
        "Machine and method",
    ]
    assert "| this service | 200 (190–210) | 2,000 (1,000–3,000) |" in text
    assert f"| {ONE_TRANSACTION} | 0.80 (0.50–1.00) | 3.00 (2.00–4.00) |" in text
    assert "| one hot account | 64 | 90 (80–100) |" in text
    assert "Not measured: there is one driver." in text
    assert "| `tornado` | 100.0% | 100.0% |" in text


def test_all_rows_of_a_table_have_as_many_cells_as_its_head() -> None:
    for block in re.findall(r"(?:^\|.*\n)+", results_text(report().sections()), re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_sections_of_the_document_are_replaced() -> None:
    document = "a\n<!-- results: rates. By x -->\nold\n<!-- end of results -->\nb\n"
    replaced = replace_sections(document, {"rates": "new\n"})
    assert replaced == "a\n<!-- results: rates. By x -->\n\nnew\n\n<!-- end of results -->\nb\n"
    assert replace_sections(replaced, {"rates": "new\n"}) == replaced
    assert "Not measured in this run." in replace_sections(document, {})


def test_the_document_shows_every_section_but_the_machine_and_the_ratios() -> None:
    shown = re.findall(r"<!-- results: (\w+)\.", DOCUMENT.read_text(encoding="utf-8"))
    assert {*shown} == {*report().sections(), "soak"} - {"machine", "ratios"}


def test_plot_is_well_formed_and_has_a_bar_for_each_rate() -> None:
    root = ElementTree.fromstring(draw_rates(MAIN))
    namespace = "{http://www.w3.org/2000/svg}"
    titles = [title.text for title in root.iter(f"{namespace}title")]
    assert titles == ["200/s", "4,000/s", "250/s", "2,000/s", "4,000/s", "500/s"]
    texts = [text.text for text in root.iter(f"{namespace}text")]
    assert {SERVICE, CEILING, ONE_TRANSACTION, "1 connection", "64 connections"} <= {*texts}
    for rect in root.iter(f"{namespace}rect"):
        assert float(rect.get("height", "0")) > 0


def test_profile_counts_the_innermost_frame_and_the_part_that_called_it() -> None:
    packages = "/venv/lib/python3.11/site-packages"
    run = "main (x);_run (/lib/python3.11/asyncio/events.py:84)"
    commit = f"{run};commit (/src/datalayer_stripe/store/commit.py:9)"
    samples = [
        f"{run} 2",
        f"{commit};write ({packages}/pymongo/pool.py:1);encode ({packages}/bson/x.py:1) 4",
        f"{commit} 1",
        f"{run};credit (/src/plugins/top_up_credits.py:9) 1",
        f"{run};handle ({packages}/tornado/web.py:1);loads (/lib/python3.11/json/x.py:1) 2",
    ]
    profile = summarize("\n".join(samples))
    assert profile.parts == [
        Part("datalayer_stripe.store", alone=0.1, with_calls=0.5),
        Part("asyncio", alone=0.2, with_calls=0.2),
        Part("tornado", alone=0.0, with_calls=0.2),
        Part("plugins", alone=0.1, with_calls=0.1),
        Part("bson", alone=0.4, with_calls=0.0),
        Part("json", alone=0.2, with_calls=0.0),
    ]
    assert profile.functions[0] == ("encode (bson)", 0.4)


def test_soak_table_has_the_first_and_the_last_part() -> None:
    found = [measurement(rate) for rate in (100, 101, 102, 103, 104)]
    lines = soak_table(found, memory=75).splitlines()
    shown = [line.split("|")[1].strip() for line in lines[2:-2]]
    assert shown == ["start", "30 s", "60 s", "120 s", "150 s"]
