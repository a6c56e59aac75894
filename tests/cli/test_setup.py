"""The command `setup`, run in a process with a local Stripe."""

import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from datalayer_stripe.cli import setup as command
from datalayer_stripe.cli.main import main
from datalayer_stripe.cli.setup_inputs import read_inputs, webhook_url
from datalayer_stripe.errors import SettingsError, SetupError
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.provisioning.env_file import EnvFile
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.settings import Settings
from datalayer_stripe.settings_fields import cleaned
from tests.support.command import environment, run_command
from tests.support.shop import objects

WEBHOOK = "/api/iam/stripe/v1/webhook"
URL = "http://127.0.0.1:9"
OFFERS = ("--package", "5.00:50", "--package", "20.00:220", "--plan", "29.00")

SetUp = Callable[..., Awaitable[tuple[int | None, str, str]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.env"


@pytest.fixture
def set_up(sandbox: Sandbox, path: Path) -> SetUp:
    """Return a function that runs the command: options, and changes of its variables."""

    async def run(*options: str, **changes: str | None) -> tuple[int | None, str, str]:
        variables: dict[str, str | None] = {
            "DATALAYER_STRIPE_API_KEY": sandbox.secret_key,
            "DATALAYER_STRIPE_JS_API_KEY": sandbox.publishable_key,
            "DATALAYER_STRIPE_API_BASE": sandbox.url,
            **changes,
        }
        present = {name: value for name, value in variables.items() if value is not None}
        return await run_command(
            "setup", "--env-file", str(path), *options, variables=environment(**present)
        )

    return run


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def folder_of(path: Path) -> list[str]:
    return [one.name for one in path.parent.iterdir()]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def append(path: Path, line: str) -> None:
    path.write_text(f"{text_of(path)}{line}\n", encoding="utf-8")


def publish(path: Path) -> None:
    path.chmod(0o644)


def let_everybody_write(path: Path) -> None:
    path.chmod(0o666)


def writes(sandbox: Sandbox) -> int:
    return sum(call.method != "GET" for call in sandbox.api.calls)


def settings_in(path: Path) -> Settings:
    values = {name: value for name, value in EnvFile.read(path) if name.startswith("DATALAYER_")}
    return Settings(**cleaned(Settings, values))


@pytest.mark.gen_test
async def test_command_writes_a_file_with_all_variables_and_then_changes_nothing(
    set_up: SetUp, sandbox: Sandbox, path: Path
) -> None:
    code, out, err = await set_up(*OFFERS, "--url", URL, "--yes")
    assert (code, err) == (0, "")
    assert out.startswith(f"Stripe API: {sandbox.url}, which is not Stripe's own address\n")
    assert "Stripe account: Sandbox (acct_" in out
    assert "test mode" in out
    assert "created   package: 220 credits for 20.00 USD" in out
    assert "memory://, which forgets all credits at exit" in out
    assert mode_of(path) == 0o600
    settings = settings_in(path)
    required = [name for name, field in Settings.model_fields.items() if field.is_required()]
    assert set(required) <= settings.model_fields_set
    assert settings.stripe_api_key.get_secret_value() == sandbox.secret_key
    assert settings.stripe_api_base == sandbox.url
    [endpoint] = objects(sandbox, "/v1/webhook_endpoints")
    assert endpoint["url"] == URL + WEBHOOK
    secrets = [sandbox.secret_key, settings.stripe_webhook_secrets[0].get_secret_value()]
    assert settings.jwt_secret is not None
    assert not any(one in out for one in [*secrets, settings.jwt_secret.get_secret_value()])

    before, count = text_of(path), writes(sandbox)
    code, out, err = await set_up(*OFFERS, "--url", URL + WEBHOOK + "/", "--yes")
    assert (code, err) == (0, "")
    assert "Nothing to change." in out
    assert "create" not in out
    assert (text_of(path), writes(sandbox)) == (before, count)
    code, out, _ = await set_up("--dry-run")
    assert "package  " in out
    code, out, err = await set_up("--dry-run", "--csv")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "action,subject,detail,by_hand"
    refused, _, err = await set_up("--csv")
    assert (refused, "Use --json and --csv together with --dry-run." in err) == (2, True)
    assert (code, writes(sandbox)) == (0, count)


@pytest.fixture
def written(sandbox: Sandbox, path: Path) -> Path:
    """Return a file that people have written, and that everybody may read."""
    path.write_text(
        "# ours\n"
        f"export DATALAYER_STRIPE_API_KEY='{sandbox.secret_key}'\n"
        f"DATALAYER_STRIPE_JS_API_KEY={sandbox.publishable_key}\n"
        "DATALAYER_STRIPE_TOPUP_PRODUCT_ID=prod_example_topup\n"
        "DATALAYER_JWT_SECRET=one-that-signs-our-tokens-0123456789\n"
        "DATALAYER_STRIPE_MONGODB_URL='mongodb://127.0.0.1/shop?replicaSet=rs0&w=1'\n"
        "OTHER=kept\n"
    )
    publish(path)
    return path


@pytest.mark.gen_test
async def test_keys_and_other_values_in_the_file_are_kept(set_up: SetUp, written: Path) -> None:
    keys = dict.fromkeys(("DATALAYER_STRIPE_API_KEY", "DATALAYER_STRIPE_JS_API_KEY"))
    code, out, err = await set_up(*OFFERS, "--url", URL, "--yes", **keys)
    assert (code, err) == (0, "")
    assert "Next: set -a; " in out
    lines = text_of(written).splitlines()
    assert lines[0] == "# ours"
    assert "DATALAYER_JWT_SECRET=one-that-signs-our-tokens-0123456789" in lines
    assert "DATALAYER_STRIPE_MONGODB_URL='mongodb://127.0.0.1/shop?replicaSet=rs0&w=1'" in lines
    assert "OTHER=kept" in lines
    assert settings_in(written).stripe_topup_product_id.startswith("prod_")
    assert "example" not in text_of(written)
    assert mode_of(written) == 0o600


@pytest.fixture
def plugin_folder(tmp_path: Path) -> Path:
    """Return a folder with a plugin for an event type that no built-in plugin handles."""
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o700)
    (folder / "payouts.py").write_text(
        "from datalayer_stripe import Plugin\n\n"
        'plugin = Plugin("payouts")\n\n\n'
        '@plugin.on("payout.paid")\n'
        "async def log(event, ctx): ...\n"
    )
    return folder


@pytest.mark.gen_test
async def test_endpoint_gets_the_events_of_the_plugins_that_the_file_names(
    set_up: SetUp, sandbox: Sandbox, written: Path, plugin_folder: Path
) -> None:
    append(written, f"DATALAYER_STRIPE_PLUGINS_DIR={plugin_folder}")
    code, _, err = await set_up(*OFFERS, "--url", URL, "--yes")
    assert (code, err) == (0, "")
    [endpoint] = objects(sandbox, "/v1/webhook_endpoints")
    assert sorted(endpoint["enabled_events"]) == sorted([*Registry.load().types, "payout.paid"])

    append(written, "DATALAYER_STRIPE_PLUGINS_DISABLED=payouts")
    code, out, _ = await set_up("--url", URL, "--yes")
    assert code == 0
    assert "remove the event type payout.paid" in " ".join(out.split()), "whatever its lines"
    [endpoint] = objects(sandbox, "/v1/webhook_endpoints")
    assert sorted(endpoint["enabled_events"]) == sorted(Registry.load().types)


@pytest.mark.gen_test
async def test_file_that_others_may_write_names_no_plugins_and_no_address(
    set_up: SetUp, sandbox: Sandbox, written: Path, plugin_folder: Path
) -> None:
    ran = plugin_folder / "ran"
    code_file = plugin_folder / "payouts.py"
    code_file.write_text(f"open({str(ran)!r}, 'w').close()\n{text_of(code_file)}")
    append(written, f"DATALAYER_STRIPE_PLUGINS_DIR={plugin_folder}")
    append(written, f"DATALAYER_STRIPE_API_BASE={sandbox.url}")
    let_everybody_write(written)
    code, out, err = await set_up(*OFFERS, "--dry-run", DATALAYER_STRIPE_API_BASE=None)
    assert (code, out) == (2, "")
    assert "chmod 600" in err
    assert not ran.exists()
    assert sandbox.api.calls == []


@pytest.mark.gen_test
async def test_file_that_others_may_read_is_made_private(set_up: SetUp, written: Path) -> None:
    await set_up(*OFFERS, "--url", URL, "--yes")
    before = text_of(written)
    publish(written)
    code, out, _ = await set_up("--yes")
    assert code == 0
    assert "readable by its owner only" in " ".join(out.split())
    assert (text_of(written), mode_of(written)) == (before, 0o600)


@pytest.mark.gen_test
async def test_key_of_the_service_stays_in_the_file(
    set_up: SetUp, sandbox: Sandbox, written: Path
) -> None:
    used = sandbox.create_restricted_key(
        ["product_write", "plan_write", "customer_portal_write", "webhook_write"]
    )
    code, _, _ = await set_up(*OFFERS, "--url", URL, "--yes", DATALAYER_STRIPE_API_KEY=used)
    assert code == 0
    assert settings_in(written).stripe_api_key.get_secret_value() == sandbox.secret_key
    assert used not in text_of(written)


@pytest.mark.gen_test
async def test_dry_run_shows_the_plan_and_changes_nothing(
    set_up: SetUp, sandbox: Sandbox, path: Path
) -> None:
    code, out, err = await set_up(*OFFERS, "--url", URL, "--dry-run")
    assert (code, err) == (3, "")
    assert "8 to create. Nothing was changed." in out
    assert "create  webhook endpoint" in out
    assert folder_of(path) == []
    assert writes(sandbox) == 0


@pytest.mark.gen_test
async def test_command_asks_before_it_changes_something(set_up: SetUp, sandbox: Sandbox) -> None:
    code, out, err = await set_up(*OFFERS, "--url", URL)
    assert (code, err) == (1, "Aborted!\n")
    assert "8 to create. Go on? [y/N]" in out
    assert writes(sandbox) == 0


@pytest.mark.gen_test
async def test_file_that_cannot_be_written_stops_before_anything_is_created(
    set_up: SetUp, sandbox: Sandbox, path: Path
) -> None:
    code, _, err = await set_up(*OFFERS, "--url", URL, "--yes", "--env-file", "/proc/shop.env")
    assert code == 2
    assert "/proc/shop.env cannot be written" in err
    assert writes(sandbox) == 0


@pytest.mark.gen_test
async def test_lost_signing_secret_has_to_be_copied_by_hand(
    set_up: SetUp, path: Path, sandbox: Sandbox
) -> None:
    await set_up(*OFFERS, "--url", URL, "--yes")
    code, out, _ = await set_up("--url", URL, "--yes", "--env-file", f"{path}.new")
    assert code == 1
    assert "datalayer-stripe webhook rotate" in out.replace("\n   ", "")
    assert "DATALAYER_STRIPE_WEBHOOK_SECRET: is missing or blank." in out


@pytest.mark.gen_test
async def test_key_without_a_permission_leaves_the_rest_to_be_done_by_hand(
    set_up: SetUp, sandbox: Sandbox
) -> None:
    key = sandbox.create_restricted_key(
        ["product_write", "plan_write", "customer_portal_write", "webhook_read"]
    )
    code, out, err = await set_up(*OFFERS, "--url", URL, "--yes", DATALAYER_STRIPE_API_KEY=key)
    assert (code, err) == (1, "")
    assert "Stripe account: test mode" in out
    assert (
        "not done  webhook endpoint: the key lacks the permission Webhook Endpoints: Write" in out
    )
    assert f"Add an endpoint for {URL}{WEBHOOK} at" in out
    assert len(objects(sandbox, "/v1/prices")) == 3


@pytest.mark.gen_test
async def test_value_that_no_file_can_have_is_explained(set_up: SetUp, sandbox: Sandbox) -> None:
    secret = "it's \\$x, long enough for a secret, 0123456789"
    code, _, err = await set_up(*OFFERS, "--yes", DATALAYER_JWT_SECRET=secret)
    assert code == 2
    assert err.startswith("DATALAYER_JWT_SECRET: the value has characters")
    assert secret not in err
    assert objects(sandbox, "/v1/products") == []


@pytest.mark.gen_test
async def test_wrong_key_is_explained(set_up: SetUp) -> None:
    wrong = f"sk_test_{'4' * 24}"
    code, _, err = await set_up(*OFFERS, "--yes", DATALAYER_STRIPE_API_KEY=wrong)
    assert code == 2
    assert err.startswith("Stripe refuses the key: check DATALAYER_STRIPE_API_KEY")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DATALAYER_STRIPE_API_KEY": None}, "DATALAYER_STRIPE_API_KEY: is missing or blank."),
        ({"DATALAYER_STRIPE_API_KEY": "sk_test_example"}, "KEY: is missing or blank."),
        ({"DATALAYER_STRIPE_API_KEY": f"pk_test_{'4' * 24}"}, "KEY: holds a publishable key"),
        ({"DATALAYER_STRIPE_JS_API_KEY": None}, "_JS_API_KEY: is missing or blank."),
        ({"DATALAYER_STRIPE_JS_API_KEY": f"pk_live_{'4' * 24}"}, "is not of the mode of"),
        ({"DATALAYER_STRIPE_API_KEY": f"sk_live_{'4' * 24}"}, "is not of the mode of"),
        ({"DATALAYER_STRIPE_API_BASE": "ftp://stripe"}, "_API_BASE: is not an https URL"),
        ({"DATALAYER_STRIPE_PLUGINS_DIR": "/nowhere"}, "DATALAYER_STRIPE_PLUGINS_DIR"),
    ],
)
@pytest.mark.gen_test
async def test_missing_and_wrong_inputs_are_named(
    set_up: SetUp, sandbox: Sandbox, changes: dict[str, str | None], message: str
) -> None:
    code, out, err = await set_up(*OFFERS, "--url", URL, "--yes", **changes)
    assert (code, out) == (2, "")
    assert message in err
    assert "4444" not in err
    assert sandbox.api.calls == []


