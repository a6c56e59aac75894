"""Faults in the configuration that only calls to Stripe reveal."""

import logging
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class ConfigurationFaults:
    """Records which environment variables have a value that Stripe does not accept.

    Each fault is logged once, as a WARNING, and is shown in `/readyz` until a later call succeeds.
    """

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}

    def report(self, variable: str, problem: str) -> None:
        """Record and log a fault.

        Args:
            variable: The name of the environment variable.
            problem: What is wrong. It must not contain a secret.
        """
        if self._faults.get(variable) != problem:
            self._faults[variable] = problem
            logger.warning("%s: %s", variable, problem)

    def clear(self, variable: str) -> None:
        """Remove the fault of a variable after a call with its value has succeeded.

        Args:
            variable: The name of the environment variable.
        """
        self._faults.pop(variable, None)

    @property
    def current(self) -> Mapping[str, str]:
        """The problem of each variable with a fault, by the variable's name."""
        return dict(self._faults)
