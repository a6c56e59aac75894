"""The registry: exact event types, a defined order, and no change after the start."""

from functools import wraps
from importlib.metadata import EntryPoint

import pytest

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.errors import PluginError
from datalayer_stripe.plugin_api import loading as plugin_loading
from datalayer_stripe.plugin_api.loading import ENTRY_POINT_GROUP
from datalayer_stripe.plugin_api.registry import Registry


async def nothing(event: Event, ctx: Context) -> None:
    """Do nothing."""


def plugin(name: str, *types: str, order: int = 100) -> Plugin:
    made = Plugin(name, order=order)
    made.on(*types)(nothing)
    return made


def names(found: Registry, event_type: str) -> list[str]:
    return [plugin.name for plugin in found.plugins_for(event_type)]


def test_plugins_run_by_order_and_then_by_name() -> None:
    found = Registry(
        [
            plugin("b", "charge.refunded"),
            plugin("z", "charge.refunded", order=1),
            plugin("a", "charge.refunded"),
            plugin("c", "charge.succeeded", order=0),
        ]
    )
    assert names(found, "charge.refunded") == ["z", "a", "b"]
    assert [plugin.name for plugin in found.plugins] == ["c", "z", "a", "b"]


@pytest.mark.parametrize(
    "event_type", ["charge", "charge.", "charge.refund", "charge.refunded.x", "CHARGE.REFUNDED", ""]
)
def test_types_match_exactly(event_type: str) -> None:
    found = Registry([plugin("a", "charge.refunded")])
    assert found.plugins_for(event_type) == ()


def test_registry_lists_its_event_types() -> None:
    found = Registry(
        [plugin("a", "price.updated", "charge.refunded"), plugin("b", "price.updated")]
    )
    assert found.types == ("charge.refunded", "price.updated")


def test_plugin_can_have_a_function_for_each_event_type() -> None:
    made = plugin("a", "charge.refunded")

    @made.on("price.updated")
    async def other(event: Event, ctx: Context) -> None: ...

    assert made.types == ("charge.refunded", "price.updated")
    found = {name: made.registration(name) for name in (*made.types, "charge.succeeded")}
    assert found.pop("charge.succeeded") is None
    assert {name: one.function for name, one in found.items()} == {
        "charge.refunded": nothing,
        "price.updated": other,
    }


def test_two_plugins_cannot_have_one_name() -> None:
    with pytest.raises(PluginError, match="Two plugins are named 'a'"):
        Registry([plugin("a", "charge.refunded"), plugin("a", "price.updated")])


def test_plugin_cannot_register_an_event_type_twice() -> None:
    made = plugin("a", "charge.refunded")
    with pytest.raises(PluginError, match=r"charge\.refunded has another function"):
        made.on("charge.refunded")(nothing)
    with pytest.raises(PluginError, match=r"price\.updated has another function"):
        made.on("price.updated", "price.updated")(nothing)


def test_plugin_cannot_register_a_function_after_the_start() -> None:
    made = plugin("a", "charge.refunded")
    Registry([made])
    with pytest.raises(PluginError, match="before the service starts"):
        made.on("price.updated")(nothing)
    assert made.types == ("charge.refunded",)


@pytest.mark.parametrize("name", ["", "A", "a.b", "a_b", "$set", "-a", "a b", "x" * 64, "a\n"])
def test_plugin_name_with_other_characters_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match="lower-case"):
        Plugin(name)


@pytest.mark.parametrize("event_type", ["", "charge", "*", "charge.*", "charge.", ".x", "A.b"])
def test_malformed_event_type_is_refused(event_type: str) -> None:
    with pytest.raises(PluginError, match="is not an event type"):
        Plugin("a").on(event_type)(nothing)


def test_on_needs_an_event_type() -> None:
    with pytest.raises(PluginError, match="needs an event type"):
        Plugin("a").on()(nothing)


def test_function_that_is_not_async_is_refused() -> None:
    def function(event: Event, ctx: Context) -> None: ...

    with pytest.raises(PluginError, match="async def"):
        Plugin("a").on("charge.refunded")(function)  # type: ignore[arg-type]


def test_function_of_other_arguments_is_refused() -> None:
    async def one_argument(event: object) -> None: ...

    with pytest.raises(PluginError, match=r"the arguments `\(event, ctx\)`"):
        Plugin("a").on("price.updated")(one_argument)  # type: ignore[arg-type]


def test_decorator_of_a_function_may_add_an_argument() -> None:
    async def with_connection(event: Event, ctx: Context, connection: object) -> None: ...

    @wraps(with_connection)
    async def connected(event: Event, ctx: Context) -> None:
        await with_connection(event, ctx, object())

    plugin = Plugin("a")
    plugin.on("price.updated")(connected)
    assert plugin.registration("price.updated") is not None


def test_built_in_plugins_are_loaded_from_entry_points() -> None:
    found = Registry.load()
    assert names(found, "payment_intent.succeeded") == ["top-up-credits"]
    assert {
        "payment_intent.succeeded",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "invoice.paid",
        "invoice.payment_failed",
    } <= set(found.types)


def install(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Replace the entry points of installed distributions."""
    points = [EntryPoint(f"p{n}", value, ENTRY_POINT_GROUP) for n, value in enumerate(values)]

    def entry_points(*, group: str) -> list[EntryPoint]:
        assert group == ENTRY_POINT_GROUP
        return points

    monkeypatch.setattr(plugin_loading, "entry_points", entry_points)


def test_installed_plugin_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "datalayer_stripe_plugins.catalog_changed:plugin")
    assert [plugin.name for plugin in Registry.load().plugins] == ["catalog-changed"]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("datalayer_stripe_plugins.no_such_module:plugin", "cannot be loaded: ModuleNotFoundError"),
        ("datalayer_stripe_plugins.catalog_changed:nothing", "cannot be loaded: AttributeError"),
        (
            "datalayer_stripe_plugins.catalog_changed:clear_cached_prices",
            "is not a datalayer_stripe.Plu",
        ),
    ],
)
def test_plugin_that_fails_to_load_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, value: str, fault: str
) -> None:
    install(monkeypatch, "datalayer_stripe_plugins.invoice_paid:plugin", value)
    with pytest.raises(PluginError, match=fault) as error:
        Registry.load()
    assert value in str(error.value)


def test_registry_without_any_plugin_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    with pytest.raises(PluginError, match="pip install"):
        Registry.load()


def test_plugin_that_is_installed_twice_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = "datalayer_stripe_plugins.invoice_paid:plugin"
    install(monkeypatch, value, value)
    with pytest.raises(PluginError, match="Two plugins"):
        Registry.load()
