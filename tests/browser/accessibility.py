"""Run axe-core in a page and in its frames."""

from collections.abc import Collection
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Frame, Page

_SERIOUS_IMPACTS = ("serious", "critical")
_ALL_IMPACTS = ("minor", "moderate", *_SERIOUS_IMPACTS)

# A transparent frame shows the background of the page behind it, which axe-core cannot see from
# inside the frame. Set that background in the frame too.
_BACKGROUND_BEHIND = """
(frame) => {
  for (let element = frame; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
  return "";
}
"""
_SET_BACKGROUND = "(colour) => { document.documentElement.style.backgroundColor = colour; }"
_AXE = Axe()
_RUN_AXE = """
async () => (await axe.run({ resultTypes: ["violations"], iframes: false })).violations
"""


def serious_violations(page: Page) -> list[str]:
    """Return the serious and critical violations in all frames, one line each."""
    return violations(page, _SERIOUS_IMPACTS)


def violations(page: Page, impacts: Collection[str] = _ALL_IMPACTS) -> list[str]:
    """Return the violations with these impacts in all frames, one line each.

    axe-core runs in each frame separately, because its own frame support needs one origin.
    """
    for frame in page.frames:
        if frame.parent_frame:
            frame.evaluate(_SET_BACKGROUND, frame.frame_element().evaluate(_BACKGROUND_BEHIND))
    return [
        f"{frame.url}: {violation['id']} ({violation['impact']}): {node['target']} {node['html']}"
        for frame in page.frames
        for violation in _violations(frame)
        if violation["impact"] in impacts
        for node in violation["nodes"]
    ]


def _violations(frame: Frame) -> list[dict[str, Any]]:
    if not frame.evaluate("'axe' in window"):  # the script has half a megabyte
        frame.evaluate(_AXE.axe_script)
    return list(frame.evaluate(_RUN_AXE))
