"""What schemathesis cannot know from the description. Its configuration loads this module."""

from typing import Any

import requests
import schemathesis

from tests.support.app import sign

PLACEHOLDER = "signed"
"""The value in the configuration that stands for a valid signature."""

WEBHOOK = "/api/iam/stripe/v1/webhook"


class Signature(requests.auth.AuthBase):
    """Sign the body of a delivery as Stripe does."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        raw = body if isinstance(body, bytes) else body.encode()
        request.headers["Stripe-Signature"] = sign(raw)
        return request


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]
) -> None:
    """Sign a delivery that is to have a valid signature."""
    if case.path == WEBHOOK and case.headers.get("Stripe-Signature") == PLACEHOLDER:
        kwargs["auth"] = Signature()
