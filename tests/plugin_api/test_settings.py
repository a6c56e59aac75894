"""Settings of plugins are read from the environment, checked at the start, and never shown."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from datalayer_stripe import Context, Event, LifespanContext, Plugin
from datalayer_stripe.composition import open_service
from datalayer_stripe.configuration import read_configuration
from datalayer_stripe.errors import PluginError, SettingsError
from datalayer_stripe.plugin_api.registry import DISABLED_VARIABLE, Registry
from datalayer_stripe.plugin_api.settings import read_plugin_settings, variable
from datalayer_stripe.redaction import redact
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.settings import Settings
from tests.support.app import recorded
from tests.support.command import complete, run_command
from tests.support.shop import Shop
from tests.test_settings import REQUIRED


class Mail(BaseModel):
    host: str = Field(description="The mail server's name.")
    port: int = 25
    password: SecretStr | None = None
    to: tuple[str, ...] = ()
    days: Annotated[set[int] | None, Field(min_length=1)] = None

    @field_validator("host")
    @classmethod
    def _check(cls, value: str) -> str:
        if " " in value:
            raise ValueError(f"{value!r} is no host")
        return value


PREFIX = "DATALAYER_STRIPE_PLUGIN_BULK_MAILER"


def mailer() -> Plugin[Mail]:
    return Plugin("bulk-mailer", settings=Mail)


def faults(**variables: str) -> dict[str, tuple[str, str]]:
    environ = {f"{PREFIX}_{name}": value for name, value in variables.items()}
    _, found = read_plugin_settings([mailer()], environ)
    assert not [fault for fault in found for value in variables.values() if value in str(fault)]
    return {
        fault.variable.removeprefix(f"{PREFIX}_"): (fault.problem, fault.remedy) for fault in found
    }


def test_variable_is_built_from_plugin_name_and_field() -> None:
    assert variable("bulk-mailer", "host") == f"{PREFIX}_HOST"
    environ = {
        f"{PREFIX}_HOST": ' "mail.example.com" ',
        f"{PREFIX}_PORT": "587",
        f"{PREFIX}_PASSWORD": "hunter2",
        f"{PREFIX}_TO": "a@example.com, b@example.com,",
        f"{PREFIX}_DAYS": "1,2",
    }
    found, wrong = read_plugin_settings([mailer(), Plugin("other")], environ)
    assert wrong == []
    assert found == {
        "bulk-mailer": Mail(
            host="mail.example.com",
            port=587,
            password="hunter2",
            to=("a@example.com", "b@example.com"),
            days={1, 2},
        )
    }
    assert "hunter2" not in repr(found)


def test_blank_variable_leaves_the_default() -> None:
    found, wrong = read_plugin_settings(
        [mailer()], {f"{PREFIX}_HOST": "mail", f"{PREFIX}_PORT": "  "}
    )
    assert (wrong, found["bulk-mailer"]) == ([], Mail(host="mail"))


def test_faults_name_the_variable_and_do_not_show_its_value() -> None:
    assert faults(PORT="x25x") == {
        "HOST": (
            "is missing or blank",
            "It is a setting of the plugin bulk-mailer: The mail server's name.",
        ),
        "PORT": (
            "Input should be a valid integer, unable to parse string as an integer",
            "It is a setting of the plugin bulk-mailer.",
        ),
    }
    assert faults(HOST="not a host")["HOST"][0] == "'…' is no host"


def test_settings_must_be_a_pydantic_model() -> None:
    with pytest.raises(PluginError, match=r"derived from pydantic\.BaseModel"):
        Plugin("x", settings=dict)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("DATALAYER_"):
            monkeypatch.delenv(name)
    return monkeypatch


FILE = """
from pydantic import BaseModel
from datalayer_stripe import Plugin

class Mail(BaseModel):
    host: str

