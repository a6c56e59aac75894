"""Authentication and authorization in a Jupyter Server."""

import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.jupyter.conftest import Stripe
from tests.support.app import ACCOUNT, ADMIN_ROLE, JWT_SECRET, recorded, sign
from tests.support.jupyter import BASE_URL, TOKEN, WEBHOOK, Answer, JupyterServer

CREDITS = "/api/iam/v1/usage/credits"
SUBSCRIPTION = "/api/iam/v1/subscription"
PORTAL = "/api/iam/v1/checkout/portal"
ADMIN = "/api/iam/stripe/v1/admin"
ISSUER = "https://id.datalayer.run"

PORTAL_REQUEST: dict[str, Any] = {"return_url": "https://app.example.com/back"}


def bearer(account: str, *, secret: str = JWT_SECRET, **claims: Any) -> dict[str, str]:
    payload = {"sub": account, "iss": ISSUER, "exp": int(time.time()) + 300, **claims}
    return {"Authorization": f"Bearer {jwt.encode(payload, secret)}"}


def sign_in(server: JupyterServer, person: str = "ada") -> dict[str, str]:
    """Open the page as `person`, and return the cookies of the browser."""
    login = server.get("/checkout", token=TOKEN, headers={"X-Person": person})
    assert login.status == 200
    return login.cookies


def account_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return str(answer.json["account_uid"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CREDITS),
        ("GET", "/api/iam/v1/ping"),
        ("GET", "/api/iam/stripe/v1/stream"),
        ("GET", "/api/iam/stripe/metrics"),
        ("POST", PORTAL),
        ("POST", "/api/iam/stripe/v1/topup/payment-intent"),
    ],
)
def test_anonymous_request_is_refused(server: JupyterServer, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "token wrong"}, {"Cookie": "_xsrf=1; username=2"}):
        answer = server.request(method, path, body=b"{}", headers=headers)
        assert answer.status == 401
        assert answer.code == "unauthorized"


def test_description_has_the_routes_and_the_schemes_of_the_server(server: JupyterServer) -> None:
    path = "/api/iam/stripe/v1/openapi.json"
    assert server.get(path).status == 401
    document = server.get(path, token=TOKEN).json
    assert document["servers"] == [{"url": "/user/x"}]
    assert "/api/iam/stripe/metrics" in document["paths"]
    assert "/metrics" not in document["paths"]
    credits = document["paths"][CREDITS]["get"]
    assert credits["security"] == [{"bearer": []}, {"jupyter_token": []}, {"jupyter_cookie": []}]
    assert credits["summary"] == "Return the balance of the caller's account"
    page = server.get("/api/iam/stripe/v1/docs", token=TOKEN).body.decode()
    assert 'data-url="/user/x/api/iam/stripe/v1/openapi.json"' in page
    files = "/api/iam/stripe/v1/docs/files"
    assert f'src="/user/x{files}/page.js"' in page
    assert server.get(f"{files}/page.js").status == 302
    assert server.get(f"{files}/page.js", token=TOKEN).status == 200
    webhook = document["paths"]["/api/iam/stripe/v1/webhook"]["post"]
    assert webhook["security"] == [{"stripe_signature": []}]


def test_anonymous_visitor_of_page_is_redirected_to_login(server: JupyterServer) -> None:
    for path in ("/checkout", "/checkout/app.js"):
        answer = server.get(path)
        assert answer.status == 302
        assert answer.headers["Location"].startswith(f"{BASE_URL}login?next=%2Fuser%2Fx%2Fcheckout")


def test_token_in_page_url_signs_in_and_is_removed_from_url(server: JupyterServer) -> None:
    answer = server.get(f"/checkout?token={TOKEN}")
    assert (answer.status, answer.headers["Location"]) == (302, "/user/x/checkout")
    assert server.get("/checkout", cookies=answer.cookies).status == 200
    assert server.get("/checkout?token=wrong").headers["Location"].startswith("/user/x/login")


@pytest.mark.parametrize("scheme", ["token", "Bearer", "bearer"])
def test_username_is_account_uid(server: JupyterServer, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}", "X-Person": "grace"}
    answer = server.get(SUBSCRIPTION, headers=headers)
    assert account_of(answer) == "grace"
    assert answer.json["subscription"]["account_handle"] == "grace"


