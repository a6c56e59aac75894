"""The extension: reads its settings, adds the routes, and starts and ends with the server."""

import logging
from functools import cached_property

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import default

from .._version import __version__
from ..configuration import Configuration
from ..errors import NotConfigured, PluginError
from ..handlers.site import Site
from ..logs import MessageFormatter
from ..metrics import Metrics
from ..settings import Settings, SettingsError
from .landing import link_from_first_page
from .lifecycle import Running
from .routes import jupyter_handlers
from .settings import configuration_of, setting_traits
from .users import names_people, shares_names

DOCUMENT = "https://github.com/datalayer/datalayer-stripe/blob/main/docs/jupyter.md"


class DatalayerStripe(ExtensionApp):
    """Sells credits from a Jupyter Server. Each trait has a variable, which counts without it."""

    name = "datalayer-stripe"
    version = __version__
    description = f"A Jupyter Server with the checkout page of datalayer-stripe: {DOCUMENT}"

    # A trait for each field of Settings: PEP 667 lets a class body write to its namespace.
    locals().update(setting_traits())

    @default("default_url")
    def _default_url(self) -> str:
        return self.checkout_path or "/"

    @cached_property
    def configuration(self) -> Configuration | SettingsError | PluginError:
        """What is set, or what is wrong with it."""
        try:
            return configuration_of(self)
        except (SettingsError, PluginError) as error:
            return error

    @property
    def checkout_path(self) -> str | None:
        """Below the base_url; None where the page is another site's."""
        if not isinstance(self.configuration, Configuration):
            return f"/{Settings.model_fields['stripe_checkout_route'].default}"
        return self.configuration.settings.checkout_path

    def initialize_settings(self) -> None:
        ours = logging.getLogger("datalayer_stripe")
        ours.addHandler(_ToJupyter(self.log))
        ours.setLevel(self.log.getEffectiveLevel())
        ours.propagate = False
        base_url = self.settings["base_url"]
        self.site = Site(Metrics(), base_url=base_url, identity="cookie")
        self.settings["datalayer_stripe"] = self.site
        if not isinstance(self.configuration, Configuration):
            self.site.shut(NotConfigured)
            self.log.warning(
                "No credits can be bought on this server, and all else is well: %s. See %s",
                _in_a_line(self.configuration),
                DOCUMENT,
            )
        elif path := self.checkout_path:
            link_from_first_page(self.settings["jinja2_env"], base_url.rstrip("/") + path)

    def initialize_handlers(self) -> None:
        routes = jupyter_handlers(self.checkout_path)
        self.site.label_routes(routes)
        self.handlers.extend(routes)

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        if not isinstance(self.configuration, Configuration):
            return
        if not names_people(serverapp.identity_provider):
            self.log.warning(
                "Jupyter makes a name up for each browser, and credits are kept under it until its "
                "cookie is gone. %s#who-calls shows how to name the owner of this server.",
                DOCUMENT,
            )
        if shares_names(self.configuration.settings):
            self.log.warning(
                "Jupyter's usernames and the subjects of Datalayer's tokens name the same "
                "accounts: who can choose the username of another account gets it. Unless nobody "
                "can, set DATALAYER_STRIPE_JUPYTER_USERNAME_PREFIX, to jupyter: for example."
            )
        self._running = Running(self.site, self.configuration)
        self._running.start()

    async def stop_extension(self) -> None:
        """Close the service. Called also where the extension was never initialized or started."""
        if running := getattr(self, "_running", None):
            await running.stop()


def _in_a_line(error: SettingsError | PluginError) -> str:
    if isinstance(error, SettingsError):
        return "; ".join(f"{one.variable} {one.problem}" for one in error.faults)
    return str(error).rstrip(".")


class _ToJupyter(logging.Handler):
    """Hands our log to Jupyter's, each line complete and without secrets."""

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        super().__init__()
        self.setFormatter(MessageFormatter())
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, "%s", self.format(record))
