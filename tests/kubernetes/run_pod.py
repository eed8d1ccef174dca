"""Launcher and executor as the deployment configures them, with an API server that keeps what it is sent."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterInstance, DagsterRun
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.context.system import PlanData, PlanOrchestrationContext
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.step_delegating import StepHandlerContext
from dagster._core.log_manager import DagsterLogManager
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster._grpc.types import ExecuteStepArgs
from dagster._utils.hosted_user_process import recon_job_from_origin
from dagster_k8s.client import DagsterKubernetesClient
from dagster_k8s.executor import K8sStepHandler
from kubernetes.client import ApiClient, ApiException, V1Job, V1JobStatus, V1Pod, V1PodList

from curation_assets.orchestration.kubernetes import PodExecutor, k8s_executor
from tests.kubernetes import chart

SHARD = "films-a1b2-0000"
CPU_IMAGE = "reelhouse-cpu:test"
NAMESPACE = "reelhouse"
KUBECONFIG = {
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "nobody", "user": {}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "nobody"}}],
    "current-context": "none",
}

Object = dict[str, Any]


@dataclass
class Server:
    """What of an API server launcher and executor speak to; `jobs` are those that it was sent, as JSON."""

    jobs: list[Object] = field(default_factory=list)
    status: V1JobStatus | None = None
    pods: list[V1Pod] = field(default_factory=list)

    def create_namespaced_job(self, body: V1Job, namespace: str, _request_timeout: float) -> None:
        assert namespace == NAMESPACE
        self.jobs.append(ApiClient().sanitize_for_serialization(body))

    def read_namespaced_job_status(self, name: str, namespace: str) -> V1Job:
        if self.status is None:
            raise ApiException(404)
        return V1Job(status=self.status)

    def list_namespaced_pod(self, namespace: str, label_selector: str) -> V1PodList:
        return V1PodList(items=self.pods)

    def client(self) -> DagsterKubernetesClient:
        return DagsterKubernetesClient.production_client(batch_api_override=self, core_api_override=self)


@dataclass(frozen=True)
class RunPod:
    """What the pod of a run executes its steps with."""

    orchestration: PlanOrchestrationContext
    steps: list[StepHandlerContext]

    @property
    def run(self) -> DagsterRun:
        return self.orchestration.dagster_run

    @property
    def executor(self) -> PodExecutor:
        return self.orchestration.executor  # type: ignore[return-value]

    @property
    def handler(self) -> K8sStepHandler:
        return self.executor._step_handler  # type: ignore[return-value]


@contextmanager
def instance_of(folder: Path, environment: Mapping[str, str]) -> Iterator[DagsterInstance]:
    """The deployment's instance, but for its records, which are where the secret RECORDS says."""
    (folder / "kubeconfig.yaml").write_text(yaml.safe_dump(KUBECONFIG))
    settings = chart.instance_settings(chart.values())
    place = {"load_incluster_config": False, "kubeconfig_file": str(folder / "kubeconfig.yaml")}
    settings["run_launcher"]["config"] |= place
    settings["storage"] = {"sqlite": {"base_dir": {"env": "RECORDS"}}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"CURATION_EXECUTOR": "k8s", "RECORDS": str(folder), **environment}.items():
            patch.setenv(name, value)
        with DagsterInstance.from_config(str(folder)) as instance:
            yield instance


def run_pod(job: dg.JobDefinition, instance: DagsterInstance, server: Server, resumes: bool = False) -> RunPod:
    """The pod of a new run of the job; a resumed one is told to look at what the events say of an earlier pod."""
    code = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=ModuleCodePointer("curation_assets.definitions", "defs"),
        container_image=CPU_IMAGE,
        container_context=chart.container_context(chart.values(), NAMESPACE),
    )
    origin = JobPythonOrigin(job.name, code)
    run = instance.add_run(DagsterRun(job.name, tags={PARTITION_NAME_TAG: SHARD}, job_code_origin=origin))
    assert job.executor_def is k8s_executor
    config = {"max_concurrent": None, "health_check_s": 20}
    executor = k8s_executor.executor_creation_fn(InitExecutorContext(InMemoryJob(job), k8s_executor, config, instance))
    prompts = {"ops": {"prompts": {"config": {"path": "prompts.csv"}}}} if job.has_node_named("prompts") else {}
    plan = create_execution_plan(job, prompts)
    log = DagsterLogManager.create(loggers=[], dagster_run=run, instance=instance)
    plan_data = PlanData(recon_job_from_origin(origin), run, instance, plan)
    orchestration = PlanOrchestrationContext(plan_data, log, executor, None, resume_from_failure=resumes)
    steps = [
        StepHandlerContext(
            instance, orchestration, [step], ExecuteStepArgs(origin, run.run_id, [step.key], instance.get_ref()), run
        )
        for step in plan.steps
    ]
    made = RunPod(orchestration, steps)
    made.handler._api_client = server.client()
    return made
