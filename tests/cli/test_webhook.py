"""The commands `webhook sync`, `webhook test` and `webhook rotate`, run in a process."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from datalayer_stripe.metrics import Metrics
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.provisioning.endpoint_base import secret_digest
from datalayer_stripe.provisioning.event_destination import apply_destination, plan_destination
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.client import StripeClient
from tests.support.app import WEBHOOK_SECRET, Api
from tests.support.command import complete, run_command
from tests.support.shop import WEBHOOK_ROUTE, Shop, objects

PATH = "/v1/webhook_endpoints"
VARIABLE = "DATALAYER_STRIPE_WEBHOOK_SECRET"
TYPES = list(Registry.load().types)


@pytest.fixture
def variables(sandbox: Sandbox, shop: Shop) -> dict[str, str]:
    return complete("memory://", sandbox, shop)


def managed(sandbox: Sandbox, url: str, events: list[str]) -> dict[str, Any]:
    return sandbox.call(
        "POST",
        PATH,
        url=url,
        enabled_events=events,
        metadata={"managed_by": "datalayer-stripe"},
        api_version="2024-06-20",
    )


URL = f"http://127.0.0.1:9{WEBHOOK_ROUTE}"


@pytest.mark.gen_test
async def test_sync_changes_the_event_list_after_it_was_shown(
    sandbox: Sandbox, variables: dict[str, str]
) -> None:
    endpoint = managed(sandbox, URL, [*TYPES[1:], "charge.expired"])
    shown = [
        f"webhook endpoint {endpoint['id']}: add the event type {TYPES[0]}",
        f"webhook endpoint {endpoint['id']}: remove the event type charge.expired",
    ]
    code, out, err = await run_command("webhook", "sync", "--dry-run", variables=variables)
    assert (code, err) == (3, "")
    assert out.splitlines()[:2] == shown
    assert "API version 2024-06-20" in out
    assert "charge.expired" in sandbox.get(endpoint["id"])["enabled_events"]

    code, out, _ = await run_command("webhook", "sync", variables=variables)  # no answer on stdin
    assert code == 1
    assert "charge.expired" in sandbox.get(endpoint["id"])["enabled_events"]

    code, out, err = await run_command("webhook", "sync", "--yes", variables=variables)
    assert (code, err) == (0, "")
    assert f"Stripe sends {len(TYPES)} event types." in out
    assert sandbox.get(endpoint["id"])["enabled_events"] == TYPES

    sandbox.api.calls.clear()
    code, out, _ = await run_command("webhook", "sync", "--dry-run", variables=variables)
    assert code == 0
    assert out.splitlines()[0] == f"webhook endpoint {endpoint['id']}: unchanged"
    assert {call.method for call in sandbox.api.calls} == {"GET"}


@pytest.mark.gen_test
async def test_event_type_that_stripe_does_not_have_is_named(
    sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    managed(sandbox, URL, TYPES)
    (tmp_path / "typo.py").write_text(
        "from datalayer_stripe import Plugin\n"
        "plugin = Plugin('typo')\n"
        "@plugin.on('invoice.payed')\n"
        "async def note(event, ctx): ...\n",
        encoding="utf-8",
    )
    variables["DATALAYER_STRIPE_PLUGINS_DIR"] = str(tmp_path)
    code, out, err = await run_command("webhook", "sync", "--dry-run", variables=variables)
    assert code == 3
    assert "add the event type invoice.payed" in out
    assert "Did you mean invoice.paid? Stripe refuses an endpoint with this type." in err


@pytest.mark.gen_test
async def test_sync_uses_the_enabled_plugins(sandbox: Sandbox, variables: dict[str, str]) -> None:
    endpoint = managed(sandbox, URL, TYPES)
    variables["DATALAYER_STRIPE_PLUGINS_DISABLED"] = "top-up-credits"
    code, out, _ = await run_command("webhook", "sync", "--dry-run", variables=variables)
    assert code == 3
    assert f"{endpoint['id']}: remove the event type payment_intent.succeeded" in out


@pytest.mark.gen_test
async def test_sync_changes_the_destination_of_thin_events_too(
    sandbox: Sandbox, variables: dict[str, str]
) -> None:
    """An account may have thin events alone: the URL is then that of the destination."""
    client = StripeClient(sandbox.secret_key, metrics=Metrics(), api_base=sandbox.url)
    planned = await plan_destination(client, url=URL, events=TYPES[1:])
    destination = await apply_destination(client, planned)
    code, out, err = await run_command("webhook", "sync", "--dry-run", variables=variables)
    assert (code, err) == (3, "")
    shown = f"event destination {destination.id}: add the event type v1.{TYPES[0]}"
    assert out.splitlines() == [shown]
    code, out, err = await run_command("webhook", "sync", "--yes", variables=variables)
    assert (code, err) == (0, "")
    planned = await plan_destination(client, url=URL, events=TYPES)
    assert planned.is_unchanged
    code, out, _ = await run_command("webhook", "sync", "--dry-run", variables=variables)
    assert (code, out) == (0, f"event destination {destination.id}: unchanged\n")
    assert objects(sandbox, PATH) == [], "no endpoint is created"
    await client.close()


@pytest.mark.gen_test
async def test_endpoint_that_cannot_be_told_is_asked_for(
    sandbox: Sandbox, variables: dict[str, str]
) -> None:
    code, _, err = await run_command("webhook", "sync", variables=variables)
    assert code == 2
    assert "no webhook endpoint of this service" in err
    managed(sandbox, URL, TYPES)
    managed(sandbox, f"http://localhost:9{WEBHOOK_ROUTE}", TYPES)
    code, _, err = await run_command("webhook", "sync", variables=variables)
    assert code == 2
    assert URL in err
    assert "--url" in err
    code, out, _ = await run_command("webhook", "sync", "--url", URL, variables=variables)
    assert (code, "unchanged" in out) == (0, True)
    code, out, _ = await run_command(
        "webhook", "sync", "--url", "http://127.0.0.1:9", variables=variables
    )
    assert (code, "unchanged" in out) == (0, True), "the path of the webhook is added"
    code, _, err = await run_command("webhook", "sync", "--url", URL + "x", variables=variables)
    assert (code, "no webhook endpoint for" in err) == (2, True)
    code, _, err = await run_command("webhook", "sync", "--url", "example", variables=variables)
    assert (code, "is not a" in err) == (2, True)


@pytest.mark.gen_test
async def test_lacking_permission_is_explained(sandbox: Sandbox, variables: dict[str, str]) -> None:
    variables["DATALAYER_STRIPE_API_KEY"] = sandbox.create_restricted_key(["webhook_read"])
    managed(sandbox, URL, TYPES[1:])
    code, _, err = await run_command("webhook", "sync", "--yes", variables=variables)
    assert code == 2
    assert "lacks the permission webhook_write (Webhook Endpoints: Write)" in err
    variables["DATALAYER_STRIPE_API_KEY"] = "sk_test_wrongWrongWrong"
    code, _, err = await run_command("webhook", "sync", "--yes", variables=variables)
    assert code == 2
    assert "Stripe refuses the key: check DATALAYER_STRIPE_API_KEY" in err


@pytest.mark.gen_test
async def test_webhook_test_reports_each_attempt(
    api: Api, sandbox: Sandbox, variables: dict[str, str]
) -> None:
    endpoint = sandbox.create_webhook_endpoint(api.url + WEBHOOK_ROUTE, WEBHOOK_SECRET)
    code, out, err = await run_command("webhook", "test", variables=variables)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == api.url + WEBHOOK_ROUTE
    assert [line.split()[-1] for line in lines[3:7]] == ["accepted"] * 4
    assert lines[-1] == "The webhook works."
    assert "disabled" not in out

    sandbox.call("POST", f"{PATH}/{endpoint['id']}", disabled=True)
    _, out, _ = await run_command("webhook", "test", variables=variables)
    assert f"the endpoint {endpoint['id']} is disabled" in out
    _, out, _ = await run_command("webhook", "test", "--json", variables=variables)
    answer = json.loads(out)
    assert (answer["url"], answer["disabled_endpoints"]) == (endpoint["url"], [endpoint["id"]])
    assert [one["result"] for one in answer["sent"]] == ["accepted"] * 4


@pytest.mark.gen_test
async def test_webhook_test_explains_a_failure(
    api: Api, sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    env_file = tmp_path / "service.env"
    env_file.write_text(f"{VARIABLE}=whsec_anotherAnotherAnotherAnother\n", encoding="utf-8")
    options = ("--url", api.url + WEBHOOK_ROUTE, "--env-file", str(env_file))
    code, out, err = await run_command("webhook", "test", *options, variables=variables)
    assert (code, err) == (1, "")
    assert "does not accept this signing" in out
    assert "whsec_" not in out
    code, out, _ = await run_command(
        "webhook", "test", "--url", "http://127.0.0.1:9/", variables=variables
    )
    assert code == 1
    assert "Nothing listens at this host and port" in out


@pytest.mark.gen_test
async def test_rotate_shows_its_steps_and_stops_before_the_restart(
    api: Api, sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    managed(sandbox, api.url + WEBHOOK_ROUTE, TYPES)
    env_file = tmp_path / "service.env"
    env_file.write_text(f"# Keep this.\n{VARIABLE}={WEBHOOK_SECRET}\n", encoding="utf-8")
    rotate = ("webhook", "rotate", "--env-file", str(env_file), "--wait", "0")
    code, out, err = await run_command(*rotate, "--dry-run", variables=variables)
    assert (code, err) == (0, "")
    assert out.startswith("1. create a second endpoint")
    assert len(objects(sandbox, PATH)) == 1

    code, out, err = await run_command(*rotate, "--yes", variables=variables)
    assert (code, err) == (3, "")
    assert "Now restart the service" in out
    assert "whsec_" not in out
    comment, line = env_file.read_text(encoding="utf-8").splitlines()
    assert comment == "# Keep this."
    assert line.startswith(f"{VARIABLE}=whsec_")
    assert line.endswith(f",{WEBHOOK_SECRET}")
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert len(objects(sandbox, PATH)) == 2

    code, out, _ = await run_command(*rotate, "--dry-run", variables=variables)
    assert out.startswith("1. check with")


@pytest.mark.gen_test
async def test_key_of_the_environment_counts_before_that_of_the_file(
    sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    """The service may have a restricted key that may not change its endpoint."""
    endpoint = managed(sandbox, URL, TYPES[1:])
    key = sandbox.create_restricted_key(["plan_read"])
    env_file = tmp_path / "service.env"
    env_file.write_text(
        f"DATALAYER_STRIPE_API_KEY={key}\nDATALAYER_STRIPE_PLUGINS_DISABLED=top-up-credits\n",
        encoding="utf-8",
    )
    sync = ("webhook", "sync", "--yes", "--env-file", str(env_file))
    code, _, err = await run_command(*sync, variables=variables)
    assert (code, err) == (0, "")
    enabled = sandbox.get(endpoint["id"])["enabled_events"]
    assert enabled == [one for one in TYPES if one != "payment_intent.succeeded"]
    del variables["DATALAYER_STRIPE_API_KEY"]
    code, _, err = await run_command(*sync, variables=variables)
    assert (code, "lacks the permission webhook_read" in err) == (2, True)


@pytest.mark.gen_test
async def test_rotate_writes_to_the_file_of_the_service_only(
    sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    managed(sandbox, URL, TYPES)
    env_file = tmp_path / "service.env"
    env_file.write_text("A=1\n", encoding="utf-8")
    rotate = ("webhook", "rotate", "--env-file", str(env_file), "--dry-run")
    code, _, err = await run_command(*rotate, variables=variables)
    assert code == 2
    assert f"does not set {VARIABLE}, and the environment does" in err
    del variables[VARIABLE]  # a service whose secret was lost
    code, out, err = await run_command(*rotate, variables=variables)
    assert (code, err) == (0, "")
    assert out.startswith("1. create a second endpoint")


@pytest.mark.slow
@pytest.mark.mongod
@pytest.mark.gen_test
async def test_rotate_completes_and_asks_the_database(
    api: Api,
    sandbox: Sandbox,
    shop: Shop,
    mongodb_url: str,
    tmp_path: Path,
) -> None:
    """An event that Stripe has not delivered, and that the database knows, delays nothing."""
    url = api.url + WEBHOOK_ROUTE
    old = managed(sandbox, url, TYPES)
    # The service of the test accepts this secret, too.
    new_secret = "whsec_rolledRolledRolledRolled00"
    successor = sandbox.create_webhook_endpoint(url, new_secret, ["terminal.reader.action_failed"])
    sandbox.call(
        "POST",
        f"{PATH}/{successor['id']}",
        disabled=True,
        metadata={
            "managed_by": "datalayer-stripe",
            "rotation": "successor",
            "secret_sha256": secret_digest(SecretStr(new_secret)),
            "replaces_secret_sha256": secret_digest(SecretStr(WEBHOOK_SECRET)),
        },
    )
    sandbox.webhooks.drop(1000)
    metadata = {"account_uid": "a", "price_id": "price_1", "credits": "50"}
    intent = sandbox.call(
        "POST", "/v1/payment_intents", amount=500, currency="usd", metadata=metadata
    )
    sandbox.confirm_payment(intent["client_secret"])
    sandbox.webhooks.normal()
    for event in sandbox.events:
        if event["type"] in TYPES:
            await api.service.processor.replay(event["id"])
    env_file = tmp_path / "service.env"
    env_file.write_text(f"{VARIABLE}={new_secret},{WEBHOOK_SECRET}\n", encoding="utf-8")
    code, out, err = await run_command(
        *("webhook", "rotate", "--env-file", str(env_file), "--wait", "0", "--yes"),
        variables=complete(mongodb_url, sandbox, shop),
    )
    assert (code, err) == (0, ""), out
    assert [one["id"] for one in objects(sandbox, PATH)] == [successor["id"]]
    assert f"Deleted the old endpoint {old['id']}." in out
    assert env_file.read_text(encoding="utf-8") == f"{VARIABLE}={new_secret}\n"
