"""The whole set-up of a Stripe account, as a list of steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..settings import variable
from ..stripe_api.account_setup import AccountSetupCalls
from ..stripe_api.client import StripeClient
from .destination_steps import (
    DESTINATION_SUBJECT,
    destination_by_hand,
    plan_destination_steps,
)
from .endpoint_steps import (
    ENDPOINT_SUBJECT,
    endpoint_by_hand,
    plan_endpoint_steps,
    without_url,
)
from .env_file import EnvFile, quoted
from .offers import Offer, Offers, is_monthly, sells_credits
from .portal import PORTAL_BY_HAND, PORTAL_SUBJECT, plan_portal
from .prices import PriceKind, PricePlanner
from .products import CREDITS_PRODUCT, PLAN_PRODUCT, ProductRole, plan_product
from .signing_secrets import SigningSecrets
from .steps import Action, Save, Step, Variables, step_or_by_hand

_HEADER = """\
The environment of `datalayer-stripe serve`, written by `datalayer-stripe setup`. It has secrets:
keep it out of version control. conf/datalayer-stripe.env.example describes all variables."""

_PRICES_BY_HAND = "Create it at https://dashboard.stripe.com/products → the product."

_PACKAGES = PriceKind(
    "package",
    sells_credits,
    "--package 5.00:50, the amount and the credits",
    f"{_PRICES_BY_HAND} Its pricing model is package pricing, and its units are the credits.",
)
_PLANS = PriceKind("plan", is_monthly, "--plan 29.00, the amount of a month", _PRICES_BY_HAND)


@dataclass(frozen=True)
class SetupRequest:
    """What to set up.

    Attributes:
        offers: What is for sale.
        url: The URL of the service's webhook; None if it is not known yet.
        events: The event types that the plugins want.
        configured: The present values of the environment variables, by name.
        thin: Whether Stripe is to send the events as thin events, too.
    """

    offers: Offers
    url: str | None
    events: Sequence[str]
    configured: Mapping[str, str]
    thin: bool = False

    def value(self, name: str) -> str:
        """Return the present value of a setting, or an empty string.

        Args:
            name: The name of its field.
        """
        return self.configured.get(variable(name), "")


async def plan_setup(client: StripeClient, request: SetupRequest) -> list[Step]:
    """Compare the Stripe account with the request, and change nothing.

    Args:
        client: The client of Stripe's API.
        request: What to set up.

    Returns:
        The steps, in their order. One that needs a permission that the key lacks is a step by
        hand.

    Raises:
        SetupError: Nothing would be for sale, or a present signing secret is not valid.
        StripeUnavailable: Stripe does not answer, or refuses the key.
    """
    calls = AccountSetupCalls(client.transport)
    offers = request.offers
    plan = [offers.plan] if offers.plan else []
    secrets = SigningSecrets(request.value("stripe_webhook_secrets"))
    steps = [
        *await _product_steps(calls, request, CREDITS_PRODUCT, _PACKAGES, offers.packages),
        *await _product_steps(calls, request, PLAN_PRODUCT, _PLANS, plan),
        *await step_or_by_hand(
            plan_portal(calls, request.value("stripe_cust_portal_id")),
            subject=PORTAL_SUBJECT,
            by_hand=PORTAL_BY_HAND,
        ),
    ]
    return [*steps, *await _event_steps(client, request, secrets)]


async def _event_steps(
    client: StripeClient, request: SetupRequest, secrets: SigningSecrets
) -> list[Step]:
    """Return the steps of the webhook endpoint and of the destination for thin events."""
    url, events = request.url, request.events
    if url is None:
        return without_url(secrets)
    steps = await step_or_by_hand(
        plan_endpoint_steps(client, url=url, events=events, secrets=secrets),
        subject=ENDPOINT_SUBJECT,
        by_hand=endpoint_by_hand(url, events),
    )
    if not request.thin:
        return [*steps]
    thin = await step_or_by_hand(
        plan_destination_steps(client, url=url, events=events, secrets=secrets),
        subject=DESTINATION_SUBJECT,
        by_hand=destination_by_hand(url),
    )
    return [*steps, *thin]


async def _product_steps(
    calls: AccountSetupCalls,
    request: SetupRequest,
    role: ProductRole,
    kind: PriceKind,
    offers: Sequence[Offer],
) -> Sequence[Step]:
    """Return the steps of a product and its prices."""

    async def plan() -> list[Step]:
        product = await plan_product(calls, role, request.configured.get(role.variable, ""))
        return [product.step, *await PricePlanner(calls, product, kind).plan(offers)]

    return await step_or_by_hand(plan(), subject=role.subject, by_hand=role.by_hand)


def plan_file(file: EnvFile, own: Variables, steps: Sequence[Step]) -> Step:
    """Return the step that writes the environment file. It is the first one.

    So a file that cannot be written stops the set-up before anything is created.

    Args:
        file: The file.
        own: The variables that are known from elsewhere than Stripe.
        steps: The other steps.

    Raises:
        StartError: A value cannot be written to an environment file.
    """
    known = dict(own)
    for step in steps:
        known.update(step.variables)
    for name, value in known.items():
        quoted(name, value)
    names = [name for name, value in known.items() if file.get(name) != value]
    pending = [step for step in steps if step.run is not None]
    names += [name for step in pending for name in step.sets if name not in names]
    subject = "environment file"
    if not file.exists:

        async def create(save: Save) -> None:
            file.add_comment(_HEADER)
            save(known)

        return Step(subject, Action.CREATE, str(file.path), create)
    if not names and file.is_private:
        return Step(subject, Action.UNCHANGED, str(file.path))

    async def change(save: Save) -> None:
        save(known)

    changes = f"set {', '.join(names)}" if names else "readable by its owner only"
    return Step(subject, Action.CHANGE, f"{file.path}: {changes}", change)
