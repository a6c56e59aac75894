"""The unit for systemd: systemd accepts it, and rates it as well protected."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from datalayer_stripe.cli.serve_process import STOP_TIMEOUT
from tests.support.image import require_tools
from tests.support.packaging import ROOT

UNIT = ROOT / "conf" / "systemd" / "datalayer-stripe.service"
DOCUMENT = ROOT / "docs" / "deployment.md"
MAX_EXPOSURE = 15  # tenths; systemd calls up to 2.0 "ok" and up to 10.0 "unsafe"

pytestmark = pytest.mark.deployment


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    require_tools("systemd-analyze")
    # systemd looks for the program of the unit, which is not installed here.
    text = UNIT.read_text(encoding="utf-8")
    installed = text.replace("/opt/datalayer-stripe/bin/datalayer-stripe", sys.executable)
    assert installed != text
    unit = tmp_path / UNIT.name
    unit.write_text(installed, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_rates_the_unit_as_well_protected() -> None:
    require_tools("systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}"]
    done = subprocess.run([*command, str(UNIT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"below {MAX_EXPOSURE / 10} of 10" in DOCUMENT.read_text(encoding="utf-8")


def test_unit_waits_as_long_as_the_service_needs_to_stop() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(UNIT, encoding="utf-8")
    assert int(unit["Service"]["TimeoutStopSec"]) > STOP_TIMEOUT
