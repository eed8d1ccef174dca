"""Jobs that a Kubernetes API server takes or refuses, and the recorded answers of a real one.

`python -m tests.kubernetes.cases` records the answers of the server that REELHOUSE_TEST_KUBECONFIG names.
"""

import json
import os
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient, ApiException, BatchV1Api, VersionApi
from kubernetes.config import new_client_from_config

RECORD = Path(__file__).with_name("recorded_answers.json")
POD = "spec.template.spec"
CONTAINER = f"{POD}.containers.0"
Change = dict[str, Any]  # values by their paths in the Job; None takes the field away
GOOD_JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "good-job", "labels": {"app.kubernetes.io/component": "step_worker"}},
    "spec": {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 3600,
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/component": "step_worker"}},
            "spec": {
                "restartPolicy": "Never",
                "nodeSelector": {"pool": "gpu"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "volumes": [{"name": "settings", "configMap": {"name": "curation"}}],
                "containers": [
                    {
                        "name": "dagster",
                        "image": "reelhouse:gpu",
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["dagster", "api", "execute_step"],
                        "env": [{"name": "DAGSTER_HOME", "value": "/opt/dagster"}],
                        "envFrom": [{"secretRef": {"name": "object-storage"}}],
                        "volumeMounts": [{"name": "settings", "mountPath": "/etc/reelhouse"}],
                        "resources": {
                            "requests": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"},
                            "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"},
                        },
                    }
                ],
            },
        },
    },
}


def tolerating(**toleration: Any) -> Change:
    return {f"{POD}.tolerations": [toleration]}


def volume(**sources: Any) -> Change:
    return {f"{POD}.volumes": [{"name": "settings", **sources}]}


def mount(**options: Any) -> Change:
    return {f"{CONTAINER}.volumeMounts": [{"name": "settings", **options}]}


def variable(**options: Any) -> Change:
    return {f"{CONTAINER}.env": [options]}


def gpus(limit: Any, request: Any = None) -> Change:
    amounts = {"limits": limit, "requests": request}
    resources = {kind: {"nvidia.com/gpu": amount} for kind, amount in amounts.items() if amount is not None}
    return {f"{CONTAINER}.resources": resources}


def resources(**amounts: dict[str, Any]) -> Change:
    return {f"{CONTAINER}.resources": amounts}


