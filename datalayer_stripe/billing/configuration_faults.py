"""Settings that Stripe does not know: only the operator can fix them."""

import logging
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class ConfigurationFaults:
    """Keeps what is wrong with the values of variables, as calls to Stripe have found it.

    Each fault is logged once, as a WARNING, and is in `/readyz` until a later call succeeds.
    """

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def report(self, variable: str, problem: str) -> None:
        """Keep and log a fault.

        Args:
            variable: the name of the environment variable.
            problem: what is wrong, without a secret.
        """
        if self._found.get(variable) != problem:
            self._found[variable] = problem
            logger.warning("%s: %s", variable, problem)

    def clear(self, variable: str) -> None:
        """Forget the fault of a variable, whose value has just worked."""
        self._found.pop(variable, None)

    @property
    def found(self) -> Mapping[str, str]:
        """The present faults: a variable's name and what is wrong with its value."""
        return dict(self._found)
