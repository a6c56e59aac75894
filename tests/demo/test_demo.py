"""Test what the demo prints, how it starts and stops, and that its story detects faults."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.text import Text
from tornado.netutil import bind_sockets

from datalayer_stripe import Context, Event, Plugin, TopUp
from datalayer_stripe.billing.catalog import Catalog
from datalayer_stripe.billing.plans import Plans
from datalayer_stripe.billing.subscriptions import Subscriptions
from datalayer_stripe.cli.main import main
from datalayer_stripe.demo.environment import ACCOUNT, DemoEnvironment, open_environment
from datalayer_stripe.demo.play import play
from datalayer_stripe.demo.story import Story
from datalayer_stripe.errors import Conflict
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.stripe_api import objects as stripe_objects
from datalayer_stripe.webhooks import delivery
from datalayer_stripe.webhooks.delivery import Deliveries
from datalayer_stripe.webhooks.outcome import Outcome
from tests.support.ports import free_port

COMMAND = Path(sys.executable).parent / "datalayer-stripe"
# The demo must not read the environment, and curl must not use a proxy.
ENVIRONMENT = {**os.environ, "DATALAYER_STRIPE_API_KEY": "wrong", "NO_PROXY": "*"}


# The story


def run_demo(*options: str, program: tuple[str, ...] = (str(COMMAND),)) -> Any:
    return subprocess.run(
        [*program, "demo", *options],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )


def test_all_steps_of_story_pass() -> None:
    result = run_demo("--play")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    marks = re.findall(r"^([✓✗]) ", result.stdout, re.MULTILINE)
    assert marks == ["✓"] * 21
    assert "All 21 steps passed in " in result.stdout
    assert "\x1b" not in result.stdout, "no colours where there is no terminal"


@dataclass
class StoryFault:
    """Fault that makes one step of the story fail.

    Attributes:
        failing_step: The title of the step.
        actual: What that step gets, or the beginning of it.
        leave_out: The names of built-in plugins to leave out.
        add: Plugins to add.
        patch: The arguments of `monkeypatch.setattr`.
        environment: Changes the environment.
    """

    failing_step: str
    actual: str
    leave_out: frozenset[str] = frozenset()
    add: tuple[Plugin, ...] = ()
    patch: tuple[type, str, Any] | None = None
    environment: Callable[[DemoEnvironment], DemoEnvironment] = lambda environment: environment


def free_credits_plugin(
    event_type: str, *, only: Callable[[Event], bool] = lambda _: True
) -> Plugin:
    """Return a plugin that adds 7 credits for each event of a type."""
    plugin = Plugin("free-credits")

    @plugin.on(event_type)
    async def add_credits(event: Event, ctx: Context) -> None:
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


def no_op_plugin(*event_types: str) -> Plugin:
    """Return a plugin that handles events and does nothing."""
    plugin = Plugin("no-op")

    @plugin.on(*event_types)
    async def ignore(event: Event, ctx: Context) -> None:
        pass

    return plugin


def is_renewal(event: Event) -> bool:
    return event.object["billing_reason"] == "subscription_cycle"


async def always_true(*_: object) -> bool:
    return True


async def stored_snapshots(_self: object, _account_uid: str, snapshots: object) -> object:
    return snapshots


async def true_after_first_call(self: Any, *_: object) -> bool:
    called_before, self.called = getattr(self, "called", False), True
    return called_before


async def raise_conflict(*_: object) -> None:
    raise Conflict


async def return_unchanged(self: Plans, account_uid: str) -> Any:
    return await self.get_running(account_uid)


async def cheap_package(self: Catalog, price_id: str) -> Any:
    found = next(package for package in await self.packages() if package.id == price_id)
    return found.model_copy(update={"unit_amount": 100})


receive = Deliveries.receive


async def always_processed(self: Deliveries, *args: Any, **options: Any) -> Any:
    event, _ = await receive(self, *args, **options)
    return event, Outcome.PROCESSED


def deactivate_price(environment: DemoEnvironment) -> DemoEnvironment:
    environment.sandbox.update_price(environment.package_prices[1], active=False)
    return environment


def drop_webhooks(environment: DemoEnvironment) -> DemoEnvironment:
    environment.sandbox.webhooks.drop(1000)
    return environment


def refuse_payments(environment: DemoEnvironment) -> DemoEnvironment:
    environment.sandbox.api.refuse(status=500, path_prefix="/v1/payment_intents/")
    return environment


def point_to_closed_port(environment: DemoEnvironment) -> DemoEnvironment:
    return replace(environment, url="http://127.0.0.1:9")


STORY_FAULTS = {
    "service does not respond": StoryFault(
        "List packages and the plan", "no response to GET", environment=point_to_closed_port
    ),
    "price is inactive": StoryFault(
        "List packages and the plan", "500 cents: 50, 5000", environment=deactivate_price
    ),
    "every account may buy": StoryFault(
        "A top-up needs a subscription",
        "201",
        patch=(Subscriptions, "can_buy_credits", always_true),
    ),
    "subscribing conflicts": StoryFault(
        "Subscribe to the plan", "409 code=conflict", patch=(Plans, "subscribe", raise_conflict)
    ),
    "Stripe returns 500": StoryFault(
        "Pay with 4242 4242 4242 4242", "500", environment=refuse_payments
    ),
    "webhooks are dropped": StoryFault(
        "Stripe delivers the webhook",
        "customer.subscription.updated → not delivered",
        environment=drop_webhooks,
    ),
    "subscription events do nothing": StoryFault(
        "The subscription is active",
        "incomplete, cannot buy",
        leave_out=frozenset({"subscription-updated", "invoice-paid"}),
        add=(no_op_plugin("customer.subscription.updated", "invoice.paid"),),
        # An incomplete subscription is also refreshed without an event.
        patch=(Subscriptions, "refresh_if_incomplete", stored_snapshots),
    ),
    "amount differs": StoryFault(
        "Buy 50 credits at list price",
        "201 amount=100",
        patch=(Catalog, "package", cheap_package),
    ),
    "credit plugin is missing": StoryFault(
        "Stripe delivers the webhook",
        "payment_intent.succeeded → not delivered",
        leave_out=frozenset({"top-up-credits"}),
    ),
    "credit plugin does nothing": StoryFault(
        "The balance increases by 50",
        "0 credits",
        leave_out=frozenset({"top-up-credits"}),
        add=(no_op_plugin("payment_intent.succeeded"),),
    ),
    "duplicates are processed": StoryFault(
        "A repeated event adds nothing",
        "200 processed",
        patch=(Deliveries, "receive", always_processed),
    ),
    "signatures are not checked": StoryFault(
        "A forged event is refused",
        "400 code=invalid_request",
        patch=(delivery, "verify", lambda *_: None),  # type: ignore[arg-type]
    ),
    "decline adds credits": StoryFault(
        "A declined card adds nothing",
        "57 credits",
        add=(free_credits_plugin("payment_intent.payment_failed"),),
    ),
    "authentication request adds credits": StoryFault(
        "3-D Secure delays the credits",
        "57 credits",
        add=(free_credits_plugin("payment_intent.requires_action"),),
    ),
    "refund plugin is missing": StoryFault(
        "A half refund takes back half",
        "270 credits",
        leave_out=frozenset({"refunds"}),
    ),
    "won dispute still counts": StoryFault(
        "A won dispute returns credits",
        "50 credits",
        patch=(stripe_objects, "_EFFECTIVE_DISPUTES", frozenset({"needs_response", "won"})),  # type: ignore[arg-type]
    ),
    "renewal adds credits": StoryFault(
        "A renewal adds no credits",
        "167 credits",
        add=(free_credits_plugin("invoice.paid", only=is_renewal),),
    ),
    "cancel does nothing": StoryFault(
        "Cancel at the month's end",
        "200 cancel_at_period_end=False",
        patch=(Plans, "cancel", return_unchanged),
    ),
    "resume does nothing": StoryFault(
        "Resume the subscription",
        "200 cancel_at_period_end=True",
        patch=(Plans, "resume", return_unchanged),
    ),
    "plugin for deleted subscription is missing": StoryFault(
        "Cancel again; end the month",
        "customer.subscription.deleted → not delivered",
        leave_out=frozenset({"subscription-deleted"}),
    ),
    "former subscriber may buy": StoryFault(
        "Top-ups are refused again",
        "201",
        patch=(Subscriptions, "can_buy_credits", true_after_first_call),
    ),
}


def wait_briefly_in_step(title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the step that fails wait for a short time, and those before it as long as they need."""
    steps_of = Story.steps

    def steps(story: Story) -> list[Any]:
        def hurried(step: Callable[[], Awaitable[str]]) -> Callable[[], Awaitable[str]]:
            async def run() -> str:
                with monkeypatch.context() as patch:
                    patch.setattr(story, "_webhook_timeout", 3.0)
                    return await step()

            return run

        return [(name, hurried(step) if name == title else step) for name, step in steps_of(story)]

    monkeypatch.setattr(Story, "steps", steps)


