"""The official Stripe CLI, from npm, in a folder of the virtual environment.

`make stripe-cli` installs it. The tests that need it install it too, if npm is on PATH.
"""

import sys
from pathlib import Path

import pytest

from tests.support import npm

VERSION = "1.52.0"


def install() -> Path:
    """Return the path of the Stripe CLI; install it if it is missing or has another version.

    Raises:
        NotInstalled: npm is missing, or cannot install it.
    """
    # The program is in a package of its own for each platform.
    return npm.install("@stripe/cli", VERSION, "node_modules/@stripe/cli-*/bin/stripe*")


def require() -> Path:
    """Return the path of the Stripe CLI.

    The test is skipped without it: not every machine has npm, or reaches its registry. The tests of
    the sandbox check each operation that the CLI uses.
    """
    try:
        return install()
    except npm.NotInstalled as error:
        pytest.skip(f"the Stripe CLI is not installed: {error}")


if __name__ == "__main__":
    try:
        print(install())
    except npm.NotInstalled as error:
        sys.exit(str(error))