def test_username_that_is_not_a_valid_uid_is_refused(server: JupyterServer) -> None:
    answer = server.get(CREDITS, token=TOKEN, headers={"X-Person": "Ada Lovelace"})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "user name" in answer.json["message"]


def test_authorizer_decides_about_read_and_write(server: JupyterServer) -> None:
    refused = server.get(CREDITS, token=TOKEN, headers={"X-Person": "mallory"})
    assert (refused.status, refused.code) == (403, "forbidden")
    reader = {"token": TOKEN, "headers": {"X-Person": "reader"}}
    assert server.get(CREDITS, **reader).status == 200
    refused = server.post(PORTAL, PORTAL_REQUEST, **reader)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert "write" in refused.json["message"]


# XSRF, origins, hosts


def test_post_with_cookie_needs_xsrf_header(server: JupyterServer) -> None:
    cookies = sign_in(server)
    assert account_of(server.get(SUBSCRIPTION, cookies=cookies)) == "ada"
    other_browser = sign_in(server)["_xsrf"]
    for headers in ({}, {"X-XSRFToken": "wrong"}, {"X-XSRFToken": other_browser}):
        refused = server.post(PORTAL, PORTAL_REQUEST, cookies=cookies, headers=headers)
        assert (refused.status, refused.code) == (403, "forbidden"), headers
        assert "_xsrf" in refused.json["message"]
    headers = {"X-XSRFToken": cookies["_xsrf"]}
    assert server.post(PORTAL, PORTAL_REQUEST, cookies=cookies, headers=headers).status == 200


def test_post_with_token_needs_no_xsrf_header(server: JupyterServer) -> None:
    assert server.post(PORTAL, PORTAL_REQUEST, token=TOKEN).status == 200
    assert server.post(PORTAL, PORTAL_REQUEST, headers=bearer(ACCOUNT)).status == 200


def test_request_from_another_origin_is_refused(server: JupyterServer) -> None:
    cookies = sign_in(server)
    foreign = {"Origin": "https://evil.example.com"}
    assert server.get(CREDITS, cookies=cookies, headers=foreign).status == 403
    headers = {**foreign, "X-XSRFToken": cookies["_xsrf"]}
    assert server.post(PORTAL, PORTAL_REQUEST, cookies=cookies, headers=headers).status == 403
    answer = server.request("OPTIONS", PORTAL, headers=foreign)
    assert answer.status == 204
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_request_with_another_host_name_is_refused(server: JupyterServer) -> None:
    for credentials in ({"Authorization": f"token {TOKEN}"}, bearer(ACCOUNT)):
        answer = server.get(CREDITS, headers={"Host": "shop.example.com", **credentials})
        assert (answer.status, answer.code) == (403, "forbidden")
        assert "allow_remote_access" in answer.json["message"]


# Datalayer's tokens


def test_datalayer_token_authenticates_caller(server: JupyterServer) -> None:
    assert account_of(server.get(SUBSCRIPTION, headers=bearer("lin"))) == "lin"
    both = server.get(SUBSCRIPTION, headers=bearer("lin"), cookies=sign_in(server))
    assert account_of(both) == "lin"


@pytest.mark.parametrize(
    "refused",
    [bearer("lin", exp=int(time.time()) - 1), bearer("lin", secret="another-secret-" * 4)],
    ids=["expired", "forged"],
)
def test_cookie_does_not_replace_invalid_datalayer_token(
    server: JupyterServer, refused: dict[str, str]
) -> None:
    assert server.get(CREDITS, headers=refused).status == 401
    assert server.get(CREDITS, headers=refused, cookies=sign_in(server)).status == 401


def test_jupyter_verifies_token_of_another_issuer(server: JupyterServer) -> None:
    elsewhere = bearer("lin", iss="https://elsewhere.example.com")
    assert server.get(CREDITS, headers=elsewhere).status == 401
    by_cookie = server.get(SUBSCRIPTION, headers=elsewhere, cookies=sign_in(server))
    assert account_of(by_cookie) == "ada"


# The webhook


