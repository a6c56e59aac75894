"""Rolling the signing secret: complete, resumable, and without a refused delivery."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tornado.ioloop import IOLoop

from datalayer_stripe.app import Server, listen, make_app
from datalayer_stripe.composition import open_service
from datalayer_stripe.errors import StartError, StripeUnavailable
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.provisioning.endpoint_base import secret_digest
from datalayer_stripe.provisioning.env_file import EnvFile
from datalayer_stripe.provisioning.event_destination import (
    apply_destination,
    plan_destination,
    record_destination_secret,
)
from datalayer_stripe.provisioning.pending_deliveries import KnownEvents, Timing
from datalayer_stripe.provisioning.rotation import Rotation, RotationTarget
from datalayer_stripe.provisioning.round_trip import RoundTrip
from datalayer_stripe.provisioning.webhook_endpoints import (
    apply_endpoint,
    list_endpoints,
    plan_endpoint,
    record_secret,
)
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.settings_checks import MAX_SIGNING_SECRETS
from datalayer_stripe.stripe_api.client import StripeClient
from datalayer_stripe.stripe_api.transport import STRIPE_VERSION
from tests.support.app import ACCOUNT
from tests.support.ports import free_port
from tests.support.shop import WEBHOOK_ROUTE, Shop, objects

VARIABLE = "DATALAYER_STRIPE_WEBHOOK_SECRET"
PATH = "/v1/webhook_endpoints"
OTHER = "whsec_otherDestinationOtherDestin"


class Installation:
    """A service on a port of its own, with an environment file and an endpoint at Stripe."""

    def __init__(
        self, sandbox: Sandbox, settings: Settings, client: StripeClient, file: Path
    ) -> None:
        self.sandbox = sandbox
        self.settings = settings
        self.client = client
        self.file = file
        self.said: list[str] = []
        self.slept: list[float] = []
        self.on_sleep: Callable[[int], Awaitable[None]] | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{WEBHOOK_ROUTE}"
        self.registry = Registry.load()
        self._service: Service | None = None
        self._server: Server | None = None

    @property
    def secrets(self) -> list[str]:
        return [one for one in (EnvFile.read(self.file).get(VARIABLE) or "").split(",") if one]

    @property
    def service(self) -> Service:
        assert self._service is not None
        return self._service

    async def set_up(self) -> None:
        """Create the endpoint, and write its secret to the file."""
        planned = await plan_endpoint(
            self.client, url=self.url, events=self.registry.types, api_version=STRIPE_VERSION
        )
        endpoint = await apply_endpoint(self.client, planned)
        assert endpoint.secret is not None
        await record_secret(self.client, endpoint, endpoint.secret)
        file = EnvFile.read(self.file)
        file.set(VARIABLE, endpoint.secret.get_secret_value())
        file.write()

    async def start(self) -> None:
        """Start the service with the secrets in the file."""
        secrets = tuple(SecretStr(one) for one in self.secrets)
        settings = self.settings.model_copy(update={"stripe_webhook_secrets": secrets})
        self._service = await open_service(settings, registry=self.registry)
        self._server = Server(make_app(self._service), listen("127.0.0.1", self.port))

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.stop(seconds=5)
        await self.service.close()
        self._server = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            if self._server is not None:
                await self.stop()

    def rotation(
        self, *, wait: float = 0, known_events: KnownEvents | None = None
    ) -> tuple[Rotation, RoundTrip]:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            if self.on_sleep is not None:
                await self.on_sleep(len(self.slept))
            await asyncio.sleep(0.01)

        target = RotationTarget(self.url, self.registry.types, STRIPE_VERSION, VARIABLE)
        round_trip = RoundTrip(self.url, webhook_path=WEBHOOK_ROUTE, livemode=False)
        rotation = Rotation(
            self.client,
            EnvFile.read(self.file),
            target,
            round_trip,
            Timing(wait, sleep, self.sandbox.backend.now),
            known_events=known_events,
            say=self.said.append,
        )
        return rotation, round_trip

    async def rotate(self, **options: Any) -> bool:
        rotation, round_trip = self.rotation(**options)
        try:
            return await rotation.run()
        finally:
            round_trip.close()

    async def steps(self) -> list[str]:
        rotation, round_trip = self.rotation()
        try:
            return await rotation.steps()
        finally:
            round_trip.close()

    async def known(self, event_ids: Any) -> Any:
        return await self.service.store.events.runs(event_ids)

    def pay(self) -> str:
        """Pay for 50 credits, and return the PaymentIntent's id."""
        metadata = {"account_uid": ACCOUNT, "price_id": "price_1", "credits": "50"}
        intent = self.sandbox.call(
            "POST", "/v1/payment_intents", amount=500, currency="usd", metadata=metadata
        )
        return str(self.sandbox.confirm_payment(intent["client_secret"])["id"])

    def endpoints(self) -> list[dict[str, Any]]:
        return objects(self.sandbox, PATH)[::-1]


