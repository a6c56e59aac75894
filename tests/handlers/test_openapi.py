"""The description of the HTTP API: complete, valid, and true for every answer in the tests."""

import re
from io import BytesIO
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler, StaticFileHandler

from datalayer_stripe.handlers.openapi.document import openapi_document
from datalayer_stripe.handlers.openapi.patterns import path_templates
from datalayer_stripe.handlers.openapi.texts import TAGS
from datalayer_stripe.handlers.operation import operations_of
from tests.support.app import Api, json_of
from tests.support.openapi_answers import WrongDescription, check_answer
from tests.support.openapi_document import FILE, ROUTES, as_text, generated
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES

PATH = f"{STRIPE_ROUTES}/openapi.json"
PAGE = f"{STRIPE_ROUTES}/docs"


def undescribed(routes: tuple[tuple[str, type[RequestHandler]], ...]) -> list[str]:
    """Return a line for each method of a route that has no description."""
    return [
        f"{method} {pattern}: declare an Operation at {handler.__name__}.{method.lower()}"
        for pattern, handler in routes
        if not issubclass(handler, StaticFileHandler)
        for method, operation in operations_of(handler).items()
        if operation is None
    ]


def test_every_method_of_every_route_is_described() -> None:
    missing = undescribed(ROUTES)
    assert not missing, "\n".join(missing)
    described = {
        (path, method) for path, methods in generated()["paths"].items() for method in methods
    }
    assert described == {
        (template.path, method.lower())
        for pattern, handler in ROUTES
        if not issubclass(handler, StaticFileHandler)
        for template in path_templates(pattern)
        for method in operations_of(handler)
    }


def test_handler_without_a_description_is_named() -> None:
    class ForgottenHandler(RequestHandler):
        async def get(self) -> None:
            """Answer nothing."""

    [line] = undescribed((("/forgotten", ForgottenHandler),))
    assert line == "GET /forgotten: declare an Operation at ForgottenHandler.get"


def test_every_module_of_handlers_has_a_tag() -> None:
    modules = {handler.__module__.split(".")[2] for _, handler in ROUTES}
    assert modules == set(TAGS), "add the module to handlers/openapi/texts.py"


def test_every_description_has_a_summary() -> None:
    for path, methods in generated()["paths"].items():
        for method, item in methods.items():
            assert item["summary"], f"{method} {path}: the handler needs a docstring"


def test_optional_headers_have_no_value_that_the_page_would_send() -> None:
    """Swagger UI fills in examples: each try would have the same Idempotency-Key."""
    for path, methods in generated()["paths"].items():
        for method, item in methods.items():
            for parameter in item["parameters"]:
                if parameter["in"] == "header" and not parameter["required"]:
                    assert "example" not in parameter, f"{method} {path}: {parameter['name']}"


@pytest.mark.parametrize("options", [{}, {"base_path": "/user/ada", "in_jupyter": True}])
def test_description_is_valid_openapi(options: dict[str, Any]) -> None:
    document = openapi_document(ROUTES, **options)
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_file_in_the_documents_is_what_the_service_describes() -> None:
    assert FILE.read_text(encoding="utf-8") == as_text(generated()), "run make openapi"


@pytest.mark.gen_test
async def test_description_is_public_and_revalidated_by_its_etag(api: Api) -> None:
    origin = {"Origin": "https://editor.example.com"}
    answer = await api.request("GET", PATH, headers=origin)
    assert (answer.code, json_of(answer)) == (200, generated())
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await api.request("GET", PATH, headers=known)).code == 304


@pytest.mark.gen_test
async def test_page_is_public_and_may_run_and_request_only_its_own(api: Api) -> None:
    answer = await api.request("GET", PAGE)
    assert answer.headers["Content-Security-Policy"].split("; ")[:2] == [
        "default-src 'none'",
        "script-src 'self'",
    ]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    text = answer.body.decode()
    files = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    assert PATH in files
    for path in files:
        assert (await api.request("GET", path)).code == 200, path
    for path in ("index.html", "vendor/swagger-ui.NOTICE", "../app.js", "%2e%2e/app.js"):
        assert (await api.request("GET", f"{PAGE}/files/{path}")).code == 404, path


def answer_of(code: int, body: bytes, media_type: str = "application/json") -> HTTPResponse:
    """Return an answer as the client of the tests receives it."""
    headers = HTTPHeaders({"Content-Type": media_type, "X-Request-Id": "one"})
    return HTTPResponse(HTTPRequest("http://x/"), code, headers, BytesIO(body))


PONG = b'{"success":true,"message":"pong"}'


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (answer_of(418, PONG), "418 is not described"),
        (answer_of(200, PONG, "text/plain"), "200 is text/plain"),
        (answer_of(200, b'{"success":true,"message":"ping"}'), "200.message: 'pong' was expected"),
        (answer_of(200, b'{"success":true}'), "'message' is a required property"),
        (answer_of(200, PONG[:-1] + b',"more":1}'), "'more' was unexpected"),
        (
            answer_of(
                500, b'{"success":false,"code":"not_found","message":"No.","request_id":"one"}'
            ),
            "500.code: 'not_found' is not one of",
        ),
    ],
)
def test_wrong_answer_is_noticed(answer: HTTPResponse, problem: str) -> None:
    path = f"{IAM_ROUTES}/ping?x=1"
    check_answer("GET", path, answer_of(200, PONG))
    with pytest.raises(WrongDescription, match=r"^GET /api/iam/v1/ping: ") as raised:
        check_answer("GET", path, answer)
    assert problem in str(raised.value)
