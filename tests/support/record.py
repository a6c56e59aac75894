"""Record events from the local Stripe for the test kit: `python -m tests.support.record`.

The scenario continues the one of the older recordings, with the same account, customer, payment and
subscription, and their ids. Existing recordings are not changed.
"""

import re
from contextlib import suppress
from typing import Any

from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from datalayer_stripe.sandbox.delivery.attempts import encode
from datalayer_stripe.testing.recordings import EVENTS

ACCOUNT = "01JCZ3W8Q6T5N4M2K1H0G9F8E7"
STARTED_AT = 1793610000  # Epoch seconds. The older recordings are from the following half minute.

DECLINED_CARD = "4000000000000002"
AUTHENTICATION_CARD = "4000002760003184"  # Needs authentication by its holder.

# Events of refunds and disputes are recorded separately.
EXCLUDED_TYPES = re.compile(r"refund\.|charge\.(dispute|refund)|billing_portal\.")

# Pages of the sandbox, and the URLs at Stripe that replace them.
PAGES = {
    "/sandbox/invoices/": "https://pay.stripe.com/invoice/",
    "/sandbox/receipts/": "https://pay.stripe.com/receipts/payment/",
    "/sandbox/authenticate/": "https://hooks.stripe.com/3d_secure_2/hosted?payment_intent=",
}

Object = dict[str, Any]


