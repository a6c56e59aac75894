"""Handler of the description of the HTTP API."""

import re

from ..api import ApiHandler
from ..operation import Operation
from ..urls import STRIPE_PREFIX

OPENAPI_PATH = f"{STRIPE_PREFIX}/openapi.json"
"""Path of the description, without the base URL of a Jupyter Server."""


class OpenApiHandler(ApiHandler):
    """`GET /openapi.json`: return this description of the HTTP API, in OpenAPI 3.1."""

    @Operation()
    async def get(self) -> None:
        # Clients revalidate by the ETag, so that no one keeps the description of an old version.
        self.set_header("Cache-Control", "no-cache")
        self.finish(self.app_state.openapi)


default_handlers = [(re.escape(OPENAPI_PATH), OpenApiHandler)]
