"""Create an object once, although several runs of the set-up may create it at the same time."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import RequestError
from ..stripe_api.transport import StripeDict

Create = Callable[[str | None], Awaitable[StripeDict]]
"""Creates the object. Gets its idempotency key; None for a new one."""


async def create_once(
    create: Create, params: Any, *, is_current: Callable[[StripeDict], Awaitable[bool]]
) -> StripeDict:
    """Create an object with an idempotency key that all runs derive from its parameters.

    One of several concurrent runs creates the object, and the others get the same answer. Stripe
    repeats an answer for a day or more: https://docs.stripe.com/api/idempotent_requests. If the
    answer is an error, or if the object has changed since then, a new key is used.

    Args:
        create: Creates the object.
        params: The parameters of the object, as JSON values.
        is_current: Returns whether an object in an answer still exists as it was created.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
    try:
        created = await create(f"setup-{digest}")
    except RequestError as error:
        if not error.is_replayed:
            raise
    else:
        if await is_current(created):
            return created
    return await create(None)
