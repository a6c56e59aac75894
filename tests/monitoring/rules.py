"""The alerts of conf/prometheus, the dashboard of conf/grafana, and what they read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "conf" / "prometheus"
DASHBOARD = ROOT / "conf" / "grafana" / "datalayer-stripe.json"

_SELECTOR = re.compile(r"\b((?:datalayer_stripe|process|python)_\w+)(?:\{([^}]*)\})?")


def alerts() -> list[dict[str, Any]]:
    """Return the alerts."""
    document = yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def alert_tests() -> list[dict[str, Any]]:
    """Return what promtool evaluates: an alert, a time, and what is expected to fire then."""
    document = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text(encoding="utf-8"))
    return [one for test in document["tests"] for one in test["alert_rule_test"]]


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard that show something, without its rows."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return the expressions of the dashboard, with a value for each of its variables."""
    return [
        target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*")
        for panel in panels()
        for target in panel["targets"]
    ]


def selectors(expression: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each metric that an expression reads, and the values that its labels must have."""
    for name, matchers in _SELECTOR.findall(expression):
        yield name, dict(re.findall(r'(\w+)="([^"]*)"', matchers))
