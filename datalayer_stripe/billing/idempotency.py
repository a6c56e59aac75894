"""Send a request to Stripe that must have its effect once."""

from collections.abc import Awaitable, Callable

from ..clock import Clock
from ..errors import CardDeclined, IdempotencyKeyReused, InvalidRequest, RequestError
from ..store import Store
from ..stripe_api.objects import StripeData


class IdempotentRequests:
    """Sends requests with idempotency keys that are stored in the database.

    Stripe saves the first answer to a key for a day, including errors, and repeats it. So a key is
    replaced after an error that Stripe repeats.

    Args:
        store: The database.
        clock: Returns the present time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._keys = store.idempotency_keys
        self._clock = clock

    async def send(
        self,
        base: str,
        request: Callable[[str], Awaitable[StripeData]],
        *,
        nothing_was_created: bool = False,
    ) -> StripeData:
        """Send a request, and return Stripe's answer.

        Concurrent callers with the same base use the same key and get the same answer. The key is
        replaced after Stripe refused the request, and after an error that Stripe repeated. After
        any other error, and without an answer, the key stays: the next request returns what
        Stripe may have created with it.

        Args:
            base: Identifies the effect, by the service's own ids. Requests with different effects
                have different bases.
            request: Sends the request with the idempotency key that it gets.
            nothing_was_created: Whether the caller has checked at Stripe that nothing was created
                with this base. If Stripe then says for a while that the key was used with other
                parameters, it has saved an error whose answer was lost, and the key is replaced.

        Raises:
            IdempotencyKeyReused: The key was used with other parameters.
            RequestError: Stripe refused the request, or did not answer.
        """
        key = await self._keys.current(base)
        try:
            return await request(key)
        except IdempotencyKeyReused:
            if nothing_was_created:
                await self._keys.replace_if_stuck(base, key, self._clock())
            raise
        except RequestError as error:
            if error.is_replayed or isinstance(error, InvalidRequest | CardDeclined):
                await self._keys.replace(base, key, self._clock())
            raise
