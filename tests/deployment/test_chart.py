"""The Helm chart: it renders, Kubernetes knows its manifests, and it fits the service."""

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from datalayer_stripe._version import __version__
from datalayer_stripe.cli.commands.serve import serve
from datalayer_stripe.cli.serve_process import STOP_TIMEOUT
from datalayer_stripe.settings import Settings, variable
from datalayer_stripe.settings_fields import variable_of
from tests.support.dockerfile import read_stages
from tests.support.helm import require
from tests.support.packaging import ROOT

CHART = ROOT / "conf" / "helm" / "datalayer-stripe"
RULES = ROOT / "conf" / "prometheus" / "rules.yml"
DOCUMENT = ROOT / "docs" / "deployment.md"
FOLDER_OF_SECRETS = variable("stripe_secrets_dir")
NAMESPACE = "datalayer-api"
# The oldest version that the chart accepts, and the newest one that is known here.
KUBERNETES = ("1.30", "1.37")
FIELDS = {variable_of(field): field for field in Settings.model_fields.values()}
SECRETS = {name for name, field in FIELDS.items() if "SecretStr" in str(field.annotation)}
ALL = """
stripe:
  image: registry.example.com/datalayer-stripe@sha256:0123
  imagePullSecrets: [{name: reg-creds}]
  processes: 2
  pluginsConfigMap: our-plugins
  env:
    DATALAYER_STRIPE_TOPUP_PRODUCT_ID: prod_tests
    DATALAYER_STRIPE_MAX_DELIVERIES: 512
    DATALAYER_STRIPE_MONGODB_URL: {secretKeyRef: {name: mongodb, key: url}}
    DATALAYER_STRIPE_PLUGIN_MAIL_URL: https://mail.example.com
  service: {type: LoadBalancer, annotations: {lb: public}}
  ingress: {enabled: true, host: billing.example.com}
  autoscaling: {enabled: true}
  serviceMonitor: {enabled: true, additionalLabels: {team: billing}}
  prometheusRule: {enabled: true}
  networkPolicy:
    ingressFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: traefik}}}]
    metricsFrom: [{namespaceSelector: {}}]
    egressExtra: [{ports: [{port: 4317, protocol: TCP}]}]
  nodeSelector: {role: api}
  tolerations: [{key: api, operator: Exists}]
  affinity: {podAntiAffinity: {}}
  priorityClassName: important
  podAnnotations: {a: b}
  podLabels: {c: d}
"""
LITTLE = """
stripe:
  metricsPort: 0
  secretsAsFiles: true
  serviceAccount: {name: existing}
  podDisruptionBudget: {enabled: false}
  networkPolicy: {enabled: false}
  serviceMonitor: {enabled: true}
  topologySpreadConstraints: []
"""

Manifests = dict[str, dict[str, Any]]
Render = Callable[[str], Manifests]


def helm(*arguments: str, values: str = "{}") -> subprocess.CompletedProcess[str]:
    command = [str(require()), *arguments, "--values", "-"]
    return subprocess.run(command, input=values, capture_output=True, text=True, check=False)


def rendered(values: str) -> list[dict[str, Any]]:
    done = helm("template", "billing", str(CHART), "--namespace", NAMESPACE, values=values)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def by_kind(values: str) -> Manifests:
    manifests = rendered(values)
    found = {_kind(one): one for one in manifests}
    assert len(found) == len(manifests)
    return found


def _kind(manifest: dict[str, Any]) -> str:
    """Return the kind; that of the Service of the metrics has another name."""
    is_of_metrics = manifest["metadata"]["name"].endswith("-metrics")
    return manifest["kind"] + (" of metrics" if is_of_metrics else "")


def container_of(manifests: Manifests) -> dict[str, Any]:
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_versions_of_the_chart_are_those_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__


def test_values_have_each_setting_and_no_secret() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["stripe"]
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    properties = schema["properties"]["stripe"]["properties"]["env"]["properties"]
    references = {name for name, rule in properties.items() if rule == {"$ref": "#/$defs/secret"}}
    set_by_the_chart = {name for name, rule in properties.items() if rule is False}
    assert references == SECRETS
    assert set(values["env"]) == set(FIELDS) - SECRETS - set_by_the_chart
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    assert all(name in text for name in SECRETS)


