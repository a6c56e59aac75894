"""The pytest plugin: the fixtures `stripe_service` and `stripe_sandbox`.

pytest imports this in every session of an environment that the kit is installed in, so that all
the rest is imported where a test asks for a fixture.
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
VARIABLE = "DATALAYER_STRIPE_TESTING_MONGODB_URL"  # as in .database


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("datalayer-stripe").addoption(
        OPTION,
        metavar="URL",
        help=(
            "run stripe_service and assert_exactly_once on this MongoDB replica set instead of "
            f"memory://, each time in a database of its own; by default what {VARIABLE} says"
        ),
    )


def pytest_configure(config: pytest.Config) -> None:
    if url := config.getoption(OPTION):
        former = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = url
        config.add_cleanup(lambda: _restore(former))


def _restore(former: str | None) -> None:
    if former is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = former


@pytest.fixture
def stripe_service() -> Iterator[Callable[..., PluginService]]:
    """Opens a PluginService of these arguments, which is closed at the end of the test.

    For instance `service = stripe_service(plugin, settings={"host": "mail.example.com"})`.
    """
    from . import PluginService  # noqa: PLC0415

    with ExitStack() as stack:

        def make(*plugins: Any, **options: Any) -> PluginService:
            return stack.enter_context(PluginService(*plugins, **options))

        yield make


@pytest.fixture
def stripe_sandbox() -> Iterator[StripeSandbox]:
    """A local Stripe alone: its `url` and `secret_key` are for the code under test."""
    from . import StripeSandbox  # noqa: PLC0415

    with StripeSandbox() as sandbox:
        yield sandbox
