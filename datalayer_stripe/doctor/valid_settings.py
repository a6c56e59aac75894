"""The valid ones among settings of which others are missing or not valid."""

from collections.abc import Collection, Mapping
from typing import Any, cast

from ..errors import CannotCheck, SettingsError
from ..settings import Settings, variable
from ..settings_checks import is_live
from ..settings_fields import cleaned, extra_of, variable_of

# The properties of the settings, and what they are derived from.
_DERIVED = {"livemode": "stripe_api_key"}


class _ValidSettings:
    """Settings. To read one that is not valid raises CannotCheck.

    Args:
        settings: Valid settings, with stand-ins for those that are not.
        wrong: The names of the fields that are not valid.
    """

    def __init__(self, settings: Settings, wrong: Collection[str]) -> None:
        self._settings = settings
        self._wrong = wrong

    def __getattr__(self, name: str) -> Any:
        field = _DERIVED.get(name, name)
        if field in self._wrong:
            raise CannotCheck(f"{variable(field)} is missing or not valid")
        return getattr(self._settings, name)


def valid_settings(environ: Mapping[str, str], wrong_variables: Collection[str]) -> Settings | None:
    """Return settings that raise CannotCheck if one is read that is not valid.

    Args:
        environ: The environment variables.
        wrong_variables: Those that are missing or not valid.

    Returns:
        None if the valid ones do not fit together.
    """
    fields = {variable_of(field): name for name, field in Settings.model_fields.items()}
    values = {one: environ[one] for one in fields if one in environ}
    for name in wrong_variables:
        values.pop(name, None)
        field = Settings.model_fields[fields[name]] if name in fields else None
        if field is not None and field.is_required():
            values[name] = str(extra_of(field, "example"))
    if is_live(values.get(variable("stripe_api_key"), "")):
        publishable = variable("stripe_js_api_key")
        values[publishable] = values[publishable].replace("pk_test_", "pk_live_")
    try:
        settings = Settings(**cleaned(Settings, values))
    except SettingsError:
        return None
    wrong = {fields[name] for name in wrong_variables if name in fields}
    return cast("Settings", _ValidSettings(settings, wrong))