@pytest.mark.parametrize("name", STORY_FAULTS)
@pytest.mark.gen_test
async def test_story_stops_at_step_that_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = STORY_FAULTS[name]
    if fault.patch is not None:
        monkeypatch.setattr(*fault.patch)
    plugins = [one for one in Registry.load().plugins if one.name not in fault.leave_out]
    registry = Registry([*plugins, *fault.add])
    printed: list[str | Text] = []
    wait_briefly_in_step(fault.failing_step, monkeypatch)
    async with open_environment(port=0, sandbox_port=0, registry=registry) as environment:
        passed = await play(fault.environment(environment), printed.append, webhook_timeout=60)
    assert not passed
    *passed_lines, failed, verdict = map(str, printed)
    assert all(line.startswith("✓") for line in passed_lines), printed
    mark, expected, actual = failed.splitlines()
    assert mark == f"✗ {fault.failing_step}"
    assert re.fullmatch(r"    expected  .+", expected)
    assert actual.startswith(f"    got       {fault.actual}"), failed
    assert verdict == f"\nStep {len(passed_lines) + 1} of 21 failed."


def test_play_exits_with_1_when_step_fails() -> None:
    program = (
        "from datalayer_stripe.billing.subscriptions import Subscriptions\n"
        "from datalayer_stripe.cli.main import main\n"
        "async def yes(*_): return True\n"
        "Subscriptions.can_buy_credits = yes\n"
        "main()"
    )
    result = run_demo("--play", program=(sys.executable, "-c", program))
    assert result.returncode == 1
    assert result.stderr == ""
    assert "✗ A top-up needs a subscription\n" in result.stdout
    assert "expected  403 code=subscription_required\n    got       201\n" in result.stdout