def test_readme_of_the_chart_names_each_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["stripe"]
    groups = {name: value for name, value in values.items() if name in _GROUPS}
    assert len(groups) == len(_GROUPS)
    expected = {f"stripe.{name}" for name in values if name not in groups}
    expected |= {f"stripe.{name}.{key}" for name, group in groups.items() for key in group}
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    named = [
        name
        for row in re.findall(r"^\| (`stripe.*?) \|", readme, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    ]
    assert sorted(named) == sorted(expected)


_GROUPS = {"serviceAccount", "service", "ingress", "podDisruptionBudget", "autoscaling"}
_GROUPS |= {"networkPolicy", "serviceMonitor", "prometheusRule"}


@pytest.mark.deployment
def test_helm_lint_finds_nothing() -> None:
    done = helm("lint", "--strict", str(CHART), values=ALL)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.deployment
@pytest.mark.parametrize("values", ["{}", ALL, LITTLE], ids=["default", "all", "little"])
def test_kubernetes_accepts_each_manifest(values: str) -> None:
    import kubernetes_validate  # noqa: PLC0415 (in the extra `deployment` only)

    manifests = rendered(values)
    assert len(manifests) >= 3
    for manifest in manifests:
        assert manifest["metadata"]["namespace"] == NAMESPACE
        if manifest["apiVersion"] == "monitoring.coreos.com/v1":
            continue  # of the Prometheus operator, whose schemas are not at hand
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.deployment
@pytest.mark.parametrize("values", ["{}", ALL, LITTLE], ids=["default", "all", "little"])
def test_manifests_fit_together(values: str) -> None:
    manifests = by_kind(values)
    pod = manifests["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container_of(manifests)["ports"]}
    service = manifests["Service"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["stripe-http"]
    services = [one for one in manifests.values() if one["kind"] == "Service"]
    served = [port["targetPort"] for one in services for port in one["spec"]["ports"]]
    assert sorted(served) == sorted(ports)
    for one in services:
        assert one["spec"]["selector"].items() <= labels
    of_metrics = manifests.get("Service of metrics", service)
    assert of_metrics is service or of_metrics["spec"]["type"] == "ClusterIP"
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
    monitor = manifests.get("ServiceMonitor")
    if monitor is not None:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        selected = [one for one in services if wanted <= one["metadata"]["labels"].items()]
        assert selected == [of_metrics]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in of_metrics["spec"]["ports"]}
    rule = manifests.get("PrometheusRule")
    if rule is not None:
        assert rule["spec"] == yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        if kind in manifests:
            spec = manifests[kind]["spec"]
            assert spec.get("selector", spec.get("podSelector"))["matchLabels"].items() <= labels
    if "Ingress" in manifests:
        (rule,) = manifests["Ingress"]["spec"]["rules"]
        backends = [path["backend"]["service"] for path in rule["http"]["paths"]]
        assert {one["name"] for one in backends} == {service["metadata"]["name"]}
        assert {one["port"]["name"] for one in backends} == {"stripe-http"}
    assert ("replicas" in manifests["Deployment"]["spec"]) != (
        "HorizontalPodAutoscaler" in manifests
    )


@pytest.mark.deployment
def test_container_runs_a_command_of_the_service_without_rights() -> None:
    manifests = by_kind(ALL)
    container = container_of(manifests)
    command, *arguments = container["args"]
    assert command == "serve"
    parameters = serve.make_context("serve", arguments).params
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (parameters["host"], parameters["port"]) == ("0.0.0.0", ports["stripe-http"])
    assert parameters["processes"] == 2
    for probe, path in {"startup": "healthz", "liveness": "healthz", "readiness": "readyz"}.items():
        get = container[f"{probe}Probe"]["httpGet"]
        assert get == {"path": f"/{path}", "port": "stripe-http"}
    spec = manifests["Deployment"]["spec"]["template"]["spec"]
    user = _image_user()
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == user
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
    drain = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] - drain > STOP_TIMEOUT


@pytest.mark.deployment
def test_secrets_can_be_files() -> None:
    manifests = by_kind(LITTLE)
    container = container_of(manifests)
    assert "envFrom" not in container
    [folder] = [one["value"] for one in container["env"] if one["name"] == FOLDER_OF_SECRETS]
    [mount] = [one for one in container["volumeMounts"] if one["mountPath"] == folder]
    volumes = manifests["Deployment"]["spec"]["template"]["spec"]["volumes"]
    [volume] = [one for one in volumes if one["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": "datalayer-stripe"}


@pytest.mark.deployment
def test_values_of_the_docs_are_rendered() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    manifests = by_kind(example)
    [host] = [rule["host"] for rule in manifests["Ingress"]["spec"]["rules"]]
    assert host == "billing.example.com"
    shown = {one["name"] for one in container_of(manifests)["env"]}
    required = {name for name, field in FIELDS.items() if field.is_required()}
    assert required - SECRETS <= shown


@pytest.mark.deployment
def test_container_has_the_variables_of_the_service() -> None:
    container = container_of(by_kind(ALL))
    variables = {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
    plugin = variables.pop("DATALAYER_STRIPE_PLUGIN_MAIL_URL")
    assert plugin == "https://mail.example.com"
    assert set(variables) <= set(FIELDS)
    assert variables["DATALAYER_STRIPE_TOPUP_PRODUCT_ID"] == "prod_tests"
    assert variables["DATALAYER_STRIPE_MAX_DELIVERIES"] == "512"
    assert variables["DATALAYER_STRIPE_MONGODB_URL"] == {
        "secretKeyRef": {"name": "mongodb", "key": "url"}
    }
    assert variables["DATALAYER_STRIPE_METRICS_ADDRESS"] == "0.0.0.0:9464"
    folder = variables["DATALAYER_STRIPE_PLUGINS_DIR"]
    assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["envFrom"] == [{"secretRef": {"name": "datalayer-stripe"}}]
    # What is empty in the values is left to the defaults of the service and to the Secret.
    assert "DATALAYER_STRIPE_SIGN_IN_URL" not in variables


@pytest.mark.deployment
@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("stripe: {env: {DATALAYER_STRIPE_API_KEY: sk_test_tests}}", "DATALAYER_STRIPE_API_KEY"),
        ("stripe: {env: {lower_case: x}}", "lower_case"),
        ("stripe: {replica: 2}", "replica"),
        ("stripe: {ingress: {enabled: true}}", "host"),
        ("stripe: {shutdownSeconds: 5}", "shutdownSeconds"),
        ("stripe: {existingSecret: ''}", "existingSecret"),
    ],
)
def test_wrong_value_is_refused(wrong: str, place: str) -> None:
    done = helm("template", "billing", str(CHART), values=wrong)
    assert done.returncode != 0
    assert place in done.stderr


def _image_user() -> str:
    final = read_stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))[-1]
    return next(one.arguments for one in final.instructions if one.keyword == "USER")
