"""A local Stripe for tests and demos, which the unmodified Stripe SDK can call.

Its parts, each of which imports only from those below it:

    sandbox.py   the local Stripe with its HTTP server
    pages/       the pages, the panel and the controls under `/sandbox/`
    actions.py   actions of merchants, customers and banks: create, pay, refund, dispute, renew
    core.py      the state of a local Stripe, and calls to its API within the process
    delivery/    webhooks: signing, attempts, retries, simulated delivery faults
    resources/   the operations of the API, one module per Stripe resource
    api/         the API's protocol: parameters, routes, keys, versions, HTTP
    engine/      state, clock, cards, charging, billing and the lifecycle of subscriptions
    shapes/      complete Stripe objects, as they are when created

`web/` holds the JavaScript, HTML and CSS files that `pages/` serves.
"""

from .core import Shopfront
from .engine.errors import SandboxCardError, StripeError
from .sandbox import Sandbox

__all__ = ["Sandbox", "SandboxCardError", "Shopfront", "StripeError"]
