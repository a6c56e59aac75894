"""Secrets as files: which ones are read, and what is said of wrong ones."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from datalayer_stripe import Plugin
from datalayer_stripe.cli.doctor import open_context
from datalayer_stripe.cli.webhook_configuration import configuration_of
from datalayer_stripe.configuration import PluginSources, read_configuration, try_configuration
from datalayer_stripe.doctor.settings import hidden_files
from datalayer_stripe.errors import SettingsError
from datalayer_stripe.jupyter.settings import JupyterSettings
from datalayer_stripe.secret_files import MAX_FILE_BYTES
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings, read_environment
from tests.test_settings import REQUIRED, VARIABLES

API_KEY, TOKENS = "DATALAYER_STRIPE_API_KEY", "DATALAYER_JWT_SECRET"
FOLDER_VARIABLE = "DATALAYER_STRIPE_SECRETS_DIR"
WEBHOOK = "DATALAYER_STRIPE_WEBHOOK_SECRET"

Patch = pytest.MonkeyPatch


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Return a folder with all required settings as files, whose variable is the only one set."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "secrets"
    folder.mkdir()
    for variable, value in REQUIRED.items():
        (folder / variable).write_text(f"{value}\n", "utf-8")
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def test_settings_are_read_from_files(folder: Path) -> None:
    settings = Settings.from_environment()
    assert settings.stripe_api_key.get_secret_value() == REQUIRED[API_KEY]
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == REQUIRED[TOKENS]


def test_variable_that_is_not_blank_is_used_instead_of_its_file(
    folder: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setenv(API_KEY, "sk_test_of_the_variable")
    monkeypatch.setenv(TOKENS, '" "')
    settings = Settings.from_environment()
    assert settings.stripe_api_key.get_secret_value() == "sk_test_of_the_variable"
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == REQUIRED[TOKENS]
    assert set(read_environment().files) == set(REQUIRED) - {API_KEY}


def test_mounted_secret_of_kubernetes_is_read_and_other_files_are_not(tmp_path: Path) -> None:
    data = tmp_path / "..2026_11_26"
    data.mkdir()
    (data / API_KEY).write_text("sk_test_mounted", "utf-8")
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / API_KEY).symlink_to(f"..data/{API_KEY}")
    (tmp_path / "PATH").write_text("/elsewhere", "utf-8")
    (tmp_path / "DATALAYER_OTHER_SERVICE").mkdir()
    read = read_environment({"PATH": "/bin"}, folder=tmp_path)
    assert read.values == {"PATH": "/bin", API_KEY: "sk_test_mounted"}
    assert read.faults == []


def test_fault_names_the_file_and_never_its_content(folder: Path) -> None:
    (folder / API_KEY).write_text("whsec_pasted_here", "utf-8")
    (folder / TOKENS).write_text("short", "utf-8")
    with pytest.raises(SettingsError) as caught:
        read_configuration()
    lines = str(caught.value).splitlines()
    assert [
        f"in the file {folder / name}." in line
        for name, line in zip((API_KEY, TOKENS), lines, strict=True)
    ] == [True, True]
    assert "pasted" not in str(caught.value)
    assert "short." not in str(caught.value)


def test_file_that_cannot_be_read_is_one_fault(folder: Path) -> None:
    (folder / API_KEY).write_bytes(b"sk_test_\xff")
    (folder / TOKENS).write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    (folder / WEBHOOK).unlink()
    (folder / WEBHOOK).mkdir()
    problems = {fault.variable: fault.problem for fault in try_configuration().faults}
    assert problems == {
        API_KEY: f"cannot be read from the file {folder / API_KEY}: it is not text in UTF-8",
        TOKENS: f"cannot be read from the file {folder / TOKENS}: it is longer than 65536 bytes",
        WEBHOOK: f"cannot be read from the file {folder / WEBHOOK}: Is a directory",
    }
    assert len(try_configuration().faults) == 3


def test_variable_with_another_value_than_its_file_is_reported(
    folder: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setenv(API_KEY, "sk_test_example")
    monkeypatch.setenv(TOKENS, f"'{REQUIRED[TOKENS]}'")
    environment = read_environment()
    assert environment.hidden == {API_KEY: folder / API_KEY}, "the other value is the same"
    [fault] = try_configuration().faults
    assert fault.problem == (
        f"is still a placeholder of the documentation, and hides the file {folder / API_KEY}: "
        "unset it to use the file"
    )


@pytest.mark.gen_test
async def test_doctor_warns_once_of_all_variables_that_hide_files(
    folder: Path, monkeypatch: Patch
) -> None:
    async with open_context(try_configuration()) as context:
        assert await hidden_files.find_problems(context) == []
    monkeypatch.setenv(API_KEY, "sk_test_of_the_variable")
    monkeypatch.setenv(WEBHOOK, "whsec_ofTheVariableOfTheVariable00")
    async with open_context(try_configuration()) as context:
        problems = await hidden_files.find_problems(context)
    assert problems == [
        f"Files of {FOLDER_VARIABLE} are not read, because variables have other values: "
        f"{API_KEY}, {WEBHOOK}."
    ]


@pytest.mark.gen_test
async def test_running_service_reports_variables_and_files_as_well(
    service: Service, folder: Path, monkeypatch: Patch
) -> None:
    settings = service.settings.model_copy(update={"stripe_secrets_dir": folder})
    monkeypatch.setenv(API_KEY, "sk_test_of_the_variable")
    (folder / TOKENS).write_bytes(b"\xff")
    context = replace(service, settings=settings).check_context("/webhook")
    assert context.hidden_files == {API_KEY: folder / API_KEY}
    assert [fault.variable for fault in context.faults] == [TOKENS]


def forbid(folder: Path, monkeypatch: Patch, method: str) -> None:
    """Let a method of a folder's path fail as for a user who may not read the folder."""
    original = getattr(Path, method)

    def fail(path: Path) -> object:
        if path == folder:
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(Path, method, fail)


