"""The service of the load tests, with a plugin that hangs."""

from collections.abc import Iterator

import pytest

from datalayer_stripe import Plugin
from datalayer_stripe.service import Service
from tests.faults.load.hanging_plugin import HangingPlugin


@pytest.fixture
def hanging() -> HangingPlugin:
    return HangingPlugin()


@pytest.fixture
def extra_plugins(hanging: HangingPlugin) -> list[Plugin]:
    return [hanging.plugin]


@pytest.fixture(autouse=True)
def released_at_the_end(service: Service, hanging: HangingPlugin) -> Iterator[None]:
    """Release the plugin, even if the test fails: the service waits for its runs when it closes."""
    yield
    hanging.released.set()
