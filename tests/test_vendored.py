"""Test that the vendored files are those of the packages, unchanged."""

import hashlib

import pytest

from tests.support.packaging import ROOT
from tests.support.vendored import PACKAGES, Package, VendorError, check_integrity

FILES = [file for package in PACKAGES for file in package.files.values()]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_vendored_files_have_the_hashes_of_their_package(package: Package) -> None:
    for file in package.files.values():
        assert hashlib.sha256((ROOT / file.path).read_bytes()).hexdigest() == file.sha256, file.path
    licences = [name for name in package.files if name.lower().startswith("licen")]
    assert licences, "each package brings its licence"


def test_vendor_folders_contain_no_other_file() -> None:
    folders = {(ROOT / file.path).parent for file in FILES}
    found = {str(path.relative_to(ROOT)) for folder in folders for path in folder.iterdir()}
    assert found == {file.path for file in FILES}


def test_archive_with_another_hash_is_refused() -> None:
    with pytest.raises(VendorError, match="another hash"):
        check_integrity(PACKAGES[0], b"another archive")