def test_folder_that_cannot_be_listed_is_a_fault(folder: Path, monkeypatch: Patch) -> None:
    forbid(folder, monkeypatch, "iterdir")
    first, *others = try_configuration().faults
    assert str(first) == (
        f"{FOLDER_VARIABLE}: is a folder that cannot be read, {folder}: Permission denied. Let the "
        "user of the service list the folder and read its files, or unset it."
    )
    assert {fault.problem for fault in others} == {"is missing or blank"}


def test_folder_that_cannot_be_reached_is_a_fault(folder: Path, monkeypatch: Patch) -> None:
    forbid(folder, monkeypatch, "iterdir")
    forbid(folder, monkeypatch, "is_dir")
    named = [fault.variable for fault in try_configuration().faults]
    assert named.count(FOLDER_VARIABLE) == 1


def test_folder_that_does_not_exist_is_refused(folder: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder / "missing"))
    faults = try_configuration().faults
    assert "is not an existing folder" in {
        fault.problem for fault in faults if fault.variable == FOLDER_VARIABLE
    }


class MailSettings(BaseModel):
    password: SecretStr
    port: int = 25


def test_settings_of_plugins_are_read_from_files(folder: Path, monkeypatch: Patch) -> None:
    plugin = Plugin("mailer", settings=MailSettings)
    monkeypatch.setattr("datalayer_stripe.configuration.load_plugins", lambda _: [plugin])
    (folder / "DATALAYER_STRIPE_PLUGIN_MAILER_PASSWORD").write_text("of the mail server", "utf-8")
    settings = read_configuration().plugin_settings["mailer"]
    assert isinstance(settings, MailSettings)
    assert settings.password.get_secret_value() == "of the mail server"
    port = folder / "DATALAYER_STRIPE_PLUGIN_MAILER_PORT"
    port.write_text("twenty", "utf-8")
    [fault] = try_configuration().faults
    assert fault.problem.endswith(f", in the file {port}")
    assert "twenty" not in str(fault)


def test_selection_of_plugins_may_be_a_file(folder: Path) -> None:
    (folder / "DATALAYER_STRIPE_PLUGINS_DISABLED").write_text("a,b\n", "utf-8")
    assert PluginSources.from_environment().disabled == ("a", "b")


def test_folder_may_be_a_trait_of_jupyter(folder: Path, monkeypatch: Patch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    found = read_configuration(JupyterSettings, **{FOLDER_VARIABLE: str(folder)})
    assert found.settings.stripe_api_key.get_secret_value() == REQUIRED[API_KEY]
    assert found.settings.stripe_secrets_dir == folder


def test_rotation_of_a_secret_in_a_file_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))  # the command reads the file into it
    env_file = tmp_path / "rotation.env"
    env_file.write_text("", "utf-8")
    with pytest.raises(SystemExit):
        configuration_of(env_file, creates_secret=True)
    words = " ".join(capsys.readouterr().err.split())
    assert f"new value of {env_file} to {folder / WEBHOOK}" in words
    value = "whsec_inTheEnvFileInTheEnvFile00"
    env_file.write_text(f"{WEBHOOK}={value}\n", "utf-8")
    found = configuration_of(env_file, creates_secret=True).settings
    assert [one.get_secret_value() for one in found.stripe_webhook_secrets] == [value]
    assert found.stripe_api_key.get_secret_value() == REQUIRED[API_KEY]
