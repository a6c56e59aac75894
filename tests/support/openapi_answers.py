"""Check each answer that a test receives against the description of the HTTP API."""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from jsonschema import Draft202012Validator
from tornado.httpclient import HTTPResponse

from datalayer_stripe.handlers import default_handlers
from datalayer_stripe.handlers.admin import admin_handlers
from datalayer_stripe.handlers.openapi.document import openapi_document, routes_of
from datalayer_stripe.handlers.urls import ADMIN_PREFIX


class WrongDescription(AssertionError):
    """An answer is not as docs/openapi.json says. The message names the route."""


@dataclass(frozen=True)
class DescribedRoute:
    """The described methods of one path."""

    path: str
    pattern: re.Pattern[str]
    methods: dict[str, Any]


def check_answer(method: str, path: str, answer: HTTPResponse) -> None:
    """Check status, media type, headers and body of an answer.

    Paths and methods without a description are not checked: they are answered 404 and 405. Neither
    are 304, which has no body, and 599, for which there was no answer.

    Raises:
        WrongDescription: The answer is not as described.
    """
    path = path.partition("?")[0]
    if answer.code == 404 and path.startswith((ADMIN_PREFIX, "/metrics")):
        return  # a setting turns these routes off, or moves them to another address
    route = next((one for one in _routes() if one.pattern.fullmatch(path)), None)
    if route is None or method.lower() not in route.methods or answer.code in {304, 599}:
        return
    name = f"{method} {route.path}"
    responses = route.methods[method.lower()]["responses"]
    if str(answer.code) not in responses:
        raise WrongDescription(f"{name}: {answer.code} is not described: {answer.body[:300]!r}")
    described = _resolved(responses[str(answer.code)])
    for header, details in described["headers"].items():
        if _resolved(details)["required"] and header not in answer.headers:
            raise WrongDescription(f"{name}: {answer.code} without {header}")
    media_type = answer.headers["Content-Type"].partition(";")[0]
    if media_type not in described["content"]:
        raise WrongDescription(f"{name}: {answer.code} is {media_type}")
    if media_type == "application/json":
        validator = _validator(route.path, method.lower(), answer.code)
        for error in validator.iter_errors(json.loads(answer.body)):
            where = error.json_path.removeprefix("$")
            raise WrongDescription(f"{name}: {answer.code}{where}: {error.message[:300]}")


@cache
def _document() -> dict[str, Any]:
    """Return the description, in which no object may have a field that is not described."""
    # Without the page, whose path is a setting.
    document = openapi_document(routes_of([*default_handlers, *admin_handlers("operator")]))
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return document


@cache
def _routes() -> list[DescribedRoute]:
    return [
        DescribedRoute(path, re.compile(_pattern(path, methods)), methods)
        for path, methods in _document()["paths"].items()
    ]


def _pattern(path: str, methods: dict[str, Any]) -> str:
    pattern = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    for parameter in next(iter(methods.values()))["parameters"]:
        if parameter["in"] == "path":
            values = parameter["schema"]["pattern"].strip("^$")
            pattern = pattern.replace(f"{{{parameter['name']}}}", values)
    return pattern


def _resolved(described: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in described:
        return described
    found: Any = _document()
    for name in described["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return cast("dict[str, Any]", found)


@cache
def _validator(path: str, method: str, status: int) -> Draft202012Validator:
    document = _document()
    described = _resolved(document["paths"][path][method]["responses"][str(status)])
    schema = described["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})
