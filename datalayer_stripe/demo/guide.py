"""Text that the demo prints at its start: addresses, and shell commands that use the API."""

from dataclasses import dataclass

from rich.text import Text

from .._version import __version__
from ..currencies import major_units
from ..handlers.urls import IAM_PREFIX, STRIPE_PREFIX
from ..testing.shop import PACKAGES, PLAN_AMOUNT
from .environment import ACCOUNT, DemoEnvironment

# These lines work in bash and zsh. They contain no comments, because an interactive zsh does not
# accept them, and they do not need jq.
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
    """Title and shell lines of one step."""

    title: str
    lines: str


def guide(environment: DemoEnvironment) -> Text:
    """Return the whole text, with styles.

    Args:
        environment: The running demo.
    """
    steps = [
        Text.assemble((f"{number}. {step.title}", "bold"), f"\n{_indented(step.lines)}")
        for number, step in enumerate(shell_steps(environment), start=1)
    ]
    return Text("\n\n").join(
        [
            _notice(),
            _pages(environment),
            Text(_facts(environment)),
            Text("Or use the API: paste these lines into another terminal, from top to bottom."),
            Text(_indented(variables(environment))),
            *steps,
            Text("Each webhook is printed below, with its outcome. Press Ctrl-C to stop the demo."),
        ]
    )


def variables(environment: DemoEnvironment) -> str:
    """Return the shell lines that define what the steps use.

    Args:
        environment: The running demo.
    """
    return "\n".join(
        [
            f"API={environment.url}{STRIPE_PREFIX}",
            f"IAM={environment.url}{IAM_PREFIX}",
            f"STRIPE={environment.sandbox.url}",
            f"SECRET_KEY={environment.sandbox.secret_key}",
            f"PUBLISHABLE_KEY={environment.sandbox.publishable_key}",
            f"TOKEN={environment.token}",
            'AUTH="Authorization: Bearer $TOKEN"',
            "JSON='Content-Type: application/json'",
            _FUNCTIONS,
        ]
    )


def shell_steps(environment: DemoEnvironment) -> list[ShellStep]:
    """Return the steps, to be run in this order.

    Args:
        environment: The running demo.
    """
    top_up = _post("/topup/payment-intent", environment.package_prices[0])
    subscribe = _post("/subscription/payment-intent", environment.plan_price)
    return [
        ShellStep(
            "List what is for sale",
            'curl -sS "$API/topup/prices" -H "$AUTH" | pretty',
        ),
        ShellStep(
            "Try to buy credits without a subscription: 403 subscription_required",
            f"{top_up} | pretty",
        ),
        ShellStep(
            "Subscribe. This prints the client secret of the first payment",
            _keep_secret(subscribe),
        ),
        ShellStep("Pay as the browser does, with the publishable key", _pay("pm_card_visa")),
        ShellStep(
            "Check that the webhook has activated the subscription",
            _STATUS,
        ),
        ShellStep("Buy 50 credits for $5.00", _keep_secret(top_up)),
        ShellStep("Pay for the credits", _pay("pm_card_visa")),
        ShellStep("Check that the webhook has added the credits", _CREDITS),
        ShellStep(
            "Deliver the same event again. It is a duplicate and adds nothing",
            _DELIVER_AGAIN,
        ),
        ShellStep(
            "Pay with a card that is declined. This adds nothing",
            f"{_keep_secret(top_up)}\n{_pay('pm_card_chargeDeclined', shown='decline_code')}",
        ),
        ShellStep("Check that the balance has not changed", _CREDITS),
        ShellStep(
            "Cancel the subscription at the end of the month",
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


def _notice() -> Text:
    warning = "This is a demo. Its data is kept in memory and DELETED when it stops."
    return Text.assemble(
        f"datalayer-stripe {__version__}\n",
        (f"{warning}\n", "bold yellow"),
        "It moves no money and sends nothing to other machines.",
    )


def _pages(environment: DemoEnvironment) -> Text:
    """Return the addresses to open. Only lines for the shell are indented by four spaces."""
    return Text.assemble(
        "Open  ",
        (f"{environment.url}/\n", "bold"),
        "  The checkout page, signed in. Subscribe, buy credits and see them arrive.\n",
        "and   ",
        (f"{environment.panel_url}\n", "bold"),
        "  Stripe's side. End the month, refund, hold webhooks back, see deliveries.\n",
        "and   ",
        (f"{environment.operator_url}\n", "bold"),
        "  The operator's page. See sales, failed events, accounts and checks.",
    )


def _facts(environment: DemoEnvironment) -> str:
    packages = ", ".join(f"{credits} for {_usd(cents)}" for credits, cents in PACKAGES.items())
    facts = {
        "Service": environment.url,
        "Stripe": f"{environment.sandbox.url}  (simulated; accepts Stripe's test cards)",
        "Account": f"{ACCOUNT}  (no subscription yet, 0 credits)",
        "Credits": packages,
        "Plan": f"{_usd(PLAN_AMOUNT)} a month",
    }
    return "\n".join(f"  {name:<9}{fact}" for name, fact in facts.items())


def _usd(cents: int) -> str:
    return f"${major_units(cents, 'usd'):.2f}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
