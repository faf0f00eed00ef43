"""deploy/kubernetes: held to Kubernetes' schemas, to its strictest standard, and to the processes that it starts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from driftline.stream.cli.commands import COMMANDS
from driftline.stream.config.load import check_config, parse_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
# The version of Kubernetes whose schemas are taken; what is used here has not changed since 1.25.
VERSION = "v1.33"


def manifests() -> list[dict[str, Any]]:
    """All resources, as they stand in the files."""
    wanted = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    return [each for name in wanted for each in yaml.safe_load_all((FOLDER / name).read_text())]


MANIFESTS = {f"{each['kind']} {each['metadata']['name']}": each for each in manifests()}
DEPLOYMENTS = {name: each for name, each in MANIFESTS.items() if each["kind"] == "Deployment"}


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    return dict(deployment["spec"]["template"]["spec"])


def containers(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    spec = pod(deployment)
    return [*spec.get("initContainers", []), *spec["containers"]]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_what_kubernetes_has_a_schema_for(name: str) -> None:
    manifest = MANIFESTS[name]
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind = "-".join(filter(None, (manifest["kind"].lower(), group.split(".")[0], version)))
    folder = files("kubernetes_validate") / "kubernetes-json-schema"
    [strict] = [each for each in folder.iterdir() if each.name.startswith(f"{VERSION}.") and "strict" in each.name]
    schema = json.loads((strict / f"{kind}.json").read_text())
    assert [each.message for each in _validator(schema, strict).iter_errors(manifest)] == []
    assert list(_validator(schema, strict).iter_errors(manifest | {"spce": {}})), "it sees what is misspelt"


def test_everything_is_there() -> None:
    assert MANIFESTS.keys() == {
        "Namespace driftline", "ServiceAccount driftline", "Deployment driftline-worker",
        "PodDisruptionBudget driftline-worker", "Deployment driftline-relay", "PodDisruptionBudget driftline-relay",
        "Deployment driftline-serve", "Service driftline-serve",
    }  # fmt: skip


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_pod_keeps_the_restricted_standard_on_a_file_system_that_is_read_only(name: str) -> None:
    spec = pod(DEPLOYMENTS[name])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for each in containers(DEPLOYMENTS[name]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert each["resources"].keys() == {"requests", "limits"}
    assert f"USER {spec['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_what_is_started_is_a_command_with_the_mounted_configuration_and_probes_at_its_port(name: str) -> None:
    config = parse_config((FOLDER / "driftline.yaml").read_text(), "driftline.yaml")
    for each in containers(DEPLOYMENTS[name]):
        assert each["args"][0] in COMMANDS
        assert each["args"][-2:] == ["-c", "/etc/driftline/driftline.yaml"]
        assert {"name": "configuration", "mountPath": "/etc/driftline", "readOnly": True} in each["volumeMounts"]
    [main] = pod(DEPLOYMENTS[name])["containers"]
    address = getattr(config, main["name"]).http
    assert address == f"0.0.0.0:{main['ports'][0]['containerPort']}"
    probes = {what: main[f"{what}Probe"]["httpGet"] for what in ("startup", "liveness", "readiness")}
    assert {what: each["path"] for what, each in probes.items()} == {
        "startup": "/live", "liveness": "/live", "readiness": "/ready",
    }  # fmt: skip
    assert {each["port"] for each in probes.values()} == {main["ports"][0]["name"]}


def test_selectors_find_the_pods() -> None:
    pods = {each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] for each in DEPLOYMENTS.values()}
    for name, each in MANIFESTS.items():
        if each["kind"] in ("Deployment", "PodDisruptionBudget"):
            assert each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] in pods, name
    assert MANIFESTS["Service driftline-serve"]["spec"]["selector"]["app.kubernetes.io/name"] in pods


def test_the_configuration_is_valid_and_no_secret_stands_in_a_file() -> None:
    assert check_config((FOLDER / "driftline.yaml").read_text(), "driftline.yaml") == []
    whole = "".join(path.read_text() for path in FOLDER.iterdir())
    assert "kind: Secret" not in whole
    page = (ROOT / "docs" / "DEPLOY.md").read_text()
    created = dict[str, list[str]]()
    for command in re.findall(r"kubectl create secret generic ((?:.*\\\n)*.*)", page):
        created[command.split()[0]] = re.findall(r"--from-literal=(\w+)=", command)
    assert created == {
        "driftline": ["REDIS_PASSWORD"],
        "driftline-relay": ["DRIFTLINE_TO", "PAGERDUTY_ROUTING_KEY"],
        "driftline-serve": ["DRIFTLINE_SERVE_TOKEN"],
    }
    given = {each["name"]: each["envFrom"] for one in DEPLOYMENTS.values() for each in containers(one)}
    assert {name: [each["secretRef"]["name"] for each in several] for name, several in given.items()} == {
        "topics": ["driftline"],
        "worker": ["driftline"],
        "relay": ["driftline", "driftline-relay"],
        "serve": ["driftline", "driftline-serve"],
    }
    config = parse_config((FOLDER / "driftline.yaml").read_text(), "driftline.yaml")
    assert [config.redis.password_env, config.serve.token_env] == ["REDIS_PASSWORD", "DRIFTLINE_SERVE_TOKEN"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl, which has Kustomize")
def test_kustomize_builds_it_and_every_reference_holds() -> None:
    built = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True).stdout
    resources = list(yaml.safe_load_all(built))
    [config] = [each for each in resources if each["kind"] == "ConfigMap"]
    assert config["data"].keys() == {"driftline.yaml"}
    mounted = [
        volume["configMap"]["name"]
        for each in resources
        if each["kind"] == "Deployment"
        for volume in pod(each)["volumes"]
        if "configMap" in volume
    ]
    assert mounted == [config["metadata"]["name"]] * len(DEPLOYMENTS)
    images = {each["image"] for one in resources if one["kind"] == "Deployment" for each in containers(one)}
    assert images == {"registry.example.com/driftline:0.1.0"}


def _validator(schema: dict[str, Any], folder: Any) -> Draft7Validator:
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    def retrieve(uri: str) -> Resource[Any]:
        return Resource.from_contents(json.loads((folder / uri.rpartition("/")[2]).read_text()), DRAFT7)

    return Draft7Validator(schema, registry=Registry(retrieve=retrieve))  # type: ignore[call-arg]