@pytest.mark.gen_test
async def test_option_creates_the_event_destination_and_adds_its_secret(
    set_up: SetUp, sandbox: Sandbox, path: Path
) -> None:
    code, out, err = await set_up(*OFFERS, "--url", URL, "--thin", "--yes")
    assert (code, err) == (0, "")
    assert "created   thin event destination: " in out
    assert len(settings_in(path).stripe_webhook_secrets) == 2
    assert len(sandbox.call("GET", "/v2/core/event_destinations")["data"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--package", "5.00"), "'5.00' is not an amount and credits such as 5.00:50."),
        (("--package", "5.00:50", "--package", "6.00:50"), "two packages have the same number"),
        (("--plan", "29.001"), "29.001 has more decimals than USD"),
        (("--currency", "dollars"), "use three letters such as usd."),
        (("--url", "http://shop.example.com"), "is not an https URL"),
        (("--url", "https://shop.example.com?a=b"), "has a query or a fragment"),
        (("--thin",), "needs --url"),
    ],
)
def test_wrong_options_are_explained(options: tuple[str, ...], message: str) -> None:
    answer = CliRunner().invoke(main, ["setup", *options])
    assert answer.exit_code == 2
    assert message in answer.output


@pytest.mark.parametrize(
    "given",
    [
        "https://shop.example.com",
        "https://shop.example.com/",
        f"https://shop.example.com{WEBHOOK}",
        f"https://shop.example.com{WEBHOOK}/",
    ],
)
def test_address_of_the_webhook_follows_from_the_base_url_or_its_own(given: str) -> None:
    assert webhook_url(given) == f"https://shop.example.com{WEBHOOK}"
    jupyter = given.replace(".com", ".com/user/ada")
    assert webhook_url(jupyter) == f"https://shop.example.com/user/ada{WEBHOOK}"


