"""The settings within a Jupyter Server: traits, and the environment for what they leave out."""

from typing import Any

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo
from traitlets import Any as AnyTrait

from ..configuration import Configuration, read_configuration
from ..settings import Settings

_JWT_SECRET = Settings.model_fields["jwt_secret"]


class JupyterSettings(Settings):
    """The settings, of which the bearer tokens' secret may be absent: Jupyter knows who calls."""

    jwt_secret: SecretStr | None = Field(
        default=None,
        validation_alias=_JWT_SECRET.validation_alias,
        json_schema_extra=_JWT_SECRET.json_schema_extra,
    )


def setting_traits() -> dict[str, AnyTrait]:
    """A trait for each setting, with the name of its variable without `DATALAYER_`, in lower case.

    None leaves the setting to the environment. Values are checked with the settings, and not here:
    a trait that refuses one has Jupyter log it, and leave all the others unread.
    """
    return {
        trait_name(field): AnyTrait(
            default_value=None,
            allow_none=True,
            help=f"{_remedy(field)} Or set {field.validation_alias} in the environment.",
        ).tag(config=True)
        for field in Settings.model_fields.values()
    }


def trait_name(field: FieldInfo) -> str:
    return str(field.validation_alias).removeprefix("DATALAYER_").lower()


def configuration_of(extension: Any) -> Configuration:
    """What the traits of `extension` give, and else the environment.

    Raises PluginError for a plugin that cannot be loaded, SettingsError with every other fault.
    """
    chosen = {
        str(field.validation_alias): value
        for field in Settings.model_fields.values()
        if (value := getattr(extension, trait_name(field))) is not None
    }
    return read_configuration(JupyterSettings, **chosen)


def _remedy(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["remedy"]) if isinstance(extra, dict) else ""
