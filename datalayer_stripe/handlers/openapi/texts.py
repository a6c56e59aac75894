"""Texts of the description that belong to no single route."""

from typing import Any

from ...documents import DOCUMENTS
from ...settings import variable

INFO: dict[str, Any] = {
    "title": "datalayer-stripe",
    "summary": "Sell prepaid credits with Stripe.",
    "description": f"""\
Bodies are JSON in UTF-8. Amounts are integers in the currency's minor unit (cents). Times are
ISO 8601 in UTC.

An error is a JSON object with `code` for programs, `message` for people, and `request_id`. Beside
the errors of each route, a path that does not exist is answered with 404 `not_found`, and a method
that a path does not have with 405 `method_not_allowed`.

Routes that browsers may call from other origins also answer `OPTIONS`, the preflight request of
[CORS](https://developer.mozilla.org/docs/Web/HTTP/Guides/CORS), with 204.

[The HTTP API in words]({DOCUMENTS}/http-api.md) explains each route, its limits and its cost.
""",
    "license": {"name": "BSD 3-Clause License", "identifier": "BSD-3-Clause"},
}
"""The field `info` without the version."""

TAGS = {
    "topup": ("Top-ups", "Buy credits, and see what was bought."),
    "subscription": ("Subscription", "Start, show, cancel and resume the monthly plan."),
    "portal": ("Billing portal", "Open Stripe's billing portal."),
    "account": ("Account", "The caller's balance and profile."),
    "stream": ("Stream", "Server-sent events about the balance and the plan."),
    "webhook": ("Webhook", "Receive Stripe's events."),
    "admin": (
        "Operator",
        "What an operator sees and does, on all accounts. These routes exist only with "
        f"`{variable('stripe_admin_role')}`, and a token needs this role.",
    ),
    "operations": ("Operations", "Health, readiness and metrics."),
    "checkout": ("Checkout page", "The page where people buy credits."),
    "openapi": ("Description", "This description, and a page that shows it."),
}
"""The name and the description of the tag of each module of handlers, in the order of the page."""

SECURITY_SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": f"A Datalayer token, signed with `{variable('jwt_secret')}`. Its `sub` is "
        "the uid of the account.",
    },
    "stripe_signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Stripe-Signature",
        "description": "Stripe's signature of the raw body, with the signing secret of the "
        "webhook endpoint.",
    },
    "jupyter_token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`token <token of the Jupyter Server>`.",
    },
    "jupyter_cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "username-HOST-PORT",
        "description": "The cookie of a person who is signed in to the Jupyter Server. A `POST` "
        "also needs the header `X-XSRFToken` with the value of the cookie `_xsrf`.",
    },
}
"""The security schemes by the names that handlers use."""
