"""JSON API under `/sandbox/` that controls the sandbox and reports its state.

It needs no key: every client that can connect to the sandbox's port may use it. A POST must have
the content type `application/json`, which a page of another origin cannot send.
"""

import inspect
import json
from collections.abc import Callable
from typing import Any

from tornado.web import RequestHandler

from ..actions import SandboxActions
from ..api.guards import is_dns_rebinding
from ..engine.errors import StripeError
from .overview import overview

Control = Callable[..., Any]


class ControlHandler(RequestHandler):
    """Handler that runs a control with the JSON object in the body as its arguments."""

    def initialize(self, sandbox: SandboxActions) -> None:
        self._controls = controls(sandbox)
        self._reports = reports(sandbox)

    def prepare(self) -> None:
        if is_dns_rebinding(self.request):
            self._fail(
                421, "The host name is not allowed. Use the sandbox's IP address or localhost."
            )

    async def get(self, name: str) -> None:
        """Answer a report; the query string has its arguments."""
        report = self._reports.get(name)
        if report is None:
            self._fail(404, f"There is no report {name!r}. Reports: {', '.join(self._reports)}.")
            return
        arguments = {key: self.get_query_argument(key) for key in self.request.query_arguments}
        try:
            answer = report(**arguments)
            self._answer(200, await answer if inspect.isawaitable(answer) else answer)
        except KeyError as error:
            self._fail(404, f"There is no {error}.")
        except (ValueError, TypeError) as error:
            self._fail(400, str(error))

    async def post(self, name: str) -> None:
        """Run a control; the JSON object in the body has its arguments."""
        control = self._controls.get(name)
        if control is None:
            self._fail(404, f"There is no control {name!r}. Controls: {', '.join(self._controls)}.")
            return
        if self.request.headers.get("Content-Type", "").split(";")[0] != "application/json":
            self._fail(415, "The content type must be application/json.")
            return
        try:
            arguments = json.loads(self.request.body or b"{}")
            inspect.signature(control).bind(**arguments)
        except (ValueError, TypeError) as error:
            self._fail(400, str(error))
            return
        try:
            result = control(**arguments)
            if inspect.isawaitable(result):
                result = await result
        except StripeError as error:
            self._answer(error.status, {"error": error.error})
        except KeyError as error:
            self._fail(404, f"There is no {error}.")
        except (LookupError, ValueError, TypeError) as error:
            self._fail(400, f"{type(error).__name__}: {error}")
        except TimeoutError:
            self._fail(504, "The deliveries did not end within the timeout.")
        else:
            self._answer(200, result if result is not None else {"ok": True})

    def _fail(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"message": message}})

    def _answer(self, status: int, body: Any) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-cache")  # the panel revalidates it by ETag
        self.finish(json.dumps(body))


def reports(sandbox: SandboxActions) -> dict[str, Callable[..., Any]]:
    """Return the reports by name."""
    webhooks = sandbox.webhooks

    def deliveries(after: str = "0") -> dict[str, Any]:
        """Return the attempts after the first `after` ones; pass `next` as `after` next time."""
        return {
            "held": webhooks.held,
            "attempts": [attempt.as_dict() for attempt in webhooks.attempts[int(after) :]],
            "next": len(webhooks.attempts),
        }

    return {
        "deliveries": deliveries,
        "overview": lambda: overview(sandbox),
        "object": sandbox.get,
        "calls": lambda: {"calls": [call._asdict() for call in sandbox.api.calls]},
        "events": lambda: {"events": sandbox.events},
        "clock": lambda: {"now": sandbox.clock(), "offset": sandbox.clock.offset},
    }


def controls(sandbox: SandboxActions) -> dict[str, Control]:
    """Return the controls by name."""
    webhooks, api = sandbox.webhooks, sandbox.api

    async def deliver(event_id: str, endpoint_id: str | None = None) -> dict[str, Any]:
        return (await webhooks.deliver(event_id, endpoint_id)).as_dict()

    return {
        "renew": sandbox.renew,
        "authenticate": sandbox.authenticate,
        "refund": sandbox.refund,
        "settle_refund": sandbox.settle_refund,
        "dispute": sandbox.dispute,
        "escalate_dispute": sandbox.escalate_dispute,
        "close_dispute": sandbox.close_dispute,
        "confirm_payment": sandbox.confirm_payment,
        "confirm_setup": sandbox.confirm_setup,
        "pay_invoice": sandbox.pay_invoice,
        "delete_price": sandbox.delete_price,
        "cancel_subscription": sandbox.cancel_subscription,
        "create_webhook_endpoint": sandbox.create_webhook_endpoint,
        "create_event_destination": sandbox.create_event_destination,
        "forget_events": lambda: {"forgotten": sandbox.forget_events()},
        "clock/advance": lambda seconds: {"touched": sandbox.advance(seconds)},
        "webhooks/duplicate": webhooks.duplicate,
        "webhooks/reorder": webhooks.reorder,
        "webhooks/hold": webhooks.hold,
        "webhooks/release": lambda order="sent", seed=None: {
            "released": webhooks.release(order, seed)
        },
        "webhooks/delay": webhooks.delay,
        "webhooks/drop": webhooks.drop,
        "webhooks/refuse": webhooks.refuse,
        "webhooks/normal": webhooks.normal,
        "webhooks/settle": webhooks.settle,
        "webhooks/deliver": deliver,
        "api/refuse": api.refuse,
        "api/delay": api.delay,
        "api/cut": api.cut,
        "api/normal": api.normal,
    }


def control_handlers(sandbox: SandboxActions) -> list[Any]:
    """Return the handler of a sandbox's controls and reports."""
    names = "|".join([*controls(sandbox), *reports(sandbox)])
    return [(rf"/sandbox/({names})", ControlHandler, {"sandbox": sandbox})]
