"""Main function of a process that runs one command. It imports no tests."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn


def run(arguments: Sequence[str], variables: Mapping[str, str], out: str, err: str) -> NoReturn:
    """Run `datalayer-stripe` with exactly this environment.

    Args:
        arguments: The command line, without the name of the command.
        variables: The environment.
        out: The file for stdout.
        err: The file for stderr.
    """
    os.environ.clear()
    os.environ.update(variables)
    for path, descriptor in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
        os.close(opened)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    # Replace the streams that the parent process has set up for its tests.
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", encoding="utf-8") for number in (1, 2))
    sys.argv = ["datalayer-stripe", *arguments]
    from datalayer_stripe.cli.main import main  # noqa: PLC0415 (needs the environment above)

    main(prog_name="datalayer-stripe")
    raise AssertionError("a click command ends with sys.exit()")
