"""A kubelet for tests: runs the pods of one namespace as processes of this machine and reports how they end.

It speaks to any server of the Kubernetes API that a kubeconfig names, and takes the Pending pods that no scheduler has
given to a node: on a cluster with nodes, give the pods a `schedulerName` that nobody answers to. Init containers and
probes are not run; what else a container lacks is said in `containers`.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from kubernetes.client import ApiException, CoreV1Api, V1Pod
from kubernetes.config import new_client_from_config
from urllib3.exceptions import HTTPError

from tests.kubernetes.containers import Preparation, Process

LOOK_S = 0.2
IMAGE = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}


class Kubelet:
    """Runs pods from entering the context until leaving it. `folder` takes their logs, mounts and claimed volumes.

    A pod for which `holds` is true stays Pending, like one that no node has room for.
    """

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        folder: Path,
        image: Mapping[str, str] = IMAGE,
        holds: Callable[[V1Pod], bool] = lambda pod: False,
    ) -> None:
        self.namespace, self.folder, self.image, self.holds = namespace, folder, image, holds
        self.api = CoreV1Api(new_client_from_config(str(kubeconfig)))
        self.started: dict[str, list[Process]] = {}  # by the pod's uid, until the pod is deleted
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()
        self._stop(self.started)

    def kill(self, pod: V1Pod) -> None:
        """Kill a started pod's processes, as the kernel does where memory has run out."""
        for process in self.started[pod.metadata.uid]:
            process.kill()

    def _run(self) -> None:
        while not self._leaving.wait(LOOK_S):
            with suppress(ApiException, HTTPError):  # the server fails, or a pod has just been deleted: look again
                self._look()

    def _look(self) -> None:
        pods = {pod.metadata.uid: pod for pod in self.api.list_namespaced_pod(self.namespace).items}
        self._stop(self.started.keys() - pods.keys())
        for uid, pod in pods.items():
            if uid in self.started:
                self._report(pod)
            elif pod.status.phase == "Pending" and not pod.spec.node_name and not self.holds(pod):
                self._start(pod)

    def _start(self, pod: V1Pod) -> None:
        preparation = Preparation(self.api, pod, self.folder)
        try:
            prepared = [preparation.process(container, self.image) for container in pod.spec.containers]
        except ApiException as error:
            waiting = {"reason": "CreateContainerConfigError", "message": error.body}
            self._patch(pod, "Pending", [{"waiting": waiting}] * len(pod.spec.containers))
        else:
            self.started[pod.metadata.uid] = [Process(*arguments) for arguments in prepared]
            self._report(pod)

    def _report(self, pod: V1Pod) -> None:
        """Tell the server once the pod has come to another phase."""
        states = [process.state() for process in self.started[pod.metadata.uid]]
        if any("running" in state for state in states):
            phase = "Running"
        else:
            phase = "Failed" if any(state["terminated"]["exitCode"] for state in states) else "Succeeded"
        if phase != pod.status.phase:
            self._patch(pod, phase, states)

    def _patch(self, pod: V1Pod, phase: str, states: list[dict[str, Any]]) -> None:
        containers = [
            {
                "name": container.name,
                "image": container.image,
                "imageID": container.image,
                "ready": "running" in state,
                "started": "running" in state,
                "restartCount": 0,
                "state": state,
            }
            for container, state in zip(pod.spec.containers, states, strict=True)
        ]
        ready = {"type": "Ready", "status": str(phase == "Running")}
        status = {"phase": phase, "conditions": [ready], "containerStatuses": containers}
        self.api.patch_namespaced_pod_status(pod.metadata.name, self.namespace, {"status": status})

    def _stop(self, uids: Iterable[str]) -> None:
        for uid in list(uids):
            for process in self.started.pop(uid):
                process.stop()
