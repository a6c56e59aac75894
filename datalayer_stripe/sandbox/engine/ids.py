"""Generation of identifiers and client secrets in Stripe's format."""

import random
import string

_ALPHABET = string.ascii_letters + string.digits

# Identifiers of these objects have 14 random characters; all others have 24.
_SHORT_PREFIXES = {"prod", "cus", "si"}


class Ids:
    """Generator of identifiers.

    Args:
        seed: makes the identifiers reproducible.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - identifiers of test objects, not secrets

    def token(self, length: int) -> str:
        """Return `length` random letters and digits."""
        return "".join(self._random.choices(_ALPHABET, k=length))

    def new(self, prefix: str) -> str:
        """Return a new identifier such as `pi_3xNnt…` for the prefix `pi`."""
        return f"{prefix}_{self.token(14 if prefix in _SHORT_PREFIXES else 24)}"

    def client_secret(self, object_id: str) -> str:
        """Return a client secret for a PaymentIntent or SetupIntent."""
        return f"{object_id}_secret_{self.token(25)}"

    def invoice_prefix(self) -> str:
        """Return a prefix for a customer's invoice numbers: eight capital letters and digits."""
        return "".join(self._random.choices(string.ascii_uppercase + string.digits, k=8))
