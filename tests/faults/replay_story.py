"""Tell a story again that broke a law: `python -m tests.faults.tell story.py`."""

import runpy
import sys

from tests.faults.environment import own_stage
from tests.faults.model import Books


def main(story: str) -> None:
    with own_stage() as stage:
        Books.stage = stage
        runpy.run_path(story, {"Books": Books})


if __name__ == "__main__":
    main(sys.argv[1])
