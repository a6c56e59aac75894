"""State of a payment's credits, from its ledger row and the record of its event."""

import json

import pytest

from datalayer_stripe.billing.credit_status import CreditState, CreditStatuses
from datalayer_stripe.service import Service
from tests.support.app import Api, Clock, changed, recorded
from tests.support.shop import rows

PAID = recorded("payment_intent.succeeded")
EVENT_ID = json.loads(PAID)["id"]
PAYMENT_ID = json.loads(PAID)["data"]["object"]["id"]

pytestmark = pytest.mark.mongod


async def state(service: Service) -> CreditState:
    return (await service.credit_statuses.of_payment(PAYMENT_ID)).state


@pytest.mark.gen_test
async def test_payment_is_pending_before_its_event_arrives(service: Service) -> None:
    status = await service.credit_statuses.of_payment(PAYMENT_ID)
    assert (status.state, status.event, status.entry) == (CreditState.PENDING, None, None)


@pytest.mark.gen_test
async def test_payment_is_credited_after_its_event_was_processed(
    api: Api, service: Service
) -> None:
    await api.deliver(PAID)
    status = await service.credit_statuses.of_payment(PAYMENT_ID)
    assert status.is_credited
    assert status.event is not None
    assert status.event.id == EVENT_ID
    assert status.entry is not None
    assert (status.entry.id, status.entry.credits) == (PAYMENT_ID, 50)


@pytest.mark.gen_test
async def test_payment_is_rejected_if_a_crediting_plugin_rejected_its_event(
    api: Api, service: Service
) -> None:
    await api.deliver(changed(PAID, amount_received=1))
    status = await service.credit_statuses.of_payment(PAYMENT_ID)
    assert status.is_rejected
    assert not status.is_credited
    assert status.event is not None


@pytest.mark.gen_test
async def test_payment_is_pending_if_only_another_plugin_rejected_its_event(
    api: Api, service: Service, clock: Clock
) -> None:
    await api.deliver(changed(PAID, amount_received=1))
    statuses = CreditStatuses(service.store, {"another-plugin"})
    assert (await statuses.of_payment(PAYMENT_ID)).state is CreditState.PENDING


@pytest.mark.gen_test
async def test_payment_is_unrecorded_if_its_event_is_done_and_its_row_is_missing(
    api: Api, service: Service
) -> None:
    await api.deliver(PAID)
    await service.store._database.ledger.delete_many({})
    assert await rows(service, "ledger") == []
    status = await service.credit_statuses.of_payment(PAYMENT_ID)
    assert status.is_unrecorded
    assert not status.is_credited


@pytest.mark.gen_test
async def test_row_decides_even_without_the_record_of_the_event(api: Api, service: Service) -> None:
    await api.deliver(PAID)
    await service.store._database.events.delete_many({})
    assert await state(service) is CreditState.CREDITED