# Starting and stopping


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_taken_port_prints_one_line_that_names_the_option(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_demo("--play", option, str(port))
    assert result.returncode == 2
    assert result.stdout == ""
    assert re.fullmatch(
        rf"Cannot listen on 127\.0\.0\.1:{port}: .+\. Choose another {option}\.\n", result.stderr
    )


# Tornado's `bind_sockets` leaves the socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("same_port", [False, True])
@pytest.mark.gen_test
async def test_sandbox_uses_free_port_when_default_is_taken(same_port: bool) -> None:
    with ExitStack() as stack:
        wanted = free_port()
        if not same_port:
            stack.enter_context(socket.create_server(("127.0.0.1", wanted)))
        async with open_environment(
            port=wanted if same_port else 0, sandbox_port=wanted, any_sandbox_port=True
        ) as environment:
            assert environment.sandbox.url != f"http://127.0.0.1:{wanted}"
            assert (environment.url == f"http://127.0.0.1:{wanted}") is same_port


@pytest.mark.gen_test
async def test_demo_on_all_addresses_has_urls_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses: list[str] = []

    def bind_here(port: int, address: str) -> list[socket.socket]:
        addresses.append(address)
        return bind_sockets(port, "127.0.0.1")

    monkeypatch.setattr("datalayer_stripe.app.bind_sockets", bind_here)
    monkeypatch.setattr("datalayer_stripe.sandbox.sandbox.bind_sockets", bind_here)
    async with open_environment(port=0, sandbox_port=0, host="0.0.0.0") as environment:
        assert addresses == ["0.0.0.0", "0.0.0.0"]
        for url in (environment.url, environment.sandbox.url, environment.panel_url):
            assert url.startswith("http://127.0.0.1:")


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
def test_sandbox_port_is_required_only_when_given(
    options: list[str], expected: tuple[int, int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, bool]] = []

    async def fake_run_demo(
        *, port: int, sandbox_port: int, any_sandbox_port: bool, **_: Any
    ) -> bool:
        seen.append((port, sandbox_port, any_sandbox_port))
        return True

    monkeypatch.setattr("datalayer_stripe.cli.demo.run_demo", fake_run_demo)
    assert CliRunner().invoke(main, ["demo", *options]).exit_code == 0
    assert seen == [expected]


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_invalid_port_is_rejected(port: str) -> None:
    assert run_demo("--port", port).returncode == 2


def test_missing_extra_prints_what_to_install() -> None:
    program = (
        "import sys\n"
        "sys.modules['mongomock_motor'] = None\n"
        "from datalayer_stripe.cli.main import main\n"
        "main()"
    )
    result = run_demo("--play", program=(sys.executable, "-c", program))
    assert result.returncode == 2
    assert result.stdout == ""
    assert (
        result.stderr == 'The demo needs more packages. Run: pip install "datalayer-stripe[demo]"\n'
    )


class Demo:
    """Running `datalayer-stripe demo` process and its output."""

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
        wait_until(120, lambda: text in self.printed, lambda: self.printed + self.logged)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=120)


