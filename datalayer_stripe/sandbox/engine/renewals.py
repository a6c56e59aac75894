"""Renewal and expiry of subscriptions.

https://docs.stripe.com/billing/subscriptions/overview#subscription-lifecycle
"""

import copy

from ..shapes.objects import Object
from .backend import Backend
from .billing import Billing
from .cards import GENERIC_DECLINE
from .errors import SandboxCardError, bad_request
from .lifecycle import SubscriptionLifecycle
from .periods import period_end

_INCOMPLETE_LIFETIME = 23 * 3600  # seconds
_RENEWABLE = ("active", "trialing", "past_due")


class Renewals:
    """Moves subscriptions to their next period.

    Args:
        backend: the sandbox's state.
        lifecycle: cancels and expires subscriptions.
        billing: creates the invoices.
    """

    def __init__(
        self, backend: Backend, lifecycle: SubscriptionLifecycle, billing: Billing
    ) -> None:
        self._backend = backend
        self._lifecycle = lifecycle
        self._billing = billing

    def renew(self, subscription: Object, *, fail: bool = False) -> Object:
        """End a subscription's period now: bill the next one, or cancel if that was scheduled.

        Without a default payment method the payment fails, as at Stripe.

        Args:
            subscription: an active, trialing or past due subscription.
            fail: decline the payment, whatever the card.

        Raises:
            StripeError: the subscription has another status.
        """
        if subscription["status"] not in _RENEWABLE:
            raise bad_request(
                f"A subscription with the status {subscription['status']} does not renew."
            )
        end = current_period_end(subscription)
        if subscription["cancel_at_period_end"]:
            return self._lifecycle.end(subscription, {"ended_at": end})
        start = subscription["items"]["data"][0]["current_period_start"]
        before = copy.deepcopy(subscription)
        self._next_period(subscription)
        if subscription["status"] == "trialing":
            subscription["status"] = "active"
        invoice = self._billing.bill(subscription, "subscription_cycle", (start, end))
        names = ("items", "latest_invoice", "status")
        after = {name: subscription[name] for name in names}
        subscription.update({name: before[name] for name in names})
        self._backend.update(subscription, after, "customer.subscription.updated")
        self._collect(subscription, invoice, fail=fail)
        return subscription

    def run_due(self) -> list[str]:
        """Renew, cancel or expire the subscriptions that are due; return their identifiers."""
        changed: list[str] = []
        for subscription in list(self._backend.store.of_kind("subscription")):
            age = self._backend.now() - subscription["created"]
            if subscription["status"] == "incomplete" and age >= _INCOMPLETE_LIFETIME:
                self._lifecycle.expire(subscription)
                changed.append(subscription["id"])
            while (
                subscription["status"] in _RENEWABLE
                and _next_change(subscription) <= self._backend.now()
            ):
                if subscription["cancel_at"] == _next_change(subscription):
                    self._lifecycle.end(subscription, {"ended_at": subscription["cancel_at"]})
                else:
                    self.renew(subscription)
                changed.append(subscription["id"])
        return changed

    def _next_period(self, subscription: Object) -> None:
        anchor = subscription["billing_cycle_anchor"]
        for item in subscription["items"]["data"]:
            start = item["current_period_end"]
            item["current_period_start"] = start
            item["current_period_end"] = period_end(anchor, start, item["price"]["recurring"])

    def _collect(self, subscription: Object, invoice: Object, *, fail: bool) -> None:
        if invoice["status"] != "open":
            return
        method = self._billing.default_method(subscription["customer"], subscription)
        if method is None:
            self._billing.fail_without_method(invoice)
            return
        try:
            self._billing.attempt(invoice, method, decline=GENERIC_DECLINE if fail else None)
        except SandboxCardError:
            return  # the events report the decline


def _next_change(subscription: Object) -> int:
    """Return when a subscription renews or is canceled next, in epoch seconds."""
    end = current_period_end(subscription)
    return min(end, subscription["cancel_at"] or end)


def current_period_end(subscription: Object) -> int:
    """Return the end of a subscription's current period, in epoch seconds."""
    return int(max(item["current_period_end"] for item in subscription["items"]["data"]))