@pytest.fixture
def installation(
    io_loop: IOLoop,
    sandbox: Sandbox,
    shop: Shop,
    settings: Settings,
    client: StripeClient,
    tmp_path: Path,
) -> Installation:
    installation = Installation(sandbox, settings, client, tmp_path / "service.env")
    io_loop.run_sync(installation.set_up)
    return installation


@pytest.mark.gen_test
async def test_event_types_of_plugins_that_only_the_service_has_are_kept(
    installation: Installation,
) -> None:
    sandbox, [old] = installation.sandbox, installation.endpoints()
    types = [*old["enabled_events"], "customer.updated"]
    sandbox.call("POST", f"{PATH}/{old['id']}", enabled_events=types)
    async with installation.serving():
        assert "customer.updated" in (await installation.steps())[3]
        await installation.rotate()
        await installation.restart()
        sandbox.webhooks.drop(1000)
        customer = sandbox.call("POST", "/v1/customers")
        sandbox.call("POST", f"/v1/customers/{customer['id']}", name="Ada")
        await sandbox.webhooks.settle()
        assert await installation.rotate() is False, "a delivery of this type is pending"
        assert await installation.rotate(known_events=_all_known) is True
        [only] = installation.endpoints()
        assert set(only["enabled_events"]) == set(types)


@pytest.mark.gen_test
async def test_rotation_in_two_runs_with_a_restart_between(installation: Installation) -> None:
    [old] = installation.endpoints()
    [old_secret] = installation.secrets
    async with installation.serving():
        assert await installation.rotate() is False
        first, successor = installation.endpoints()
        assert first == old, "the old endpoint is as it was"
        assert successor["status"] == "disabled"
        assert not set(successor["enabled_events"]) & set(installation.registry.types)
        new_secret, kept = installation.secrets
        assert kept == old_secret
        assert "Now restart the service" in installation.said[1]

        await installation.restart()
        assert await installation.rotate() is True
        [only] = installation.endpoints()
        assert only["id"] == successor["id"]
        assert only["status"] == "enabled"
        assert only["enabled_events"] == list(installation.registry.types)
        assert only["metadata"] == {
            "managed_by": "datalayer-stripe",
            "secret_sha256": secret_digest(SecretStr(new_secret)),
        }
        assert installation.secrets == [new_secret]
        assert not any("whsec_" in line for line in installation.said)

        await installation.restart()
        installation.pay()
        await installation.sandbox.webhooks.settle()
        assert {one.status for one in installation.sandbox.webhooks.attempts} == {200}
    planned = await plan_endpoint(
        installation.client,
        url=installation.url,
        events=installation.registry.types,
        api_version=STRIPE_VERSION,
    )
    assert planned.is_unchanged


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_no_delivery_is_refused_during_a_rotation_under_load(
    installation: Installation,
) -> None:
    paid: list[str] = []
    ended = asyncio.Event()

    async def shop() -> None:
        while not ended.is_set():
            paid.append(installation.pay())
            await asyncio.sleep(0.01)

    async with installation.serving():
        buying = asyncio.create_task(shop())
        assert await installation.rotate(known_events=installation.known) is False
        await installation.restart()  # Stripe retries what finds no service
        assert await installation.rotate(wait=600, known_events=installation.known) is True
        await installation.restart()
        paid_before_end = len(paid)
        while len(paid) < paid_before_end + 5:  # noqa: ASYNC110 (a counter has no event)
            await asyncio.sleep(0.01)
        ended.set()
        await buying
        await installation.sandbox.webhooks.settle(60)

        attempts = installation.sandbox.webhooks.attempts
        statuses = Counter(one.status for one in attempts)
        assert 400 not in statuses, statuses
        assert len({one.endpoint_id for one in attempts}) == 2, "both endpoints were sent events"
        rows = await installation.service.store.ledger.by_ids(paid)
        assert sorted(rows) == sorted(paid)
        account = await installation.service.store.accounts.get(ACCOUNT)
        assert account.credits == 50 * len(paid)


