"""The description of the HTTP API in OpenAPI 3.1, generated from the handlers and their models.

https://spec.openapis.org/oas/v3.1.1.html
"""

from .routes import default_handlers

__all__ = ["default_handlers"]