LIVE = {
    "DATALAYER_STRIPE_API_KEY": f"sk_live_{'4' * 24}",
    "DATALAYER_STRIPE_JS_API_KEY": f"pk_live_{'4' * 24}",
}


def test_file_of_one_mode_is_not_used_for_the_other(path: Path) -> None:
    path.write_text(f"DATALAYER_STRIPE_API_KEY=sk_test_{'4' * 24}\n")
    with pytest.raises(SetupError, match="is for test mode, and the key is a live key"):
        read_inputs(EnvFile.read(path), LIVE, lambda *_: "")


def test_live_key_is_sent_to_https_only(path: Path) -> None:
    variables = {**LIVE, "DATALAYER_STRIPE_API_BASE": "http://127.0.0.1:9"}
    with pytest.raises(SettingsError, match="is not https, and the key is a live key"):
        read_inputs(EnvFile.read(path), variables, lambda *_: "")


def test_missing_keys_are_asked_for_and_the_secret_one_is_hidden(path: Path) -> None:
    asked = []

    def ask(question: str, hidden: bool) -> str:
        asked.append((question, hidden))
        return LIVE["DATALAYER_STRIPE_API_KEY" if hidden else "DATALAYER_STRIPE_JS_API_KEY"]

    inputs = read_inputs(EnvFile.read(path), {}, ask)
    assert inputs.livemode
    assert LIVE.items() <= inputs.own.items()
    assert [hidden for _, hidden in asked] == [True, False]
    assert "→ Secret key.\nDATALAYER_STRIPE_API_KEY" in asked[0][0]
    assert "→ Publishable key.\nDATALAYER_STRIPE_JS_API_KEY" in asked[1][0]


