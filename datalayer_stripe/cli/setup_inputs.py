"""What `setup` is given: keys and addresses from the environment, the file or a prompt."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import Fault, SettingsError, SetupError
from ..handlers.urls import WEBHOOK_PATH
from ..provisioning.env_file import EnvFile
from ..settings import Settings, variable
from ..settings_checks import (
    check_api_base,
    check_url,
    is_live,
    is_placeholder,
    prefix_check,
    unquoted,
)
from ..settings_fields import extra_of, variable_of

_SECRET_KEY = "stripe_api_key"  # noqa: S105 (the name of a field, not a secret)
_PUBLISHABLE_KEY = "stripe_js_api_key"
_API_BASE = "stripe_api_base"
_JWT_SECRET = "jwt_secret"  # noqa: S105 (the name of a field, not a secret)

# Their 64 hexadecimal digits are long enough for each algorithm of the tokens.
_JWT_SECRET_BYTES = 32

Ask = Callable[[str, bool], str]
"""Asks for a value: the question, and whether the answer stays hidden."""


@dataclass(frozen=True)
class Inputs:
    """What `setup` is given.

    Attributes:
        api_key: The secret key. It decides the mode.
        api_base: The address of Stripe's API; None for the real one.
        own: The values of the file that do not come from Stripe's API, by variable.
        configured: All variables that are set, by name: in the file, or else in the environment.
    """

    api_key: str
    api_base: str | None
    own: Mapping[str, str]
    configured: Mapping[str, str]

    @property
    def livemode(self) -> bool:
        """Whether the key is for live mode."""
        return is_live(self.api_key)


def read_inputs(file: EnvFile, environ: Mapping[str, str], ask: Ask) -> Inputs:
    """Read the keys and what is set already.

    The keys come from the environment, or else from the file, or else from a question. The ids of
    Stripe's objects come from the file, or else from the environment. Example values of the
    documents count as missing.

    Args:
        file: The environment file.
        environ: The environment variables.
        ask: Asks for a missing key.

    Raises:
        SettingsError: A key is missing or not valid.
        SetupError: The file has the key of the other mode.
    """
    in_file, in_environment = _set_in(dict(file)), _set_in(environ)
    inputs = {**in_file, **in_environment}
    api_key = _key(inputs, _SECRET_KEY, ("sk_test_", "sk_live_", "rk_test_", "rk_live_"), ask)
    present = in_file.get(variable(_SECRET_KEY))
    if present is not None and is_live(present) != is_live(api_key):
        modes = ("live", "test") if is_live(present) else ("test", "live")
        raise SetupError(
            f"{file.path} is for {modes[0]} mode, and the key is a {modes[1]} key. Use another "
            "--env-file for it."
        )
    publishable_key = _key(inputs, _PUBLISHABLE_KEY, ("pk_test_", "pk_live_"), ask)
    if is_live(publishable_key) != is_live(api_key):
        raise _fault(_PUBLISHABLE_KEY, f"is not of the mode of {variable(_SECRET_KEY)}")
    api_base = _api_base(inputs, api_key)
    given = {
        variable(_SECRET_KEY): api_key,
        variable(_PUBLISHABLE_KEY): publishable_key,
        variable(_JWT_SECRET): inputs.get(variable(_JWT_SECRET))
        or secrets.token_hex(_JWT_SECRET_BYTES),
        **({variable(_API_BASE): api_base} if api_base else {}),
    }
    # What is in the file stays: the service may use another key than its set-up.
    own = {name: in_file.get(name, value) for name, value in given.items()}
    return Inputs(api_key, api_base, own, {**in_environment, **in_file})


def webhook_url(text: str) -> str:
    """Return the URL of the webhook of a service.

    Args:
        text: The base URL of the service, or the URL of its webhook.

    Raises:
        ValueError: It is not an https URL, or an http URL on this machine. The message does not
            contain it.
    """
    check_url(text, ("https",), local_http=True)
    if set(text) & set("?#"):
        raise ValueError("has a query or a fragment")
    base = text.rstrip("/").removesuffix(WEBHOOK_PATH)
    return base + WEBHOOK_PATH


def _set_in(values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the service that have a value, without quotes and placeholders."""
    found = {}
    for field in Settings.model_fields.values():
        value = unquoted(values.get(variable_of(field), ""))
        if value and not (extra_of(field, "refuse_placeholder") and is_placeholder(value)):
            found[variable_of(field)] = value
    return found


def _key(inputs: Mapping[str, str], field: str, prefixes: tuple[str, ...], ask: Ask) -> str:
    """Return a key, and ask for it if it is not set."""
    value = inputs.get(variable(field))
    if value is None:
        declared = Settings.model_fields[field]
        doc = str(declared.description).split(". ")[0].replace("`", "")
        question = f"{doc}. {extra_of(declared, 'remedy')}\n{variable(field)}"
        value = str(unquoted(ask(question, field == _SECRET_KEY)))
    if not value:
        raise _fault(field, "is missing or blank")
    try:
        prefix_check(*prefixes)(value)
    except ValueError as error:
        raise _fault(field, str(error)) from None
    if is_placeholder(value):
        raise _fault(field, "is still a placeholder of the documentation")
    return value


def _api_base(inputs: Mapping[str, str], api_key: str) -> str | None:
    try:
        base = check_api_base(inputs.get(variable(_API_BASE)))
    except ValueError as error:
        raise _fault(_API_BASE, str(error)) from None
    if base is not None and is_live(api_key) and not base.startswith("https://"):
        raise _fault(_API_BASE, "is not https, and the key is a live key")
    return base


def _fault(field: str, problem: str) -> SettingsError:
    remedy = str(extra_of(Settings.model_fields[field], "remedy"))
    return SettingsError([Fault(variable(field), problem, remedy)])
