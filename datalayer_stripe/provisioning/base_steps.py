"""What the steps of webhook endpoints and event destinations have in common."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import SecretStr

from .endpoint_base import BaseEndpoint, BasePlan
from .signing_secrets import SECRET_VARIABLE, WEBHOOKS_PAGE, SecretOwner, SigningSecrets
from .steps import Action, Save, Step

T = TypeVar("T", bound=SecretOwner)


def create_step(
    subject: str,
    detail: str,
    *,
    secrets: SigningSecrets,
    create: Callable[[], Awaitable[T]],
    record: Callable[[T, SecretStr], Awaitable[object]],
    delete_lost: Callable[[str], Awaitable[None]],
    lost: BaseEndpoint | None,
    by_hand: str,
) -> Step:
    """Return the step that creates an endpoint or a destination, and saves its secret.

    Args:
        subject: What is created, in words.
        detail: What it will be.
        secrets: The signing secrets of the configuration.
        create: Creates it.
        record: Stores the digest of its secret at Stripe.
        delete_lost: Deletes the one with an id, if no secret of it was recorded meanwhile.
        lost: An existing one whose secret nobody has, and that is replaced.
        by_hand: How to create it by hand.

    Raises:
        SetupError: The configuration has as many secrets as it may have.
    """

    async def run(save: Save) -> None:
        created = await create()
        await secrets.keep(created, save, record=lambda secret: record(created, secret))
        if lost is not None:
            await delete_lost(lost.id)

    secrets.check_room()
    instead = f", instead of {lost.id}, whose signing secret may not be saved" if lost else ""
    return Step(
        subject,
        Action.CREATE,
        f"{detail}{instead}",
        run,
        sets=[SECRET_VARIABLE],
        by_hand=by_hand,
    )


def keep_step(
    subject: str,
    existing: BaseEndpoint,
    plan: BasePlan,
    *,
    apply: Callable[[], Awaitable[object]],
    note: str,
) -> Step:
    """Return the step that changes what differs in an endpoint or a destination.

    Args:
        subject: What is changed, in words.
        existing: The endpoint or destination.
        plan: Its plan.
        apply: Changes it.
        note: What else to say of it.
    """
    if plan.is_unchanged:
        return Step(subject, Action.UNCHANGED, f"{existing.id}, {plan.url}{note}")

    async def run(_save: Save) -> None:
        await apply()

    return Step(
        subject,
        Action.CHANGE,
        f"{existing.id}: {'; '.join(plan.change_lines())}{note}",
        run,
        by_hand=f"Change {existing.id} at {WEBHOOKS_PAGE}: its events have to be "
        f"{', '.join(plan.events)}.",
    )
