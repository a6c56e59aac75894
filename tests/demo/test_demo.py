"""The demo: what it prints works, and its story notices whatever is not as promised."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from datalayer_stripe import Context, Event, Plugin, TopUp
from datalayer_stripe.billing.catalog import Catalog
from datalayer_stripe.billing.plans import Plans
from datalayer_stripe.billing.subscriptions import Subscriptions
from datalayer_stripe.cli.main import main
from datalayer_stripe.demo.environment import ACCOUNT, DemoEnvironment, open_environment
from datalayer_stripe.demo.play import play
from datalayer_stripe.errors import Conflict
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.stripe_api import objects as shapes
from datalayer_stripe.webhooks import delivery
from datalayer_stripe.webhooks.delivery import Deliveries
from datalayer_stripe.webhooks.outcome import Outcome

COMMAND = Path(sys.executable).parent / "datalayer-stripe"
# The demo is to owe nothing to its surroundings; and curl is to go straight to it.
SURROUNDINGS = {**os.environ, "DATALAYER_STRIPE_API_KEY": "wrong", "NO_PROXY": "*"}


# The story


def run_demo(*options: str, program: tuple[str, ...] = (str(COMMAND),)) -> Any:
    return subprocess.run(
        [*program, "demo", *options],
        capture_output=True,
        text=True,
        env=SURROUNDINGS,
        timeout=60,
        check=False,
    )


def test_the_story_is_as_promised() -> None:
    ended = run_demo("--play")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    marks = re.findall(r"^([✓✗]) ", ended.stdout, re.MULTILINE)
    assert marks == ["✓"] * 21
    assert "As promised: 21 steps in " in ended.stdout
    assert "\x1b" not in ended.stdout, "no colours where there is no terminal"


@dataclass
class Sabotage:
    """A way to break a promise: other plugins, other code, or other things on the stage."""

    breaks: str
    came: str
    leave_out: frozenset[str] = frozenset()
    add: tuple[Plugin, ...] = ()
    patch: tuple[type, str, Any] | None = None
    stage: Callable[[DemoEnvironment], DemoEnvironment] = lambda stage: stage


def crediting(event_type: str, *, only: Callable[[Event], bool] = lambda _: True) -> Plugin:
    """A plugin that gives credits away."""
    plugin = Plugin("generous")

    @plugin.on(event_type)
    async def give(event: Event, ctx: Context) -> None:
        if only(event):
            ctx.ledger.credit(
                TopUp(
                    payment_intent_id=f"gift-{event.id}",
                    account_uid=ACCOUNT,
                    price_id="price_gift",
                    credits=7,
                    amount=1,
                    currency="usd",
                )
            )

    return plugin


def idle(*event_types: str) -> Plugin:
    """A plugin that takes events and does nothing."""
    plugin = Plugin("idle")

    @plugin.on(*event_types)
    async def rest(event: Event, ctx: Context) -> None:
        pass

    return plugin


def is_renewal(event: Event) -> bool:
    return event.object["billing_reason"] == "subscription_cycle"


async def yes(*_: object) -> bool:
    return True


async def after_the_first(self: Any, *_: object) -> bool:
    asked_before, self.asked = getattr(self, "asked", False), True
    return asked_before


async def conflict(*_: object) -> None:
    raise Conflict


async def unchanged(self: Plans, account_uid: str) -> Any:
    return await self._running(account_uid)


async def cheap_package(self: Catalog, price_id: str) -> Any:
    found = next(package for package in await self.packages() if package.id == price_id)
    return found.model_copy(update={"unit_amount": 100})


receive = Deliveries.receive


async def always_processed(self: Deliveries, body: bytes, signature: str | None) -> Any:
    event, _ = await receive(self, body, signature)
    return event, Outcome.PROCESSED


def with_a_price_withdrawn(stage: DemoEnvironment) -> DemoEnvironment:
    stage.sandbox.update_price(stage.package_prices[1], active=False)
    return stage


def with_lost_webhooks(stage: DemoEnvironment) -> DemoEnvironment:
    stage.sandbox.webhooks.drop(1000)
    return stage


def with_a_refused_payment(stage: DemoEnvironment) -> DemoEnvironment:
    stage.sandbox.api.refuse(status=500, path_prefix="/v1/payment_intents/")
    return stage


def with_the_service_gone(stage: DemoEnvironment) -> DemoEnvironment:
    return replace(stage, url="http://127.0.0.1:9")


SABOTAGES = {
    "the service is gone": Sabotage(
        "Packages and a plan are for sale", "no answer to GET", stage=with_the_service_gone
    ),
    "a price is withdrawn": Sabotage(
        "Packages and a plan are for sale", "500 cents: 50, 5000", stage=with_a_price_withdrawn
    ),
    "everybody may buy": Sabotage(
        "A top-up without a subscription is refused", "201", patch=(Subscriptions, "may_buy", yes)
    ),
    "nobody can subscribe": Sabotage(
        "Subscribe to the plan", "409 code=conflict", patch=(Plans, "subscribe", conflict)
    ),
    "Stripe fails": Sabotage(
        "Pay it with the card 4242 4242 4242 4242", "500", stage=with_a_refused_payment
    ),
    "webhooks are lost": Sabotage(
        "The signed webhook comes in",
        "customer.subscription.updated → not delivered",
        stage=with_lost_webhooks,
    ),
    "subscription events do nothing": Sabotage(
        "The subscription is active",
        "incomplete, may not buy credits",
        leave_out=frozenset({"subscription-updated", "invoice-paid"}),
        add=(idle("customer.subscription.updated", "invoice.paid"),),
        # What is being paid is looked at without an event, too.
        patch=(Subscriptions, "refresh_if_incomplete", Subscriptions.of_account),
    ),
    "the amount is another one": Sabotage(
        "Buy 50 credits; the browser's own amount is ignored",
        "201 amount=100",
        patch=(Catalog, "package", cheap_package),
    ),
    "the credit plugin is left out": Sabotage(
        "The signed webhook comes in",
        "payment_intent.succeeded → not delivered",
        leave_out=frozenset({"top-up-credits"}),
    ),
    "the credit plugin does nothing": Sabotage(
        "The credits are up by 50",
        "0 credits",
        leave_out=frozenset({"top-up-credits"}),
        add=(idle("payment_intent.succeeded"),),
    ),
    "duplicates are not noticed": Sabotage(
        "The same event again changes nothing",
        "200 processed",
        patch=(Deliveries, "receive", always_processed),
    ),
    "signatures are not checked": Sabotage(
        "A forged event is refused",
        "400 code=invalid_request",
        patch=(delivery, "verify", lambda *_: None),  # type: ignore[arg-type]
    ),
    "a decline gives credits": Sabotage(
        "A declined card adds nothing",
        "57 credits",
        add=(crediting("payment_intent.payment_failed"),),
    ),
    "credits do not wait": Sabotage(
        "3-D Secure: the credits wait for the authentication",
        "57 credits",
        add=(crediting("payment_intent.requires_action"),),
    ),
    "a refund takes nothing": Sabotage(
        "Half of the money goes back, and half of the credits",
        "270 credits",
        leave_out=frozenset({"refunds"}),
    ),
    "a won dispute gives nothing back": Sabotage(
        "A dispute takes the rest, until it is won",
        "50 credits",
        patch=(shapes, "_COUNTING_DISPUTES", frozenset({"needs_response", "won"})),  # type: ignore[arg-type]
    ),
    "a renewal gives credits": Sabotage(
        "The month is renewed, and adds no credits",
        "167 credits",
        add=(crediting("invoice.paid", only=is_renewal),),
    ),
    "cancelling does nothing": Sabotage(
        "Cancel: the subscription ends with its month",
        "200 cancel_at_period_end=False",
        patch=(Plans, "cancel", unchanged),
    ),
    "resuming does nothing": Sabotage(
        "Resume: it goes on",
        "200 cancel_at_period_end=True",
        patch=(Plans, "resume", unchanged),
    ),
    "the end is not heard of": Sabotage(
        "Cancel again, and the month is over",
        "customer.subscription.deleted → not delivered",
        leave_out=frozenset({"subscription-deleted"}),
    ),
    "whoever had a subscription may buy": Sabotage(
        "A top-up is refused again, and the credits stay",
        "201",
        patch=(Subscriptions, "may_buy", after_the_first),
    ),
}


@pytest.mark.parametrize("name", SABOTAGES)
@pytest.mark.gen_test
async def test_the_story_ends_where_a_promise_is_broken(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage = SABOTAGES[name]
    if sabotage.patch is not None:
        monkeypatch.setattr(*sabotage.patch)
    plugins = [one for one in Registry.load().plugins if one.name not in sabotage.leave_out]
    registry = Registry([*plugins, *sabotage.add])
    printed: list[str] = []
    async with open_environment(port=0, sandbox_port=0, registry=registry) as stage:
        kept = await play(sabotage.stage(stage), printed.append, patience=1.5)
    assert not kept
    *passed, failed, verdict = map(plain, printed)
    assert all(line.startswith("✓") for line in passed), printed
    mark, expected, came = failed.splitlines()
    assert mark == f"✗ {sabotage.breaks}"
    assert re.fullmatch(r"    expected  .+", expected)
    assert came.startswith(f"    came      {sabotage.came}"), failed
    assert verdict == f"\nNot as promised: step {len(passed) + 1} of 21."


def plain(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


def test_a_broken_promise_is_exit_code_1() -> None:
    program = (
        "from datalayer_stripe.billing.subscriptions import Subscriptions\n"
        "from datalayer_stripe.cli.main import main\n"
        "async def yes(*_): return True\n"
        "Subscriptions.may_buy = yes\n"
        "main()"
    )
    ended = run_demo("--play", program=(sys.executable, "-c", program))
    assert ended.returncode == 1
    assert ended.stderr == ""
    assert "✗ A top-up without a subscription is refused\n" in ended.stdout
    assert "expected  403 code=subscription_required\n    came      201\n" in ended.stdout


# Starting and stopping


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_a_port_that_is_taken_is_one_line_that_says_what_to_do(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_demo("--play", option, str(port))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert re.fullmatch(
        rf"Cannot listen on 127\.0\.0\.1:{port}: .+\. Choose another {option}\.\n", ended.stderr
    )


# Tornado's `bind_sockets` leaves the socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("same_port", [False, True])
@pytest.mark.gen_test
async def test_local_stripe_takes_a_free_port_beside_another_demo(same_port: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        if same_port:
            taken.close()
        async with open_environment(
            port=wanted if same_port else 0, sandbox_port=wanted, any_sandbox_port=True
        ) as stage:
            assert stage.sandbox.url != f"http://127.0.0.1:{wanted}"
            assert (stage.url == f"http://127.0.0.1:{wanted}") is same_port


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (9700, 9701, True)),
        (["--port", "9800"], (9800, 9701, True)),
        (["--sandbox-port", "9801"], (9700, 9801, False)),
        (["--play"], (0, 0, True)),
        (["--play", "--port", "9800", "--sandbox-port", "9801"], (9800, 9801, False)),
    ],
)
def test_only_a_sandbox_port_that_was_asked_for_is_insisted_on(
    options: list[str], expected: tuple[int, int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, bool]] = []

    async def show(*, port: int, sandbox_port: int, any_sandbox_port: bool, **_: Any) -> bool:
        seen.append((port, sandbox_port, any_sandbox_port))
        return True

    monkeypatch.setattr("datalayer_stripe.demo.show_demo", show)
    assert CliRunner().invoke(main, ["demo", *options]).exit_code == 0
    assert seen == [expected]


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    assert run_demo("--port", port).returncode == 2


def test_without_its_extra_it_says_what_to_install() -> None:
    program = (
        "import sys\n"
        "sys.modules['mongomock_motor'] = None\n"
        "from datalayer_stripe.cli.main import main\n"
        "main()"
    )
    ended = run_demo("--play", program=(sys.executable, "-c", program))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == 'The demo needs an extra: pip install "datalayer-stripe[demo]"\n'


class Demo:
    """A running `datalayer-stripe demo` and what it has printed."""

    def __init__(self, process: "subprocess.Popen[str]", out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def printed(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def logged(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def wait_for(self, text: str) -> None:
        within(120, lambda: text in self.printed, lambda: self.printed + self.logged)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=120)


def within(seconds: float, is_so: Callable[[], bool], else_show: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, else_show()
        time.sleep(0.02)


@contextmanager
def running_demo(folder: Path, *options: str) -> Iterator[Demo]:
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [COMMAND, "demo", "--port", "0", "--sandbox-port", "0", *options],
            stdout=stdout,
            stderr=stderr,
            text=True,
            env=SURROUNDINGS,
        )
    demo = Demo(process, out, err)
    try:
        demo.wait_for("Ctrl-C ends the demo.")
        yield demo
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_that_it_forgets_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path) as demo:
        assert "FORGETS EVERYTHING" in demo.printed
        assert demo.end(number) == 0
        assert demo.printed.endswith("\nThe demo has ended, and has forgotten everything.\n")
        assert demo.logged == ""
        assert "\x1b" not in demo.printed


def test_it_can_be_ended_as_soon_as_it_says_how() -> None:
    command = [COMMAND, "demo", "--port", "0", "--sandbox-port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=SURROUNDINGS) as demo:
        assert demo.stdout is not None
        assert any("Ctrl-C ends the demo." in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        _, logged = demo.communicate(timeout=120)
    assert (demo.returncode, logged) == (0, "")


# The story by hand


class Shell:
    """A bash that keeps its variables from one step to the next, as a terminal does."""

    _END = "--- end of step ---"

    def __init__(self) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=SURROUNDINGS,
        )

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: object) -> None:
        self._bash.communicate("exit\n", timeout=120)

    def run(self, lines: str) -> str:
        """What the lines print."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{lines}\necho '{self._END}'\n")
        self._bash.stdin.flush()
        return "".join(iter(self._bash.stdout.readline, f"{self._END}\n"))


