"""Read the settings from the extension's traits and from the environment."""

from typing import Any

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo

from ..configuration import Configuration, read_configuration
from ..settings import Settings

_JWT_SECRET = Settings.model_fields["jwt_secret"]


class JupyterSettings(Settings):
    """Settings in which the secret of bearer tokens is optional: Jupyter authenticates callers."""

    jwt_secret: SecretStr | None = Field(
        default=None,
        validation_alias=_JWT_SECRET.validation_alias,
        json_schema_extra=_JWT_SECRET.json_schema_extra,
    )


def trait_name(field: FieldInfo) -> str:
    """Return the name of the trait of a setting: its variable in lower case, without `DATALAYER_`.

    Args:
        field: A field of `Settings`.
    """
    return str(field.validation_alias).removeprefix("DATALAYER_").lower()


def configuration_from_traits(extension: Any) -> Configuration:
    """Read the configuration. A trait that is None leaves its setting to the environment.

    Args:
        extension: The extension, with a trait for each setting.

    Returns:
        The settings, and the plugins with their settings.

    Raises:
        PluginError: A plugin cannot be loaded.
        SettingsError: With all other problems.
    """
    values = {
        str(field.validation_alias): value
        for field in Settings.model_fields.values()
        if (value := getattr(extension, trait_name(field))) is not None
    }
    return read_configuration(JupyterSettings, **values)