@pytest.mark.gen_test
async def test_steps_are_those_that_are_left(installation: Installation) -> None:
    before = installation.endpoints()
    steps = await installation.steps()
    assert len(steps) == 7
    assert not any("has no secret of" in step for step in steps)
    assert steps[0].startswith("create a second endpoint")
    assert installation.endpoints() == before
    assert len(installation.secrets) == 1
    async with installation.serving():
        await installation.rotate()
        assert [one.split()[0] for one in await installation.steps()] == [
            *("check", "enable", "wait", "delete", "remove")
        ]
        await installation.restart()
        await installation.rotate()


@pytest.mark.gen_test
async def test_nothing_is_enabled_before_every_process_accepts_the_secret(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installation.serving():
        await installation.rotate()
        old_deliveries = installation.service.deliveries
        await installation.restart()
        # Another process with the old secrets answers one of the connections.
        new_receive = installation.service.deliveries.receive
        turn = iter(range(100))

        async def receive(*arguments: Any, **options: Any) -> Any:
            by_old = next(turn) == 9
            chosen = old_deliveries.receive if by_old else new_receive
            return await chosen(*arguments, **options)

        monkeypatch.setattr(installation.service.deliveries, "receive", receive)
        assert await installation.rotate() is False
        assert installation.endpoints()[1]["status"] == "disabled"
        assert await installation.rotate() is True


@pytest.mark.gen_test
async def test_old_endpoint_stays_if_the_service_has_older_secrets_again(
    installation: Installation,
) -> None:
    sandbox = installation.sandbox
    old = installation.secrets
    async with installation.serving():
        await installation.rotate()
        await installation.restart()
        sandbox.webhooks.drop(1000)
        installation.pay()
        sandbox.webhooks.normal()
        assert await installation.rotate() is False, "an event is pending"
        both = installation.secrets
        for secrets in (old, both):
            file = EnvFile.read(installation.file)
            file.set(VARIABLE, ",".join(secrets))
            file.write()
            if secrets == old:
                await installation.restart()
        steps = await installation.steps()
        assert [one.split()[0] for one in steps] == ["check", "wait", "delete", "remove"]
        assert await installation.rotate(known_events=_all_known) is False
        assert len(installation.endpoints()) == 2
        assert "the old endpoint stays" in installation.said[-2]
        await installation.restart()
        assert await installation.rotate(known_events=_all_known) is True


async def _all_known(event_ids: Any) -> Any:
    return event_ids


@pytest.mark.gen_test
async def test_restart_within_the_wait_completes_the_rotation(installation: Installation) -> None:
    async with installation.serving():
        restarts = asyncio.create_task(_restart_when_told(installation))
        assert await installation.rotate(wait=600) is True
        await restarts


async def _restart_when_told(installation: Installation) -> None:
    while len(installation.secrets) < 2:  # noqa: ASYNC110 (the file changes)
        await asyncio.sleep(0.01)
    await installation.restart()


@pytest.mark.gen_test
async def test_old_endpoint_stays_while_an_event_is_pending(installation: Installation) -> None:
    sandbox = installation.sandbox
    async with installation.serving():
        sandbox.webhooks.drop(1000)
        installation.pay()
        await installation.rotate()
        await installation.restart()
        sandbox.webhooks.normal()
        assert await installation.rotate(wait=20) is False
        assert len(installation.endpoints()) == 2
        assert {one["status"] for one in installation.endpoints()} == {"enabled"}
        assert len(installation.secrets) == 2
        assert "not delivered yet" in installation.said[-1]
        [credited] = [one for one in sandbox.events if one["type"] == "payment_intent.succeeded"]

        # Reconciliation processes it: the database knows it, although Stripe could not deliver it.
        for event in sandbox.events:
            if event["pending_webhooks"] and event["type"] in installation.registry.types:
                await installation.service.processor.replay(event["id"])
        assert await installation.rotate(known_events=installation.known) is True
        assert len(installation.endpoints()) == 1
        assert await installation.known([credited["id"]])


@pytest.mark.gen_test
async def test_events_after_the_switch_do_not_delay_the_deletion(
    installation: Installation,
) -> None:
    """The new endpoint is sent them, too, so that they are not lost with the old one."""
    sandbox = installation.sandbox
    async with installation.serving():
        sandbox.webhooks.drop(1000)
        installation.pay()
        sandbox.webhooks.normal()
        pending = {
            one["id"]
            for one in sandbox.events
            if one["pending_webhooks"] and one["type"] in installation.registry.types
        }
        await installation.rotate()
        await installation.restart()

        async def poll(number: int) -> None:
            if number == 1:
                return  # the pending events are listed after it
            sandbox.webhooks.drop(1000)
            installation.pay()
            sandbox.webhooks.normal()
            if number == 3:
                for event_id in pending:
                    await sandbox.webhooks.deliver(event_id)

        installation.on_sleep = poll
        assert await installation.rotate(wait=600) is True
        assert len(installation.slept) == 3
        assert any(event["pending_webhooks"] for event in sandbox.events)


class Killed(BaseException):
    """Stands for the end of the process."""


class CrashPoint:
    """Ends the process before or after its n-th change at Stripe or of the file."""

    def __init__(self, installation: Installation, number: int, when: str) -> None:
        self.crashed = False
        self._left = number
        self._when = when
        self._write = EnvFile.write
        self._call = installation.client.transport.call

    def install(self, monkeypatch: pytest.MonkeyPatch, installation: Installation) -> None:
        def write(file: EnvFile) -> None:
            self.write(file)

        monkeypatch.setattr(EnvFile, "write", write)
        monkeypatch.setattr(installation.client.transport, "call", self.call)

    def write(self, file: EnvFile) -> None:
        is_last = self._count()
        self._end_if(is_last and self._when == "before")
        self._write(file)
        self._end_if(is_last)

    async def call(self, operation: str, request: Any) -> Any:
        is_last = self._count()
        # A process that was killed cleans nothing up.
        if (self.crashed and not is_last) or (is_last and self._when == "before"):
            request.close()
            raise Killed
        answer = await self._call(operation, request)
        self._end_if(is_last)
        return answer

    def _count(self) -> bool:
        self._left -= 1
        self.crashed |= self._left == 0
        return self._left == 0

    def _end_if(self, ends: bool) -> None:
        if ends:
            raise Killed


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.gen_test
async def test_rotation_completes_after_a_crash_at_any_step(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    crash = CrashPoint(installation, number, when)
    async with installation.serving():
        with monkeypatch.context() as patched, suppress(Killed):
            crash.install(patched, installation)
            await installation.rotate()
            await installation.restart()
            await installation.rotate()
        assert crash.crashed, "the rotation has fewer changes"
        # An operator runs the command until it is complete, with a restart in between.
        if not await installation.rotate():
            await installation.restart()
            assert await installation.rotate() is True
        [only] = installation.endpoints()
        assert only["enabled_events"] == list(installation.registry.types)
        assert only["status"] == "enabled"
        assert "rotation" not in only["metadata"]
        [secret] = installation.secrets
        assert only["metadata"]["secret_sha256"] == secret_digest(SecretStr(secret))


@pytest.mark.gen_test
async def test_secrets_of_other_destinations_stay_in_the_file(installation: Installation) -> None:
    file = EnvFile.read(installation.file)
    file.set(VARIABLE, ",".join([OTHER, *installation.secrets]))
    file.write()
    async with installation.serving():
        await installation.rotate()
        await installation.restart()
        assert await installation.rotate() is True
    assert installation.secrets[1:] == [OTHER]
    assert any("has 2 signing secrets" in line for line in installation.said)


@pytest.mark.parametrize("others", [[], [OTHER]])
@pytest.mark.gen_test
async def test_endpoint_made_by_hand_is_rotated(
    installation: Installation, others: list[str]
) -> None:
    """Its secret has no digest. The only secret of the file that it can be is removed."""
    [endpoint] = installation.endpoints()
    installation.sandbox.call("POST", f"{PATH}/{endpoint['id']}", metadata="")
    old = installation.secrets
    file = EnvFile.read(installation.file)
    file.set(VARIABLE, ",".join([*old, *others]))
    file.write()
    async with installation.serving():
        await installation.rotate()
        await installation.restart()
        assert await installation.rotate() is True
    assert len(installation.endpoints()) == 1
    # With two secrets it cannot be told which one is the endpoint's: none is removed.
    assert installation.secrets[1:] == ([*old, *others] if others else [])


@pytest.mark.gen_test
async def test_secret_of_a_thin_destination_is_told_from_that_of_the_endpoint(
    installation: Installation,
) -> None:
    """The endpoint was created by hand, so that its secret has no digest."""
    [endpoint] = installation.endpoints()
    installation.sandbox.call("POST", f"{PATH}/{endpoint['id']}", metadata="")
    planned = await plan_destination(
        installation.client, url=installation.url, events=installation.registry.types
    )
    destination = await apply_destination(installation.client, planned)
    assert destination.secret is not None
    await record_destination_secret(installation.client, destination, destination.secret)
    thin_secret = destination.secret.get_secret_value()
    file = EnvFile.read(installation.file)
    file.set(VARIABLE, ",".join([*installation.secrets, thin_secret]))
    file.write()
    async with installation.serving():
        await installation.rotate()
        await installation.restart()
        assert await installation.rotate() is True
    assert installation.secrets[1:] == [thin_secret]


@pytest.mark.gen_test
async def test_lost_secret_is_replaced(installation: Installation) -> None:
    """The service runs with another secret, and refuses the deliveries until the rotation."""
    installation.file.write_text("# nothing\n", encoding="utf-8")
    assert "has no secret of" in (await installation.steps())[1]
    assert await installation.rotate() is False
    [new] = installation.secrets
    async with installation.serving():
        assert await installation.rotate() is True
        assert installation.secrets == [new]
        assert len(installation.endpoints()) == 1


@pytest.mark.gen_test
async def test_each_event_is_accepted_although_the_file_lacks_the_present_secret(
    installation: Installation,
) -> None:
    """The service has got its secret from elsewhere."""
    webhooks = installation.sandbox.webhooks

    async def missed() -> set[str]:
        """Pay, and return the events that the service has not accepted from any endpoint."""
        number = len(installation.sandbox.events)
        installation.pay()
        await webhooks.settle()
        types = installation.registry.types
        events = {e["id"] for e in installation.sandbox.events[number:] if e["type"] in types}
        assert events
        return events - {one.event_id for one in webhooks.attempts if one.status == 200}

    async with installation.serving():
        installation.file.write_text("# nothing\n", encoding="utf-8")
        assert await installation.rotate() is False
        assert await missed() == set()
        await installation.restart()
        assert await missed() == set()
        assert await installation.rotate(known_events=_all_known) is True
        assert await missed() == set()
        assert len(installation.endpoints()) == 1


@pytest.mark.gen_test
async def test_file_with_as_many_secrets_as_the_service_accepts_is_refused(
    installation: Installation,
) -> None:
    file, before = EnvFile.read(installation.file), installation.endpoints()
    more = [f"{OTHER}{number}" for number in range(MAX_SIGNING_SECRETS - 1)]
    file.set(VARIABLE, ",".join([*installation.secrets, *more]))
    file.write()
    with pytest.raises(StartError, match="has 16 signing secrets"):
        await installation.rotate()
    assert installation.endpoints() == before


@pytest.mark.gen_test
async def test_failed_write_of_the_file_leaves_no_endpoint(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_file: EnvFile) -> None:
        raise StartError("the disk is full")

    before = installation.endpoints()
    monkeypatch.setattr(EnvFile, "write", fail)
    with pytest.raises(StartError, match="disk is full"):
        await installation.rotate()
    assert installation.endpoints() == before


@pytest.mark.gen_test
async def test_outage_of_stripe_changes_nothing(
    installation: Installation, quick_retries: None
) -> None:
    before = installation.endpoints()
    installation.sandbox.api.refuse(503, times=100)
    with pytest.raises(StripeUnavailable):
        await installation.rotate()
    installation.sandbox.api.normal()
    assert installation.endpoints() == before
    assert len(installation.secrets) == 1


@pytest.mark.gen_test
async def test_endpoints_of_others_are_not_changed(installation: Installation) -> None:
    other = installation.sandbox.create_webhook_endpoint("http://127.0.0.1:9/other", OTHER)
    before = dict(other)
    async with installation.serving():
        await installation.rotate()
        await installation.restart()
        assert await installation.rotate(known_events=installation.known) is True
    assert installation.sandbox.get(other["id"]) == before


@pytest.mark.gen_test
async def test_rotation_without_an_endpoint_says_so(installation: Installation) -> None:
    [endpoint] = installation.endpoints()
    installation.sandbox.call("DELETE", f"{PATH}/{endpoint['id']}")
    with pytest.raises(StartError, match="no webhook endpoint for"):
        await installation.rotate()
    assert await list_endpoints(installation.client) == []
