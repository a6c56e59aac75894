"""What the checks look at, as far as it exists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..clock import Clock, system_clock
from ..errors import CannotCheck, Fault
from ..plugin_api.registry import Registry
from ..settings import Settings
from ..store import Store
from .account import StripeAccount


@dataclass(frozen=True)
class CheckContext:
    """The parts of a service that could be built from the environment.

    A property raises CannotCheck if its part could not be built. The check of that part reports
    why.

    Attributes:
        environ: The environment variables.
        hidden_files: The secret file of each variable that has another value.
        faults: The problems of the settings.
        found_settings: The settings, as far as they are valid; None if these do not fit together.
        plugin_error: Why the plugins cannot be loaded, or None.
        found_registry: The plugins, or None if they cannot be loaded.
        store_error: Why the database cannot be used, or None.
        no_store: Why no database is looked at, if the settings are valid.
        found_store: The database, or None.
        found_account: The Stripe account, or None.
        webhook_path: The path of the webhook, below the address of the service.
        endpoint_url: The public URL of the webhook, if the operator has given it.
        clock: Returns the present time.
    """

    environ: Mapping[str, str]
    webhook_path: str
    hidden_files: Mapping[str, Path] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    found_settings: Settings | None = None
    plugin_error: str | None = None
    found_registry: Registry | None = None
    store_error: str | None = None
    no_store: str = "the database cannot be used"
    found_store: Store | None = None
    found_account: StripeAccount | None = None
    endpoint_url: str | None = None
    clock: Clock = field(default=system_clock)

    @property
    def settings(self) -> Settings:
        """The settings. To read one that is not valid raises CannotCheck.

        Raises:
            CannotCheck: The valid ones do not fit together.
        """
        if self.found_settings is None:
            raise CannotCheck("the settings are not valid")
        return self.found_settings

    @property
    def registry(self) -> Registry:
        """The plugins.

        Raises:
            CannotCheck: They cannot be loaded.
        """
        if self.found_registry is None:
            raise CannotCheck("the plugins cannot be loaded")
        return self.found_registry

    @property
    def store(self) -> Store:
        """The database.

        Raises:
            CannotCheck: It cannot be used.
        """
        if self.found_store is None:
            reason = "the settings are not valid" if self.found_settings is None else self.no_store
            raise CannotCheck(reason)
        return self.found_store

    @property
    def server(self) -> Store:
        """The database, which is on a server.

        Raises:
            CannotCheck: It cannot be used, or is in the memory of a process.
        """
        if self.store.in_memory:
            raise CannotCheck("memory:// has no server")
        return self.store

    @property
    def account(self) -> StripeAccount:
        """The Stripe account.

        Raises:
            CannotCheck: There is no valid key.
        """
        if self.found_account is None:
            raise CannotCheck("there is no valid secret key")
        return self.found_account
