"""The computed parts of the package's metadata; pyproject.toml holds the static ones."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

REPOSITORY = "https://github.com/datalayer/datalayer-stripe"

# A link or an image of Markdown whose target is a path in this repository.
_RELATIVE_LINK = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)]+)\)")


def read_version() -> str:
    """Read the version without importing the package, whose dependencies may be missing."""
    text = (HERE / "datalayer_stripe" / "_version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError("datalayer_stripe/_version.py has no __version__")
    return match.group(1)


def read_description(version: str) -> str:
    """Read the README with absolute links: the package index has none of the other files.

    Args:
        version: The version, whose tag the links name.
    """

    def absolute(match: re.Match[str]) -> str:
        image, text, path = match.groups()
        return f"{image}{text}({REPOSITORY}/{'raw' if image else 'blob'}/v{version}/{path})"

    return _RELATIVE_LINK.sub(absolute, (HERE / "README.md").read_text(encoding="utf-8"))


# Each file is a plugin, and its name with hyphens is the name of its entry point.
BUILT_IN_PLUGINS = sorted(path.stem for path in (HERE / "plugins").glob("[!_]*.py"))

VERSION = read_version()

setup(
    version=VERSION,
    long_description=read_description(VERSION),
    long_description_content_type="text/markdown",
    packages=[*find_packages(include=["datalayer_stripe*"]), "datalayer_stripe_plugins"],
    entry_points={
        "console_scripts": [
            "datalayer-stripe = datalayer_stripe.cli.main:main",
            "jupyter-datalayer-stripe = datalayer_stripe.jupyter:main",
        ],
        "pytest11": ["datalayer-stripe = datalayer_stripe.testing.pytest_plugin"],
        "datalayer_stripe.plugins": [
            f"{name.replace('_', '-')} = datalayer_stripe_plugins.{name}:plugin"
            for name in BUILT_IN_PLUGINS
        ],
    },
)