def test_webhook_accepts_signed_delivery_under_any_host_name(server: JupyterServer) -> None:
    body = recorded("payment_intent.succeeded")
    headers = {"Host": "shop.example.com", "Content-Type": "application/json"}
    for signature in (
        {},
        {"Stripe-Signature": sign(body, secret="whsec_ofNobodyOfNobodyOfNobody00")},
    ):
        answer = server.request("POST", WEBHOOK, body=body, headers={**headers, **signature})
        assert (answer.status, answer.code) == (400, "invalid_signature")
    headers["Stripe-Signature"] = sign(body)
    answer = server.request("POST", WEBHOOK, body=body, headers=headers)
    assert (answer.status, answer.json["outcome"]) == (200, "processed")
    assert not answer.cookies
    assert server.get(CREDITS, headers=bearer(ACCOUNT)).json["credits"]["credits"] == 50


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of the server from /proc")
def test_huge_chunked_body_uses_no_memory_of_server(server: JupyterServer) -> None:
    def megabytes() -> int:
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024

    before = megabytes()
    # A chunked body declares no length, so it cannot be refused before it arrives.
    answer = server.request(
        "POST",
        WEBHOOK,
        body=(b"x" * 2**20 for _ in range(64)),
        headers={"Stripe-Signature": sign(b"x"), "Transfer-Encoding": "chunked"},
    )
    assert (answer.status, answer.code) == (413, "too_large")
    assert megabytes() < before + 16


def test_aborted_upload_frees_its_buffer(server: JupyterServer) -> None:
    def buffered_bytes() -> float:
        text = server.get("/api/iam/stripe/metrics", token=TOKEN).body.decode()
        return float(re.findall(r"^datalayer_stripe_body_bytes (\S+)$", text, re.M)[0])

    head = f"POST {BASE_URL.rstrip('/')}{WEBHOOK} HTTP/1.1\r\nHost: a\r\nStripe-Signature: t=1\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"{head}Content-Length: 900000\r\n\r\n".encode() + b"x" * 500_000)
        server.wait_for(lambda: buffered_bytes() == 500_000)
    server.wait_for(lambda: buffered_bytes() == 0)


@pytest.mark.parametrize("path", ["/checkout", "/checkout/app.js", CREDITS])
def test_body_of_get_request_is_refused(server: JupyterServer, path: str) -> None:
    answer = server.request("GET", path, body=b"x", cookies=sign_in(server))
    assert (answer.status, answer.headers["Connection"]) == (413, "close")


def test_user_of_server_subscribes_and_buys_credits(server: JupyterServer, stripe: Stripe) -> None:
    cookies = sign_in(server, "hedy")
    credentials: dict[str, Any] = {"cookies": cookies, "headers": {"X-XSRFToken": cookies["_xsrf"]}}
    routes = "/api/iam/stripe/v1"
    package = {"price_id": stripe.shop.packages[1]}
    refused = server.post(f"{routes}/topup/payment-intent", package, **credentials)
    assert refused.code == "subscription_required"
    plan = {"price_id": stripe.shop.plan}
    started = server.post(f"{routes}/subscription/payment-intent", plan, **credentials)
    stripe.pay(started.json["client_secret"])
    started = server.post(f"{routes}/topup/payment-intent", package, **credentials)
    stripe.pay(started.json["client_secret"])
    assert server.get(CREDITS, cookies=cookies).json["credits"]["credits"] == 220
    other_user = server.get(CREDITS, token=TOKEN, headers={"X-Person": "somebody-else"})
    assert other_user.json["credits"]["credits"] == 0


# Routes and pages


def test_page_and_routes_are_below_base_url(server: JupyterServer) -> None:
    page = server.get("/checkout", cookies=sign_in(server)).body.decode()
    assert 'data-iam-api="/user/x/api/iam/v1"' in page
    assert 'data-stripe-api="/user/x/api/iam/stripe/v1"' in page
    assert 'data-identity="cookie"' in page
    assert 'data-sign-in-url="/user/x/checkout"' in page
    paths = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert "/user/x/checkout/app.js" in paths
    for path in paths:
        answer = server.get(path.removeprefix("/user/x"), cookies=sign_in(server))
        assert answer.status == 200, path
    portal = server.post(PORTAL, PORTAL_REQUEST, token=TOKEN).json["portal"]
    subscription = server.get(SUBSCRIPTION, token=TOKEN).json["portal"]
    assert portal["route"] == subscription["route"] == "/user/x/checkout"


