"""Describe the machine and the versions that were measured."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.wrk import find_wrk
from tests.support.mongod import find_mongod

_PACKAGES = ("tornado", "uvloop", "motor", "pymongo", "pydantic", "stripe")


def describe() -> dict[str, str]:
    """Return what was measured where and when, by the name of each property."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "memory": f"{memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {installed(name)}" for name in _PACKAGES),
        "mongod": first_line([str(find_mongod()), "--version"]).removeprefix("db version v"),
        "wrk": first_line([find_wrk(), "--version"]).split(" [")[0].removeprefix("wrk "),
    }


def commit() -> str:
    """Return the commit that is checked out, and whether files differ from it."""
    short = first_line(["git", "rev-parse", "--short", "HEAD"])
    changed = first_line(["git", "status", "--porcelain", "--", "datalayer_stripe", "plugins"])
    return f"{short} with changes" if changed else short


def processor() -> str:
    """Return the model of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def memory_gib() -> float:
    """Return the size of the memory in GiB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def installed(package: str) -> str:
    """Return the version of a package, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def first_line(command: list[str]) -> str:
    """Return the first line that a command prints, or an empty text."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return next(iter((ended.stdout or ended.stderr).splitlines()), "")
