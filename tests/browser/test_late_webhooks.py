"""Webhooks that come late, twice or never: the page ends as it should."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.town import Town
from tests.browser.visitor import Visitor


def test_credits_arrive_without_their_webhook(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    town.hold_webhooks()
    tab.pay()
    tab.expect_state("done")
    tab.expect_balance(50)
    town.release_webhooks()
    assert town.credits() == 50, "the webhook has added nothing"
    tab.expect_balance(50)


def test_a_plan_starts_without_its_webhooks(visitor: Visitor, town: Town) -> None:
    tab = visitor.open()
    town.hold_webhooks()
    tab.subscribe()
    expect(tab.plan).to_contain_text("Renews on")
    town.release_webhooks()
    expect(tab.buy_button(50)).to_be_enabled()


def test_webhooks_that_come_twice_add_once(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    town.call(town.sandbox.webhooks.duplicate, 2)
    tab = visitor.open()
    tab.buy(50)
    town.settle()
    tab.expect_balance(50)
    assert town.credits() == 50


@pytest.mark.mongod
def test_a_webhook_at_another_process_shows(
    new_visitor: Callable[..., Visitor], town: Town
) -> None:
    """Stripe's deliveries go to one process, and the page is served by another."""
    town.subscribe()
    tab = new_visitor(url=town.another_service()).open()
    tab.expect_balance(0)
    town.buy()
    tab.expect_balance(50)
