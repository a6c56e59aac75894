"""The compose file: its schema, what it publishes, and the start of its replica set."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient

from datalayer_stripe.settings import variable
from tests.support import npm
from tests.support.missing import skip_or_fail
from tests.support.mongod import Mongod
from tests.support.packaging import ROOT

COMPOSE = ROOT / "compose.yaml"
SECRETS = ROOT / "conf" / "compose.secrets.yaml"
DCLINT = ("dclint", "3.1.0", "node_modules/.bin/dclint")
MONGOSH = ("mongosh", "2.12.0", "node_modules/.bin/mongosh")
# `image` is the name of what is built, and the demo is not started together with the service.
NOT_RULES = (
    "no-build-and-image",
    "service-image-require-explicit-tag",
    "no-duplicate-exported-ports",
)
_TIMEOUT = 60  # seconds


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")))


def require(package: tuple[str, str, str]) -> Path:
    try:
        return npm.install(*package)
    except npm.NotInstalled as error:
        skip_or_fail(str(error))


def test_services_publish_ports_on_this_machine_only_and_mongodb_none(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "ports" not in services["mongodb"]
    assert services["mongodb"]["networks"] == ["database"]
    assert compose["networks"]["database"] == {"internal": True}


def test_services_run_the_image_without_rights_and_on_a_read_only_file_system(
    compose: dict[str, Any],
) -> None:
    for name in ("service", "demo"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_names_in_the_compose_file_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service.get("networks", ())) <= {"default", *compose["networks"]}
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert volumes <= set(compose["volumes"])
        assert {one["source"] for one in service.get("configs", ())} <= set(compose["configs"])
    assert (ROOT / compose["configs"]["initiate"]["file"]).is_file()
    mongodb = {services[name]["image"] for name in ("mongodb", "mongodb-initiate")}
    assert len(mongodb) == 1
    assert re.fullmatch(r"mongo:\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", mongodb.pop())


def test_secrets_are_files_that_are_named_after_variables(compose: dict[str, Any]) -> None:
    secrets = yaml.safe_load(SECRETS.read_text(encoding="utf-8"))
    service = secrets["services"]["service"]
    assert "service" in compose["services"]
    assert service["environment"] == {variable("stripe_secrets_dir"): "/run/secrets"}
    fields = ("stripe_api_key", "stripe_webhook_secrets", "jwt_secret")
    assert service["secrets"] == [variable(field) for field in fields]
    expected = {name: {"file": f"secrets/{name}"} for name in service["secrets"]}
    assert secrets["secrets"] == expected


@pytest.mark.deployment
def test_compose_file_follows_the_specification() -> None:
    command = [str(require(DCLINT)), str(COMPOSE), str(SECRETS), "--quiet", "--no-color"]
    command += [word for rule in NOT_RULES for word in ("--disable-rule", rule)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.deployment
@pytest.mark.mongod
def test_replica_set_is_initiated_once_and_then_left_alone(
    compose: dict[str, Any], new_mongod: Callable[[str | None], Mongod], tmp_path: Path
) -> None:
    services = compose["services"]
    name = services["mongodb"]["command"][1]
    assert services["service"]["environment"]["DATALAYER_STRIPE_MONGODB_URL"].endswith(
        f"replicaSet={name}"
    )
    mongod, mongosh = new_mongod(name), str(require(MONGOSH))
    in_container = services["mongodb-initiate"]["environment"]["MEMBER"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MEMBER": mongod.address}
    _, *options = services["mongodb-initiate"]["entrypoint"]
    script = ["--file", str(ROOT / compose["configs"]["initiate"]["file"])]
    initiate = [mongosh, *options, *script]
    initiate = [word.replace(in_container, mongod.address) for word in initiate]
    assert initiate != [mongosh, *options, *script]

    _, _, *options = services["mongodb"]["healthcheck"]["test"]
    check = [mongosh, "--port", str(mongod.port), *options]
    subprocess.run(check, env=environment, timeout=_TIMEOUT, check=True)
    versions = []
    for _ in range(2):
        subprocess.run(initiate, env=environment, timeout=_TIMEOUT, check=True)
        with MongoClient[dict[str, Any]](mongod.direct_url) as client:
            assert client.admin.command("hello")["isWritablePrimary"]
            versions.append(client.admin.command("replSetGetConfig")["config"])
    assert versions[0] == versions[1]
    assert [one["host"] for one in versions[0]["members"]] == [mongod.address]
    mongod.kill()
    dead = subprocess.run(
        check, env=environment, capture_output=True, timeout=_TIMEOUT, check=False
    )
    assert dead.returncode != 0
