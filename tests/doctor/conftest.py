"""Fixtures of a service that is set up correctly."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.testing.clock import Clock
from tests.doctor.setup_scene import Scene
from tests.support.database import connect


@pytest.fixture
def scene(
    io_loop: IOLoop,
    sandbox: Sandbox,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    for name in [name for name in os.environ if name.startswith("DATALAYER_")]:
        monkeypatch.delenv(name)
    store = io_loop.run_sync(lambda: connect("memory://", livemode=False, expiring=False))
    names = [plugin.name for plugin in Registry.load().plugins]
    io_loop.run_sync(lambda: store.first_seen.note(names, clock()))
    scene = Scene(sandbox, store, clock, tmp_path / "plugins", monkeypatch)
    yield scene
    io_loop.run_sync(scene.close)
