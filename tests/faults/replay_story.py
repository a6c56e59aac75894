"""Run a story again that has violated a law: `python -m tests.faults.replay_story story.py`."""

import runpy
import sys

from tests.faults.model import ServiceModel
from tests.faults.runner import own_runner


def main(story: str) -> None:
    """Run the script of a story with a mongod of its own."""
    with own_runner() as runner:
        ServiceModel.runner = runner
        runpy.run_path(story, {"ServiceModel": ServiceModel})


if __name__ == "__main__":
    main(sys.argv[1])
