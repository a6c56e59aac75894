"""Stripe's event types, and the warning about a plugin that runs on an unknown type."""

import subprocess
import sys
from pathlib import Path

import pytest
import stripe
from tornado.ioloop import IOLoop

from datalayer_stripe import Plugin
from datalayer_stripe.composition import open_service
from datalayer_stripe.events import known_types, unknown_type_warning
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.settings import Settings
from tests.support.command import environment, run_command


def test_known_types_are_the_types_of_the_sdk_s_events() -> None:
    annotation = stripe.Event.__annotations__["type"]
    assert known_types() == set(annotation.__args__)
    assert len(known_types()) > 200
    assert "*" not in known_types()


def test_built_in_plugins_run_on_known_types_only() -> None:
    assert Registry.load().unknown_type_warnings == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("invoice.payed", "invoice.paid"),
        ("payment_intent.success", "payment_intent.succeeded"),
        ("customer.subscription.update", "customer.subscription.updated"),
        ("charge.dispute.create", "charge.dispute.created"),
    ],
)
def test_warning_about_a_misspelled_type_suggests_the_nearest_type(
    written: str, meant: str
) -> None:
    assert unknown_type_warning(meant) is None
    warning = f"Stripe has no event type {written}. Did you mean {meant}?"
    assert unknown_type_warning(written) == warning


def test_warning_about_an_unknown_type_links_to_stripe_s_list() -> None:
    warning = unknown_type_warning("zzz.qqq")
    assert warning is not None
    assert warning.endswith("docs.stripe.com/api/events/types")


def plugin_with_misspelled_type() -> Plugin:
    plugin = Plugin("payer")

    @plugin.on("invoice.payed")
    async def pay(event: object, ctx: object) -> None: ...

    return plugin


def test_service_warns_about_a_misspelled_type_and_starts(
    io_loop: IOLoop, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def start_and_close() -> None:
        service = await open_service(settings, registry=Registry([plugin_with_misspelled_type()]))
        await service.start()
        await service.close()

    io_loop.run_sync(start_and_close)
    [warning] = [one for one in caplog.records if "invoice.payed" in one.getMessage()]
    assert warning.levelname == "WARNING"
    assert warning.getMessage() == (
        "The plugin payer runs on invoice.payed: "
        "Stripe has no event type invoice.payed. Did you mean invoice.paid?"
    )


@pytest.mark.gen_test
async def test_plugins_list_warns_about_a_misspelled_type(tmp_path: Path) -> None:
    text = (
        "from datalayer_stripe import Context, Event, Plugin\n"
        'plugin = Plugin("payer")\n'
        '@plugin.on("invoice.payed")\n'
        "async def pay(event: Event, ctx: Context) -> None: ...\n"
    )
    (tmp_path / "payer.py").write_text(text, encoding="utf-8")
    variables = environment(DATALAYER_STRIPE_PLUGINS_DIR=str(tmp_path))
    code, out, _ = await run_command("plugins", "list", variables=variables)
    assert code == 0
    assert "WARNING: The plugin payer runs on invoice.payed: Stripe has no" in out


def test_command_line_starts_without_importing_the_sdk_s_parameters() -> None:
    script = "import sys, datalayer_stripe.cli.serve as _; print('stripe.params' in sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert printed.stdout == "False\n", printed.stderr
