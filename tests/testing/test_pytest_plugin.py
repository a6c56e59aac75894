"""The pytest plugin: in a plugin author's project, and in sessions that do not use it."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import stripe
from pymongo import MongoClient

from datalayer_stripe.testing import StripeSandbox, recorded_event
from tests.testing import plugins

PAID = recorded_event("payment_intent.succeeded")


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, without the environment of this test session."""
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with a plugin and one file of tests."""
    (tmp_path / "counter.py").write_text(
        dedent(
            """
            from datalayer_stripe import Context, Event, Plugin

            plugin = Plugin("counter")


            @plugin.on("payment_intent.succeeded")
            async def count(event: Event, ctx: Context) -> None:
                ctx.collection.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)
            """
        )
    )
    (tmp_path / "test_counter.py").write_text(
        dedent(
            """
            import urllib.request

            from counter import plugin
            from datalayer_stripe.testing import assert_exactly_once, recorded_event

            PAID = recorded_event("payment_intent.succeeded")


            def test_plugin_counts(stripe_service):
                service = stripe_service(plugin, built_in=True)
                assert service.deliver(PAID).outcomes["counter"] == "done"
                assert service.documents(plugin) == [{"_id": "all", "n": 1}]


            def test_plugin_is_exactly_once():
                assert_exactly_once(plugin, PAID)


            def test_local_stripe_responds(stripe_sandbox):
                request = urllib.request.Request(stripe_sandbox.url + "/v1/products")
                request.add_header("Authorization", f"Bearer {stripe_sandbox.secret_key}")
                assert urllib.request.urlopen(request).status == 200
            """
        )
    )
    return tmp_path


@pytest.mark.slow
def test_fixtures_need_no_configuration(project: Path) -> None:
    run = run_python(
        project, "-m", "pytest", "-q", "-W", "error", "-p", "no:tornado", "-p", "no:anyio"
    )
    assert "3 passed" in run.stdout, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.mongod
def test_option_uses_a_mongod_and_leaves_no_database(project: Path, mongodb_url: str) -> None:
    option = f"--datalayer-stripe-mongodb={mongodb_url}"
    run = run_python(project, "-m", "pytest", "-q", "-p", "no:tornado", option)
    assert "3 passed" in run.stdout, run.stdout + run.stderr
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        log = client.admin.command({"getLog": "global"})["log"]
        assert not [name for name in client.list_database_names() if "datalayer_stripe" in name]
    assert any("datalayer_stripe_test_" in line for line in log)


def test_pytest_plugin_imports_nothing_before_a_test_needs_it(tmp_path: Path) -> None:
    code = (
        "import sys; import pytest; before = set(sys.modules);"
        "import datalayer_stripe.testing.pytest_plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    run = run_python(tmp_path, "-c", code)
    assert run.stdout.strip() == str(
        [
            "datalayer_stripe",
            "datalayer_stripe._version",
            "datalayer_stripe.testing",
            "datalayer_stripe.testing.pytest_plugin",
        ]
    )


def test_session_without_fixtures_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\n\ndef test_nothing():\n"
        "    ours = [name for name in sys.modules if name.startswith('datalayer_stripe')]\n"
        "    assert len(ours) == 4, ours\n"
        "    assert not {'stripe', 'tornado', 'motor', 'pydantic'} & set(sys.modules)\n"
    )
    run = run_python(
        tmp_path, "-m", "pytest", "-q", "-p", "no:tornado", "-p", "no:hypothesispytest"
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_fixture_opens_several_services(stripe_service: Any) -> None:
    plugin = plugins.counting()
    first, second = stripe_service(plugin), stripe_service(plugin)
    first.deliver(PAID)
    assert second.documents(plugin) == []


def test_stripe_sdk_can_call_the_sandbox(stripe_sandbox: StripeSandbox) -> None:
    client = stripe.StripeClient(
        stripe_sandbox.secret_key, base_addresses={"api": stripe_sandbox.url}
    )
    made = client.v1.customers.create({"name": "Alice"})
    assert stripe_sandbox.run(lambda sandbox: sandbox.get(made.id))["name"] == "Alice"
    paid = stripe_sandbox.run(lambda sandbox: sandbox.buy_credits("alice"))
    assert client.v1.payment_intents.retrieve(paid["id"]).status == "succeeded"
    assert stripe_sandbox.events[-1]["type"] == "payment_intent.succeeded"
    assert stripe_sandbox.publishable_key.startswith("pk_test_")
