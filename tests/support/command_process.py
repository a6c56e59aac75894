"""The body of a process that runs one command. It imports nothing of the tests."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn


def run(arguments: Sequence[str], variables: Mapping[str, str], out: str, err: str) -> NoReturn:
    """Run `datalayer-stripe` with exactly this environment.

    Args:
        arguments: what stands after the command's name.
        variables: the environment.
        out: the file that stdout goes to.
        err: the file that stderr goes to.
    """
    os.environ.clear()
    os.environ.update(variables)
    for path, descriptor in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
        os.close(opened)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    # What the parent process has set up for its own tests is not the command's.
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", encoding="utf-8") for number in (1, 2))
    sys.argv = ["datalayer-stripe", *arguments]
    from datalayer_stripe.cli.main import main  # noqa: PLC0415 (with the environment above)

    main(prog_name="datalayer-stripe")
    raise AssertionError("a click command ends by sys.exit()")
