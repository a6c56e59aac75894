"""The service, the local Stripe and the recordings are of the API version of the installed SDK.

docs/operations.md says how to move to a newer version.
"""

import json
import re
from importlib.metadata import requires
from pathlib import Path

import pytest
import stripe

from datalayer_stripe.sandbox.engine.backend import API_VERSION
from datalayer_stripe.settings_checks import STRIPE_JS_URL
from datalayer_stripe.stripe_api.transport import STRIPE_VERSION
from datalayer_stripe.testing.recordings import EVENTS


def test_calls_have_the_api_version_of_the_installed_sdk() -> None:
    assert stripe.api_version == STRIPE_VERSION


def test_lowest_sdk_that_may_be_installed_is_the_tested_release() -> None:
    [required] = [text for text in requires("datalayer-stripe") or () if text.startswith("stripe")]
    lowest = re.search(r">=([\d.]+)", required)
    assert lowest is not None
    assert lowest[1].split(".") == stripe.VERSION.split(".")[:2]


def test_sandbox_has_the_api_version_of_the_calls() -> None:
    assert API_VERSION == STRIPE_VERSION


def test_stripe_js_is_of_the_release_of_the_api_version() -> None:
    release = STRIPE_VERSION.partition(".")[2]
    assert f"https://js.stripe.com/{release}/stripe.js" == STRIPE_JS_URL


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_recording_has_the_api_version_of_the_calls(path: Path) -> None:
    assert json.loads(path.read_text())["api_version"] == STRIPE_VERSION
