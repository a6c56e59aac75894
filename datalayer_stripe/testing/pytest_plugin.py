"""The pytest plugin: the fixtures `stripe_service` and `stripe_sandbox`.

pytest imports this module in every session of an environment that the package is installed in.
So the other modules are imported only when a test uses a fixture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from . import PluginService, StripeSandbox

OPTION = "--datalayer-stripe-mongodb"
VARIABLE = "DATALAYER_STRIPE_TESTING_MONGODB_URL"  # the same as in database.py


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the MongoDB."""
    parser.getgroup("datalayer-stripe").addoption(
        OPTION,
        metavar="URL",
        help=(
            "run stripe_service and assert_exactly_once on this MongoDB replica set instead of "
            f"memory://, each time in a new database; the default is the variable {VARIABLE}"
        ),
    )


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment variable to the option's value, until the session ends."""
    if url := config.getoption(OPTION):
        previous = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = url
        config.add_cleanup(lambda: _restore(previous))


def _restore(previous: str | None) -> None:
    if previous is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = previous


@pytest.fixture
def stripe_service() -> Iterator[Callable[..., PluginService]]:
    """Return a function that opens a `PluginService`, which is closed at the end of the test.

    It takes the arguments of `PluginService`, for instance
    `service = stripe_service(plugin, settings={"host": "mail.example.com"})`.
    """
    from . import PluginService  # noqa: PLC0415

    with ExitStack() as stack:

        def open_service(*plugins: Any, **options: Any) -> PluginService:
            return stack.enter_context(PluginService(*plugins, **options))

        yield open_service


@pytest.fixture
def stripe_sandbox() -> Iterator[StripeSandbox]:
    """Return a local Stripe. Pass its `url` and `secret_key` to the code under test."""
    from . import StripeSandbox  # noqa: PLC0415

    with StripeSandbox() as sandbox:
        yield sandbox
