"""The manifests: what each says, and that they, the chart's values and the README fit together."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster_k8s.client
import kubernetes_validate
import pytest
import yaml

from curation_assets.orchestration.step_pods import TAG, pod_tags
from curation_assets.settings import load_settings
from tests.kubernetes import chart
from tests.kubernetes.chart import FOLDER
from tests.kubernetes.manifests import (
    KUSTOMIZATION,
    MANIFESTS,
    Object,
    below,
    changed,
    faults,
    name_of,
    named,
    of_kind,
    pod_of,
)

README = (FOLDER / "README.md").read_text(encoding="utf-8")
DAGSTER_K8S = Path(dagster_k8s.client.__file__)
SCHEMAS = ("1.30", kubernetes_validate.latest_version())
SECRET = re.compile(r"KEY|TOKEN|PASSWORD|SECRET|CREDENTIAL")
OF_THE_CHART = {("Service", "dagster-webserver"), ("ConfigMap", "dagster-instance")}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=name_of)
def test_a_manifest_is_what_kubernetes_defines(manifest: Object, schema: str) -> None:
    kubernetes_validate.validate(manifest, schema, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**manifest, "spek": {}}, schema, strict=True)


@pytest.mark.parametrize("workload", of_kind("Deployment", "Job"), ids=name_of)
def test_a_pod_keeps_our_rules(workload: Object) -> None:
    assert faults(pod_of(workload), serves=workload["kind"] == "Deployment") == []


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("serviceAccountName",), None, "account"),
        (("securityContext", "runAsUser"), 0, "root"),
        (("securityContext", "seccompProfile"), None, "seccomp"),
        (("containers", 0, "image"), "vllm/vllm-openai:latest", "tag"),
        (("containers", 0, "image"), "vllm/vllm-openai", "tag"),
        (("containers", 0, "resources", "requests", "cpu"), None, "requests"),
        (("containers", 0, "resources", "limits", "memory"), None, "limits"),
        (("containers", 0, "resources", "limits", "nvidia.com/gpu"), "1", "devices"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "escalation"),
        (("containers", 0, "securityContext", "capabilities"), {"add": ["SYS_ADMIN"]}, "capabilities"),
        (("containers", 0, "livenessProbe"), None, "livenessProbe"),
    ],
)
def test_our_rules_notice(path: tuple[str | int, ...], value: Any, fault: str) -> None:
    pod = pod_of(named("Deployment", "vllm-captions"))
    assert faults(changed(pod, path, value), serves=True) == [fault]


def test_the_kustomization_names_every_file() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    elsewhere = {"kustomization.yaml", "values.yaml", "README.md", "SIZING.md", "Dockerfile", "Dockerfile.dockerignore"}
    there_are = {file.name for file in FOLDER.iterdir() if file.is_file()} - elsewhere
    assert {*KUSTOMIZATION["resources"], *generated["files"]} == there_are
    assert KUSTOMIZATION["namespace"] == named("Namespace", "reelhouse")["metadata"]["name"]
    assert KUSTOMIZATION["generatorOptions"]["disableNameSuffixHash"]  # pods name the config map as it stands here


def test_no_secret_has_its_value_here() -> None:
    values = chart.values()
    assert not of_kind("Secret")
    for variable in below([*MANIFESTS, values]):
        assert not ("value" in variable and SECRET.search(str(variable.get("name", "")))), variable
    assert values["generatePostgresqlPasswordSecret"] is False
    assert "postgresqlPassword" not in values["postgresql"]


def test_all_that_is_referred_to_is_made_here_or_by_the_readme() -> None:
    made = {(each["kind"], each["metadata"]["name"]) for each in MANIFESTS} | OF_THE_CHART
    made |= {("ConfigMap", generated["name"]) for generated in KUSTOMIZATION["configMapGenerator"]}
    made |= {("Secret", name) for name in re.findall(r"kubectl create secret \S+ (\S+)", README)}
    referred = set(_referred())
    assert referred - made == set()
    assert {(kind, name) for kind, name in made - referred if kind in ("Secret", "ServiceAccount")} == set()
    assert "helm upgrade --install dagster " in README  # the chart's own names begin with the release's
    assert chart.values()["dagsterWebserver"]["nameOverride"] == "webserver"


def _referred() -> Iterator[tuple[str, str]]:
    """Kind and name of what manifests and values refer to."""
    by_name = {"serviceAccountName": "ServiceAccount", "claimName": "PersistentVolumeClaim", "secretName": "Secret"}
    by_object = {"secretKeyRef": "Secret", "secretRef": "Secret", "configMapRef": "ConfigMap", "configMap": "ConfigMap"}
    by_object["service"] = "Service"
    for place in below([*MANIFESTS, chart.values()]):
        yield from ((kind, place[key]) for key, kind in by_name.items() if key in place)
        yield from ((kind, place[key]["name"]) for key, kind in by_object.items() if "name" in place.get(key, {}))
        for key in ("envSecrets", "imagePullSecrets"):
            yield from (("Secret", secret["name"]) for secret in place.get(key, []))
    launcher = chart.instance_settings(chart.values())["run_launcher"]["config"]
    yield "Secret", chart.values()["global"]["postgresqlSecretName"]
    yield "Secret", launcher["postgres_password_secret"]
    yield "ServiceAccount", launcher["service_account_name"]
    yield "ServiceAccount", str(load_settings(str(FOLDER / "curation.yaml")).kubernetes.service_account)
    yield "ConfigMap", launcher["instance_config_map"]
    texts = (FOLDER / "curation.yaml").read_text(encoding="utf-8") + yaml.safe_dump(of_kind("ConfigMap"))
    yield from (("Service", host) for host in re.findall(r"http://([a-z0-9-]+):", texts))


def test_the_readme_says_how_each_key_of_a_secret_is_given() -> None:
    given = "\n".join(re.findall("kubectl create secret .*", README))
    keys = [place["secretKeyRef"]["key"] for place in below(MANIFESTS) if "secretKeyRef" in place]
    for key in [*keys, "postgresql-password", "OAUTH2_PROXY_COOKIE_SECRET", "AWS_SECRET_ACCESS_KEY"]:
        assert re.search(rf"\b{key}\b", given), key


def test_the_readme_names_every_file() -> None:
    files = {file.name for file in FOLDER.iterdir() if file.is_file()} - {"README.md", "Dockerfile.dockerignore"}
    assert {name for name in files if f"`{name}`" not in README} == set()


def test_the_role_is_what_dagster_calls() -> None:
    verbs = {"read": "get", "list": "list", "create": "create", "delete": "delete"}
    calls = re.findall(
        r"_api\.(\w+?)_namespaced_(job|pod|event)(?:_(status|log))?\(", DAGSTER_K8S.read_text(encoding="utf-8")
    )
    called = {
        ("batch" if kind == "job" else "", f"{kind}s/{part}".rstrip("/"), verbs[verb]) for verb, kind, part in calls
    }
    (role,) = of_kind("Role")
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert allowed == called


def test_steps_have_an_account_that_may_do_nothing() -> None:
    settings = load_settings(str(FOLDER / "curation.yaml")).kubernetes
    account = pod_tags("scenes", settings)[TAG]["pod_spec_config"]["service_account_name"]
    allowed = {subject["name"] for binding in of_kind("RoleBinding") for subject in binding["subjects"]}
    assert allowed == {"reelhouse"} != {account}


def test_network_policies_are_about_pods_that_there_are() -> None:
    assert 'component="step_worker"' in DAGSTER_K8S.with_name("executor.py").read_text(encoding="utf-8")
    of_steps = {"app.kubernetes.io/component": "step_worker"}
    components = ("dagster-webserver", "dagster-webserver-read-only", "dagster-daemon", "user-deployments")
    labels = [of_steps, *({"component": component} for component in components)]
    labels += [each["spec"]["template"]["metadata"]["labels"] for each in of_kind("Deployment", "Job")]
    for place in below(of_kind("NetworkPolicy")):
        selector = place.get("podSelector", {})
        wanted = [(key, value) for key, value in selector.get("matchLabels", {}).items()]
        wanted += [
            (needed["key"], value) for needed in selector.get("matchExpressions", []) for value in needed["values"]
        ]
        for key, value in wanted:
            assert any(pod.get(key) == value for pod in labels), (key, value)


def test_nothing_is_reached_but_by_a_policy() -> None:
    closed = named("NetworkPolicy", "no-way-in")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress"]}
    ways = named("NetworkPolicy", "proxy-to-webserver")["spec"]["ingress"]
    proxy = named("Deployment", "oauth2-proxy")["spec"]["selector"]
    assert [way["from"] for way in ways] == [[{"podSelector": proxy}]]
