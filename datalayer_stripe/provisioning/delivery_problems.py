"""Explain in plain words why a delivery to the webhook fails, and what to do."""

import socket
import ssl
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError
from tornado.httpclient import HTTPResponse
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError

_MAX_SHOWN_CHARS = 200


class Problem(StrEnum):
    """What is wrong with an attempt."""

    DNS = "dns"
    CONNECTION = "connection"
    TLS = "tls"
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    NOT_FOUND = "not found"
    LOGIN = "login"
    SIGNATURE = "signature"
    CLOCK = "clock"
    MODE = "mode"
    CHANGED_BODY = "changed body"
    TOO_LARGE = "too large"
    UNAVAILABLE = "unavailable"
    OTHER_SERVER = "other server"


class _Answer(BaseModel):
    """The fields that the answers of the service have."""

    model_config = ConfigDict(extra="ignore")

    event: str | None = None
    code: str | None = None
    message: str = ""


CHANGED_BODY = (
    Problem.CHANGED_BODY,
    "The secret is right, but a proxy between here and the service changes the body of the "
    "request. It must forward the body byte for byte: switch off its rewriting of JSON, "
    "character sets and line breaks for this path.",
)


NO_TLS = (
    Problem.TLS,
    "The server does not speak TLS on this port. Use the port of https, or check the proxy's TLS "
    "configuration.",
)

_CONNECTION_PROBLEMS: tuple[tuple[tuple[type[BaseException], ...], Problem, str], ...] = (
    (
        (socket.gaierror,),
        Problem.DNS,
        "The host name cannot be resolved. Check the URL's spelling and the DNS entry.",
    ),
    ((ssl.SSLError,), *NO_TLS),
    (
        (TimeoutError, HTTPTimeoutError),
        Problem.TIMEOUT,
        "There was no answer in time. Check that the firewall lets the port through and that the "
        "service is not blocked.",
    ),
    (
        (ConnectionRefusedError,),
        Problem.CONNECTION,
        "Nothing listens at this host and port. Start the service or its proxy, and check the "
        "port.",
    ),
    (
        (HTTPStreamClosedError, StreamClosedError),
        Problem.CONNECTION,
        "The connection was closed without an answer. Check the log of the proxy.",
    ),
)


def connection_problem(error: BaseException | None) -> tuple[Problem, str]:
    """Return what is wrong if there was no answer, and what to do.

    Args:
        error: The error of the HTTP client.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return Problem.TLS, (
            f"The TLS certificate is not valid: {_shown(error.verify_message)}. Stripe refuses it, "
            "too. Install a certificate of a public authority for this host name, with its "
            "intermediate certificates."
        )
    if isinstance(error, HTTPTimeoutError) and "TLS" in str(error):
        return NO_TLS
    for kinds, problem, explanation in _CONNECTION_PROBLEMS:
        if isinstance(error, kinds):
            return problem, explanation
    return (
        Problem.CONNECTION,
        "The host cannot be reached. Check the network and the firewall.",
    )


def answer_problem(
    response: HTTPResponse, event_id: str, *, webhook_path: str, livemode: bool
) -> tuple[Problem, str] | None:
    """Return what is wrong with an answer and what to do; None if the event was accepted.

    Args:
        response: The answer.
        event_id: The id of the event that was sent.
        webhook_path: The end of the URL's path.
        livemode: The mode of the secret key.
    """
    answer = _parsed(response.body)
    status = response.code
    if 200 <= status < 300:
        if answer is not None and answer.event == event_id:
            return None
        return Problem.OTHER_SERVER, (
            "Another server answers at this URL: the answer is not that of the service. Check the "
            "URL's host and path."
        )
    if 300 <= status < 400:
        return Problem.REDIRECT, (
            f"The URL redirects to {_shown(response.headers.get('Location', 'another one'))}, and "
            "Stripe does not follow redirects. Register the URL that it redirects to."
        )
    if status == 400 and answer is not None and answer.code:
        return _refusal(answer, livemode)
    return _status_problem(status, webhook_path)


def _refusal(answer: _Answer, livemode: bool) -> tuple[Problem, str]:
    """Return what is wrong if the service itself has answered 400."""
    if answer.code == "invalid_signature" and "tolerance" in answer.message:
        return Problem.CLOCK, (
            "The clocks of this machine and of the service differ by more than five minutes, so "
            "that the service does not check the secret. Synchronize both with NTP."
        )
    if answer.code == "invalid_signature":
        return Problem.SIGNATURE, (
            "The service does not accept this signing secret. Restart the service if its "
            "environment file was changed since its start; otherwise compare its secret with that "
            "of the endpoint. A proxy that removes the header Stripe-Signature has the same effect."
        )
    if "mode only" in answer.message:
        mine, other = ("live", "test") if livemode else ("test", "live")
        return Problem.MODE, (
            f"The service at this URL has keys of {other} mode, and this command has a key of "
            f"{mine} mode. Use the key of the other mode, or another URL."
        )
    return Problem.OTHER_SERVER, "The service refuses the test event: it has another version."


def _status_problem(status: int, webhook_path: str) -> tuple[Problem, str]:
    if status in (401, 403, 407):
        return Problem.LOGIN, (
            "A proxy or firewall in front of the service refuses the request. Exempt the path of "
            "the webhook from logins, allow lists and bot protection: the signature protects it."
        )
    if status in (404, 405, 410):
        return Problem.NOT_FOUND, (
            f"There is no webhook at this path. It ends in {webhook_path}, after the base URL of a "
            "Jupyter Server, if there is one."
        )
    if status == 413:
        return Problem.TOO_LARGE, (
            "A proxy refuses large bodies. Raise its limit to 1 MB, such as nginx's "
            "client_max_body_size."
        )
    if status >= 500 or status == 429:
        return Problem.UNAVAILABLE, (
            "The service, or a proxy on its behalf, answers that it is not available. Check that "
            "it runs, and /readyz and its log."
        )
    return Problem.OTHER_SERVER, (
        "The answer is not that of the service. Check the URL's host and path, and the proxy."
    )


def _parsed(body: bytes) -> _Answer | None:
    try:
        return _Answer.model_validate_json(body)
    except ValidationError:
        return None


def _shown(text: str) -> str:
    """Return a text of the server that can be printed on a terminal."""
    return "".join(one if one.isprintable() else "?" for one in text[:_MAX_SHOWN_CHARS])
