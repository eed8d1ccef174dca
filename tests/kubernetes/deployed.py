"""Dagster deployed as `deployments/kubernetes` says, but for what a test's machine must have otherwise.

Otherwise are: the namespace and how the API server is reached, SQLite for PostgreSQL, local folders for object storage,
and how long daemons and run pods wait between two looks. The pods' image is this Python environment; see `kubelet.py`.
"""

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from resources.process_group import start, stop
from tests.faults.job import Job
from tests.kubernetes import chart
from tests.kubernetes.clusters import NOBODYS, Cluster
from tests.pipeline import jobs
from tests.processes import MARK, wait_until
from tests.ui.webserver import free_port

GRACE_S = 10.0


@dataclass(frozen=True)
class Deployed:
    """A code server, and what belongs to it in the cluster. `instance_home` is DAGSTER_HOME of the other servers."""

    cluster: Cluster
    instance_home: Path
    job: Job
    port: int

    @property
    def environment(self) -> dict[str, str]:
        return jobs.environment(DAGSTER_HOME=str(self.instance_home), **{MARK: self.job.mark})

    @property
    def workspace(self) -> Path:
        """The file that tells webserver and daemon of the code server."""
        file = self.instance_home / "workspace.yaml"
        server = {"host": "localhost", "port": self.port, "location_name": "reelhouse"}
        file.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        return file


@contextmanager
def deployed(cluster: Cluster, job: Job, **otherwise: Mapping[str, Any]) -> Iterator[Deployed]:
    """For the job's home and settings; `otherwise` is what differs in sections of dagster.yaml."""
    values = chart.values()
    context = chart.container_context(values, cluster.namespace)
    often = {"DAGSTER_STEP_DELEGATING_EXECUTOR_SLEEP_SECONDS": "0.2"}
    ours = {"CURATION_HOME": job.home, MARK: mark_of_pods(job), **often}
    context["k8s"]["env"] += [{"name": name, "value": value} for name, value in ours.items()]
    instance_home = job.folder / "instance"
    instance_home.mkdir()
    written = yaml.safe_dump(_instance_settings(values, cluster, instance_home, otherwise))
    (instance_home / "dagster.yaml").write_text(written)
    settings = job.folder / "curation.yaml"
    settings.write_text(yaml.safe_dump(dict(job.settings)))
    texts = {"dagster-instance": {"dagster.yaml": written}, "reelhouse-settings": {settings.name: settings.read_text()}}
    found = Deployed(cluster, instance_home, job, free_port())
    environment = {
        **found.environment,
        **{variable["name"]: variable["value"] for variable in context["k8s"]["env"]},
        "CURATION_SETTINGS": str(settings),
        MARK: job.mark,
        "DAGSTER_CONTAINER_CONTEXT": json.dumps(context),
        "DAGSTER_CONTAINER_IMAGE": "reelhouse:test",
        "DAGSTER_LOCATION_NAME": "reelhouse",
    }
    server = [sys.executable, "-m", "dagster", "api", "grpc", "-m", "curation_assets.definitions"]
    log = job.folder / "code_server.log"
    with kept_in(cluster, values, texts), process([*server, "--port", str(found.port)], log, environment) as running:
        wait_until(lambda: _is_open(found.port) or running.poll() is not None, "the code server answers", every_s=0.1)
        assert running.poll() is None, log.read_text()
        yield found


def _instance_settings(
    values: chart.Values, cluster: Cluster, instance_home: Path, otherwise: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    settings = chart.instance_settings(values)
    launcher = settings["run_launcher"]["config"]
    launcher |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(cluster.kubeconfig),
        "job_namespace": cluster.namespace,
        "scheduler_name": NOBODYS,
    }
    for section, differing in otherwise.items():
        settings[section] = {**settings[section], **differing}
    return {
        **settings,
        "storage": {"sqlite": {"base_dir": str(instance_home)}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(instance_home)},
        },
    }


@contextmanager
def kept_in(cluster: Cluster, values: chart.Values, texts: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Config maps of these texts, and the secrets that are named in the values."""
    core, namespace = cluster.core, cluster.namespace
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    secrets = [values["global"]["postgresqlSecretName"], *(secret["name"] for secret in deployment["envSecrets"])]
    hidden = {"postgresql-password": base64.b64encode(b"secret").decode()}
    with ExitStack() as made:
        for name, files in texts.items():
            core.create_namespaced_config_map(namespace, {"metadata": {"name": name}, "data": files})
            made.callback(core.delete_namespaced_config_map, name, namespace)
        for name in secrets:
            core.create_namespaced_secret(namespace, {"metadata": {"name": name}, "data": hidden})
            made.callback(core.delete_namespaced_secret, name, namespace)
        yield


def mark_of_pods(job: Job) -> str:
    """By which the processes of its pods are found."""
    return f"{job.mark}-pods"


@contextmanager
def process(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Ended with all that it has started."""
    with log.open("wb") as output:
        watcher = start(command, GRACE_S, env=environment, stdout=output, stderr=output)
    try:
        yield watcher
    finally:
        stop(watcher, GRACE_S)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0
