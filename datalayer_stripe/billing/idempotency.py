"""Ask Stripe for the same thing once, and never be stuck with an error that Stripe has saved."""

from collections.abc import Awaitable, Callable

from ..clock import Clock
from ..errors import (
    CardRefused,
    Conflict,
    InvalidRequest,
    StripeKeyReused,
    StripeSilent,
    StripeUnavailable,
)
from ..shapes import StripeData
from ..store import Store

_ASKED_AT_ONCE = "The same was asked for at the same moment. Please try again."


class IdempotentRequests:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._keys = store.idempotency_keys
        self._clock = clock

    async def send(self, base: str, request: Callable[[str], Awaitable[StripeData]]) -> StripeData:
        """Send a request that must have its effect once, however often and wherever it is sent.

        All who send it at the same time use the same key, and get the same answer. Without an
        answer the key stays: whatever Stripe has done under it is found by sending it again. After
        a definite refusal the key is replaced, as Stripe would repeat the refusal for a day.

        Args:
            base: what is asked for, from our own ids; a request that may have another effect has
                another base.
            request: sends the request under the idempotency key that it is given.

        Raises:
            StripeKeyReused: the key was used with other parameters.
            Conflict: the key was replaced meanwhile; to send the request again finds what is there.
        """
        key = await self._keys.current(base)
        try:
            answer = await request(key)
        except StripeSilent:
            raise
        except StripeKeyReused:
            await self._keys.replace_if_stuck(base, key, self._clock())
            raise
        except (InvalidRequest, CardRefused, StripeUnavailable):
            await self._keys.replace(base, key, self._clock())
            raise
        if await self._keys.current(base) != key:
            # Another request under it was refused meanwhile, and a second object may be made.
            raise Conflict(_ASKED_AT_ONCE)
        return answer
