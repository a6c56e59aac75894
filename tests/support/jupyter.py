"""Run a Jupyter Server with the extension in a process with its own folders."""

import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Self

from tests.support.command import environment
from tests.support.labextension import PREBUILT
from tests.support.ports import free_port

ENABLING = Path(__file__).parents[2] / "conf" / "jupyter_server_config.d" / "datalayer_stripe.json"

TOKEN = "jupyter-token-of-the-tests"
BASE_URL = "/user/x/"
WEBHOOK = "/api/iam/stripe/v1/webhook"

# JupyterLab looks for no updates, and gives tests the application as `jupyterapp`.
_LAB_OPTIONS = (
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.expose_app_in_browser=True",
)
# A person's settings of JupyterLab, which otherwise asks whether to show news.
_NOTIFICATIONS = "lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
# These extensions come with JupyterLab, and make the start slower.
_OPTIONS_WITHOUT_LAB = tuple(
    f"--ServerApp.jpserver_extensions={name}=False"
    for name in ("jupyterlab", "jupyter_lsp", "notebook_shim")
)

_START_SECONDS = 120.0
_POLL = 0.05


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def code(self) -> str:
        """The code of the error."""
        return str(self.json["code"])

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the answer sets."""
        jar: SimpleCookie = SimpleCookie()
        for header in self.headers.get_all("Set-Cookie", []):
            jar.load(header)
        return {name: morsel.value for name, morsel in jar.items()}


class JupyterServer:
    """Context manager that starts a Jupyter Server, and kills it at the end if it still runs.

    Args:
        folder: The folder for all files.
        variables: The DATALAYER variables of its environment.
        config: The content of its jupyter_server_config.py.
        lab: Whether JupyterLab runs on it, with the prebuilt extension.
    """

    def __init__(
        self, folder: Path, variables: dict[str, str], config: str = "", *, lab: bool = False
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / "jupyter.log"
        settings = folder / "config"
        (settings / "jupyter_server_config.d").mkdir(parents=True)
        shutil.copy(ENABLING, settings / "jupyter_server_config.d")
        (settings / "jupyter_server_config.py").write_text(config, encoding="utf-8")
        (folder / "notebooks").mkdir()
        if lab:
            shutil.copytree(PREBUILT, folder / "data" / "labextensions" / "datalayer-stripe")
            notifications = settings / _NOTIFICATIONS
            notifications.parent.mkdir(parents=True)
            notifications.write_text('{"fetchNews": "false"}')
        self._folder = folder
        self._options = _LAB_OPTIONS if lab else _OPTIONS_WITHOUT_LAB
        self._environment = environment(
            **variables,
            HOME=str(folder),
            JUPYTER_CONFIG_DIR=str(settings),
            JUPYTER_DATA_DIR=str(folder / "data"),
            JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
            JUPYTER_TOKEN=TOKEN,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def __enter__(self) -> Self:
        command = [
            *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"),
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.base_url={BASE_URL}",
            *self._options,
        ]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder / "notebooks",
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        self.wait_for(self._is_up)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait_for(self, condition: Any) -> None:
        """Wait until a condition is true; fail with the server's log at the timeout."""
        deadline = time.monotonic() + _START_SECONDS
        while not condition():
            assert self._process is not None
            assert self._process.poll() is None, f"the server has ended:\n{self.log}"
            assert time.monotonic() < deadline, f"timeout:\n{self.log}"
            time.sleep(_POLL)

    def wait_until_open(self) -> Self:
        """Wait until the extension's routes are served."""
        self.wait_for(lambda: self.get("/api/iam/v1/ping").status != 503)
        return self

    def terminate(self) -> int:
        """Send SIGTERM, and return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=120)

    def _is_up(self) -> bool:
        try:
            return self.get("/api").status == 200
        except OSError:
            return False

    # Requests

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
        cookies: dict[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """Send a request to a path below the base URL; `token` is Jupyter's."""
        sent = dict(headers or {})
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if token is not None:
            sent["Authorization"] = f"token {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            chunked = "Transfer-Encoding" in sent
            path = BASE_URL.rstrip("/") + path
            connection.request(method, path, body, sent, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def lines(self, path: str, begun: Callable[[], object]) -> Iterator[bytes]:
        """Yield the lines of a stream until its end, and call a function after the first line."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Authorization": f"token {TOKEN}"}
            connection.request("GET", BASE_URL.rstrip("/") + path, headers=headers)
            response = connection.getresponse()
            while line := response.readline():
                yield line.strip()
                begun()
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, fields: Any = None, **options: Any) -> Answer:
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        body = json.dumps({} if fields is None else fields).encode()
        return self.request("POST", path, body=body, headers=headers, **options)
