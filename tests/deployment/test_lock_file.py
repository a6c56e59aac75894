"""The lock file: it fits the package's metadata, and `make lock` writes the same file again."""

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.lock_file import EXTRAS, LOCK_FILE, build_requirements, write


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    """Return the version of each package in the lock file."""
    text = LOCK_FILE.read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def test_lock_file_satisfies_the_metadata_and_the_build_system(locked: dict[str, str]) -> None:
    declared = [Requirement(text) for text in distribution("datalayer-stripe").requires or []]
    needed = [
        one
        for one in declared
        if one.marker is None or any(f'extra == "{extra}"' in str(one.marker) for extra in EXTRAS)
    ]
    assert len(needed) > 10
    for one in [*needed, *map(Requirement, build_requirements())]:
        version = locked[canonicalize_name(one.name)]
        assert one.specifier.contains(version), f"{one}, but the lock file has {version}: make lock"


def test_each_package_of_the_lock_file_has_hashes_and_the_file_names_no_registry() -> None:
    text = LOCK_FILE.read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 20
    for entry in entries:
        name, *hashes = [line.strip(" \\") for line in entry.strip().splitlines()]
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), name
    assert "://" not in text
    assert "index" not in text


@pytest.mark.deployment
def test_make_lock_writes_the_same_file_again(tmp_path: Path) -> None:
    # The versions in the file stay, so a newer release changes nothing.
    again = shutil.copy(LOCK_FILE, tmp_path / "requirements.lock")
    write(again)
    assert again.read_text(encoding="utf-8") == LOCK_FILE.read_text(encoding="utf-8"), "make lock"
