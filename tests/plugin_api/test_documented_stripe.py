"""Each public method of the objects in a plugin's context is in `docs/plugins.md`."""

import inspect

import pytest

from datalayer_stripe import testing as kit
from datalayer_stripe.plugin_api.recorders import (
    CustomerRecorder,
    Ledger,
    ReversalRecorder,
    SnapshotRecorder,
)
from datalayer_stripe.stripe_api.client import StripeClient
from datalayer_stripe.stripe_api.queries import StripeQueries
from tests.test_docs import PLUGINS, code, example, names_in, table

# Methods that only the service calls.
_OWN = {"close"}


def public(of: type) -> set[str]:
    return {
        name
        for name, member in vars(of).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def test_each_method_of_the_stripe_client_is_documented() -> None:
    assert (
        names_in(PLUGINS, "method of `ctx.stripe`", r"`(?:await |async for page in )?(\w+)\(")
        == (public(StripeClient) | public(StripeQueries)) - _OWN
    )


def test_each_argument_of_the_stripe_client_is_documented() -> None:
    for row in table(PLUGINS, "method of `ctx.stripe`"):
        shown = code(row["method of `ctx.stripe`"])[0].split("page in ")[-1].removeprefix("await ")
        name, _, rest = shown.partition("(")
        arguments = [one.strip().partition("=")[0] for one in rest.rstrip(")").split(",")]
        parameters = list(inspect.signature(getattr(StripeClient, name)).parameters)
        assert [one for one in arguments if one not in ("*", "")] == parameters[1:], name


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [
        ("ledger", Ledger),
        ("reversals", ReversalRecorder),
        ("snapshots", SnapshotRecorder),
        ("customers", CustomerRecorder),
    ],
)
def test_each_method_of_a_recorder_is_documented(attribute: str, kind: type) -> None:
    [row] = [one for one in table(PLUGINS, "attribute") if f"`ctx.{attribute}`" in str(one)]
    for name in public(kind):
        assert f"{name}(" in str(row), name


def test_documented_example_of_the_sdk_is_exactly_once() -> None:
    plugin = example("dispute-notes")
    dispute = kit.recorded_event("charge.dispute.created")
    kit.assert_exactly_once(plugin, dispute)
