"""Check that each route is complete. A test that fails names the place to change."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.web import Application, RequestHandler, StaticFileHandler

import datalayer_stripe
from datalayer_stripe import handlers
from datalayer_stripe.handlers import default_handlers, urls
from datalayer_stripe.handlers.admin import admin_handlers
from datalayer_stripe.handlers.admin.page import admin_page_handlers
from datalayer_stripe.handlers.api import ApiHandler, NotFoundHandler
from datalayer_stripe.handlers.base import BaseHandler
from datalayer_stripe.handlers.checkout import CheckoutHandler
from datalayer_stripe.handlers.openapi.page import api_page_handlers
from tests.support.app import ADMIN_ROLE, Api

PACKAGE = Path(datalayer_stripe.__file__).parent
# The page without its files, which have neither a label nor one path.
ROUTES = [
    *default_handlers,
    *admin_handlers(ADMIN_ROLE),
    admin_page_handlers(ADMIN_ROLE)[0],
    api_page_handlers[0],
]
UNIMPLEMENTED = RequestHandler._unimplemented_method

# These have no fixed path: one answers all unknown paths, and the settings contain the path of the
# other one.
WITHOUT_PATTERN = {NotFoundHandler, CheckoutHandler}


def methods(handler: type[RequestHandler]) -> set[str]:
    """Return the HTTP methods that a handler class defines."""
    names = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return {name for name in names if getattr(handler, name.lower()) is not UNIMPLEMENTED}


def example_path(pattern: str) -> str:
    """Return a path that matches `pattern`: its first alias, with an id."""
    path = re.sub(r"\(\?P<id>([a-z]*)[^)]*\)", lambda id: f"{id[1] or 'pi'}_1", pattern)
    path = re.sub(r"\(\?:([^|)]*)[^)]*\)", r"\1", path)
    return re.sub(r"\\(.)", r"\1", path)


def handler_classes() -> Iterator[type[BaseHandler]]:
    """Yield each class of `handlers/` that implements a method beside OPTIONS, but for files."""
    for module in pkgutil.walk_packages(handlers.__path__, f"{handlers.__name__}."):
        members = vars(importlib.import_module(module.name)).values()
        for member in members:
            if (
                inspect.isclass(member)
                and issubclass(member, BaseHandler)
                and not issubclass(member, StaticFileHandler)
                and member.__module__ == module.name
                and methods(member) - {"OPTIONS"}
            ):
                yield member


def test_every_handler_module_is_in_the_list_of_routes() -> None:
    for module in pkgutil.walk_packages(handlers.__path__, f"{handlers.__name__}."):
        own = getattr(importlib.import_module(module.name), "default_handlers", [])
        missing = [pattern for pattern, *_ in own if pattern not in {one[0] for one in ROUTES}]
        assert not missing, f"add {module.name} to the __init__.py beside it: it serves {missing}"


def test_every_handler_class_has_a_route() -> None:
    routed = {handler for _, handler, *_ in ROUTES}
    missing = [
        f"{handler.__module__}.{handler.__name__}"
        for handler in handler_classes()
        if handler not in routed | WITHOUT_PATTERN
    ]
    assert not missing, f"add to default_handlers at the end of their modules: {missing}"


def test_only_post_routes_take_a_body() -> None:
    for pattern, handler, *_ in ROUTES:
        others = methods(handler) - {"GET", "HEAD", "POST", "OPTIONS"}
        assert not others, (
            f"{pattern}: handlers/bodies.py refuses a body with {others}; change its limit first"
        )


def test_every_route_has_a_metric_label_and_its_series(app: Application) -> None:
    site = app.settings["datalayer_stripe"]
    for pattern, handler, *_ in ROUTES:
        label = re.sub(r"(pi|evt)_1", "{id}", example_path(pattern))
        assert site.route_labels[handler] == label
        for method in methods(handler) - {"OPTIONS"}:
            labels = {"method": method, "route": label, "status": "200"}
            sample = site.metrics.registry.get_sample_value(
                "datalayer_stripe_requests_total", labels
            )
            assert sample is not None, f"{method} {label} has no series before its first request"


@pytest.mark.gen_test
async def test_preflight_of_every_route_names_its_methods(api: Api) -> None:
    for pattern, handler, *_ in ROUTES:
        answer = await api.request("OPTIONS", example_path(pattern))
        if not issubclass(handler, ApiHandler):
            assert answer.code == 405, f"{pattern}: pages of other origins do not call this route"
            continue
        allowed = set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        assert (answer.code, allowed) == (204, methods(handler)), pattern


def test_route_prefixes_are_written_only_in_urls() -> None:
    """The sandbox is left out: its `/v1` is the prefix of Stripe's own API."""
    literal = re.compile(r"/api/iam|/stripe/v1|[\"'`]/v1/")
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{number}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file()
        and path.suffix not in {".json", ".pyc"}
        and path != Path(urls.__file__)
        and not path.is_relative_to(PACKAGE / "sandbox")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if literal.search(line) and not is_call_to_stripe(line)
    ]
    assert not found, "\n".join(["use the prefixes of handlers/urls.py:", *found])


def is_call_to_stripe(line: str) -> bool:
    """Return whether `line` names a path of Stripe's API, such as `/v1/payment_intents`."""
    stripe_paths = r"payment_intents|payment_methods|subscriptions|billing_portal|events"
    return re.search(rf"/v1/(?:{stripe_paths})\b", line) is not None and "/api/iam" not in line
