"""Types, values and options that several commands use."""

import ast
import re
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem

_RELATIVE_TIME = re.compile(r"(\d{1,6})([mhdw])")
_SINCE_EXAMPLES = ("36h", "7d", "30d")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


DEFAULT_HOST = "127.0.0.1"
"""Only this machine can connect unless another address is chosen."""

DEFAULT_PORT = 9700
"""The port of the service."""

DEFAULT_SANDBOX_PORT = 9701
"""The port of the demo's local Stripe, if it is free."""

PORT = click.IntRange(0, 65535)
LOG_LEVEL = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


class Since(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """Option type for a point in time.

    The value is a length of time before now (`36h`, `30d`, `2w`), a date, or an ISO 8601 date and
    time. Without a time zone it is in UTC.
    """

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the value as a datetime with a time zone."""
        if isinstance(value, datetime):
            return value
        try:
            if relative := _RELATIVE_TIME.fullmatch(value):
                length = timedelta(**{_UNITS[relative[2]]: int(relative[1])})
                return datetime.now(UTC) - length
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a time. Use a form such as 36h, 30d, 2w, 2026-11-01 or "
                "2026-11-01T12:00.",
                param,
                ctx,
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return examples of the form."""
        return [CompletionItem(one) for one in _SINCE_EXAMPLES if one.startswith(incomplete)]


class WebhookUrl(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """Option type for the URL of a webhook."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the URL, with the path of the webhook if it has none."""
        from ...handlers.urls import WEBHOOK_PATH  # noqa: PLC0415 (imports the service)
        from ...settings_checks import check_url  # noqa: PLC0415 (imports pydantic)

        try:
            check_url(value, ("https", "http"))
        except ValueError as error:
            self.fail(f"The URL {error}.", param, ctx)
        has_path = urlsplit(value).path.strip("/")
        return value if has_path else value.rstrip("/") + WEBHOOK_PATH


url_option = click.option(
    "--url",
    type=WebhookUrl(),
    help="URL of the webhook. Default: that of the endpoint that Stripe has for this service.",
)

env_file_option = click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Environment file. Its values replace those of the environment, except the secret key.",
)


def event_type_values(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the event types that Stripe's SDK lists, for completion."""
    return [one for one in event_types() if one.startswith(incomplete)]


def event_types() -> list[str]:
    """Return the event types that a webhook endpoint can be sent, sorted.

    They are those of :func:`.events.known_types`, but read from the SDK's source: its import would
    take a second.
    """
    sdk = find_spec("stripe")
    if sdk is None or sdk.origin is None:
        return []
    source = Path(sdk.origin).parent / "params" / "_webhook_endpoint_create_params.py"
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return []
    found = {
        value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "enabled_events"
        for value in ast.walk(node.annotation)
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }
    return sorted(found - {"*"})
