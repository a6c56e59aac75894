"""The steps of a set-up: each creates or changes one object at Stripe, or leaves it as it is."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import InvalidRequest, StripePermissionMissing
from ..stripe_api.permissions import permission_label
from .endpoint_base import MANAGED_BY, MANAGER

MANAGED_METADATA: Mapping[str, str] = {MANAGED_BY: MANAGER}
"""The metadata of the objects that the set-up has created, by which it finds them again."""

Variables = Mapping[str, str]
"""Values of environment variables, by name."""

Save = Callable[[Variables], None]
"""Stores variables in the environment file, durably."""


class Action(StrEnum):
    """What a step does."""

    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    BY_HAND = "by hand"


@dataclass(frozen=True)
class Step:
    """One line of the plan.

    Attributes:
        subject: The object, in words.
        action: What the step does with it.
        detail: What it will be, what differs, or why it has to be done by hand.
        run: Creates or changes the object, and saves the variables that it learns. None if there
            is nothing to do for it.
        variables: The variables that are known before the step runs.
        sets: The names of the variables that `run` saves.
        by_hand: What to do by hand instead, if Stripe does not permit it.
        after: The steps that have to succeed before this one.
    """

    subject: str
    action: Action
    detail: str = ""
    run: Callable[[Save], Awaitable[None]] | None = None
    variables: Variables = field(default_factory=dict)
    sets: Sequence[str] = ()
    by_hand: str = ""
    after: Sequence["Step"] = ()


@dataclass(frozen=True)
class Result:
    """How a step ended.

    Attributes:
        step: The step.
        problem: Why it was not done; empty if it was.
        by_hand: What to do by hand; empty if there is nothing.
    """

    step: Step
    problem: str = ""
    by_hand: str = ""


async def apply_steps(
    steps: Iterable[Step],
    *,
    save: Save,
    on_result: Callable[[Result], None],
) -> list[Result]:
    """Run the steps in their order.

    A step that Stripe refuses does not stop the others, unless they depend on it. If Stripe does
    not answer, the steps before have had their effect: a repetition of the set-up finds it.

    Args:
        steps: The steps.
        save: Stores the variables of a step as soon as they are known.
        on_result: Called after each step that did something, or should have.

    Returns:
        The results of the steps that did something, or should have.

    Raises:
        StripeUnavailable: Stripe does not answer, or refuses the key.
    """
    results: list[Result] = []
    failed: list[Step] = []
    for step in steps:
        if step.action is Action.UNCHANGED:
            save(step.variables)
            continue
        result = await _apply(step, failed, save)
        if result.problem:
            failed.append(step)
        results.append(result)
        on_result(result)
    return results


async def _apply(step: Step, failed: Sequence[Step], save: Save) -> Result:
    if step.run is None:
        save(step.variables)
        return Result(step, step.detail, step.by_hand)
    # Steps are compared by identity: two of them may read the same.
    if missing := [one for one in step.after if any(one is other for other in failed)]:
        return Result(step, f"needs the {missing[0].subject} first")
    try:
        await step.run(save)
    except StripePermissionMissing as error:
        return Result(step, lacks_permission(error), step.by_hand)
    except InvalidRequest as error:
        return Result(step, f"Stripe refuses it: {error}", step.by_hand)
    save(step.variables)
    return Result(step)


def lacks_permission(error: StripePermissionMissing) -> str:
    """Return what permission the key lacks, as Stripe's dashboard and its errors name it."""
    if error.permission is None:
        return f"the key lacks a permission for {error.operation}"
    return f"the key lacks the permission {permission_label(error.permission)} ({error.permission})"


async def step_or_by_hand(
    plan: Awaitable[Sequence[Step]], *, subject: str, by_hand: str
) -> Sequence[Step]:
    """Return the planned steps, or a step by hand if the key may not read what they need.

    Args:
        plan: Makes the steps.
        subject: The object, in words.
        by_hand: What to do by hand.
    """
    try:
        return await plan
    except StripePermissionMissing as error:
        return [Step(subject, Action.BY_HAND, lacks_permission(error), by_hand=by_hand)]
