"""What the executor of pods makes of steps that are lost and of runs that are resumed, and what it needs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterInstance
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.context.system import IStepContext
from dagster._core.execution.plan.objects import StepSuccessData
from dagster._core.executor.init import InitExecutorContext
from kubernetes.client import (
    V1ContainerState,
    V1ContainerStateTerminated,
    V1ContainerStatus,
    V1Job,
    V1JobCondition,
    V1JobStatus,
    V1ObjectMeta,
    V1Pod,
    V1PodStatus,
)

from curation_assets.definitions import build_definitions, executor
from curation_assets.orchestration.kubernetes import k8s_executor
from curation_assets.settings import Settings, SettingsError
from tests.kubernetes.run_pod import RunPod, Server, instance_of, run_pod

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    with instance_of(tmp_path_factory.mktemp("instance"), {}) as opened:
        yield opened


@pytest.fixture(scope="module")
def pod(instance: DagsterInstance) -> RunPod:
    return run_pod(maintenance(), instance, Server())


def maintenance() -> dg.JobDefinition:
    """The job of one step."""
    return build_definitions(Settings(), "/home").resolve_job_def("maintenance")


def failed(reason: str, pods: int) -> V1JobStatus:
    return V1JobStatus(
        failed=pods, conditions=[V1JobCondition(type="Failed", status="True", reason=reason, message="")]
    )


def lost_pod(container: V1ContainerState, **status: str) -> V1Pod:
    statuses = [V1ContainerStatus(name="c", image="i", image_id="i", ready=False, restart_count=0, state=container)]
    return V1Pod(metadata=V1ObjectMeta(name="p"), status=V1PodStatus(container_statuses=statuses, **status))


ENDED_BY_MEMORY = V1ContainerState(terminated=V1ContainerStateTerminated(exit_code=137, reason="OOMKilled"))


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (Server(status=V1JobStatus(active=1), pods=[lost_pod(V1ContainerState())]), None),
        (Server(status=V1JobStatus()), None),
        (Server(status=None), "could not be found"),
        (
            Server(status=failed("BackoffLimitExceeded", 1), pods=[lost_pod(ENDED_BY_MEMORY)]),
            "p: OOMKilled, exit status 137",
        ),
        (
            Server(
                status=failed("BackoffLimitExceeded", 1),
                pods=[lost_pod(V1ContainerState(), reason="Evicted", message="low on disk")],
            ),
            "p: Evicted: low on disk",
        ),
        (Server(status=failed("DeadlineExceeded", 0)), "DeadlineExceeded"),
    ],
    ids=["runs", "waits", "deleted", "out of memory", "evicted", "never had a pod"],
)
def test_a_step_that_is_lost_says_why(pod: RunPod, server: Server, why: str | None) -> None:
    pod.handler._api_client = server.client()
    health = pod.handler.check_step_health(pod.steps[0])

    assert health.is_healthy == (why is None)
    assert (why or "") in (health.unhealthy_reason or "")


class FinishedMeanwhile(Server):
    """Before the Job of a step is first looked at, its pod writes that it has succeeded."""

    def __init__(self, step: IStepContext) -> None:
        super().__init__()
        self.step = step

    def read_namespaced_job_status(self, name: str, namespace: str) -> V1Job:
        if self.status is None:
            DagsterEvent.step_success_event(self.step, StepSuccessData(1.0))
            self.status = V1JobStatus(succeeded=1)
        return super().read_namespaced_job_status(name, namespace)


def test_a_resumed_run_gives_back_the_slots_of_its_steps(instance: DagsterInstance) -> None:
    """Where it doesn't, a later step of the run that needs the pool's only slot waits for ever."""
    pod = run_pod(maintenance(), instance, Server(), resumes=True)
    step = pod.steps[0].get_step_context("maintain_home")
    pod.handler._api_client = FinishedMeanwhile(step).client()
    slots, run_id = instance.event_log_storage, pod.run.run_id
    slots.set_concurrency_slots("gpu", 1)
    assert slots.claim_concurrency_slot("gpu", run_id, "maintain_home").is_claimed
    DagsterEvent.step_worker_starting(step, "by the pod before", {})

    events = list(pod.executor.execute(pod.orchestration, pod.orchestration.execution_plan))

    assert [event.step_key for event in events if event.is_step_success] == ["maintain_home"]
    assert not slots.get_concurrency_info("gpu").active_run_ids


def test_the_executor_needs_a_launcher_of_pods() -> None:
    with DagsterInstance.ephemeral() as instance:
        job = build_definitions(Settings(), "/home").resolve_job_def("maintenance")
        context = InitExecutorContext(InMemoryJob(job), k8s_executor, {}, instance)
        with pytest.raises(
            dg.DagsterInvariantViolationError,
            match=r"name curation_assets\.orchestration\.kubernetes\.ShardRunLauncher",
        ):
            k8s_executor.executor_creation_fn(context)


WITHOUT_THE_EXTRA = """
import os, sys
sys.modules |= dict.fromkeys(("dagster_k8s", "dagster_postgres", "dagster_aws", "kubernetes"))
from curation_assets.definitions import defs, executor
defs()
os.environ["CURATION_EXECUTOR"] = "k8s"
executor()
"""


def test_only_who_names_the_executor_needs_its_packages() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA], cwd=ROOT, env={}, capture_output=True, text=True, check=False
    )

    *_, last = loaded.stderr.splitlines()
    assert "SettingsError: CURATION_EXECUTOR is k8s: import of dagster_k8s halted" in last
    assert last.endswith("; install reelhouse[k8s]")


def test_another_executor_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_EXECUTOR", "k9s")
    with pytest.raises(SettingsError, match="CURATION_EXECUTOR is 'k9s'; use in_process, multiprocess or k8s"):
        executor()
