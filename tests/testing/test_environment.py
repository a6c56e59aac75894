"""The environment that the demo, the test kit, the benchmarks and the fault tests build on."""

import subprocess
import sys

import pytest

from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.sandbox.delivery.attempts import encode
from datalayer_stripe.testing import recorded_event
from datalayer_stripe.testing.clock import Clock
from datalayer_stripe.testing.environment import Environment
from datalayer_stripe.webhooks.outcome import Outcome


@pytest.mark.gen_test
async def test_service_of_environment_accepts_signed_delivery_and_uses_its_clock() -> None:
    clock = Clock()
    environment = Environment("memory://", clock=clock)
    await environment.start()
    service = await environment.open_service(registry=Registry([]))
    try:
        body = encode(recorded_event("invoice.paid"))
        clock.advance(days=400)
        _, outcome = await service.deliveries.receive(body, environment.sign(body))
        assert outcome is Outcome.IGNORED
        assert service.settings.stripe_api_base == environment.sandbox.url
        packages = await service.catalog.packages()
        assert [package.credits for package in packages] == list(environment.sandbox.packages)
    finally:
        await service.close()
        await environment.stop()


@pytest.mark.gen_test
async def test_settings_of_environment_have_random_secrets_and_can_be_changed() -> None:
    one, other = Environment("memory://"), Environment("memory://", jwt_secret="x" * 32)
    await one.start()
    await other.start()
    try:
        first, second = one.settings(), other.settings(stripe_cust_portal_id="bpc_changed")
        assert first.stripe_webhook_secrets != second.stripe_webhook_secrets
        assert second.jwt_secret.get_secret_value() == "x" * 32
        assert second.stripe_cust_portal_id == "bpc_changed"
    finally:
        await one.stop()
        await other.stop()


def test_environment_does_not_need_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None;"
        "import datalayer_stripe.testing.environment, datalayer_stripe.demo.environment"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
