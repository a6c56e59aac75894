"""Ask Stripe for the same thing once, and never be stuck with an error that Stripe has saved."""

from collections.abc import Awaitable, Callable

from ..clock import Clock
from ..errors import CardRefused, InvalidRequest, RequestError, StripeKeyReused
from ..store import Store
from ..stripe_api.objects import StripeData


class IdempotentRequests:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._keys = store.idempotency_keys
        self._clock = clock

    async def send(
        self,
        base: str,
        request: Callable[[str], Awaitable[StripeData]],
        *,
        nothing_exists: bool = False,
    ) -> StripeData:
        """Send a request that must have its effect once, however often and wherever it is sent.

        All who send it at the same time use the same key, and get the same answer. The key is
        replaced once its answer is certainly an error, as Stripe would repeat that for a day:
        after a refusal of the request itself, and after an error that Stripe has repeated. After
        any other error, and without an answer, the key stays: whatever Stripe has done under it is
        found by sending the request again.

        Args:
            base: what is asked for, from our own ids; a request that may have another effect has
                another base.
            request: sends the request under the idempotency key that it is given.
            nothing_exists: the caller has seen at Stripe that nothing was made under `base`. A
                key that is refused for a while as used with other parameters holds an error then,
                whose answer was lost, and is replaced.

        Raises:
            StripeKeyReused: the key was used with other parameters.
        """
        key = await self._keys.current(base)
        try:
            return await request(key)
        except StripeKeyReused:
            if nothing_exists:
                await self._keys.replace_if_stuck(base, key, self._clock())
            raise
        except RequestError as error:
            if error.is_replayed or isinstance(error, InvalidRequest | CardRefused):
                await self._keys.replace(base, key, self._clock())
            raise