class Scenario:
    """Sequence of actions, each at its own second. `known` has the ids of the older recordings."""

    def __init__(self) -> None:
        self.second = 0
        self.sandbox = Sandbox(clock=lambda: STARTED_AT + self.second, seed=1)
        self.known: dict[str, str] = {}
        self.customer = ""
        self.package = ""

    def run(self) -> None:
        """Run all steps."""
        self.create_products()
        self.pay()
        self.save_cards()
        self.subscribe()
        self.delete_objects()

    def call(self, method: str, path: str, **params: Any) -> Object:
        return self.sandbox.call(method, path, **params)

    def replace_id(self, obj: Object, recorded_id: str) -> str:
        """Record the id of an object in the older recordings, and return its present id."""
        self.known[obj["id"]] = recorded_id
        return str(obj["id"])

    def create_products(self) -> None:
        self.second = 1
        credits = self.sandbox.create_product(name="Credits")
        plan = self.sandbox.create_product(name="Datalayer Monthly")
        self.replace_id(plan, "prod_kW9tvt3Siuej3P")
        self.second = 2
        price = self.sandbox.create_price(product=credits["id"], unit_amount=500, credits=50)
        self.package = self.replace_id(price, "price_1xNntaCz7hWRKLEpX1yiFOQR")
        monthly = self.sandbox.create_price(
            product=plan["id"], unit_amount=2900, recurring={"interval": "month"}
        )
        self.plan = self.replace_id(monthly, "price_1xNnteCz7hWRKLEpnFI4zyXu")
        self.second = 3
        self.call("POST", f"/v1/products/{credits['id']}", description="Prepaid credits")
        self.sandbox.update_price(self.package, nickname="Small package")

    def pay(self) -> None:
        self.second = 7
        customer = self.sandbox.create_customer(
            name="Ada Lovelace", email="ada@example.com", metadata={"account_uid": ACCOUNT}
        )
        self.customer = self.replace_id(customer, "cus_auG5oDCwpKHLK4")
        self.second = 8
        intent = self.start_payment()
        self.replace_id(intent, "pi_1xNntgCz7hWRKLEplXoFlShs")
        self.second = 9
        paid = self.sandbox.confirm_payment(intent["id"])
        self.replace_id(self.sandbox.get(paid["latest_charge"]), "ch_3xNnthCz7hWRKLEpRhQGIfSM")
        self.second = 11
        declined = self.start_payment()["id"]
        with suppress(SandboxCardError):
            self.sandbox.confirm_payment(declined, DECLINED_CARD)
        self.second = 12
        self.sandbox.confirm_payment(self.start_payment()["id"], AUTHENTICATION_CARD)
        self.call("POST", f"/v1/payment_intents/{declined}/cancel")

    def start_payment(self) -> Object:
        metadata = {"account_uid": ACCOUNT, "price_id": self.package, "credits": "50"}
        return self.call(
            "POST",
            "/v1/payment_intents",
            amount=500,
            currency="usd",
            customer=self.customer,
            description="50 credits",
            metadata=metadata,
        )

    def save_cards(self) -> None:
        self.second = 17
        saved, declined, asked, dropped = (self.start_setup() for _ in range(4))
        self.sandbox.confirm_setup(saved["id"])
        self.call("POST", f"/v1/customers/{self.customer}", phone="+33 1 99 00 00 00")
        self.second = 18
        with suppress(SandboxCardError):
            self.sandbox.confirm_setup(declined["id"], DECLINED_CARD)
        self.sandbox.confirm_setup(asked["id"], AUTHENTICATION_CARD)
        self.call("POST", f"/v1/setup_intents/{dropped['id']}/cancel")

    def start_setup(self) -> Object:
        return self.call(
            "POST",
            "/v1/setup_intents",
            customer=self.customer,
            usage="off_session",
            metadata={"account_uid": ACCOUNT},
        )

    def subscribe(self) -> None:
        self.second = 21
        subscription = self.call(
            "POST",
            "/v1/subscriptions",
            customer=self.customer,
            items=[{"price": self.plan}],
            payment_behavior="default_incomplete",
            payment_settings={"save_default_payment_method": "on_subscription"},
            metadata={"account_uid": ACCOUNT},
            expand=["latest_invoice"],
        )
        self.replace_id(subscription, "sub_1xNnttCz7hWRKLEpT7zELPag")
        first = subscription["latest_invoice"]
        self.replace_id(first, "in_1xNnttCz7hWRKLEp2gv87X61")
        self.sandbox.pay_invoice(first["id"], AUTHENTICATION_CARD)
        intent = next(one for one in self.payments() if one["status"] == "requires_action")
        self.sandbox.authenticate(intent["id"])
        self.second = 26
        self.sandbox.renew(subscription["id"], fail=True)
        self.second = 28
        unpaid = self.sandbox.get(self.sandbox.get(subscription["id"])["latest_invoice"])
        self.replace_id(unpaid, "in_1xNntzCz7hWRKLEpN57xPciz")
        self.call("POST", f"/v1/invoices/{unpaid['id']}/void")

    def payments(self) -> list[Object]:
        """Return the customer's PaymentIntents, the newest first."""
        path = "/v1/payment_intents"
        return list(self.call("GET", path, customer=self.customer, limit=100)["data"])

    def delete_objects(self) -> None:
        """Delete the objects of another customer, so that the scenario's own objects remain."""
        self.second = 30
        other = self.sandbox.create_customer(name="Ben", payment_method="pm_card_visa")
        cards = self.call("GET", "/v1/payment_methods", customer=other["id"], type="card")
        self.call("POST", f"/v1/payment_methods/{cards['data'][0]['id']}/detach")
        self.call("DELETE", f"/v1/customers/{other['id']}")

    def recordings(self) -> dict[str, bytes]:
        """Return the first event of each type, by type."""
        found = {}
        for event in self.sandbox.events:
            body = encode({**event, "pending_webhooks": 1}).decode()
            for made, recorded in {**self.known, **PAGES}.items():
                body = body.replace(made, recorded)
            if not EXCLUDED_TYPES.match(event["type"]):
                found.setdefault(event["type"], body.encode())
        return found


def main() -> None:
    scenario = Scenario()
    scenario.run()
    for event_type, body in scenario.recordings().items():
        path = EVENTS / f"{event_type}.json"
        if not path.exists():
            path.write_bytes(body)
            print(path.name)


if __name__ == "__main__":
    main()
