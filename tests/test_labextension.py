"""Test that the prebuilt JupyterLab extension is the one that its sources build."""

import json

import pytest

from datalayer_stripe._version import __version__
from datalayer_stripe.jupyter.lab import CHECKOUT_URL_OPTION, set_checkout_url
from tests.support import labextension


def test_sources_and_prebuilt_extension_are_unchanged_since_the_build() -> None:
    stored = labextension.DIGEST_FILE.read_text(encoding="ascii").strip()
    assert stored == labextension.digest(), "run `make labextension`"


@pytest.mark.packages
def test_prebuilt_extension_is_built_from_its_sources() -> None:
    built = labextension.contents(labextension.require())
    committed = labextension.contents(labextension.PREBUILT)
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
