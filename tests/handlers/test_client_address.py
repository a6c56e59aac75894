"""The address of the client in the log: `X-Forwarded-For` counts from trusted proxies only."""

import logging

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from datalayer_stripe.errors import SettingsError
from datalayer_stripe.handlers.client_address import client_address
from datalayer_stripe.settings import Settings
from datalayer_stripe.settings_checks import networks
from tests.support.app import Api

TRUSTED = networks(("127.0.0.1", "10.0.0.0/8", "2001:db8::/32"))
CLIENT = "203.0.113.9"


def request_from(peer: str, *forwarded: str) -> HTTPServerRequest:
    headers = HTTPHeaders({"Host": "billing.example.com"})
    for line in forwarded:
        headers.add("X-Forwarded-For", line)
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers
    )
    request.remote_ip = peer
    return request


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("127.0.0.1", [CLIENT], CLIENT),
        ("127.0.0.1", [f"6.6.6.6, {CLIENT}"], CLIENT),
        ("127.0.0.1", [f"6.6.6.6, {CLIENT}, 10.1.2.3"], CLIENT),
        ("127.0.0.1", ["6.6.6.6", f"{CLIENT},10.1.2.3"], CLIENT),
        ("::ffff:10.0.0.7", [CLIENT], CLIENT),
        ("2001:db8::1", ["2a00::5"], "2a00::5"),
        (CLIENT, ["6.6.6.6"], CLIENT),
        (CLIENT, ["127.0.0.1"], CLIENT),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["6.6.6.6, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["6.6.6.6, 10.0.0.2"], "6.6.6.6"),
        ("127.0.0.1", ["6.6.6.6, x y, 10.0.0.2"], "10.0.0.2"),
        ("0.0.0.0", [CLIENT], "0.0.0.0"),
        ("", [CLIENT], ""),
    ],
)
def test_header_counts_as_far_as_trusted_proxies_have_written_it(
    peer: str, forwarded: list[str], expected: str
) -> None:
    request = request_from(peer, *forwarded)
    assert client_address(request, TRUSTED) == expected
    assert client_address(request, ()) == peer


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the trusted proxies of the test's parameter, if it has one."""
    trusted = networks(getattr(request, "param", ()))
    return settings.model_copy(update={"trusted_proxies": trusted})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [(("127.0.0.1",), CLIENT), (("10.0.0.0/8",), "127.0.0.1"), ((), "127.0.0.1")],
    indirect=["settings"],
)
@pytest.mark.gen_test
async def test_log_has_the_address_that_a_trusted_proxy_has_named(
    api: Api, caplog: pytest.LogCaptureFixture, expected: str
) -> None:
    caplog.set_level(logging.INFO, "datalayer_stripe.access")
    await api.request("GET", "/api/iam/v1/ping", headers={"X-Forwarded-For": CLIENT})
    [record] = caplog.records
    assert vars(record)["remote_ip"] == expected


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy.example.com", "10.0.0.0/8,*", "0.0.0.0/0"])
def test_wrong_network_is_refused_without_its_value(settings: Settings, wrong: str) -> None:
    values = settings.model_dump(exclude={"trusted_proxies"})
    with pytest.raises(SettingsError) as refused:
        Settings(**values, trusted_proxies=wrong)
    [fault] = refused.value.faults
    assert fault.variable == "DATALAYER_STRIPE_TRUSTED_PROXIES"
    assert "(value " in fault.problem
    assert wrong.rsplit(",", maxsplit=1)[-1] not in f"{fault.problem}"