CASES: dict[str, Change] = {
    "as it should be": {},
    # Names and labels
    "name with capitals and an underscore": {"metadata.name": "Bad_Name"},
    "name of 63 characters": {"metadata.name": "n" * 63},
    "name of 64 characters": {"metadata.name": "n" * 64},
    "name with a dot": {"metadata.name": "good.job"},
    "name that ends with a dash": {"metadata.name": "good-job-"},
    "no name": {"metadata.name": None},
    "label with a space": {"metadata.labels": {"dagster/job": "one film"}},
    "label of 64 characters": {"metadata.labels": {"dagster/job": "n" * 64}},
    "label with a bar": {"metadata.labels": {"dagster/partition": "a|b"}},
    "empty label": {"metadata.labels": {"dagster/job": ""}},
    "label that is a number": {"metadata.labels": {"dagster/shard": 1}},
    "label key with two slashes": {"metadata.labels": {"a/b/c": "x"}},
    "pod label with a space": {"spec.template.metadata.labels": {"dagster/job": "one film"}},
    "annotation with a space": {"metadata.annotations": {"note": "one film"}},
    "annotation key with a space": {"metadata.annotations": {"a note": "film"}},
    # The Job
    "no template": {"spec.template": None},
    "negative backoffLimit": {"spec.backoffLimit": -1},
    "negative ttlSecondsAfterFinished": {"spec.ttlSecondsAfterFinished": -1},
    "negative activeDeadlineSeconds": {"spec.activeDeadlineSeconds": -1},
    "activeDeadlineSeconds of 0": {"spec.activeDeadlineSeconds": 0},
    "backoffLimit as text": {"spec.backoffLimit": "0"},
    "negative parallelism": {"spec.parallelism": -1},
    "negative completions": {"spec.completions": -1},
    "own selector": {"spec.selector": {"matchLabels": {"app": "x"}}},
    "misspelt field of the Job": {"spec.backofLimit": 0},
    "misspelt field of the pod": {f"{POD}.nodeSelektor": {"pool": "gpu"}},
    # The pod
    "restartPolicy Always": {f"{POD}.restartPolicy": "Always"},
    "restartPolicy OnFailure": {f"{POD}.restartPolicy": "OnFailure"},
    "no restartPolicy": {f"{POD}.restartPolicy": None},
    "restartPolicy in lower case": {f"{POD}.restartPolicy": "never"},
    "node selector with a space": {f"{POD}.nodeSelector": {"pool": "big gpu"}},
    "node selector that is a truth value": {f"{POD}.nodeSelector": {"gpu": True}},
    "toleration of an unknown effect": tolerating(key="gpu", effect="NoSchedul"),
    "toleration of an unknown operator": tolerating(key="gpu", operator="In"),
    "toleration Exists with a value": tolerating(key="gpu", operator="Exists", value="x"),
    "toleration of everything": tolerating(operator="Exists"),
    "tolerationSeconds of NoSchedule": tolerating(key="gpu", effect="NoSchedule", tolerationSeconds=60),
    "runtime class that nobody has defined": {f"{POD}.runtimeClassName": "nvidia"},
    "runtime class with an underscore": {f"{POD}.runtimeClassName": "nvidia_runtime"},
    "priority class that nobody has defined": {f"{POD}.priorityClassName": "batch"},
    "service account with an underscore": {f"{POD}.serviceAccountName": "my_account"},
    "service account that nobody has made": {f"{POD}.serviceAccountName": "nobody"},
    "pod's activeDeadlineSeconds of 0": {f"{POD}.activeDeadlineSeconds": 0},
    "negative terminationGracePeriodSeconds": {f"{POD}.terminationGracePeriodSeconds": -1},
    "scheduler by name": {f"{POD}.schedulerName": "nobody"},
    "user who is no number": {f"{POD}.securityContext": {"runAsUser": "root"}},
    "negative user": {f"{POD}.securityContext": {"runAsUser": -1}},
    "non-root user": {f"{POD}.securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "fsGroup": 1000}},
    "unknown seccomp profile": {f"{POD}.securityContext": {"seccompProfile": {"type": "Default"}}},
    # Volumes
    "volume twice": {f"{POD}.volumes": [{"name": "settings", "emptyDir": {}}] * 2},
    "volume of two kinds": volume(emptyDir={}, configMap={"name": "x"}),
    "volume with an underscore": {f"{POD}.volumes": [{"name": "my_settings", "emptyDir": {}}]},
    "mount of no volume": {f"{POD}.volumes": []},
    "config map without a name": volume(configMap={}),
    "claim without a name": volume(persistentVolumeClaim={}),
    "shared memory": volume(emptyDir={"medium": "Memory", "sizeLimit": "8Gi"}),
    "size limit that is no quantity": volume(emptyDir={"sizeLimit": "8GB"}),
    "negative size limit": volume(emptyDir={"sizeLimit": "-1"}),
    "two mounts at one place": {f"{CONTAINER}.volumeMounts": [{"name": "settings", "mountPath": "/etc/a"}] * 2},
    "mount without a path": mount(),
    "mount of a path above": mount(mountPath="/a", subPath="../b"),
    # The container
    "no container": {f"{POD}.containers": []},
    "no image": {f"{CONTAINER}.image": None},
    "container with an underscore": {f"{CONTAINER}.name": "my_container"},
    "unknown imagePullPolicy": {f"{CONTAINER}.imagePullPolicy": "Sometimes"},
    "args as one text": {f"{CONTAINER}.args": "dagster api"},
    "number among args": {f"{CONTAINER}.args": ["sleep", 1]},
    "variable that is a number": variable(name="PORT", value=80),
    "variable without a name": variable(value="x"),
    "variable with a space": variable(name="MY HOME", value="x"),
    "variable that starts with a digit": variable(name="1ST", value="x"),
    "variable with a dot and a dash": variable(name="my.own-home", value="x"),
    "variable twice": {f"{CONTAINER}.env": [{"name": "A", "value": "x"}] * 2},
    "variable with a value and a source": variable(
        name="A", value="x", valueFrom={"secretKeyRef": {"name": "s", "key": "k"}}
    ),
    "secret's variable without a key": variable(name="A", valueFrom={"secretKeyRef": {"name": "s"}}),
    "variables from nowhere": {f"{CONTAINER}.envFrom": [{}]},
    "privileged container": {f"{CONTAINER}.securityContext": {"privileged": True}},
    # Amounts
    "GPUs as a number": gpus(1, 1),
    "GPU limit alone": gpus("1"),
    "GPU request alone": gpus(None, "1"),
    "fewer GPUs requested than the limit": gpus("2", "1"),
    "more GPUs requested than the limit": gpus("1", "2"),
    "no GPUs": gpus("0", "0"),
    "half a GPU": gpus("0.5", "0.5"),
    "half a GPU in thousandths": gpus("500m", "500m"),
    "a thousand thousandths of a GPU": gpus("1000m", "1000m"),
    "minus one GPU": gpus("-1", "-1"),
    "GPUs in words": gpus("banana", "banana"),
    "GPU without its domain": resources(limits={"gpu": "1"}),
    "half a CPU": resources(requests={"cpu": "500m"}),
    "CPU as a fraction": resources(requests={"cpu": 0.5}),
    "more CPU requested than the limit": resources(requests={"cpu": "3"}, limits={"cpu": "2"}),
    "CPU limit alone": resources(limits={"cpu": "2"}),
    "minus one CPU": resources(requests={"cpu": "-1"}),
    "memory in GiB": resources(requests={"memory": "8GiB"}),
    "memory with a space": resources(requests={"memory": "8 Gi"}),
    "memory in powers of ten": resources(requests={"memory": "8e9"}),
    "more memory requested than the limit": resources(requests={"memory": "8Gi"}, limits={"memory": "8G"}),
    "memory in thousandths": resources(requests={"memory": "1500m"}),
    "ephemeral storage": resources(requests={"ephemeral-storage": "20Gi"}, limits={"ephemeral-storage": "50Gi"}),
    "misspelt memory": resources(requests={"memroy": "8Gi"}),
    "empty amount": resources(requests={"cpu": ""}),
}


@dataclass(frozen=True)
class Answer:
    """The HTTP status, and the fields that the server finds at fault: none where it can't read the Job as one."""

    code: int
    fields: list[str]


def changed_job(change: Change) -> dict[str, Any]:
    """The good Job with the change."""
    job = deepcopy(GOOD_JOB)
    for path, value in change.items():
        *way, last = path.split(".")
        item: Any = job
        for key in way:
            item = item[int(key) if isinstance(item, list) else key]
        item[last] = value
        if value is None:
            del item[last]
    return job


def answer(client: ApiClient, namespace: str, case: str) -> Answer:
    """The server's answer to a case's Job, which it is asked not to keep."""
    try:
        BatchV1Api(client).create_namespaced_job(namespace, changed_job(CASES[case]), dry_run="All")
    except ApiException as error:
        causes = json.loads(error.body).get("details", {}).get("causes", [])
        return Answer(error.status, sorted({cause["field"] for cause in causes}))
    return Answer(201, [])


def recorded() -> dict[str, Answer]:
    """The real server's answers by case."""
    return {case: Answer(**given) for case, given in json.loads(RECORD.read_text())["answers"].items()}


if __name__ == "__main__":
    client = new_client_from_config(os.environ["REELHOUSE_TEST_KUBECONFIG"])
    answers = {case: asdict(answer(client, "default", case)) for case in CASES}
    record = {"server": VersionApi(client).get_code().git_version, "answers": answers}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
