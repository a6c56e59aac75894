"""A local Stripe that listens in a thread, for code that calls Stripe."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from .shop import ShopSandbox

T = TypeVar("T")


class StripeSandbox:
    """A local Stripe on 127.0.0.1, in its own thread. A context manager.

    Pass `url` and `secret_key` to the code under test; with Stripe's SDK,
    `stripe.StripeClient(secret_key, base_addresses={"api": url})`.
    """

    def __init__(self) -> None:
        self._sandbox = ShopSandbox()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stripe-sandbox")

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._sandbox.start(), self._loop).result()
        except BaseException:
            self._stop_thread()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        asyncio.run_coroutine_threadsafe(self._sandbox.stop(), self._loop).result()
        self._stop_thread()

    def _stop_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The URL of its API, without a trailing slash."""
        return self._sandbox.url

    @property
    def secret_key(self) -> str:
        """The secret key of its API."""
        return self._sandbox.secret_key

    @property
    def publishable_key(self) -> str:
        """The key for a browser."""
        return self._sandbox.publishable_key

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events so far, oldest first."""
        return self.run(lambda sandbox: list(sandbox.events))

    def run(self, work: Callable[[ShopSandbox], T]) -> T:
        """Call a function with the local Stripe, between two requests, and return its result.

        Args:
            work: The function, such as `lambda sandbox: sandbox.refund("pi_…")`.
        """

        async def call() -> T:
            return work(self._sandbox)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()
