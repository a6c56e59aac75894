"""Log one line for each request, without the secrets of its path."""

import logging
from typing import Any
from urllib.parse import unquote

from tornado.web import RequestHandler

from ..logs import shortened
from ..redaction import redact
from .client_address import client_address

access_logger = logging.getLogger("datalayer_stripe.access")

# Probes call these every few seconds, so they are logged at DEBUG only.
_PROBE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

# Longer than every valid method and path. Clients choose both, so the log has to be protected.
_MAX_LOGGED_METHOD_CHARS = 32
_MAX_LOGGED_PATH_CHARS = 500


def log_request(handler: RequestHandler) -> None:
    """Log the line of an answered request, unless its handler logs it itself.

    Args:
        handler: The handler. It logs its requests itself if it has `logs_requests`.
    """
    if not getattr(handler, "logs_requests", False):
        level = logging.DEBUG if handler.request.path in _PROBE_PATHS else logging.INFO
        access_logger.log(level, "request", extra=request_fields(handler))


def request_fields(handler: RequestHandler) -> dict[str, Any]:
    """Return the fields that the line of an answered request has.

    Args:
        handler: The handler of the request.
    """
    return {
        "method": shortened(str(handler.request.method), _MAX_LOGGED_METHOD_CHARS),
        "path": _logged_path(handler.request.path),
        "status": handler.get_status(),
        "milliseconds": round(handler.request.request_time() * 1000, 1),
        "remote_ip": client_address(
            handler.request, handler.settings["datalayer_stripe"].trusted_proxies
        ),
        "request_id": getattr(handler, "request_id", None),
    }


def _logged_path(path: str) -> str:
    """Return a path for the log, without its query, which may contain secrets.

    The path is decoded first, so that `ada%40example.com` is redacted as an e-mail address. It is
    shortened last, so that no half of an address is left unredacted.
    """
    return shortened(redact(unquote(path)), _MAX_LOGGED_PATH_CHARS)
