"""Alerts and dashboard: they are valid, documented and tested, and read what is exported."""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring.rules import (
    PROMETHEUS,
    ROOT,
    alert_tests,
    alerts,
    expressions,
    panels,
    selectors,
)
from tests.support import promtool
from tests.support.app import recorded
from tests.support.shop import Buyer

RUNBOOK = "https://github.com/datalayer/datalayer-stripe/blob/main/docs/operations.md"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

linux = pytest.mark.skipif(sys.platform != "linux", reason="process_* is read from /proc")

Exported = dict[str, list[dict[str, str]]]


async def exported(buyer: Buyer) -> Exported:
    """Return the labels of each sample that a service exports, by name."""
    await buyer.api.deliver(recorded("payment_intent.succeeded"))
    await buyer.api.get("/api/iam/stripe/v1/topup/prices")  # which asks Stripe
    answer = await buyer.api.get("/metrics", account=None)
    found: Exported = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def documented() -> set[str]:
    """Return the metrics of the tables in docs/operations.md."""
    section = OPERATIONS.partition("### Metrics")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_promtool_accepts_the_rules() -> None:
    printed = promtool.run("check", "rules", "rules.yml", folder=PROMETHEUS)
    assert f"SUCCESS: {len(alerts())} rules found" in printed


def test_promtool_passes_the_tests_of_the_rules() -> None:
    assert "SUCCESS" in promtool.run("test", "rules", "rules_test.yml", folder=PROMETHEUS)


def test_each_alert_is_tested_when_it_is_quiet_and_when_it_fires() -> None:
    tested = Counter((one["alertname"], bool(one.get("exp_alerts"))) for one in alert_tests())
    names = [alert["alert"] for alert in alerts()]
    assert tested == {(name, fires): 1 for name in names for fires in (False, True)}


def test_each_alert_has_its_section() -> None:
    sections = dict(
        re.findall(r"^### (DatalayerStripe\w+)\n(.*?)(?=^##)", OPERATIONS, re.MULTILINE | re.DOTALL)
    )
    assert list(sections) == [alert["alert"] for alert in alerts()], "in the order of the rules"
    for alert in alerts():
        name, annotations = alert["alert"], alert["annotations"]
        assert annotations["runbook_url"] == f"{RUNBOOK}#{name.lower()}"
        assert annotations["summary"].endswith(".")
        assert f"*{alert['labels']['severity'].capitalize()}.*" in sections[name]
        assert "\n- Look at: " in sections[name]
        assert "\n- Repair: " in sections[name]


@linux
@pytest.mark.gen_test
async def test_alerts_and_dashboard_read_what_is_exported(
    buyer: Buyer, series_at_zero: None
) -> None:
    found = await exported(buyer)
    for expression in (*(alert["expr"] for alert in alerts()), *expressions()):
        read = list(selectors(expression))
        assert read, f"reads no metric: {expression}"
        for name, labels in read:
            assert name in found, f"no service exports {name}: {expression}"
            matching = [one for one in found[name] if labels.items() <= one.items()]
            assert matching, f"no series has {labels}: {expression}"


@linux
@pytest.mark.gen_test
async def test_each_exported_metric_is_documented_and_shown(
    buyer: Buyer, series_at_zero: None
) -> None:
    families = set()
    for name in await exported(buyer):
        if not name.endswith("_created"):
            families.add(re.sub(r"_(bucket|sum|count)$", "", name))
    assert families == documented()
    read = {name for text in expressions() for name, _ in selectors(text)}
    shown = {re.sub(r"_bucket$", "", name) for name in read}
    ours = {name for name in families if name.startswith("datalayer_stripe")}
    assert ours <= shown, "add them to conf/grafana/datalayer-stripe.json"


def test_expressions_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(expressions())
    ]
    # JSON is YAML.
    text = json.dumps({"groups": [{"name": "panels", "rules": rules}]})
    (tmp_path / "panels.yml").write_text(text, encoding="utf-8")
    printed = promtool.run("check", "rules", "panels.yml", folder=tmp_path)
    assert f"SUCCESS: {len(rules)} rules found" in printed


def test_panels_use_the_variables_of_the_dashboard() -> None:
    numbers = Counter(panel["id"] for panel in panels())
    assert set(numbers.values()) == {1}
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert 'job=~"$job"' in target["expr"], target["expr"]