def wait_until(
    seconds: float, condition: Callable[[], bool], failure_text: Callable[[], str]
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, failure_text()
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
            env=ENVIRONMENT,
        )
    demo = Demo(process, out, err)
    try:
        demo.wait_for("Press Ctrl-C to stop the demo.")
        yield demo
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_warns_that_data_is_deleted_and_exits_with_0_on_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_demo(tmp_path) as demo:
        assert "DELETED when it stops" in demo.printed
        assert demo.end(number) == 0
        assert demo.printed.endswith("\nThe demo has stopped, and its data is deleted.\n")
        assert demo.logged == ""
        assert "\x1b" not in demo.printed


def test_sigint_stops_demo_as_soon_as_guide_is_printed() -> None:
    command = [COMMAND, "demo", "--port", "0", "--sandbox-port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT) as demo:
        assert demo.stdout is not None
        assert any("Press Ctrl-C to stop the demo." in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        _, logged = demo.communicate(timeout=120)
    assert (demo.returncode, logged) == (0, "")


# The story by hand


class Shell:
    """Bash process that keeps its variables between calls, as a terminal does."""

    _END = "--- end of step ---"

    def __init__(self) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
        )

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: object) -> None:
        self._bash.communicate("exit\n", timeout=120)

    def run(self, lines: str) -> str:
        """Run lines and return what they print."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{lines}\necho '{self._END}'\n")
        self._bash.stdin.flush()
        return "".join(iter(self._bash.stdout.readline, f"{self._END}\n"))


# The title of each step, and a part of what its lines print.
EXPECTED_OUTPUT = {
    "List what is for sale": '"credits": 600',
    "Try to buy credits without a subscription": '"code": "subscription_required"',
    "Subscribe.": "_secret_",
    "Pay as the browser does": '"status": "succeeded"',
    "Check that the webhook has activated": '"status":"active"',
    "Buy 50 credits": "_secret_",
    "Pay for the credits": '"status": "succeeded"',
    "Check that the webhook has added": '"credits": 50,',
    "Deliver the same event again": r"\"outcome\":\"duplicate\"",
    "Pay with a card that is declined": '"decline_code": "generic_decline"',
    "Check that the balance has not changed": '"credits": 50,',
    "Cancel the subscription": '"cancel_at_period_end": true',
}
# Steps that wait for a webhook. They only read, so the test may repeat them.
POLLED_STEPS = {
    "Check that the webhook has activated the subscription",
    "Check that the webhook has added the credits",
}


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash") and shutil.which("python3")),
    reason="runs the printed shell lines, which call curl and python3",
)
def test_printed_shell_lines_work_in_order(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo, Shell() as shell:
        variables, *steps = re.split(r"^\d+\. (.+)\n", demo.printed, flags=re.MULTILINE)
        assert shell.run(shell_lines(variables)) == ""
        for title, lines, (expected_title, expected) in zip(
            steps[::2], steps[1::2], EXPECTED_OUTPUT.items(), strict=True
        ):
            assert title.startswith(expected_title)
            if title in POLLED_STEPS:
                wait_until(10, lambda: expected in shell.run(shell_lines(lines)), lambda: title)  # noqa: B023
            else:
                printed = shell.run(shell_lines(lines))
                assert expected in printed, f"{title}: {printed}"
        demo.wait_for("webhook  payment_intent.succeeded → processed\ncredits  0 → 50\n")
        demo.wait_for("webhook  payment_intent.succeeded → duplicate\n")
        demo.wait_for("webhook  customer.subscription.updated → processed\n")
        assert demo.end(signal.SIGINT) == 0
        assert demo.printed.count("credits  ") == 1
        assert demo.logged == ""


def shell_lines(text: str) -> str:
    """Return the lines of a text that are for the shell."""
    return "\n".join(line for line in text.splitlines() if line.startswith("    "))


@pytest.mark.skipif(not shutil.which("curl"), reason="runs a printed shell line, which calls curl")
def test_log_level_info_logs_requests_without_secrets(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--log-level", "info") as demo, Shell() as shell:
        variables, _, look, *_ = re.split(r"^\d+\. (.+)\n", demo.printed, flags=re.MULTILINE)
        shell.run(shell_lines(variables) + "\n" + shell_lines(look))
        wanted = "path=/api/iam/stripe/v1/topup/prices"
        wait_until(10, lambda: wanted in demo.logged, lambda: demo.logged)
        assert demo.end(signal.SIGINT) == 0
        assert not re.search(r"sk_test|whsec_|eyJ|@example", demo.logged)
