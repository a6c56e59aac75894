"""A Jupyter Server whose extension uses the demo's local Stripe."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datalayer_stripe.settings import Settings
from datalayer_stripe.settings_checks import revealed
from tests.browser.demo_server import DemoServer
from tests.support.jupyter import BASE_URL, WEBHOOK, JupyterServer


@contextmanager
def running_jupyter(
    demo_server: DemoServer, folder: Path, *, lab: bool = False
) -> Iterator[JupyterServer]:
    """Start a Jupyter Server that receives the events of the local Stripe.

    Args:
        demo_server: The demo whose local Stripe it uses.
        folder: The folder for all files of the server.
        lab: Whether JupyterLab runs on it.
    """
    with JupyterServer(folder, variables_of(demo_server.settings), lab=lab) as server:
        [secret] = demo_server.settings.stripe_webhook_secrets
        endpoint = f"{server.url}{BASE_URL.rstrip('/')}{WEBHOOK}"
        create = demo_server.sandbox.create_webhook_endpoint
        demo_server.call(create, endpoint, secret=revealed(secret))
        yield server.wait_until_open()


def variables_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables for these settings, without the token secret."""
    values = settings.model_dump(exclude={"jwt_secret"}, exclude_none=True, exclude_defaults=True)
    fields = Settings.model_fields
    return {
        str(fields[name].validation_alias): (
            ",".join(map(revealed, value)) if isinstance(value, tuple) else str(revealed(value))
        )
        for name, value in values.items()
    }
