"""config/kubernetes: held to Kubernetes' own schema, and to what the task definition and the image say of the same daemon."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from earmark.settings import load
from earmark.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "config" / "kubernetes").glob("*.yaml"))
VERSION = "1.33"


def documents() -> list[dict[str, Any]]:
    return [document for file in FILES for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = (document for document in documents() if document["kind"] == kind)
    return found


def daemon() -> dict[str, Any]:
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    return container


def test_all_that_is_needed_is_there_and_lies_flat() -> None:
    kinds = {"Deployment", "ServiceAccount", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}
    assert {document["kind"] for document in documents()} == kinds
    assert {path.name for path in (ROOT / "config" / "kubernetes").iterdir()} == {file.name for file in FILES}


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["kind"])
def test_kubernetes_takes_it(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_misspelt_field_is_not_taken() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**of_kind("Service"), "spek": {}}, VERSION, strict=True)


def test_they_all_mean_the_same_pods() -> None:
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    selected = [of_kind("Deployment")["spec"]["selector"]["matchLabels"], of_kind("Service")["spec"]["selector"]]
    selected += [of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    assert selected == [labels] * 4
    assert of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == of_kind("Deployment")["metadata"]["name"]
    assert of_kind("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == of_kind("ServiceAccount")["metadata"]["name"]


def test_it_is_started_asked_and_ended_as_the_image_says() -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    user, group = re.findall(r"^USER (\d+):(\d+)$", image, flags=re.MULTILINE)[0]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (int(user), int(group))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert daemon()["args"] == ["run", "--role", "streams,catalogue,canary"]
    settings = load(environ={}).settings
    assert [port["containerPort"] for port in daemon()["ports"]] == [settings.metrics.port]
    assert (daemon()["livenessProbe"]["httpGet"]["path"], daemon()["readinessProbe"]["httpGet"]["path"]) == ("/healthz", "/readyz")
    assert pod["terminationGracePeriodSeconds"] > settings.leases.drain_s
    (version,) = re.findall(r"^ARG VERSION=(\S+)$", image, flags=re.MULTILINE)
    assert {container["image"] for container in [*pod["containers"], *pod["initContainers"]]} == {f"earmark:{version}"}


def test_nothing_can_be_gained_inside() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    for container in [*pod["containers"], *pod["initContainers"]]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert pod["automountServiceAccountToken"] is False


def test_it_grows_by_metrics_that_there_are() -> None:
    names = {one[one["type"].lower()]["metric"]["name"].removeprefix("earmark_") for one in of_kind("HorizontalPodAutoscaler")["spec"]["metrics"]}
    assert names <= set(Metrics.__dataclass_fields__)
    busy = next(one["pods"]["target"]["averageValue"] for one in of_kind("HorizontalPodAutoscaler")["spec"]["metrics"] if one["type"] == "Pods")
    assert int(busy.removesuffix("m")) / 1000 < load(environ={}).settings.leases.busy_share_max


def test_settings_in_its_environment_exist() -> None:
    given = {entry["name"]: entry["value"] for entry in daemon()["env"] if entry["name"] != "EARMARK_CONFIG"}
    assert load(environ=given).settings.log.format == "json"
