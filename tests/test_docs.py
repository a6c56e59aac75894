"""Tests of the documents: their code runs, and their tables match the code."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from inspect import Signature, signature
from pathlib import Path
from typing import Any

import click
import pytest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

import datalayer_stripe
import datalayer_stripe.testing as kit
from datalayer_stripe import Context, Event, LifespanContext, TopUp
from datalayer_stripe.billing.catalog import Catalog
from datalayer_stripe.billing.views import (
    BalanceView,
    InvoiceView,
    MovementView,
    PackageView,
    PlanView,
    SubscriptionView,
)
from datalayer_stripe.cli.main import main
from datalayer_stripe.composition import open_service
from datalayer_stripe.demo.environment import DemoEnvironment, open_environment
from datalayer_stripe.demo.story import Story
from datalayer_stripe.doctor.report import CHECKS
from datalayer_stripe.errors import RequestError, Unavailable
from datalayer_stripe.handlers import default_handlers
from datalayer_stripe.handlers.admin import admin_handlers
from datalayer_stripe.handlers.admin.page import admin_page_handlers
from datalayer_stripe.handlers.base import BaseHandler
from datalayer_stripe.handlers.checkout import checkout_handlers
from datalayer_stripe.handlers.openapi.page import api_page_handlers
from datalayer_stripe.metrics import Metrics, PluginMetrics
from datalayer_stripe.plugin_api.definition import Plugin
from datalayer_stripe.plugin_api.recorders import PluginCollection
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.plugin_api.settings import PREFIX, read_plugin_settings
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.pages.control import controls, reports
from datalayer_stripe.settings import Settings
from datalayer_stripe.store.indexes import declared_collections
from datalayer_stripe.testing import (
    PluginService,
    ShopSandbox,
    assert_exactly_once,
    pytest_plugin,
)
from datalayer_stripe.testing.database import VARIABLE
from datalayer_stripe.webhooks.outcome import Outcome
from tests.support import command_documents
from tests.support.app import ACCOUNT, ADMIN_ROLE, Api, changed, recorded
from tests.support.openapi_document import generated
from tests.testing.plugins import racing

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = DOCUMENTS["README.md"]
CONFIGURATION = DOCUMENTS["docs/configuration.md"]
HTTP_API = DOCUMENTS["docs/http-api.md"]
PLUGINS = DOCUMENTS["docs/plugins.md"]
OPERATIONS = DOCUMENTS["docs/operations.md"]
DESIGN = DOCUMENTS["docs/design.md"]
MANUAL_SETUP = DOCUMENTS["docs/manual-setup.md"]

Row = dict[str, str]


# Reading Markdown


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def table(text: str, first: str) -> list[Row]:
    """Return the rows of all tables whose first column has this heading."""
    rows: list[Row] = []
    names: list[str] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else None
        if cells is None:
            names = None
        elif names is None:
            names = cells
        elif names[0] == first and not set(line) <= set("|- "):
            rows.append(dict(zip(names, cells, strict=True)))
    assert rows, f"no table of {first}"
    return rows


def code(text: str) -> list[str]:
    """Return the texts between backticks."""
    return re.findall(r"`([^`]+)`", text)


def named(text: str, *, after: str) -> list[str]:
    """Return the names in the first braces after these words: `{id, name, …}`."""
    found = re.search(rf"{re.escape(after)}[^{{]*\{{([^{{}}]*)\}}", text)
    assert found, f"no names after {after!r}"
    return found.group(1).split(", ")


def differences(document: str, written: set[Any], existing: set[Any]) -> str:
    """Return a message that names what to add to a document and what to remove from it."""
    missing, unknown = sorted(existing - written), sorted(written - existing)
    return f"{document}: add {missing}, remove {unknown}"


# The documents themselves


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_between_documents_resolve(name: str) -> None:
    prose = re.sub(r"^```.*?^```", "", DOCUMENTS[name], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
            assert anchor in slugs, target


def test_readme_has_its_sections_in_order() -> None:
    assert re.findall(r"^## (.+)$", README, re.MULTILINE) == [
        "Try it",
        "In front of a real Stripe account",
        "Add an event plugin",
        "Documents",
    ]
    introduction = README.partition("\n## ")[0].splitlines()[2:]
    introduction = [line for line in introduction if not line.startswith("[![")]
    assert len([line for line in introduction if line.endswith(".")]) == 3


def test_readme_lists_every_document() -> None:
    listed = {target for row in table(README, "document") for target in code_or_link(row)}
    assert listed == set(DOCUMENTS) - {"README.md"}


def code_or_link(row: Row) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", row["document"])


def test_changelog_has_the_version() -> None:
    version = re.search(
        r'__version__ = "(.+)"', (ROOT / "datalayer_stripe/_version.py").read_text()
    )
    assert version is not None
    assert f"## [{version.group(1)}]" in DOCUMENTS["CHANGELOG.md"]


# Configuration and command line


def defaults() -> dict[str, str]:
    """Return each variable and its default, as the documents write it."""
    shown = {}
    for field in Settings.model_fields.values():
        default = field.get_default()
        if field.is_required():
            text = "required"
        elif default in (None, "", ()):
            text = "none"
        else:
            text = f"`{default[0] if isinstance(default, tuple) else default}`"
        shown[str(field.validation_alias)] = text
    return shown


def test_documented_variables_match_settings() -> None:
    rows = table(CONFIGURATION, "variable")
    assert {code(row["variable"])[0]: row["default"] for row in rows} == defaults()


def test_manual_setup_names_every_required_variable() -> None:
    named_ones = {code(row["variable"])[0] for row in table(MANUAL_SETUP, "variable")}
    assert named_ones == {name for name, default in defaults().items() if default == "required"}


@pytest.mark.parametrize("name", [*DOCUMENTS, "conf/datalayer-stripe.env.example"])
def test_document_names_only_existing_variables(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = set(re.findall(r"\bDATALAYER_[A-Z_]+\b", text))
    of_plugins = {one for one in found if one.startswith(PREFIX)}
    assert found - of_plugins <= {*defaults(), VARIABLE}


def commands(group: click.Group, prefix: str = "datalayer-stripe") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def test_documented_commands_match_command_line() -> None:
    written = {
        code(row["command"])[0]: code(row["options"]) for row in table(CONFIGURATION, "command")
    }
    assert written == {
        name: [one.opts[0] for one in command.params if isinstance(one, click.Option)]
        for name, command in commands(main)
    }


def test_list_of_commands_is_generated_from_the_command_line() -> None:
    assert DOCUMENTS["docs/cli.md"] == command_documents.document(), "run `make commands`"


def test_documents_name_only_existing_commands() -> None:
    known = {name.removeprefix("datalayer-stripe ") for name, _ in commands(main)}
    for name, text in DOCUMENTS.items():
        for words in re.findall(r"datalayer-stripe ([a-z]+(?: [a-z]+)?)", text):
            assert {words, words.partition(" ")[0]} & known, f"{name}: {words}"


# The events


def test_manual_setup_lists_the_event_types_of_the_plugins() -> None:
    printed = subprocess.run(
        [Path(sys.executable).parent / "datalayer-stripe", "plugins", "list"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    written = next(one for one in blocks(MANUAL_SETUP, "text") if one.startswith("charge."))
    types = list(Registry.load().types)
    assert written.split() == types, differences(
        "docs/manual-setup.md", set(written.split()), set(types)
    )
    assert written.split() == re.findall(r"^  (\S+)$", printed, re.MULTILINE)


# The HTTP API


def written_routes(*columns: str) -> set[tuple[str, str]]:
    """Return method and path of each documented route; `columns` are `route`, `alias` or both."""
    routes = set()
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", HTTP_API, re.M | re.S):
        base = next((one for one in code(title) if one.startswith("/")), "")
        if not title.endswith("routes") and not base:
            continue
        for row in table(text, "route"):
            for route in [one for column in columns for one in code(row.get(column, ""))]:
                method, path = route.split(" ")
                routes.add((method, base + path))
    return routes


def implemented(handler: type[BaseHandler]) -> set[str]:
    unimplemented = BaseHandler._unimplemented_method
    return {
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if getattr(handler, method.lower()) is not unimplemented
    }


def alternatives(pattern: str) -> list[str]:
    """Return the paths of a pattern such as `/a/(?:b|c)/d`; an id is `{id}`."""
    pattern = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern).replace(r"\.", ".")
    head, group, tail = re.fullmatch(r"([^(]*)(?:\(\?:([^)]*)\))?(.*)", pattern).groups()  # type: ignore[union-attr]
    return [head + one + tail for one in group.split("|")] if group else [pattern]


def test_documented_routes_match_served_routes(settings: Settings) -> None:
    page, _ = checkout_handlers(settings.checkout_path)
    operators_page, _ = admin_page_handlers(ADMIN_ROLE)
    served = {
        (method, path)
        for pattern, handler, *_ in (
            *default_handlers,
            *admin_handlers(ADMIN_ROLE),
            operators_page,
            page,
            api_page_handlers[0],
        )
        for path in alternatives(pattern)
        for method in implemented(handler)
    }
    written = written_routes("route", "alias")
    assert written == served, differences("docs/http-api.md", written, served)


def test_route_label_of_a_metric_is_the_first_alias(app: Application) -> None:
    labels = set(app.settings["datalayer_stripe"].route_labels.values())
    assert {path for _, path in written_routes("route")} == labels


def subclasses(parent: type[RequestError]) -> Iterator[type[RequestError]]:
    for child in parent.__subclasses__():
        yield child
        yield from subclasses(child)


# Errors that Tornado raises itself: see handlers/base.py.
TORNADO_ERRORS = {
    ("403", "forbidden"),
    ("405", "method_not_allowed"),
    ("416", "range_not_satisfiable"),
    ("500", "internal_error"),
}


def test_documented_errors_match_error_classes() -> None:
    rows = table(HTTP_API.partition("## Stripe routes")[0], "status")
    written = {(row["status"], code(row["code"])[0]) for row in rows}
    raised = {(str(error.status), error.code) for error in subclasses(RequestError) if ours(error)}
    assert written == raised | TORNADO_ERRORS


def test_documented_routes_and_errors_match_the_openapi_description() -> None:
    routes, codes = set(), set()
    for document in (generated(), generated(in_jupyter=True)):
        paths = document["paths"]
        routes |= {(method.upper(), path) for path in paths for method in paths[path]}
        codes |= {
            code
            for response in document["components"]["responses"].values()
            for code in response["content"]["application/json"]["examples"]
        }
    written = written_routes("route", "alias")
    assert routes == written, differences("the handlers' operations", routes, written)
    rows = table(HTTP_API.partition("## Stripe routes")[0], "status")
    # 405 is for methods that a route does not have, and 416 for files. `unavailable` is for a
    # Jupyter Server whose service has ended.
    written_codes = {code(row["code"])[0] for row in rows}
    assert codes - {"unavailable"} == written_codes - {
        "method_not_allowed",
        "range_not_satisfiable",
    }


def written_answers() -> Iterator[tuple[str, str, set[str]]]:
    """Yield method, path and fields of each route whose answer the documents list as fields."""
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", HTTP_API, re.M | re.S):
        base = next((one for one in code(title) if one.startswith("/")), "")
        for row in table(text, "route") if base else []:
            fields = {re.match(r"\w+", one)[0] for one in code(row["out"])}  # type: ignore[index]
            if fields:
                method, path = code(row["route"])[0].split(" ")
                yield method, base + path, fields


def test_documented_fields_of_answers_match_the_openapi_description() -> None:
    document = generated()
    answers = list(written_answers())
    assert len(answers) > 20
    for method, path, written in answers:
        responses = document["paths"][path][method.lower()]["responses"]
        [success] = [response for status, response in responses.items() if status[0] == "2"]
        name = success["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
        described = set(document["components"]["schemas"][name]["properties"]) - {"success"}
        assert described == written, differences(f"{method} {path}", described, written)


def ours(error: type[RequestError]) -> bool:
    return error is not Unavailable and error.__module__.startswith("datalayer_stripe")


# Outcomes that are answered with 503.
RETRIED_OUTCOMES = {"failed", "overloaded"}


def test_documents_list_every_outcome_of_a_delivery() -> None:
    rows = table(HTTP_API.partition("### The webhook")[2], "status")
    written = {code(row["`outcome` or code"])[0] for row in rows if row["status"] == "200"}
    assert written == set(Outcome) - RETRIED_OUTCOMES
    [counted] = [row for row in table(OPERATIONS, "metric") if "_deliveries_total" in row["metric"]]
    assert set(Outcome) <= set(code(counted["description"]))


@pytest.mark.parametrize(
    ("words", "view"),
    [
        ("**`prices`**", PackageView),
        ("**`plans`**", PlanView),
        ("**`subscription`** is", SubscriptionView),
        ("`latest_invoice` is null or", InvoiceView),
        ("**`topup/history`** is", MovementView),
        ("| `balance` |", BalanceView),
    ],
)
def test_documented_fields_match_view(words: str, view: Any) -> None:
    assert sorted(named(HTTP_API, after=words)) == sorted(view.model_fields)


@pytest.mark.gen_test
async def test_readme_shows_the_answer_of_readyz(api: Api) -> None:
    answer = await api.request("GET", "/readyz")
    assert answer.code == 200
    assert '"status":"ready"' in answer.body.decode()
    assert '`"status":"ready"`' in README


# Operations


def test_documented_metrics_match_collectors() -> None:
    counted = {}
    for collector in vars(Metrics()).values():
        for family in collector.describe() if hasattr(collector, "describe") else ():
            name = family.name + ("_total" if family.type == "counter" else "")
            if name.startswith("datalayer_stripe"):
                counted[name] = (family.type, list(getattr(collector, "_labelnames", ())))
    written = {
        code(row["metric"])[0]: (row["kind"], code(row["labels"]))
        for row in table(OPERATIONS, "metric")
    }
    assert written == counted


def test_quoted_failures_and_reasons_are_in_the_code() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "datalayer_stripe").rglob("*.py")
    )
    sources = re.sub(r'"\s*\n\s*f?"|\\\n', "", sources)
    rows = [*table(OPERATIONS, "what you see"), *table(OPERATIONS, "reason")]
    quoted = [text for row in rows for text in code(next(iter(row.values())))]
    assert len(quoted) > 15
    for text in quoted:
        for part in re.split(r"…|: |`", text.replace("contains test data", "contains …data")):
            assert part.strip() in sources or part.strip("/") in sources, text


def test_log_messages_of_the_examples_are_in_the_code() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "datalayer_stripe").rglob("*.py")
    )
    messages = set(re.findall(r'"message": "([^"]+)"', OPERATIONS))
    assert messages >= {"delivery", "request"}
    for message in messages:
        assert f'"{message}"' in sources, message


def test_documented_sandbox_controls_and_reports_exist() -> None:
    sandbox = Sandbox()
    for row in table(OPERATIONS, "control"):
        assert set(code(row["control"])) <= set(controls(sandbox))
    section = OPERATIONS.partition("## The sandbox")[2]
    read = set(re.findall(r"`(?:GET )?/sandbox/(\w+)`", section)) - {"panel"}  # for people
    assert read == set(reports(sandbox))


# Design


def test_documented_collections_match_store() -> None:
    written = {name for row in table(DESIGN, "collection") for name in code(row["collection"])}
    existing = {*declared_collections(), "plugin_<name>"}
    assert written == existing, differences("docs/design.md", written, existing)


# The story


@pytest.mark.gen_test
async def test_readme_shows_the_steps_of_the_story() -> None:
    shown = next(one for one in blocks(README, "text") if one.startswith("✓"))
    titles = re.findall(r"^✓ (.+?)  ", shown, re.MULTILINE)
    async with open_environment(port=0, sandbox_port=0) as environment:
        steps = [title for title, _ in story(environment).steps()]
        rest = iter(steps)
        assert all(title in rest for title in titles), titles
        assert f"All {len(steps)} steps passed in " in shown
        assert len(titles) > 5


def story(environment: DemoEnvironment) -> Story:
    return Story(None, environment, webhook_timeout=0)  # type: ignore[arg-type] # only looked at


# Plugins: the code that the documents show


def names_in(text: str, first: str, pattern: str) -> set[str]:
    return {
        name for row in table(text, first) for name in re.findall(pattern, next(iter(row.values())))
    }


def test_plugin_guide_lists_every_attribute_of_a_context() -> None:
    written = names_in(PLUGINS, "attribute", r"`ctx\.(\w+)`")
    assert written == {field.name for field in fields(Context)}
    methods = {name for name in vars(PluginCollection) if not name.startswith("_")}
    assert names_in(PLUGINS, "call", r"(\w+)\(") == methods
    hooks = names_in(PLUGINS, "attribute", r"`lifespan\.(\w+)`")
    assert hooks == {field.name for field in fields(LifespanContext)}
    figures = {name for name in vars(PluginMetrics) if not name.startswith("_")}
    assert names_in(PLUGINS, "metric", r"(\w+)\(") == figures


def test_plugin_guide_lists_every_argument_of_plugin() -> None:
    written = [code(row["argument"])[0] for row in table(PLUGINS, "argument")]
    assert written == list(signature(Plugin).parameters)
    assert f"`Plugin{_shown(signature(Plugin))}`" in PLUGINS
    decorators = {"on", "lifespan"}
    assert names_in(PLUGINS, "decorator", r"@plugin\.(\w+)") == decorators


def _shown(found: Signature) -> str:
    parameters = [one.replace(annotation=one.empty) for one in found.parameters.values()]
    return str(Signature(parameters))


def test_every_public_name_is_documented() -> None:
    for name in datalayer_stripe.__all__:
        assert name.startswith("__") or f"`{name}" in PLUGINS or f"import {name}" in PLUGINS, name
        assert name.startswith("__") or getattr(datalayer_stripe, name).__doc__, name


def test_plugin_guide_lists_every_field_of_event_and_top_up() -> None:
    rows = table(PLUGINS.partition("## `Event`")[2].partition("## `Context`")[0], "attribute")
    attributes = set(Event.model_fields) | {"object", "object_id"}
    assert {code(row["attribute"])[0] for row in rows} == attributes
    sentence = re.search(r"A `TopUp` has (.+)\.", PLUGINS)
    assert sentence is not None
    assert set(code(sentence.group(1))) == set(TopUp.model_fields)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_blocks_compile(name: str) -> None:
    for block in blocks(DOCUMENTS[name], "python"):
        compile(block, name, "exec")


def test_readme_and_plugin_guide_show_the_same_plugin() -> None:
    assert blocks(README, "python") == blocks(PLUGINS, "python")[:1]


@pytest.mark.slow
def test_plugin_of_the_guide_passes_its_tests(tmp_path: Path) -> None:
    """plugin_tools/test_tutorial.py runs the tutorial's commands and compares their output."""
    plugin, test = blocks(PLUGINS, "python")[:2]
    package = tmp_path / "top_up_count"
    package.mkdir()
    (package / "plugin.py").write_text(plugin, encoding="utf-8")
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_plugin.py").write_text(test, encoding="utf-8")
    (tests / "test_story.py").write_text(scenario_of_the_kit(), encoding="utf-8")
    passed = python("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=tests, site=tmp_path)
    assert "4 passed" in passed


def scenario_of_the_kit() -> str:
    """Return the test that the guide shows beside the plugin's own."""
    [block] = [one for one in blocks(PLUGINS, "python") if "with PluginService(" in one]
    return block


# The test kit


@pytest.mark.parametrize("name", ["top-up-count", "monthly-report", "largest-top-up"])
def test_examples_are_exactly_once(name: str) -> None:
    plugin = example(name)
    [event_type] = plugin.types
    event = kit.recorded_event(event_type)
    other = kit.recorded_event(event_type, id="evt_other", object_id="other")
    kit.assert_exactly_once(plugin, event, other)


def test_plugin_guide_lists_the_whole_test_kit() -> None:
    functions = {name for name in kit.__all__ if name.islower()}
    assert names_in(PLUGINS, "function", r"^`(\w+)\(") == functions
    fixtures = {name for name in vars(pytest_plugin) if name.startswith("stripe_")}
    assert names_in(PLUGINS, "fixture", r"`(\w+)`") == fixtures
    methods = {name for name in vars(PluginService) if not name.startswith("_")}
    assert names_in(PLUGINS, "method", r"^`(\w+)") == methods
    own = {name for name in vars(ShopSandbox) if not name.startswith("_")}
    listed = names_in(PLUGINS, "sandbox method", r"^`(\w+)")
    assert own <= listed
    assert all(hasattr(ShopSandbox, name) for name in listed)
    options = {one for one in signature(assert_exactly_once).parameters if one not in TRIED}
    assert names_in(PLUGINS, "option", r"^`(\w+)`") == options


TRIED = {"plugin", "events"}


def test_plugin_guide_shows_the_signatures_of_the_test_kit() -> None:
    for function in (assert_exactly_once, PluginService):
        assert f"`{function.__name__}{_shown(signature(function))}` " in PLUGINS


def test_plugin_guide_shows_the_failure_message_of_the_test_kit() -> None:
    paid = json.loads(recorded("payment_intent.succeeded"))
    with pytest.raises(AssertionError) as raised:
        assert_exactly_once(racing(), paid)
    assert f"{raised.value}\n" in blocks(PLUGINS, "text")


def python(*arguments: str, folder: Path, site: Path) -> str:
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def defined(block: str) -> Plugin:
    """Return the plugin that a block of Python defines."""
    module: dict[str, Any] = {}
    exec(compile(block, "docs/plugins.md", "exec"), module)
    plugin = module["plugin"]
    assert isinstance(plugin, Plugin)
    return plugin


def example(name: str) -> Plugin:
    """Return the plugin of this name that the guide shows."""
    [block] = [one for one in blocks(PLUGINS, "python") if f'Plugin("{name}"' in one]
    return defined(block)


async def run_example(
    settings: Settings, plugin: Plugin, body: bytes, **variables: str
) -> tuple[dict[str, Any] | None, str]:
    """Deliver an event to a plugin and run its deferred work.

    Returns:
        The plugin's document, or None, and the text of `/metrics`.
    """
    environ = {f"{PREFIX}{name}": value for name, value in variables.items()}
    plugin_settings, faults = read_plugin_settings([plugin], environ)
    assert faults == []
    registry = Registry([plugin])
    service = await open_service(settings, registry=registry, plugin_settings=plugin_settings)
    try:
        await service.lifespans.start()
        event = Event.model_validate_json(body)
        assert await service.processor.process(event) in {"processed", "deferred"}
        await service.worker.run_due()
        kept = await service.store.events.get(event.id)
        assert kept is not None
        assert kept.handlers[plugin.name].status == "done", kept
        found = await service.store.find_one(f"plugin_{plugin.name}", {})
        return found, service.metrics.exposition().decode()
    finally:
        await service.close()


@pytest.mark.gen_test
async def test_deferred_example_writes_once(settings: Settings) -> None:
    found, _ = await run_example(settings, example("monthly-report"), recorded("invoice.paid"))
    assert found is not None
    assert found["reports"] == 1


@pytest.mark.gen_test
async def test_example_with_settings_receives_them(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    paid = recorded("payment_intent.succeeded")
    given = {"RECEIPT_MAIL_HOST": "mail.example.com", "RECEIPT_MAIL_PASSWORD": "hunter2"}
    await run_example(settings, example("receipt-mail"), paid, **given)
    [line] = [one for one in caplog.records if one.message == "to be mailed"]
    assert line.host == "mail.example.com"  # type: ignore[attr-defined]


@pytest.mark.gen_test
async def test_example_with_lifespan_calls_and_closes(settings: Settings) -> None:
    told: list[str] = []

    class Hook(RequestHandler):
        def post(self) -> None:
            told.append(json.loads(self.request.body)["id"])

    listener, port = bind_unused_port()
    server = HTTPServer(Application([("/hook", Hook)]))
    server.add_socket(listener)
    paid = recorded("payment_intent.succeeded")
    await run_example(settings, example("chat"), paid, CHAT_URL=f"http://127.0.0.1:{port}")
    server.stop()
    await server.close_all_connections()
    assert told == [json.loads(paid)["id"]]


@pytest.mark.gen_test
async def test_example_with_metric_counts(settings: Settings) -> None:
    paid = recorded("payment_intent.succeeded")
    _, shown = await run_example(settings, example("payment-size"), paid)
    assert 'datalayer_stripe_plugin_payment_size_payments_total{currency="usd"} 1.0' in shown
    assert "`datalayer_stripe_plugin_payment_size_payments_total`" in PLUGINS


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_example_with_expectation_keeps_the_largest(settings: Settings) -> None:
    plugin = example("largest-top-up")
    service = await open_service(settings, registry=Registry([plugin]))

    def paid(turn: int, credits: int) -> Event:
        body = changed(recorded("payment_intent.succeeded"), id=f"evt_{turn}_{credits}")
        event = Event.model_validate_json(body)
        event.object["id"] = f"pi_{turn}_{credits}"
        event.object["metadata"] = {**event.object["metadata"], "credits": str(credits)}
        return event

    try:
        for turn, sizes in enumerate(([50], [600, 220, 50, 400], [7, 599])):
            events = [paid(turn, size) for size in sizes]
            # Concurrently, so that one run changes what another has read.
            await asyncio.gather(*map(service.processor.process, events))
        kept = await service.store.find_one("plugin_largest-top-up", {"_id": ACCOUNT})
        assert kept is not None
        assert kept["credits"] == 600
    finally:
        await service.close()


def test_plugin_guide_lists_the_signals_of_a_plugin() -> None:
    raised = [code(row["raise"]) for row in table(PLUGINS, "raise")]
    assert [one[0].partition("(")[0] for one in raised if one] == [
        "Retry",
        "Defer",
        "RateLimited",
        "Reject",
    ]


# The shell commands of the manual set-up, run against the local Stripe


@pytest.mark.gen_test
async def test_commands_of_the_manual_setup_create_products_and_prices(io_loop: IOLoop) -> None:
    lines = next(one for one in blocks(MANUAL_SETUP, "sh") if one.startswith("STRIPE="))
    sandbox = Sandbox()
    await sandbox.start()
    try:
        lines = lines.replace("https://api.stripe.com", sandbox.url)
        lines = lines.replace("sk_test_example", sandbox.secret_key)
        bash = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            lines,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "NO_PROXY": "*"},
        )
        printed = (await bash.communicate())[0].decode()
        made = dict(re.findall(r"(DATALAYER_\w+)=(prod_\w+)", printed))
        assert len(made) == 2, printed
        settings = Settings(
            stripe_api_key=sandbox.secret_key,
            stripe_js_api_key=sandbox.publishable_key,
            stripe_webhook_secrets="whsec_example",
            stripe_cust_portal_id="bpc_example",
            stripe_cust_portal_url="https://billing.example.com",
            stripe_api_base=sandbox.url,
            jwt_secret="only-for-this-test-0123456789abcdef",
            **made,
        )
        service = await open_service(settings)
        catalog: Catalog = service.catalog
        packages, plans = await catalog.packages(), await catalog.plans()
        await service.close()
    finally:
        await sandbox.stop()
    assert [(one.unit_amount, one.credits, one.default) for one in packages] == [(500, 50, True)]
    assert [(one.amount, one.interval) for one in plans] == [(2900, "month")]


# The checks of the set-up


def test_documented_checks_match_code() -> None:
    written = [tuple(row.values()) for row in table(DOCUMENTS["docs/doctor.md"], "check")]
    assert written == [
        (f"`{one.name}`", one.severity.value, one.title, one.advice) for one in CHECKS
    ]
