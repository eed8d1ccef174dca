"""Pods that die, never start or come too late, and an API server that fails, under runs of one step of a real shard.

After each the run has failed or recovered as deployments/kubernetes/README.md says, and the next one finishes the
table, asking the chat server for nothing again but what a pod was asking for when it was struck.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration
from dagster_graphql.schema import create_schema
from dagster_k8s.job import get_job_name_from_run_id, get_k8s_job_name
from kubernetes.client import V1Pod

from curation_assets.orchestration.headless import HeadlessRun
from curation_assets.orchestration.stage_asset import DATA_VERSION_TAG, SHARDS
from curation_assets.settings import parse_settings
from tests.faults.bench import Replies
from tests.faults.job import Job
from tests.faults.launched import LAUNCH, launched, parameters, wait_for_end
from tests.faults.small_job import BATCH_UNITS, SMALL, caption
from tests.kubernetes.clusters import Cluster
from tests.kubernetes.deployed import deployed, mark_of_pods
from tests.pipeline.jobs import SHARD, changed
from tests.processes import processes_with, wait_until
from tests.stand_in_server import stand_in_server

CLIPS = 4  # of the shard
OTHER_SHARD = "films-0001"
SLOWLY_S = 300.0  # a pod starts within seconds, on a machine that does nothing else
START_TIMEOUT_S = 1800.0
AT_ONCE = {"class": "DefaultRunCoordinator", "config": {}}
OFTEN = {"execution": {"config": {"health_check_s": 1}}}
LOGGER = logging.getLogger(__name__)

schema = cache(create_schema)
slowly = partial(wait_until, limit_s=SLOWLY_S, every_s=0.1)


@dataclass
class Gate:
    """A chat server that answers the first batch, and keeps all else waiting until it is opened."""

    free: int = BATCH_UNITS
    waiting: int = 0
    answered_at_once: int = 0
    opened: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, body: dict[str, Any]) -> tuple[int, bytes]:
        with self.lock:
            waits = self.answered_at_once >= self.free
            self.waiting += waits
            self.answered_at_once += not waits
        if waits:
            self.opened.wait()
        return caption(body)


@dataclass
class Runs:
    """Runs in pods, and what the table of captions is when nothing goes wrong."""

    cluster: Cluster
    job: Job
    instance: DagsterInstance
    workspace: WorkspaceProcessContext
    captions: pl.DataFrame
    data_version: str
    replies: Replies
    gate: Gate = field(default_factory=Gate)

    def launch(self, asset: str = "captions", shard: str = SHARD) -> str:
        """A run that looks at its steps' Jobs every second; returns its id."""
        variables = {"parameters": parameters([asset], shard, OFTEN)}
        context = self.workspace.create_request_context()
        said = asyncio.run(schema().execute_async(LAUNCH, variable_values=variables, context_value=context))
        return launched(said.data)

    def launch_until_at_work(self) -> str:
        """A run whose step has finished one batch and waits for the rest."""
        run_id = self.launch()
        staged = Path(self.job.home, "staging", "captions", SHARD)
        slowly(lambda: self.gate.waiting == CLIPS - BATCH_UNITS, "the chat server is asked for every clip")
        slowly(lambda: any(staged.glob("*.parquet")), "a batch is finished")
        return run_id

    def monitor(self, after_s: float = 0.0) -> None:
        """Run monitoring looks at the runs, that much later."""
        with freeze_time(time.time() + after_s):
            for error in execute_run_monitoring_iteration(self.workspace, LOGGER):
                assert error is None, error

    def why_failed(self, run_id: str) -> str:
        assert wait_for_end(self.instance, run_id, SLOWLY_S) == DagsterRunStatus.FAILURE
        kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
        entries = self.instance.all_logs(run_id, of_type=kinds)
        return "\n".join(f"{entry.dagster_event}" for entry in entries)

    def run_pods(self, run_id: str) -> list[V1Pod]:
        """The first one; a run that is resumed gets a Job of another name."""
        return self.cluster.pods(job_name=get_job_name_from_run_id(run_id))

    def step_pods(self, run_id: str) -> list[V1Pod]:
        return self.cluster.pods(dagster__run_id=run_id, dagster__op="captions")

    def next_run_finishes(self, answers: int = CLIPS - BATCH_UNITS) -> None:
        """In this process, where nobody waits for the chat server; it is asked for no more than that."""
        before, self.gate.free = self.gate.answered_at_once, CLIPS * CLIPS
        assert refreshed(self.job) == self.data_version
        assert self.gate.answered_at_once - before == answers
        assert self.are_whole()

    def are_whole(self) -> bool:
        return self.job.table("captions").equals(self.captions)

    def are_none(self) -> bool:
        return self.job.tables().get("captions", pl.DataFrame()).is_empty()


