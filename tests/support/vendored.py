"""Files of npm packages that are committed, so that the pages load nothing from a CDN.

`make vendor` writes them again. For a new version of a package, change its version and its
`integrity` here (`npm view PACKAGE@VERSION dist.integrity`), run `make vendor`, and set the hashes
that it prints.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.packaging import ROOT

_TIMEOUT = 120  # seconds
_HASH = "sha512"


@dataclass(frozen=True)
class VendoredFile:
    """A file of a package.

    Attributes:
        path: Its path in this repository.
        sha256: The hash of its content, as hexadecimal digits.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class Package:
    """An npm package.

    Attributes:
        name: Its name.
        version: Its version.
        integrity: The hash of its archive, as the registry states it: `sha512-` and base64.
        files: The vendored files by their paths in the package.
    """

    name: str
    version: str
    integrity: str
    files: Mapping[str, VendoredFile]


PACKAGES = (
    # The charts of the operator's page. It is the most used library of its kind, MIT, released
    # several times a year, and it needs neither eval nor inline styles.
    Package(
        name="chart.js",
        version="4.6.1",
        integrity=(
            "sha512-hJyniucsFmq//EvXYvJ6c6mahPoI3kaxdjVH8awTaJ/fDNWeS"
            "qqqArixMJWkWNN6fcYvPU3HneSANFNYtRi61g=="
        ),
        files={
            "dist/chart.umd.min.js": VendoredFile(
                "datalayer_stripe/web/admin/vendor/chart.umd.min.js",
                "87364cc2b2a76a6684929e7d6b80b18a897794db38400caff1fcf1791c6925d2",
            ),
            "LICENSE.md": VendoredFile(
                "datalayer_stripe/web/admin/vendor/chart.LICENSE.md",
                "41a84aa2caba645f966a18d9c2056b73e6d3a81d80bc0046bc0011a2634d4cce",
            ),
        },
    ),
    # The page that shows the HTTP API. It is the most used renderer of OpenAPI, Apache-2.0, and
    # released every few weeks. It works without eval, inline scripts and inline styles. Redoc and
    # Scalar are larger, and RapiDoc is released once a year.
    Package(
        name="swagger-ui-dist",
        version="5.35.0",
        integrity=(
            "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8"
            "CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ=="
        ),
        files={
            "swagger-ui-bundle.js": VendoredFile(
                "datalayer_stripe/web/api/vendor/swagger-ui-bundle.js",
                "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
            ),
            "swagger-ui.css": VendoredFile(
                "datalayer_stripe/web/api/vendor/swagger-ui.css",
                "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
            ),
            "LICENSE": VendoredFile(
                "datalayer_stripe/web/api/vendor/swagger-ui.LICENSE",
                "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
            ),
            "NOTICE": VendoredFile(
                "datalayer_stripe/web/api/vendor/swagger-ui.NOTICE",
                "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
            ),
            # The licences of the libraries in the bundle.
            "swagger-ui-bundle.js.LICENSE.txt": VendoredFile(
                "datalayer_stripe/web/api/vendor/swagger-ui-bundle.js.LICENSE.txt",
                "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
            ),
        },
    ),
)


class VendorError(Exception):
    """A package cannot be vendored."""


def download(package: Package, folder: Path) -> Path:
    """Download the archive of a package with npm, and check its hash.

    Raises:
        VendorError: Npm is missing or fails, or the archive has another hash.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise VendorError("npm is not on PATH")
    command = [npm, "pack", "--silent", f"{package.name}@{package.version}"]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    if ended.returncode != 0:
        raise VendorError(f"npm cannot download {package.name}: {ended.stderr[-500:]}")
    archive = folder / ended.stdout.strip().splitlines()[-1]
    check_integrity(package, archive.read_bytes())
    return archive


def check_integrity(package: Package, content: bytes) -> None:
    """Check the hash of a downloaded archive.

    Raises:
        VendorError: The archive has another hash than the one in `PACKAGES`.
    """
    digest = base64.b64encode(hashlib.new(_HASH, content).digest()).decode()
    if package.integrity != f"{_HASH}-{digest}":
        raise VendorError(f"{package.name}@{package.version} has another hash: {_HASH}-{digest}")


def vendor(package: Package) -> list[str]:
    """Write the files of a package, and return the lines to print.

    Raises:
        VendorError: The package cannot be downloaded, or has another hash.
    """
    lines = []
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(download(package, Path(folder))) as archive,
    ):
        for name, file in package.files.items():
            member = archive.extractfile(f"package/{name}")
            assert member is not None, name
            content = member.read()
            target = ROOT / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {file.path}")
    return lines


def main() -> None:
    for package in PACKAGES:
        try:
            print("\n".join(vendor(package)))
        except VendorError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
