"""The example for nginx, with a real nginx in front of the service."""

import io
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from datalayer_stripe.settings import Settings
from datalayer_stripe.settings_checks import networks
from tests.handlers.stream_reader import STREAM, Reader
from tests.support.app import ACCOUNT, Api, recorded, sign
from tests.support.image import require_tools
from tests.support.packaging import ROOT
from tests.support.ports import free_port
from tests.support.shop import IAM_ROUTES, WEBHOOK_ROUTE

EXAMPLE = ROOT / "conf" / "nginx" / "datalayer-stripe.conf"
HOST = "billing.example.com"
CLIENT = "127.0.0.2"
PAID = recorded("payment_intent.succeeded")
_TIMEOUT = 30  # seconds

pytestmark = pytest.mark.deployment

MAIN = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{user}
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/datalayer-stripe.conf;
}}
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"trusted_proxies": networks(("127.0.0.1",))})


@pytest.fixture
def nginx(api: Api, tmp_path: Path) -> Iterator[dict[str, int]]:
    """Run nginx with the example in front of the service. Return its port of each scheme."""
    require_tools("nginx", "openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl += ["-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    openssl += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(openssl, check=True, capture_output=True)
    ports = {"http": free_port(), "https": free_port()}
    example = EXAMPLE.read_text(encoding="utf-8")
    for pattern, value in {
        r"server 127\.0\.0\.1:9700;": f"server {api.url.removeprefix('http://')};",
        r"listen 80;": f"listen 127.0.0.1:{ports['http']};",
        r"^    listen 443 ssl": f"    listen 127.0.0.1:{ports['https']} ssl",
        r"ssl_certificate [^;]+;": f"ssl_certificate {certificate};",
        r"ssl_certificate_key [^;]+;": f"ssl_certificate_key {key};",
    }.items():
        example, found = re.subn(pattern, value, example, flags=re.MULTILINE)
        assert found == 1, pattern
    (tmp_path / "datalayer-stripe.conf").write_text(example, encoding="utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    main = tmp_path / "nginx.conf"
    main.write_text(MAIN.format(folder=tmp_path, user=user), encoding="utf-8")
    command = [str(shutil.which("nginx")), "-c", str(main), "-p", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_listens(ports["https"], process, tmp_path / "error.log")
        yield ports
    finally:
        process.terminate()
        process.wait(_TIMEOUT)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while True:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)
        else:
            return


@asynccontextmanager
async def client_of(nginx: dict[str, int]) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client at another address than nginx's."""
    connector = aiohttp.TCPConnector(ssl=False, local_addr=(CLIENT, 0))
    url = f"https://127.0.0.1:{nginx['https']}"
    async with aiohttp.ClientSession(url, connector=connector, headers={"Host": HOST}) as session:
        yield session


@pytest.mark.gen_test
async def test_delivery_arrives_unchanged_and_with_the_address_of_its_sender(
    api: Api, nginx: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "datalayer_stripe.access")
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": sign(PAID),
        "X-Forwarded-For": "203.0.113.9",  # nginx replaces what a client sends
        "X-Request-Id": "chosen-by-the-client",
    }
    async with client_of(nginx) as session:
        answer = await session.post(WEBHOOK_ROUTE, data=PAID, headers=headers)
        assert answer.status == 200, await answer.text()
    assert await api.credits() > 0
    line = vars(next(one for one in caplog.records if one.getMessage() == "delivery"))
    assert line["remote_ip"] == CLIENT
    assert re.fullmatch(r"[0-9a-f]{32}", line["request_id"])
    assert answer.headers["X-Request-Id"] == line["request_id"]


@pytest.mark.gen_test
async def test_stream_is_not_buffered(api: Api, nginx: dict[str, int]) -> None:
    headers = {"Authorization": f"Bearer {api.bearer(ACCOUNT)}"}
    async with client_of(nginx) as session, session.get(STREAM, headers=headers) as response:
        reader = Reader(response)
        assert (await reader.next()).name == "balance"
        await api.deliver(PAID)
        await reader.wait_for_balance(await api.credits())


@pytest.mark.gen_test
async def test_public_sees_the_page_and_the_api_and_nothing_else(
    api: Api, nginx: dict[str, int]
) -> None:
    async with client_of(nginx) as session:
        for path in ("/checkout", "/checkout/app.js", f"{IAM_ROUTES}/ping"):
            assert (await session.get(path)).status == 200, path
        for path in ("/", "/metrics", "/healthz", "/readyz", "/api/", "/api/iam"):
            answer = await session.get(path, allow_redirects=False)
            assert answer.status == (301 if path == "/api/iam" else 404), path
        too_large = await session.post(WEBHOOK_ROUTE, data=io.BytesIO(b" " * (1024 * 1024 + 1)))
        assert too_large.status == 413
        assert "nginx" in await too_large.text(), "the service itself has refused it"
        plain = f"http://127.0.0.1:{nginx['http']}/checkout"
        moved = await session.get(plain, allow_redirects=False)
        assert (moved.status, moved.headers["Location"]) == (308, f"https://{HOST}/checkout")


@pytest.mark.gen_test
async def test_nginx_speaks_http_2(nginx: dict[str, int]) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", nginx["https"])) as connection,
        context.wrap_socket(connection, server_hostname=HOST) as wrapped,
    ):
        assert wrapped.selected_alpn_protocol() == "h2"
