"""The description of the HTTP API in docs/openapi.json; `make openapi` writes it."""

import json
from pathlib import Path
from typing import Any

from datalayer_stripe.handlers import default_handlers
from datalayer_stripe.handlers.admin import admin_handlers
from datalayer_stripe.handlers.admin.page import admin_page_handlers
from datalayer_stripe.handlers.checkout import checkout_handlers
from datalayer_stripe.handlers.openapi.document import openapi_document, routes_of
from datalayer_stripe.handlers.openapi.page import api_page_handlers

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"

ROUTES = routes_of(
    [
        *default_handlers,
        *admin_handlers("operator"),
        *admin_page_handlers("operator"),
        *checkout_handlers("/checkout"),
        *api_page_handlers,
    ]
)
"""The routes of a service with default settings, and those of its operators."""


def generated(**options: Any) -> dict[str, Any]:
    """Return the description that the service serves, as plain data."""
    return openapi_document(ROUTES, **options)


def as_text(document: dict[str, Any]) -> str:
    """Return the description as the file has it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(as_text(generated()), encoding="utf-8")