def refreshed(job: Job, with_upstream: bool = False) -> str:
    """The data version of the shard's captions, after a run in this process."""
    settings = parse_settings(dict(job.settings), "the job's settings")
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(SHARDS.name), [SHARD])
        runs = HeadlessRun(settings, job.home, instance)
        assets = runs.up_to("captions") if with_upstream else {"captions"}
        assert runs.shard(SHARD, assets), runs.outcome.step_failures
        (made,) = instance.fetch_materializations(dg.AssetKey("captions"), limit=1).records
        assert made.asset_materialization
        return str((made.asset_materialization.tags or {})[DATA_VERSION_TAG])


@pytest.fixture(scope="module")
def all_runs(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("pod_faults")
    SMALL.put_films(folder / "films")
    replies = Replies()
    with stand_in_server(lambda body: replies.current(body)) as server:
        settings = changed(SMALL.settings(server.url), shards__videos_per_shard=1)
        job = Job(folder, str(folder / "films"), str(folder / "home"), settings)
        assert job.register()
        version = refreshed(job, with_upstream=True)
        with (
            deployed(cluster, job, run_coordinator=AT_ONCE) as dagster,
            DagsterInstance.from_config(str(dagster.instance_home)) as instance,
            WorkspaceProcessContext(
                instance, GrpcServerTarget("localhost", dagster.port, None, "reelhouse")
            ) as workspace,
        ):
            instance.add_dynamic_partitions(str(SHARDS.name), [SHARD, OTHER_SHARD])
            yield Runs(cluster, job, instance, workspace, job.table("captions"), version, replies)


@pytest.fixture(scope="module", autouse=True)
def in_trouble(all_runs: Runs) -> Iterator[Future[str] | None]:
    """A run of another shard, to which a stand-in answers 500 and 429 now and then.

    Its client waits 10 s each time, and the other tests go on meanwhile.
    """
    server, instance = all_runs.cluster.stand_in, all_runs.instance
    if server is None:
        yield None
        return
    with ThreadPoolExecutor(1) as others:
        at_launch = server.fail(500, 1, "POST .*/jobs/dagster-run-.*")
        run = others.submit(all_runs.launch, "raw_videos", OTHER_SHARD)
        slowly(lambda: not at_launch.left, "the launch fails once")
        (record,) = instance.get_run_records()
        job = f"dagster-step-{get_k8s_job_name(record.dagster_run.run_id, 'raw_videos')}"
        for status, request in (
            (429, f"POST .*/jobs/{job}"),
            (429, f"GET .*/{job}/status"),
            (500, f"GET .*/{job}/status"),
        ):
            server.fail(status, 1, request)
        yield run


@pytest.fixture
def runs(all_runs: Runs) -> Iterator[Runs]:
    """With a gate of the test's own, and no captions yet."""
    rmtree(Path(all_runs.job.home, "tables", "captions"), ignore_errors=True)
    all_runs.gate = all_runs.replies.current = Gate()
    yield all_runs
    all_runs.gate.opened.set()
    all_runs.cluster.holds = lambda pod: False


def test_a_killed_step_fails_its_run(runs: Runs) -> None:
    run_id = runs.launch_until_at_work()
    (pod,) = runs.step_pods(run_id)
    runs.cluster.kubelet.kill(pod)
    assert "OOMKilled, exit status 137" in runs.why_failed(run_id)
    assert runs.are_none()
    runs.next_run_finishes()


def test_a_step_that_never_starts_ends_with_its_time_limit(runs: Runs) -> None:
    runs.cluster.holds = lambda pod: pod.metadata.labels.get("dagster/op") == "captions"
    run_id = runs.launch()
    slowly(lambda: bool(runs.step_pods(run_id)), "the step has a pod")
    (job,) = runs.cluster.jobs(dagster__run_id=run_id, dagster__op="captions")
    sooner = {"spec": {"activeDeadlineSeconds": 1}}
    runs.cluster.batch.patch_namespaced_job(job.metadata.name, runs.cluster.namespace, sooner)
    assert "DeadlineExceeded" in runs.why_failed(run_id)
    assert not runs.step_pods(run_id)
    assert runs.are_none()
    runs.next_run_finishes(CLIPS)


def test_a_step_whose_job_is_deleted_fails_and_its_late_pod_does_no_harm(runs: Runs) -> None:
    run_id = runs.launch_until_at_work()
    (job,) = runs.cluster.jobs(dagster__run_id=run_id, dagster__op="captions")
    orphaned = {"propagation_policy": "Orphan"}
    runs.cluster.batch.delete_namespaced_job(job.metadata.name, runs.cluster.namespace, **orphaned)
    assert "could not be found" in runs.why_failed(run_id)
    (pod,) = runs.step_pods(run_id)
    assert pod.status.phase == "Running"
    assert runs.are_none()
    runs.next_run_finishes()
    runs.gate.opened.set()
    slowly(lambda: runs.step_pods(run_id)[0].status.phase == "Succeeded", "the late pod has ended")
    assert runs.are_whole()


def test_a_run_whose_pod_is_deleted_goes_on_in_another(runs: Runs) -> None:
    run_id = runs.launch_until_at_work()
    name = get_job_name_from_run_id(run_id)
    runs.cluster.delete_job(runs.cluster.batch.read_namespaced_job(name, runs.cluster.namespace))
    slowly(lambda: not runs.run_pods(run_id), "the run's pod is gone")
    runs.monitor()
    runs.gate.opened.set()
    assert wait_for_end(runs.instance, run_id, SLOWLY_S) == DagsterRunStatus.SUCCESS
    assert len(runs.step_pods(run_id)) == 1
    assert runs.gate.answered_at_once + runs.gate.waiting == CLIPS
    assert runs.are_whole()


def test_a_run_that_is_terminated_takes_its_steps_along(runs: Runs) -> None:
    run_id = runs.launch_until_at_work()
    assert runs.instance.run_coordinator.cancel_run(run_id)
    assert wait_for_end(runs.instance, run_id, SLOWLY_S) == DagsterRunStatus.CANCELED
    assert not runs.step_pods(run_id)
    slowly(lambda: not processes_with(mark_of_pods(runs.job)), "its processes have ended")
    assert runs.are_none()
    runs.next_run_finishes()


def test_a_run_outlasts_an_api_server_that_fails_now_and_then(runs: Runs, in_trouble: Future[str] | None) -> None:
    if in_trouble is None or runs.cluster.stand_in is None:
        pytest.skip("this API server can't be told to fail: REELHOUSE_TEST_KUBECONFIG is set")
    assert wait_for_end(runs.instance, in_trouble.result(SLOWLY_S)) == DagsterRunStatus.SUCCESS
    assert not any(trouble.left for trouble in runs.cluster.stand_in.troubles)
    assert runs.job.table("raw_videos").height == 2


def test_a_run_whose_pod_never_starts_fails_and_its_late_pod_does_nothing(
    runs: Runs, in_trouble: Future[str] | None
) -> None:
    if in_trouble:
        wait_for_end(runs.instance, in_trouble.result())  # monitoring would find that it starts slowly, too
    runs.cluster.holds = lambda pod: True
    run_id = runs.launch()
    slowly(lambda: bool(runs.run_pods(run_id)), "the run has a pod")
    runs.monitor(START_TIMEOUT_S + 1)
    assert f"longer than {START_TIMEOUT_S:.0f} seconds to start" in runs.why_failed(run_id)
    runs.cluster.holds = lambda pod: False
    slowly(lambda: runs.run_pods(run_id)[0].status.phase in ("Succeeded", "Failed"), "it has ended")
    assert not runs.step_pods(run_id)
    assert runs.are_none()
    runs.next_run_finishes(CLIPS)
