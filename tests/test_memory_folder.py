"""The folder in memory of a test run's mongod."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="the folder is locked with fcntl, which Windows does not have")

from tests.support.memory_folder import MIN_AGE, memory_folder

# A test run that is killed while it uses its folder.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.support.memory_folder import memory_folder
with memory_folder(Path(sys.argv[1])) as folder:
    (folder / "journal").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def make_old(folder: Path) -> None:
    old = time.time() - MIN_AGE - 1
    os.utime(folder, (old, old))


def test_folder_of_a_killed_test_run_is_removed_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    [abandoned] = tmp_path.iterdir()
    make_old(abandoned)
    with memory_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_folders_in_use_new_or_of_other_programs_stay(tmp_path: Path) -> None:
    new, other = tmp_path / "datalayer-stripe-mongod-new", tmp_path / "mongod-other"
    new.mkdir()
    other.mkdir()
    make_old(other)
    with memory_folder(tmp_path) as first:
        make_old(first)
        with memory_folder(tmp_path):
            assert first.is_dir()
    assert {*tmp_path.iterdir()} == {new, other}
