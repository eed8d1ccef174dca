"""A namespace on an API server, with a kubelet for its pods."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from kubernetes.client import BatchV1Api, CoreV1Api, V1Job, V1Pod
from kubernetes.config import new_client_from_config

from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.stand_in import StandIn, stand_in
from tests.processes import wait_until

NOBODYS = "reelhouse-tests"
"""The scheduler of the tests' pods, so that a cluster with nodes leaves them to the kubelet."""


@dataclass
class Cluster:
    """`stand_in` is None on a real server. Pods for which `holds` is true at the time find no node."""

    kubeconfig: Path
    namespace: str
    stand_in: StandIn | None
    holds: Callable[[V1Pod], bool] = lambda pod: False
    kubelet: Kubelet = field(init=False)

    def __post_init__(self) -> None:
        client = new_client_from_config(str(self.kubeconfig))
        self.batch, self.core = BatchV1Api(client), CoreV1Api(client)

    def jobs(self, **labels: str) -> list[V1Job]:
        """The Jobs with the labels, `/` of a label's name written as `__` and `-` as `_`."""
        return list(self.batch.list_namespaced_job(self.namespace, label_selector=_selector(labels)).items)

    def pods(self, **labels: str) -> list[V1Pod]:
        return list(self.core.list_namespaced_pod(self.namespace, label_selector=_selector(labels)).items)

    def delete_job(self, job: V1Job) -> None:
        """With its pods, as `kubectl delete` does."""
        name = job.metadata.name
        self.batch.delete_namespaced_job(name, self.namespace, propagation_policy="Background")

    def running_pod(self, **labels: str) -> V1Pod:
        """The one pod with the labels, once its process runs."""
        wait_until(lambda: any(pod.status.phase == "Running" for pod in self.pods(**labels)), f"{labels} runs")
        (pod,) = self.pods(**labels)
        return pod


def _selector(labels: dict[str, str]) -> str:
    return ",".join(f"{name.replace('__', '/').replace('_', '-')}={value}" for name, value in labels.items())


@contextmanager
def open_cluster(folder: Path) -> Iterator[Cluster]:
    with ExitStack() as opened:
        if named := os.environ.get("REELHOUSE_TEST_KUBECONFIG"):
            server, kubeconfig = None, Path(named)
        else:
            server = opened.enter_context(stand_in())
            kubeconfig = folder / "kubeconfig.yaml"
            kubeconfig.write_text(yaml.safe_dump(_kubeconfig(server.url)))
        cluster = Cluster(kubeconfig, f"reelhouse-{uuid.uuid4().hex[:8]}", server)
        cluster.core.create_namespace({"metadata": {"name": cluster.namespace}})
        opened.callback(cluster.core.delete_namespace, cluster.namespace)
        cluster.kubelet = opened.enter_context(
            Kubelet(kubeconfig, cluster.namespace, folder, holds=lambda pod: cluster.holds(pod))
        )
        yield cluster


def _kubeconfig(url: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stand-in", "cluster": {"server": url}}],
        "users": [{"name": "anybody", "user": {}}],
        "contexts": [{"name": "tests", "context": {"cluster": "stand-in", "user": "anybody"}}],
        "current-context": "tests",
    }