@pytest.mark.parametrize(
    ("options", "typed", "is_applied"),
    [
        (["--yes"], "live\n", True),
        (["--yes"], "yes\n", False),
        (["--yes"], "\n", False),
        ([], "live\n", True),
        (["--confirm", "live"], "", True),
    ],
)
def test_live_mode_asks_for_the_word_live(
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    options: list[str],
    typed: str,
    is_applied: bool,
) -> None:
    applied = []

    async def no_account(*_: Any) -> None: ...

    async def no_steps(*_: Any) -> list[Any]:
        return []

    async def apply(steps: Any, **_: Any) -> list[Any]:
        applied.append(steps)
        return []

    # A live key is sent to Stripe only, so that Stripe is replaced here.
    monkeypatch.setattr(command, "_print_account", no_account)
    monkeypatch.setattr(command, "plan_setup", no_steps)
    monkeypatch.setattr(command, "apply_steps", apply)
    arguments = ["setup", "--env-file", str(path), *options]
    answer = CliRunner().invoke(main, arguments, input=typed, env=LIVE)
    assert bool(applied) is is_applied
    assert ("Nothing was changed." in answer.output) is not is_applied
    assert ("Type live to go on" in answer.output) is (options != ["--confirm", "live"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATALAYER_JWT_SECRET", "x" * 40 + "\nB=1"),
        ("DATALAYER_JWT_SECRET", "x" * 40 + "'\"$"),
        ("DATALAYER_STRIPE_WEBHOOK_SECRET", "whsec_" + "x" * 32 + "\nB=1"),
        ("DATALAYER_STRIPE_WEBHOOK_SECRET", "whsec_" + "x" * 32 + "'\"$"),
    ],
)
@pytest.mark.gen_test
async def test_value_that_the_file_cannot_have_is_named_before_anything_is_changed(
    set_up: SetUp, sandbox: Sandbox, path: Path, name: str, value: str
) -> None:
    for option in ("--dry-run", "--yes"):
        code, out, err = await set_up(*OFFERS, "--url", URL, option, **{name: value})
        assert code == 2, (out, err)
        assert err.startswith(f"{name}: ")
        assert "xxxx" not in err
    assert {call.method for call in sandbox.api.calls} == {"GET"}
    assert folder_of(path) == []
