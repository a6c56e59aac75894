"""Generate what documents say of each setting from its field in `Settings`.

`make settings` writes the tables of docs/configuration.md, the variables of the example file, and
those of the Helm chart. Tests compare them with the fields.
"""

import re
import textwrap
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from datalayer_stripe.settings import Settings
from datalayer_stripe.settings_fields import extra_of, variable_of

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / "conf" / "datalayer-stripe.env.example"
CHART_VALUES = ROOT / "conf" / "helm" / "datalayer-stripe" / "values.yaml"
SET_BY_CHART = {
    "DATALAYER_STRIPE_METRICS_ADDRESS",
    "DATALAYER_STRIPE_PLUGINS_DIR",
    "DATALAYER_STRIPE_SECRETS_DIR",
}
"""Variables that the chart sets by values of its own."""

_WIDTH = 97
_MARKED = r"(<!-- settings: {section}[^\n]* -->\n).*?(<!-- end of settings -->)"
_HEAD = "\n| variable | default | what |\n| --- | --- | --- |\n"


def default_of(field: FieldInfo) -> str:
    """Return the default of a setting as an operator writes it; empty if it has none."""
    default = field.get_default()
    if field.is_required() or default in (None, "", ()):
        return ""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return ",".join(default) if isinstance(default, tuple) else str(default)


def bounds_of(field: FieldInfo) -> str:
    """Return a sentence with the bounds of a number, such as ` From 1 to 50.`, or nothing."""
    bounds = {
        name: getattr(one, name)
        for one in field.metadata
        for name in ("ge", "le")
        if hasattr(one, name)
    }
    match bounds:
        case {"ge": lowest, "le": highest}:
            return f" From {lowest:,} to {highest:,}."
        case {"ge": lowest}:
            return f" At least {lowest:,}."
    return ""


def _description(field: FieldInfo) -> str:
    """Return the description with the bounds, which come before a last sentence "See …".

    A description that names its lowest value gets no bounds.
    """
    text = field.description or ""
    if re.search(r"\bat least \d", text):
        return text
    before, see, link = text.partition(" See [")
    return f"{before}{bounds_of(field)}{see}{link}"


def table_row(field: FieldInfo) -> str:
    """Return the row of a setting in docs/configuration.md."""
    default = default_of(field)
    shown = "required" if field.is_required() else f"`{default}`" if default else "none"
    return f"| `{variable_of(field)}` | {shown} | {_description(field)} |\n"


def fields_of(section: str) -> list[FieldInfo]:
    """Return the fields of a section, in the order of `Settings`."""
    fields = Settings.model_fields.values()
    return [field for field in fields if extra_of(field, "section") == section]


def with_tables(document: str) -> str:
    """Return docs/configuration.md with the tables of the present fields."""
    for section in dict.fromkeys(
        extra_of(one, "section") for one in Settings.model_fields.values()
    ):
        table = _HEAD + "".join(map(table_row, fields_of(section))) + "\n"
        pattern = re.compile(_MARKED.format(section=section), re.DOTALL)
        document, found = pattern.subn(
            lambda match, table=table: match[1] + table + match[2], document
        )
        if found != 1:
            raise ValueError(f"docs/configuration.md has no place for the table of {section}")
    return document


def plain(markdown: str) -> str:
    """Return the text of Markdown without links, code marks and references to documents."""
    markdown = re.sub(r" See \[[^\]]+\]\([^)]+\)\.", "", markdown)
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", markdown).replace("`", "")


def example_lines(field: FieldInfo) -> str:
    """Return the comment and the line of a setting in the example file."""
    text = plain(
        f"{field.description} {extra_of(field, 'remedy')}"
        if field.is_required()
        else str(field.description)
    )
    lines = textwrap.wrap(plain(text), _WIDTH, break_on_hyphens=False, break_long_words=False)
    example = extra_of(field, "example")
    value = default_of(field) if example is None else example
    return "".join(f"# {line}\n" for line in lines) + f"{variable_of(field)}={value}\n"


def with_variables(example: str) -> str:
    """Return the example file with the present fields, below its introduction."""
    introduction = example.partition("# --- ")[0]
    fields = Settings.model_fields.values()
    parts = [
        ("Required", [field for field in fields if field.is_required()]),
        ("Optional: these have defaults", [field for field in fields if not field.is_required()]),
    ]
    text = introduction
    for title, members in parts:
        text += f"# --- {title} ".ljust(_WIDTH, "-") + "\n\n"
        text += "\n".join(map(example_lines, members)) + "\n"
    return text.rstrip("\n") + "\n"


def is_secret(field: FieldInfo) -> bool:
    """Return whether a setting, or each value of it, is a secret."""
    return "SecretStr" in str(field.annotation)


def with_chart_values(values: str) -> str:
    """Return the chart's values.yaml with the present fields that are no secrets, and no values."""
    names = {variable_of(field) for field in Settings.model_fields.values() if not is_secret(field)}
    lines = "".join(f'    {name}: ""\n' for name in sorted(names - SET_BY_CHART))
    pattern = r"(    # begin of settings[^\n]*\n).*?(    # end of settings\n)"
    return re.sub(pattern, lambda match: match[1] + lines + match[2], values, flags=re.DOTALL)


def main() -> None:
    """Write all files."""
    for path, generate in (
        (CONFIGURATION, with_tables),
        (EXAMPLE, with_variables),
        (CHART_VALUES, with_chart_values),
    ):
        path.write_text(generate(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
