"""Test that the prebuilt JupyterLab extension is the one that its sources build."""

import json
from pathlib import Path

from datalayer_stripe._version import __version__
from datalayer_stripe.jupyter.lab import CHECKOUT_URL_OPTION, set_checkout_url
from tests.support import labextension


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, by their paths in it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_prebuilt_extension_is_built_from_its_sources() -> None:
    built, committed = contents(labextension.require()), contents(labextension.PREBUILT)
    assert built.keys() == committed.keys(), "run `make labextension`"
    different = [name for name, content in built.items() if committed[name] != content]
    assert not different, f"run `make labextension`: {different}"


def test_extension_has_the_version_of_the_package() -> None:
    metadata = json.loads((labextension.PREBUILT / "package.json").read_text())
    assert metadata["version"] == __version__, (
        "set the version in labextension/package.json and run `make labextension`"
    )


def test_lock_file_names_no_registry() -> None:
    lock = json.loads((labextension.SOURCES / "package-lock.json").read_text())
    packages = lock["packages"].items()
    assert [name for name, package in packages if "resolved" in package] == []
    assert [name for name, package in packages if name and "integrity" not in package] == []


def test_checkout_url_is_an_option_of_the_page_that_the_extension_reads() -> None:
    settings = {"page_config_data": {"other": "kept"}}
    set_checkout_url(settings, "/user/x/checkout")
    assert settings == {
        "page_config_data": {"other": "kept", CHECKOUT_URL_OPTION: "/user/x/checkout"}
    }
    sources = (labextension.SOURCES / "src" / "index.ts").read_text()
    assert f'"{CHECKOUT_URL_OPTION}"' in sources
