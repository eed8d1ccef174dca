"""Jobs whose pods the tests' kubelet runs: they end alike on the stand-in and on a real API server."""

import base64
import uuid
from copy import deepcopy
from typing import Any

import pytest

from tests.kubernetes.cases import GOOD_JOB
from tests.kubernetes.clusters import NOBODYS, Cluster
from tests.processes import MARK, processes_with, wait_until


def create(cluster: Cluster, name: str, *command: str, volumes: Any = (), **container: Any) -> None:
    """A Job of one container."""
    job = deepcopy(GOOD_JOB)
    job["metadata"] = {"name": name}
    ours = {"name": "main", "image": "none", "command": list(command), **container}
    pod = {"restartPolicy": "Never", "schedulerName": NOBODYS, "containers": [ours], "volumes": list(volumes)}
    job["spec"]["template"]["spec"] = pod
    cluster.batch.create_namespaced_job(cluster.namespace, job)


def ended(cluster: Cluster, name: str) -> tuple[str, str, int, str]:
    """How a Job has ended: its condition, its pod's phase, its container's exit code and the reason."""

    def conditions() -> list[Any]:
        return cluster.batch.read_namespaced_job(name, cluster.namespace).status.conditions or []

    wait_until(lambda: bool(conditions()), f"{name} has ended")
    [condition], [pod] = conditions(), cluster.pods(job_name=name)
    state = pod.status.container_statuses[0].state.terminated
    return condition.type, pod.status.phase, state.exit_code, state.reason


@pytest.mark.parametrize(
    ("name", "command", "end"),
    [
        ("success", ["true"], ("Complete", "Succeeded", 0, "Completed")),
        ("failure", ["sh", "-c", "exit 3"], ("Failed", "Failed", 3, "Error")),
        ("killed", ["sh", "-c", "kill -9 $$"], ("Failed", "Failed", 137, "OOMKilled")),
        ("nothing", ["no-such-program"], ("Failed", "Failed", 128, "StartError")),
    ],
)
def test_a_job_ends_as_its_program_does(cluster: Cluster, name: str, command: list[str], end: tuple[Any, ...]) -> None:
    create(cluster, name, *command)
    assert ended(cluster, name) == end


def test_a_job_fails_where_memory_runs_out(cluster: Cluster) -> None:
    create(cluster, "memory", "sh", "-c", "sleep 1000; true")
    cluster.kubelet.kill(cluster.running_pod(job_name="memory"))
    assert ended(cluster, "memory") == ("Failed", "Failed", 137, "OOMKilled")


def test_a_program_sees_what_its_pod_declares_and_waits_for_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TEST", "1")
    core, namespace = cluster.core, cluster.namespace
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "files"}, "data": {"a.yaml": "a: 1\n"}})
    create(
        cluster,
        "declared",
        "sh",
        "-c",
        'cat "$0" "$HOME_FOLDER/b.yaml"; echo "$KEY,$POD,$ELSEWHERE,$OF_THE_TEST"',
        "/etc/app/b.yaml",
        volumes=[{"name": "files", "configMap": {"name": "files"}}],
        volumeMounts=[{"name": "files", "mountPath": "/etc/app/b.yaml", "subPath": "a.yaml"}],
        envFrom=[{"secretRef": {"name": "hidden"}}],
        env=[
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "HOME_FOLDER", "value": "/etc/app"},
            {"name": "ELSEWHERE", "value": "/etc/other"},
        ],
    )

    def waits_for() -> list[str]:
        statuses = [
            status for pod in cluster.pods(job_name="declared") for status in pod.status.container_statuses or []
        ]
        return [status.state.waiting.reason for status in statuses if status.state.waiting]

    wait_until(lambda: waits_for() == ["CreateContainerConfigError"], "the pod waits for its secret")
    hidden = {"KEY": base64.b64encode(b"s3cret").decode()}
    core.create_namespaced_secret(namespace, {"metadata": {"name": "hidden"}, "data": hidden})
    assert ended(cluster, "declared") == ("Complete", "Succeeded", 0, "Completed")
    [pod] = cluster.pods(job_name="declared")
    said = (cluster.kubelet.folder / pod.metadata.name / "main.log").read_text()
    assert said.startswith(f"a: 1\na: 1\ns3cret,{pod.metadata.name},/etc/other,\n")


def test_a_deleted_job_takes_its_processes_along(cluster: Cluster) -> None:
    mark = uuid.uuid4().hex
    create(cluster, "deleted", "sh", "-c", "sleep 1000; true", env=[{"name": MARK, "value": mark}])
    cluster.running_pod(job_name="deleted")
    assert processes_with(mark)
    cluster.delete_job(cluster.batch.read_namespaced_job("deleted", cluster.namespace))
    wait_until(lambda: not processes_with(mark), "its processes are gone")
    assert not cluster.pods(job_name="deleted")


def test_a_job_that_has_ended_is_removed_in_time_with_its_pod(cluster: Cluster) -> None:
    create(cluster, "short-lived", "true")
    cluster.batch.patch_namespaced_job("short-lived", cluster.namespace, {"spec": {"ttlSecondsAfterFinished": 1}})
    wait_until(lambda: all(job.metadata.name != "short-lived" for job in cluster.jobs()), "the Job is gone")
    wait_until(lambda: not cluster.pods(job_name="short-lived"), "its pod is gone")