plugin = Plugin("bulk-mailer", settings=Mail)
"""


def test_faults_of_service_and_plugins_are_reported_together(
    shell: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mailer.py").write_text(FILE, encoding="utf-8")
    for name, value in REQUIRED.items():
        shell.setenv(name, value)
    shell.delenv("DATALAYER_STRIPE_API_KEY")
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DIR", str(tmp_path))
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DISABLED", "catalog-change")
    with pytest.raises(SettingsError) as error:
        read_configuration()
    assert [fault.variable for fault in error.value.faults] == [
        "DATALAYER_STRIPE_API_KEY",
        "DATALAYER_STRIPE_PLUGINS_DISABLED",
        f"{PREFIX}_HOST",
    ]


def test_settings_of_service_and_plugins_are_read_together(
    shell: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mailer.py").write_text(FILE, encoding="utf-8")
    for name, value in REQUIRED.items():
        shell.setenv(name, value)
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DIR", str(tmp_path))
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DISABLED", "catalog-changed")
    shell.setenv(f"{PREFIX}_HOST", "mail")
    found = read_configuration()
    assert found.settings.stripe_plugins_disabled == ("catalog-changed",)
    assert [plugin.name for plugin in found.registry.disabled] == ["catalog-changed"]
    assert found.plugin_settings["bulk-mailer"].model_dump() == {"host": "mail"}


def test_disabled_plugin_needs_no_settings(shell: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mailer.py").write_text(FILE, encoding="utf-8")
    for name, value in REQUIRED.items():
        shell.setenv(name, value)
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DIR", str(tmp_path))
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DISABLED", "bulk-mailer")
    assert read_configuration().plugin_settings == {}


def test_missing_plugin_folder_is_reported_as_one_fault(
    shell: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in REQUIRED.items():
        shell.setenv(name, value)
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DIR", str(tmp_path / "nowhere"))
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DISABLED", "one-of-its-files")
    with pytest.raises(SettingsError) as error:
        read_configuration()
    [fault] = error.value.faults
    assert fault.variable == "DATALAYER_STRIPE_PLUGINS_DIR"
    assert "nowhere" not in str(fault)


def test_secret_among_the_disabled_names_is_not_repeated(shell: pytest.MonkeyPatch) -> None:
    for name, value in {**REQUIRED, DISABLED_VARIABLE: "sk_live_pasted"}.items():
        shell.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        read_configuration()
    assert [fault.variable for fault in error.value.faults] == [DISABLED_VARIABLE]
    assert "pasted" not in str(error.value)


@pytest.mark.gen_test
async def test_functions_and_lifespan_are_given_the_settings(
    settings: Settings, shell: pytest.MonkeyPatch
) -> None:
    plugin, seen = mailer(), []

    @plugin.lifespan
    async def start(lifespan: LifespanContext[Mail]) -> AsyncIterator[None]:
        seen.append(lifespan.settings.host)
        yield

    @plugin.on("payment_intent.succeeded")
    async def mail(event: Event, ctx: Context[Mail]) -> None:
        seen.append(ctx.settings.host)

    with pytest.raises(SettingsError, match=f"{PREFIX}_HOST: is missing"):
        await open_service(settings, registry=Registry([plugin]))
    shell.setenv(f"{PREFIX}_HOST", "from the shell")
    with pytest.raises(SettingsError, match="is no host"):
        await open_service(settings, registry=Registry([plugin]))
    given = {"bulk-mailer": Mail(host="given")}
    service = await open_service(settings, registry=Registry([plugin]), plugin_settings=given)
    await service.start()
    await service.processor.process(Event.model_validate_json(recorded("payment_intent.succeeded")))
    await service.close()
    assert seen == ["given", "given"]


@pytest.mark.gen_test
async def test_commands_that_run_no_plugins_need_no_plugin_settings(
    mongodb_url: str, sandbox: Sandbox, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "mailer.py").write_text(
        "from pydantic import BaseModel\n"
        "from datalayer_stripe import Plugin\n"
        "class Mail(BaseModel):\n"
        "    host: str\n"
        "plugin = Plugin('bulk-mailer', settings=Mail)\n"
        "@plugin.on('invoice.paid')\n"
        "async def mail(event, ctx): pass\n",
        encoding="utf-8",
    )
    variables = {
        **complete(mongodb_url, sandbox, shop),
        "DATALAYER_STRIPE_PLUGINS_DIR": str(tmp_path),
    }
    for command in (["events", "list"], ["audit"], ["reconcile", "--dry-run"]):
        code, _, said = await run_command(*command, variables=variables)
        assert (code, said) == (0, ""), command
    for command in (["events", "replay", "evt_1"], ["reconcile"], ["serve", "--port", "0"]):
        code, _, said = await run_command(*command, variables=variables)
        assert code == 2, command
        assert f"{PREFIX}_HOST: is missing" in said


def test_secrets_of_service_and_plugins_are_redacted_once_they_are_read(
    shell: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = FILE.replace("host: str", "password: SecretStr").replace(
        "from pydantic import BaseModel", "from pydantic import BaseModel, SecretStr"
    )
    (tmp_path / "mailer.py").write_text(file, encoding="utf-8")
    secrets = {
        "DATALAYER_JWT_SECRET": "a secret of no known pattern, long enough",
        f"{PREFIX}_PASSWORD": "password of a plugin",
    }
    url = "mongodb://name:word%20of%20mine@127.0.0.1/datalayer?replicaSet=rs0"
    for name, value in {**REQUIRED, **secrets, "DATALAYER_STRIPE_MONGODB_URL": url}.items():
        shell.setenv(name, value)
    shell.setenv("DATALAYER_STRIPE_PLUGINS_DIR", str(tmp_path))
    read_configuration()
    for secret in (*secrets.values(), "word%20of%20mine", "word of mine"):
        assert redact(f"it is {secret}.") == "it is [redacted]."
