"""Write what was measured as Markdown tables."""

from collections.abc import Sequence

from benchmarks.rounds import Results
from benchmarks.scenarios import Bursts, Comparison
from benchmarks.systems import SERVICE
from benchmarks.targets import Checked

_NOT_MEASURED = "not measured in this run"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def target_table(checked: Sequence[Checked]) -> str:
    """Return the table of the targets: the value, what is required and the verdict."""
    rows = []
    for one in checked:
        target, unit = one.target, one.target.unit or " ×"
        digits = 1 if target.unit or target.required >= 10 else 2
        sign = "≤" if target.is_maximum else "≥"
        rows.append(
            [
                target.what,
                one.value.text(digits) + unit if one.value else _NOT_MEASURED,
                f"{sign} {target.required:g}{unit}",
                f"{sign} {target.aim:g}{unit}",
                target.verdict(one.value.median) if one.value else "–",
            ]
        )
    return table(["this service, compared with", "measured", "required", "aim", "verdict"], rows)


def rate_table(results: Results) -> str:
    """Return the table of events per second by system and number of connections."""
    rows = [
        [
            name,
            *(
                results.spread(name, connections, "rate").text(0)
                if results.has(name, connections)
                else "–"
                for connections in results.connections
            ),
        ]
        for name in results.names
    ]
    return table(["events/s", *(_connections(n) for n in results.connections)], rows)


def ratio_table(results: Results) -> str:
    """Return the table of this service's rate, divided by that of each other system."""
    rows = [
        [
            name,
            *(
                results.ratio(SERVICE, name, connections).text(2)
                if results.has(name, connections)
                else "–"
                for connections in results.connections
            ),
        ]
        for name in results.names
        if name != SERVICE
    ]
    return table(
        ["rate, divided by that of", *(_connections(n) for n in results.connections)], rows
    )


def detail_table(results: Results, connections: int) -> str:
    """Return the table of latencies, processor time and memory at a number of connections."""
    columns = [
        ("p50, ms", "p50", 1),
        ("p99, ms", "p99", 1),
        ("server CPU, ms per event", "server_ms", 2),
        ("database CPU, ms per event", "database_ms", 2),
        ("server memory, MiB", "server_mib", 0),
        ("database memory, MiB", "database_mib", 0),
    ]
    rows = []
    for name in results.names:
        if results.has(name, connections):
            spreads = [results.spread(name, connections, column) for _, column, _ in columns]
            cells = [one.text(digits) for one, (_, _, digits) in zip(spreads, columns, strict=True)]
            rows.append([name, *cells])
    return table([_connections(connections), *(head for head, _, _ in columns)], rows)


def comparison_table(compared: Comparison) -> str:
    """Return the table of a comparison, with its note."""
    note = f"{compared.note}\n" if compared.note else ""
    results = compared.results
    if results is None:
        return note
    rows = [
        [
            name,
            str(connections),
            results.spread(name, connections, "rate").text(0),
            results.spread(name, connections, "p50").text(1),
            results.spread(name, connections, "server_ms").text(2),
            results.spread(name, connections, "database_ms").text(2),
            results.ratio(name, compared.reference, connections).text(2),
        ]
        for connections in results.connections
        for name in results.names
    ]
    heads = [
        "case",
        "connections",
        "events/s",
        "p50, ms",
        "server CPU, ms",
        "database CPU, ms",
        f"rate, divided by that of {compared.reference}",
    ]
    return table(heads, rows) + (f"\n{note}" if note else "")


def burst_table(bursts: Bursts) -> str:
    """Return the table of the copies of one event that arrive at once."""
    names = {
        "new": "a new event",
        "done": "an event that is done",
        "ceiling": "signature check only, for comparison",
    }
    rows = [[name, bursts.milliseconds[key].text(1)] for key, name in names.items()]
    return table(["copies of", "ms until all are answered"], rows)


def _connections(number: int) -> str:
    return "1 connection" if number == 1 else f"{number} connections"
