"""Identifiers and secrets shaped as Stripe's: a prefix and random letters and digits."""

import random
import string

_ALPHABET = string.ascii_letters + string.digits

# Stripe's older objects have 14 random characters, the newer ones 24.
_SHORT = {"prod", "cus", "si"}


class Ids:
    """A source of identifiers, repeatable when given a seed."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - names of pretend objects, not secrets

    def token(self, length: int) -> str:
        """Return `length` random letters and digits."""
        return "".join(self._random.choices(_ALPHABET, k=length))

    def new(self, prefix: str) -> str:
        """Return a new identifier such as `pi_3xNnt…` for the prefix `pi`."""
        return f"{prefix}_{self.token(14 if prefix in _SHORT else 24)}"

    def client_secret(self, object_id: str) -> str:
        """Return a client secret for a PaymentIntent or SetupIntent."""
        return f"{object_id}_secret_{self.token(25)}"

    def invoice_prefix(self) -> str:
        """Return the prefix of a customer's invoice numbers: eight capitals and digits."""
        return "".join(self._random.choices(string.ascii_uppercase + string.digits, k=8))