def test_operators_page_needs_sign_in_and_its_data_a_token_with_the_role(
    server: JupyterServer,
) -> None:
    assert server.get(ADMIN).headers["Location"].startswith(f"{BASE_URL}login?next=")
    page = server.get(ADMIN, cookies=sign_in(server)).body.decode()
    assert f'data-admin-api="/user/x{ADMIN}"' in page
    assert 'data-identity="token"' in page
    paths = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert f"/user/x{ADMIN}/files/admin/app.js" in paths
    for path in paths:
        file = path.removeprefix("/user/x")
        assert server.get(file, cookies=sign_in(server)).status == 200, path
    assert server.get(file).status == 302, "the files need a sign-in, too"
    overview = f"{ADMIN}/overview"
    assert server.get(overview, token=TOKEN).status == 403, "a user of the server is no operator"
    assert server.get(overview, headers=bearer(ACCOUNT)).status == 403
    operator = bearer(ACCOUNT, user={"roles": ["platform_admin"]})
    assert server.get(overview, headers=operator).json["livemode"] is False


def test_landing_page_links_to_checkout_page(server: JupyterServer) -> None:
    answer = server.get("/")
    assert answer.status == 200
    page = answer.body.decode()
    assert "A Jupyter Server is running." in page
    assert re.findall(r'href="([^"]*)">Buy credits<', page) == ["/user/x/checkout"]


def test_extension_and_jupyter_both_serve_metrics(server: JupyterServer) -> None:
    metrics = server.get("/api/iam/stripe/metrics", token=TOKEN).body.decode()
    assert 'datalayer_stripe_requests_total{method="GET",route="/checkout",status="200"}' in metrics
    jupyter_metrics = server.get("/metrics", token=TOKEN).body.decode()
    assert "http_request_duration_seconds" in jupyter_metrics
    assert server.get("/api/iam/stripe/readyz", token=TOKEN).json["status"] == "ready"
    assert server.get("/api/iam/stripe/healthz", token=TOKEN).json["status"] == "ok"


@pytest.mark.parametrize("route", ["metrics", "readyz", "healthz"])
def test_operator_routes_refuse_datalayer_token(server: JupyterServer, route: str) -> None:
    answer = server.get(f"/api/iam/stripe/{route}", headers=bearer(ACCOUNT))
    assert (answer.status, answer.code) == (401, "unauthorized")


def test_headers_of_jupyter_are_kept(server: JupyterServer) -> None:
    api = server.get(CREDITS, token=TOKEN)
    assert "frame-ancestors 'self'" in api.headers["Content-Security-Policy"]
    assert api.headers["X-Content-Type-Options"] == "nosniff"
    page = server.get("/checkout", cookies=sign_in(server))
    assert "script-src 'self' https://js.stripe.com" in page.headers["Content-Security-Policy"]


# The last test, so that the log contains the requests of all tests above.


def test_log_contains_no_secret(server: JupyterServer) -> None:
    delivery = r"delivery .*type=payment_intent\.succeeded outcome=processed"
    assert re.search(delivery, server.log)
    for secret in ("sk_test", "whsec", JWT_SECRET, "eyJ", TOKEN):
        assert secret not in server.log
    assert "Traceback" not in server.log
    # Jupyter warns about routes that do not declare whether they need authentication.
    assert "registered for /user/x/api/iam" not in server.log
    assert "registered for /user/x/checkout" not in server.log


def test_only_datalayer_token_with_role_is_an_operator(server: JupyterServer) -> None:
    overview, with_role = "/api/iam/stripe/v1/admin/overview", {"user": {"roles": [ADMIN_ROLE]}}
    assert server.get(overview).status == 401
    for foreign in ({"iss": "https://id.example.org"}, {"exp": 1_000_000_000}):
        assert server.get(overview, headers=bearer("op", **{**with_role, **foreign})).status == 401
    assert server.get(overview, headers=bearer("op")).code == "forbidden"
    answer = server.get(overview, headers=bearer("op", **with_role))
    assert (answer.status, answer.json["livemode"]) == (200, False)

    # A user of the server is no operator, however the server authenticates the request.
    assert server.get(overview, token=TOKEN).code == "forbidden"
    cookies = sign_in(server)
    assert server.get(overview, cookies=cookies).code == "forbidden"
    replay = "/api/iam/stripe/v1/admin/events/evt_1/replay"
    for headers in ({}, {"X-XSRFToken": cookies["_xsrf"]}):
        sent = {**headers, "Content-Type": "application/json"}
        answer = server.request("POST", replay, body=b"{}", headers=sent, cookies=cookies)
        assert answer.code == "forbidden"
