"""Draw the rates of all systems as an SVG with bars."""

import math
from html import escape

from benchmarks.rounds import Results

# The picture has a background of its own, so that it is readable on light and dark pages.
_BACKGROUND = "#ffffff"
_TEXT = "#1f2933"
_GRID = "#d5dae0"
_COLORS = ("#d9480f", "#495057", "#1971c2", "#2f9e44", "#9c36b5", "#e8a100")

_WIDTH, _HEIGHT = 860, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 92, 36
_FONT = "font-family='system-ui, sans-serif' font-size='12'"


def draw_rates(results: Results) -> str:
    """Return the SVG text: for each number of connections one bar per system.

    A bar shows the median rate, and the line on it the lowest and the highest rate of all rounds.
    """
    highest = max(
        results.spread(name, connections, "rate").high
        for name in results.names
        for connections in results.connections
        if results.has(name, connections)
    )
    top = _axis_top(highest)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' "
        f"aria-label='Events per second by number of connections' {_FONT} fill='{_TEXT}'>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' rx='8' fill='{_BACKGROUND}'/>",
        f"<text x='{_LEFT}' y='24' font-size='15' font-weight='600'>"
        "Events per second, by number of connections</text>",
        *_legend(results.names),
        *_grid(top),
        *_bars(results, top),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axis_top(highest: float) -> float:
    """Return the lowest round number above a value: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= highest)


def _legend(names: list[str]) -> list[str]:
    parts, columns = [], 3
    width = (_WIDTH - _LEFT - _RIGHT) / columns
    for index, name in enumerate(names):
        x, y = _LEFT + index % columns * width, 38 + index // columns * 20
        parts.append(f"<rect x='{x:.0f}' y='{y}' width='12' height='12' fill='{_color(index)}'/>")
        parts.append(f"<text x='{x + 18:.0f}' y='{y + 10}'>{escape(name)}</text>")
    return parts


def _grid(top: float) -> list[str]:
    parts = []
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        parts.append(
            f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' "
            f"stroke='{_GRID}'/>"
        )
        parts.append(f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{value:,.0f}</text>")
    return parts


def _bars(results: Results, top: float) -> list[str]:
    parts = []
    group_width = (_WIDTH - _LEFT - _RIGHT) / len(results.connections)
    bar_width = group_width * 0.84 / len(results.names)
    for group, connections in enumerate(results.connections):
        left = _LEFT + group * group_width + group_width * 0.08
        middle = _LEFT + (group + 0.5) * group_width
        label = "1 connection" if connections == 1 else f"{connections} connections"
        parts.append(
            f"<text x='{middle:.1f}' y='{_HEIGHT - 12}' text-anchor='middle'>{label}</text>"
        )
        for index, name in enumerate(results.names):
            if results.has(name, connections):
                rate = results.spread(name, connections, "rate")
                x = left + index * bar_width
                parts += _bar(x, bar_width * 0.9, rate.median, top, _color(index))
                parts += _whisker(x + bar_width * 0.45, rate.low, rate.high, top)
    return parts


def _bar(x: float, width: float, rate: float, top: float, color: str) -> list[str]:
    y = _y(rate, top)
    height = _HEIGHT - _BOTTOM - y
    return [
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' fill='{color}'>"
        f"<title>{rate:,.0f}/s</title></rect>"
    ]


def _whisker(x: float, low: float, high: float, top: float) -> list[str]:
    return [
        f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{_y(low, top):.1f}' y2='{_y(high, top):.1f}' "
        f"stroke='{_TEXT}' stroke-width='1.5'/>"
    ]


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)


def _color(index: int) -> str:
    return _COLORS[index % len(_COLORS)]
