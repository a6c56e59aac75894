"""The event loop of `serve`."""

import asyncio
import sys

import pytest

from datalayer_stripe.cli.common import run
from datalayer_stripe.cli.event_loop import fastest_loop_factory, fastest_loop_name


async def name_of_running_loop() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_uvloop_is_used_if_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    assert run(name_of_running_loop(), loop_factory=fastest_loop_factory()) == "uvloop"
    assert fastest_loop_name() == "uvloop"


def test_loop_of_asyncio_is_used_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # what an import of it then raises on
    assert run(name_of_running_loop(), loop_factory=fastest_loop_factory()) == "asyncio"
    assert fastest_loop_name() == "asyncio"


def test_uvloop_is_not_used_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert fastest_loop_factory() is None


def test_commands_other_than_serve_use_the_loop_of_asyncio() -> None:
    assert run(name_of_running_loop()) == "asyncio"
