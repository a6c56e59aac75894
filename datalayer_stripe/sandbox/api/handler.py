"""HTTP handler of the API: authentication, versions, idempotency, errors.

https://docs.stripe.com/api
"""

import asyncio
import base64
import binascii
import json
import re
from typing import Any

from tornado.web import RequestHandler

from ..engine.backend import API_VERSION
from ..engine.errors import StripeError, invalid
from ..shapes.objects import Object
from .dispatcher import ApiDispatcher
from .forms import decode, decode_json
from .guards import is_dns_rebinding
from .idempotency import Answer
from .permissions import check_permission
from .public import check_access, public_view
from .routes import Match

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.\w+)?")


class ApiHandler(RequestHandler):
    """Handler of `/v1/…`, whose bodies are forms, and of `/v2/…`, whose bodies are JSON.

    Any web page can send requests to this machine. The secret key reads and changes everything, so
    a request that has it and an `Origin` header is rejected. A request whose `Host` is a domain
    name is always rejected, see `is_dns_rebinding`.
    """

    def initialize(self, dispatcher: ApiDispatcher) -> None:
        self._dispatcher = dispatcher
        self._key: str | None = None

    def set_default_headers(self) -> None:
        self.set_header("Access-Control-Allow-Origin", "*")
        # The wildcard does not include the Authorization header.
        self.set_header("Access-Control-Allow-Headers", "Authorization, *")
        self.set_header("Access-Control-Allow-Methods", "GET, POST, DELETE")
        self.clear_header("Server")

    async def get(self) -> None:
        await self._serve()

    async def delete(self) -> None:
        await self._serve()

    async def post(self) -> None:
        await self._serve()

    async def options(self) -> None:
        """Answer a CORS preflight: every origin is allowed, as at Stripe."""
        self.set_status(204)

    def prepare(self) -> None:
        self._request_id = self._dispatcher.backend.ids.new("req")
        self._version = self.request.headers.get("Stripe-Version", API_VERSION)
        self._identify()
        if is_dns_rebinding(self.request):
            error = StripeError(
                421, "The host name is not allowed. Use the sandbox's IP address or localhost."
            )
            self._answer(error.status, self._error_body(error))

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Answer an internal error of the sandbox as a Stripe API error."""
        self._identify()
        error = StripeError(status_code, "An unexpected error occurred.", type="api_error")
        self._answer(status_code, self._error_body(error))

    def on_finish(self) -> None:
        if self.request.method != "OPTIONS":
            self._dispatcher.record_call(
                str(self.request.method), self.request.path, self._key, self.get_status()
            )

    async def _serve(self) -> None:
        try:
            await self._serve_checked()
        except StripeError as error:
            self._answer(error.status, self._error_body(error))

    async def _serve_checked(self) -> None:
        path = self.request.path
        publishable = self._authenticate()
        self._key = self.request.headers.get("Idempotency-Key") or None
        key = self._key if self.request.method == "POST" else None
        match = self._match(path)
        params = self._params()
        self._check_restricted_key()
        if publishable:
            check_access(self._dispatcher.backend.store, match, params)
        refusal = self._dispatcher.faults.refusal(path, key)
        if refusal is not None and not refusal.executed:
            raise refusal
        cut_before, cut_after = self._dispatcher.faults.cuts(path)
        if cut_before:
            self._cut()
            return
        status, body = await self._run_once(match, params, key, refusal)
        if cut_after:
            self._cut()
            return
        self._answer(status, public_view(body) if publishable else body)

    def _match(self, path: str) -> Match:
        if not _VERSION.fullmatch(self._version):
            raise invalid(f"Invalid Stripe API version: {self._version}")
        match = self._dispatcher.router.match(str(self.request.method), path)
        if match is None:
            raise StripeError(
                404,
                f"Unrecognized request URL ({self.request.method}: {path}). Please see "
                "https://docs.stripe.com or we can help at https://support.stripe.com/.",
                executed=False,
            )
        return match

    async def _run_once(
        self, match: Match, params: dict[str, Any], key: str | None, refusal: StripeError | None
    ) -> tuple[int, Object]:
        """Execute a request once per idempotency key, and return its status and body.

        A simulated `refusal` replaces the execution; it is stored under the key like any answer.
        """
        keys, path = self._dispatcher.idempotency, self.request.path
        if key:
            self.set_header("Idempotency-Key", key)
            before = keys.begin(key, path, params)
            self.set_header("Original-Request", before.request_id if before else self._request_id)
            if before is not None:
                self.set_header("Idempotent-Replayed", "true")
                return before.status, before.body
        try:
            await asyncio.sleep(self._dispatcher.faults.seconds(path))
            if refusal is not None:
                raise refusal
            status, body = 200, self._run(match, params, key)
        except StripeError as error:
            if key and not error.executed:
                keys.forget(key)
            if not error.executed:
                raise
            status, body = error.status, self._error_body(error)
        except BaseException:
            if key:
                keys.forget(key)
            raise
        if key:
            keys.keep(key, Answer(status, body, self._request_id))
        return status, body

    def _run(self, match: Match, params: dict[str, Any], key: str | None) -> Object:
        with self._dispatcher.backend.request_context(self._request_id, key):
            stated = self.request.headers.get("Stripe-Version")
            return self._dispatcher.run(match, params, stated)

    def _authenticate(self) -> bool:
        """Check the API key, and return whether it is the publishable key."""
        key = _api_key(self.request.headers.get("Authorization", ""))
        if key is None:
            raise StripeError(
                401,
                "You did not provide an API key. You need to provide your API key in the "
                "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                "YOUR_SECRET_KEY').",
                executed=False,
            )
        if key == self._dispatcher.publishable_key:
            return True
        if key != self._dispatcher.secret_key and key not in self._dispatcher.restricted_keys:
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 16 else "*" * len(key)
            raise StripeError(401, f"Invalid API Key provided: {shown}", executed=False)
        if "Origin" in self.request.headers:
            raise StripeError(
                403,
                "The sandbox does not accept its secret key from a web page, and a request with an "
                "Origin header comes from a web page. Use the publishable key in web pages, and "
                "the secret key on a server or in a terminal.",
                executed=False,
            )
        return False

    def _check_restricted_key(self) -> None:
        """Check that the key may make this request, if it is a restricted one."""
        key = _api_key(self.request.headers.get("Authorization", "")) or ""
        permissions = self._dispatcher.restricted_keys.get(key)
        if permissions is not None:
            check_permission(key, permissions, str(self.request.method), self.request.path)

    def _params(self) -> dict[str, Any]:
        expected = "application/json" if self._is_v2 else "application/x-www-form-urlencoded"
        content_type = self.request.headers.get("Content-Type", "").split(";")[0].strip()
        if self.request.body and content_type != expected:
            raise invalid(
                f"Invalid request (check that your POST content type is {expected}). "
                f"You sent: {content_type or 'nothing'}."
            )
        try:
            text = self.request.body.decode()
        except UnicodeDecodeError:
            raise invalid("Invalid request: the body is not UTF-8.") from None
        if self._is_v2:
            return {**decode(self.request.query), **decode_json(text)}
        return decode("&".join(filter(None, [self.request.query, text])))

    @property
    def _is_v2(self) -> bool:
        return self.request.path.startswith("/v2/")

    def _identify(self) -> None:
        self.set_header("Request-Id", self._request_id)
        self.set_header("Stripe-Version", self._version)

    def _error_body(self, error: StripeError) -> Object:
        log_url = f"https://dashboard.stripe.com/test/logs/{self._request_id}"
        return {"error": {**error.error, "request_log_url": log_url}}

    def _answer(self, status: int, body: Object) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body, indent=2, ensure_ascii=False))

    def _cut(self) -> None:
        """Close the connection without sending an answer."""
        self._dispatcher.record_call(str(self.request.method), self.request.path, self._key, None)
        self.detach().close()


def _api_key(header: str) -> str | None:
    """Return the API key of an Authorization header: a Bearer token or the Basic user name."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials, validate=True).decode().split(":", 1)[0] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def api_handlers(dispatcher: ApiDispatcher) -> list[Any]:
    """Return the handler of the API."""
    return [(r"/v[12]/.*", ApiHandler, {"dispatcher": dispatcher})]
