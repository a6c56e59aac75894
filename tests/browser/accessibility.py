"""What axe-core finds in a page and in its frames."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Frame, Page

_GRAVE = ("serious", "critical")

# Within a frame, what shines through from the page behind it cannot be seen: paint it there.
_BACKDROP = """
(frame) => {
  for (let element = frame; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
  return "";
}
"""
_PAINT = "(colour) => { document.documentElement.style.backgroundColor = colour; }"


def grave_faults(page: Page) -> list[str]:
    """The serious and critical violations of all frames, one line each.

    Each frame is looked at by itself: axe-core's own way into frames is for those of one origin.
    """
    for frame in page.frames:
        if frame.parent_frame:
            frame.evaluate(_PAINT, frame.frame_element().evaluate(_BACKDROP))
    return [
        f"{frame.url}: {violation['id']} ({violation['impact']}): {node['target']} {node['html']}"
        for frame in page.frames
        for violation in _violations(frame)
        if violation["impact"] in _GRAVE
        for node in violation["nodes"]
    ]


def _violations(frame: Frame) -> list[dict[str, Any]]:
    options = {"resultTypes": ["violations"], "iframes": False}
    return list(Axe().run(frame, options=options).response["violations"])
