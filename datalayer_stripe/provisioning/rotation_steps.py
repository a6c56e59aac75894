"""The steps of a rotation of the signing secret, in words."""

from collections.abc import Collection
from pathlib import Path

from .rotation_state import EVERY_TYPE, RotationState

ACCEPTED_IN_A_ROW = 16
"""Test events that the service must accept. Several processes may answer at the URL."""


def remaining_steps(
    state: RotationState, *, url: str, events: Collection[str], path: Path
) -> list[str]:
    """Return the steps that are left, for the operator.

    Args:
        state: The state of the rotation.
        url: The URL of the webhook.
        events: The event types that the plugins want.
        path: The environment file.
    """
    replaced = ", ".join(one.id for one in state.replaced)
    is_to_be_enabled = state.successor is None or state.successor.is_idle
    enabling = f"enable the new endpoint, for {describe_types(state, events)}"
    steps = []
    if state.successor is None:
        steps.append(
            f"create a second endpoint for {url}, disabled, and write its secret to "
            f"{path}{beside(state)}"
        )
    if is_to_be_enabled and state.is_secret_lost:
        steps.append(
            f"{enabling}: {path} has no secret of {replaced}, so a service that is started with "
            "it refuses those deliveries"
        )
    if state.successor is None:
        steps.append("(you) restart the service, so that it accepts the secrets in the file")
    if is_to_be_enabled or state.replaced:
        steps.append(
            f"check with {ACCEPTED_IN_A_ROW} signed test events that the service accepts the new "
            "secret"
        )
    if is_to_be_enabled and not state.is_secret_lost:
        steps.append(enabling)
    if state.replaced:
        steps += [f"wait until no delivery to {replaced} is pending", f"delete {replaced}"]
    return [*steps, f"remove the old secret from {path}"]


def describe_types(state: RotationState, wanted: Collection[str]) -> str:
    """Return how many event types a successor has, and which ones no plugin here wants.

    Args:
        state: The state of the rotation.
        wanted: The event types that the plugins want.
    """
    events = state.events(wanted)
    if events == (EVERY_TYPE,):
        return "all event types"
    others = sorted(set(events) - set(wanted))
    kept = f", with those of plugins that are not here: {', '.join(others)}" if others else ""
    return f"{len(events)} event types{kept}"


def beside(state: RotationState) -> str:
    """Return where a new secret is written, if the file has one already."""
    return ", beside the present one" if state.secrets else ""
