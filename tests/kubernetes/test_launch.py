"""One shard on Kubernetes, launched through GraphQL: a pod for the run, a pod for each step from source to manifest."""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import dagster as dg
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from kubernetes.utils.quantity import parse_quantity

from curation_assets.orchestration.lineage import SHARD_FILES
from curation_assets.orchestration.stage_asset import DATA_VERSION_TAG, SHARDS
from curation_assets.settings import Pod, parse_settings
from tests.faults.bench import difference
from tests.faults.job import Job
from tests.faults.launched import launch, wait_for_end
from tests.faults.small_job import SMALL, caption
from tests.kubernetes.clusters import Cluster
from tests.kubernetes.deployed import deployed, process
from tests.pipeline.jobs import SHARD, changed
from tests.stand_in_server import stand_in_server
from tests.ui.webserver import running

OFTEN = {"config": {"dequeue_interval_seconds": 1}}
ON_A_GPU = {"cpu": 2.5, "gpus": 1, "gpu_kind": "NVIDIA-L4", "time_limit_s": 7200}
SLOWLY_S = 600.0


@dataclass(frozen=True)
class Ran:
    """The run in pods, and the same job in one process."""

    job: Job
    instance: DagsterInstance
    run_id: str
    in_process: Job


@pytest.fixture(scope="module")
def ran(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("launch")
    SMALL.put_films(folder / "films")
    with stand_in_server(caption) as server:
        settings = changed(SMALL.settings(server.url), kubernetes__steps__technical_scores=ON_A_GPU)
        job = Job(folder, str(folder / "films"), str(folder / "home"), settings)
        in_process = replace(job, home=str(folder / "in_process"), by_dagster=True)
        with (
            deployed(cluster, job, run_coordinator=OFTEN) as dagster,
            DagsterInstance.from_config(str(dagster.instance_home)) as instance,
        ):
            webserver = [sys.executable, "-m", "dagster_webserver", "-w", str(dagster.workspace)]
            daemon = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(dagster.workspace)]
            with (
                process(daemon, folder / "daemon.log", dagster.environment),
                running(webserver, folder / "webserver.log", dagster.environment) as address,
            ):
                in_process.run()
                assert job.register()
                instance.add_dynamic_partitions(str(SHARDS.name), [SHARD])
                began = time.monotonic()
                run_id = launch(address)
                assert wait_for_end(instance, run_id, SLOWLY_S) == DagsterRunStatus.SUCCESS
                print(f"from launch to success: {time.monotonic() - began:.1f} s")
            yield Ran(job, instance, run_id, in_process)


def test_tables_are_those_of_the_job_in_one_process(ran: Ran) -> None:
    expected, found = ran.in_process.tables(), ran.job.tables()
    del expected["training_set"]  # of all shards
    assert found.keys() == expected.keys()
    assert not {name: difference(found[name], rows) for name, rows in expected.items() if not found[name].equals(rows)}


def test_data_versions_are_those_of_the_job_in_one_process(ran: Ran) -> None:
    with ran.in_process.instance() as instance:
        expected = data_versions(instance)
    del expected[SHARD_FILES]  # told to the instance by the registration
    assert len(expected) > 15
    assert data_versions(ran.instance) == expected


def data_versions(instance: DagsterInstance) -> dict[str, str]:
    """Of the shard, by asset."""
    found = {}
    for key in instance.all_asset_keys():
        made = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[SHARD]), limit=1).records
        if made and made[0].asset_materialization and made[0].asset_materialization.tags:
            found[key.to_user_string()] = made[0].asset_materialization.tags[DATA_VERSION_TAG]
    return found


def test_every_step_had_a_pod_of_its_own_as_the_settings_say(cluster: Cluster, ran: Ran) -> None:
    jobs = cluster.jobs(reelhouse__shard=SHARD, dagster__run_id=ran.run_id)
    steps = {job.metadata.labels["dagster/op"]: job for job in jobs if "dagster/op" in job.metadata.labels}
    assert steps.keys() == {step.step_key for step in ran.instance.get_run_step_stats(ran.run_id)}
    assert len(jobs) == len(steps) + 1
    assert len(cluster.pods(reelhouse__shard=SHARD, dagster__run_id=ran.run_id)) == len(jobs)
    given = parse_settings(dict(ran.job.settings), "the job's settings").kubernetes.steps
    for step, job in steps.items():
        pod: Pod = getattr(given, step)
        gpus = {"nvidia.com/gpu": str(pod.gpus)} if pod.gpus else {}
        asked = quantities({"cpu": str(pod.cpu), "memory": pod.memory, "ephemeral-storage": pod.disk, **gpus})
        (container,) = job.spec.template.spec.containers
        assert quantities(container.resources.requests) == quantities(container.resources.limits) == asked
        assert job.spec.active_deadline_seconds == pod.time_limit_s
        kind = {"nvidia.com/gpu.product": pod.gpu_kind} if pod.gpu_kind else None
        assert job.spec.template.spec.node_selector == kind


def quantities(amounts: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: parse_quantity(amount) for name, amount in amounts.items()}
