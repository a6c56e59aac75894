"""What the demo prints: where everything is, and the story as lines for a shell."""

from dataclasses import dataclass

import click

from .._version import __version__
from ..currencies import major_units
from ..handlers.urls import IAM_PREFIX, STRIPE_PREFIX
from ..testing.shop import PACKAGES, PLAN_AMOUNT
from .environment import ACCOUNT, DemoEnvironment

# For bash and zsh alike, which pastes no comments; and without jq, which not everybody has.
_FUNCTIONS = r"""
pretty() { python3 -m json.tool; }
client_secret() { sed 's/.*"client_secret":"\([^"]*\)".*/\1/'; }
""".strip()
_DELIVER_AGAIN = r"""
EVENT=$(curl -sS "$STRIPE/v1/events?type=payment_intent.succeeded&limit=1" -u "$SECRET_KEY:" \
  | sed -n 's/.*"id": "\(evt_[^"]*\)".*/\1/p'); echo "$EVENT"
curl -sS "$STRIPE/sandbox/webhooks/deliver" -H "$JSON" -d "{\"event_id\": \"$EVENT\"}" | pretty
""".strip()
_STATUS = """curl -sS "$IAM/subscription" -H "$AUTH" | grep -o '"status":"[a-z_]*"' | head -1"""
_CREDITS = 'curl -sS "$IAM/usage/credits" -H "$AUTH" | pretty'


@dataclass(frozen=True)
class ShellStep:
    """A part of the story: what it shows, and the shell lines that do it."""

    title: str
    lines: str


def guide(stage: DemoEnvironment) -> str:
    """The whole text, with colours."""
    steps = [
        f"{click.style(f'{number}. {step.title}', bold=True)}\n{_indented(step.lines)}"
        for number, step in enumerate(shell_steps(stage), start=1)
    ]
    return "\n\n".join(
        [
            _notice(),
            _pages(stage),
            _facts(stage),
            "The same by hand. Paste the lines into another terminal, from top to bottom.",
            _indented(variables(stage)),
            *steps,
            "Below: what the service does with each webhook. Ctrl-C ends the demo.",
        ]
    )


def variables(stage: DemoEnvironment) -> str:
    """The shell lines that the steps rely on."""
    return "\n".join(
        [
            f"API={stage.url}{STRIPE_PREFIX}",
            f"IAM={stage.url}{IAM_PREFIX}",
            f"STRIPE={stage.sandbox.url}",
            f"SECRET_KEY={stage.sandbox.secret_key}",
            f"PUBLISHABLE_KEY={stage.sandbox.publishable_key}",
            f"TOKEN={stage.token}",
            'AUTH="Authorization: Bearer $TOKEN"',
            "JSON='Content-Type: application/json'",
            _FUNCTIONS,
        ]
    )


def shell_steps(stage: DemoEnvironment) -> list[ShellStep]:
    """The story, to be run one step after the other."""
    top_up = _post("/topup/payment-intent", stage.package_prices[0])
    subscribe = _post("/subscription/payment-intent", stage.plan_price)
    return [
        ShellStep(
            "What is for sale",
            'curl -sS "$API/topup/prices" -H "$AUTH" | pretty',
        ),
        ShellStep(
            "Credits are refused without a subscription: 403 subscription_required",
            f"{top_up} | pretty",
        ),
        ShellStep(
            "Subscribe. Stripe waits for the first payment, under this client secret",
            _keep_secret(subscribe),
        ),
        ShellStep("Pay it as the browser does, with the publishable key", _pay("pm_card_visa")),
        ShellStep(
            "The webhook has made the subscription active",
            _STATUS,
        ),
        ShellStep("Buy 50 credits for $5.00", _keep_secret(top_up)),
        ShellStep("Pay them", _pay("pm_card_visa")),
        ShellStep("The webhook has added them", _CREDITS),
        ShellStep(
            "The same event once more is a duplicate, and adds nothing",
            _DELIVER_AGAIN,
        ),
        ShellStep(
            "A card that is declined adds nothing",
            f"{_keep_secret(top_up)}\n{_pay('pm_card_chargeDeclined', shown='decline_code')}",
        ),
        ShellStep("The balance still says so", _CREDITS),
        ShellStep(
            "Cancel: the subscription ends with its month",
            'curl -sS -X POST "$IAM/subscription/cancel" -H "$AUTH" | pretty',
        ),
    ]


def _post(path: str, price: str) -> str:
    return f"""curl -sS "$API{path}" -H "$AUTH" -H "$JSON" \\\n  -d '{{"price_id": "{price}"}}'"""


def _keep_secret(command: str) -> str:
    return f'SECRET=$({command} | client_secret); echo "$SECRET"'


def _pay(card: str, *, shown: str = "status") -> str:
    return (
        'curl -sS "$STRIPE/v1/payment_intents/${SECRET%%_secret_*}/confirm" '
        '-u "$PUBLISHABLE_KEY:" \\\n  '
        f'-d "client_secret=$SECRET" -d payment_method={card} | grep -m1 \'"{shown}"\''
    )


def _notice() -> str:
    loud = "This is a demo: it FORGETS EVERYTHING when it ends."
    return (
        f"datalayer-stripe {__version__}\n"
        f"{click.style(loud, fg='yellow', bold=True)}\n"
        "No money moves, and nothing leaves this machine."
    )


def _pages(stage: DemoEnvironment) -> str:
    """What to open in a browser. Not indented by as much as what is for the shell."""
    return "\n".join(
        [
            f"Open  {click.style(f'{stage.url}/', bold=True)}",
            "  The checkout page, signed in: subscribe, buy credits, watch them arrive.",
            f"and   {click.style(stage.panel_url, bold=True)}",
            "  Stripe's side: end the month, refund, hold webhooks back, see each delivery.",
        ]
    )


def _facts(stage: DemoEnvironment) -> str:
    packages = ", ".join(f"{credits} for {_usd(cents)}" for credits, cents in PACKAGES.items())
    facts = {
        "Service": stage.url,
        "Stripe": f"{stage.sandbox.url}  (a local stand-in, which takes Stripe's test cards)",
        "Account": f"{ACCOUNT}  (no subscription yet, 0 credits)",
        "Credits": packages,
        "Plan": f"{_usd(PLAN_AMOUNT)} a month",
    }
    return "\n".join(f"  {name:<9}{fact}" for name, fact in facts.items())


def _usd(cents: int) -> str:
    return f"${major_units(cents, 'usd'):.2f}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
