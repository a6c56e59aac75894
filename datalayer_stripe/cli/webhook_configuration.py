"""The configuration that the commands `webhook` read."""

import os
import secrets
from pathlib import Path
from typing import Any

from ..configuration import Configuration, read_configuration
from ..errors import StartError
from ..logs import configure_logging
from ..provisioning.env_file import EnvFile
from ..settings import read_environment, variable
from .common import fail, fail_to_start
from .output.terminal import print_line

_PREFIX = "DATALAYER_"
_SECRETS = variable("stripe_webhook_secrets")
_API_KEY = variable("stripe_api_key")


def configuration_of(env_file: Path | None, *, creates_secret: bool = False) -> Configuration:
    """Read the configuration, with the values of a file in place of those of the environment.

    The secret key of the environment counts nevertheless: the one in the file may be a restricted
    key, which is enough for the service.

    If it is not valid, print a line for each problem on stderr and exit with code 2. Print a
    warning for each event type of a plugin that Stripe does not have.

    Args:
        env_file: The file, or None.
        creates_secret: Whether the command writes a signing secret to the file, so that none has
            to be there.
    """
    configure_logging(level="ERROR")
    overrides: dict[str, Any] = {}
    try:
        values = dict(EnvFile.read(env_file)) if env_file is not None else {}
        environment = read_environment()
        if creates_secret and not values.get(_SECRETS):
            if path := environment.files.get(_SECRETS):
                fail(
                    f"{env_file} does not set {_SECRETS}, and the file {path} does. Write its "
                    f"value to {env_file}, and after each run of this command the new value of "
                    f"{env_file} to {path}."
                )
            if environment.values.get(_SECRETS):
                fail(
                    f"{env_file} does not set {_SECRETS}, and the environment does. Name the "
                    "environment file that the service reads."
                )
            # Nothing is signed with it.
            overrides["stripe_webhook_secrets"] = f"whsec_{secrets.token_hex(16)}"
        if environment.values.get(_API_KEY):
            values.pop(_API_KEY, None)
        os.environ.update({name: one for name, one in values.items() if name.startswith(_PREFIX)})
        configuration = read_configuration(running_plugins=False, **overrides)
    except StartError as error:
        fail_to_start(error)
    for warning in configuration.registry.unknown_type_warnings:
        print_line(f"{warning} Stripe refuses an endpoint with this type.", err=True)
    return configuration