# Of each step, what a reader waits to see.
SEEN = {
    "What is for sale": '"credits": 600',
    "Credits are refused without a subscription": '"code": "subscription_required"',
    "Subscribe.": "_secret_",
    "Pay it as the browser does": '"status": "succeeded"',
    "The webhook has made the subscription active": '"status":"active"',
    "Buy 50 credits": "_secret_",
    "Pay them": '"status": "succeeded"',
    "The webhook has added them": '"credits": 50,',
    "The same event once more": r"\"outcome\":\"duplicate\"",
    "A card that is declined": '"decline_code": "generic_decline"',
    "The balance still says so": '"credits": 50,',
    "Cancel": '"cancel_at_period_end": true',
}
# What only reads may be asked again, until the webhook has come in.
READS = {"The webhook has made the subscription active", "The webhook has added them"}


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash") and shutil.which("python3")),
    reason="needs curl, bash and python3",
)
def test_the_printed_lines_work_one_after_the_other(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo, Shell() as shell:
        variables, *steps = re.split(r"^\d+\. (.+)\n", demo.printed, flags=re.MULTILINE)
        assert shell.run(pasted(variables)) == ""
        for title, lines, (wanted_title, seen) in zip(
            steps[::2], steps[1::2], SEEN.items(), strict=True
        ):
            assert title.startswith(wanted_title)
            if title in READS:
                within(10, lambda: seen in shell.run(pasted(lines)), lambda: title)  # noqa: B023
            else:
                printed = shell.run(pasted(lines))
                assert seen in printed, f"{title}: {printed}"
        demo.wait_for("webhook  payment_intent.succeeded → processed\ncredits  0 → 50\n")
        demo.wait_for("webhook  payment_intent.succeeded → duplicate\n")
        demo.wait_for("webhook  customer.subscription.updated → processed\n")
        assert demo.end(signal.SIGINT) == 0
        assert demo.printed.count("credits  ") == 1
        assert demo.logged == ""


def pasted(text: str) -> str:
    """The lines of a text that are for the shell."""
    return "\n".join(line for line in text.splitlines() if line.startswith("    "))


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_more_can_be_logged_and_no_secret_is(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--log-level", "info") as demo, Shell() as shell:
        variables, _, look, *_ = re.split(r"^\d+\. (.+)\n", demo.printed, flags=re.MULTILINE)
        shell.run(pasted(variables) + "\n" + pasted(look))
        wanted = "path=/api/iam/stripe/v1/topup/prices"
        within(10, lambda: wanted in demo.logged, lambda: demo.logged)
        assert demo.end(signal.SIGINT) == 0
        assert not re.search(r"sk_test|whsec_|eyJ|@example", demo.logged)
