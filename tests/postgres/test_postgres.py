"""Dagster's records on PostgreSQL: runs at once, a killed run, restarts, daemons, `forget`. The tests share a home."""

import datetime as dt
import logging
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring import execute_concurrency_slots_iteration, execute_run_monitoring_iteration
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs

from curation_assets.cli import main
from curation_assets.engines import CHAT
from curation_assets.inspection.lookup import find_item
from curation_assets.orchestration.automation import SOURCE_SENSOR
from tests.automation.daemon import Daemon, open_daemon
from tests.pipeline.jobs import Job, same_results
from tests.postgres.conftest import DATABASE, DECODING, Deployment
from tests.postgres.server import PASSWORD
from tests.processes import wait_until

LOGGER = logging.getLogger("daemon")


def test_runs_at_once_write_what_runs_in_turn_write(deployment: Deployment, in_turn: Job) -> None:
    assert len(deployment.shards) == 4
    for name in ("source_files", *DECODING):
        assert same_results(name, deployment.job.table(name), in_turn.table(name)), name
    assert deployment.job.table("frames").height == 8


def test_each_run_tells_each_asset_once(deployment: Deployment) -> None:
    for launched in deployment.launched[:5]:
        assert deployment.status(launched) is DagsterRunStatus.SUCCESS
        events = deployment.instance.all_logs(launched.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
        told = Counter(event.asset_materialization.asset_key.to_user_string() for event in events)  # type: ignore[union-attr]
        assert told == dict.fromkeys(DECODING, 1)
    for name in DECODING:
        assert deployment.instance.get_materialized_partitions(dg.AssetKey(name)) == set(deployment.shards)


def test_a_run_uses_two_connections_and_a_third_may_be_closing(deployment: Deployment) -> None:
    of_runs = [most for name, most in deployment.connections.items() if name.startswith("run")]
    assert len(of_runs) == 5
    assert max(of_runs) <= 3


def test_a_killed_run_gives_its_slot_back_and_the_next_outlives_a_restart_of_the_server(
    deployment: Deployment, in_turn: Job
) -> None:
    instance, chat, shard = deployment.instance, deployment.chat, deployment.shards[0]
    assert deployment.runs().shard(shard, ["clip_selection"])

    def holders() -> set[str]:
        return instance.event_log_storage.get_concurrency_info(CHAT).active_run_ids

    chat.hold()
    killed = deployment.launch(shard, ["captions"])
    wait_until(chat.asked.is_set, "the first run asks for a caption")
    next_one = deployment.launch(shard, ["captions"])
    killed.process.kill()
    killed.process.wait()
    assert holders() == {killed.run_id}
    chat.hold()
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace:
        assert [error for error in execute_run_monitoring_iteration(workspace, LOGGER) if error] == []
        assert deployment.status(killed) is DagsterRunStatus.FAILURE
        with freeze_time(time.time() + 600):
            assert [error for error in execute_concurrency_slots_iteration(workspace, LOGGER) if error] == []
    wait_until(chat.asked.is_set, "the next run asks for a caption")
    assert holders() == {next_one.run_id}
    deployment.server.restart()
    chat.go_on.set()
    assert next_one.ended() == 0, next_one.said
    assert deployment.status(next_one) is DagsterRunStatus.SUCCESS
    made, expected = (job.table("captions").filter(shard=shard) for job in (deployment.job, in_turn))
    assert made.height == 4
    assert same_results("captions", made, expected)


def test_a_run_that_a_restart_hits_as_it_writes_fails_and_the_next_completes(
    deployment: Deployment, in_turn: Job
) -> None:
    chat, server, shard = deployment.chat, deployment.server, deployment.shards[1]
    assert deployment.runs().shard(shard, ["clip_selection"])
    chat.hold()
    with ThreadPoolExecutor() as thread:
        succeeds = thread.submit(deployment.runs().shard, shard, ["captions"])
        wait_until(chat.asked.is_set, "the run asks for a caption")
        lock = server.connect(DATABASE)
        lock.cursor().execute("LOCK TABLE asset_keys IN EXCLUSIVE MODE")  # written with each materialization
        chat.go_on.set()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: bool(server.ask(waits)), "the run tells that it made the asset")
        server.restart()
        assert not succeeds.result()
    assert deployment.instance.get_runs(limit=1)[0].status is DagsterRunStatus.FAILURE
    assert deployment.runs().shard(shard, ["captions"])
    assert same_results("captions", deployment.job.table("captions"), in_turn.table("captions"))


@pytest.fixture
def daemon(deployment: Deployment, tmp_path: Path) -> Iterator[Daemon]:
    """Over the same records; runs are executed in this process."""
    launcher = {"module": "dagster._core.launcher.sync_in_memory_run_launcher", "class": "SyncInMemoryRunLauncher"}
    coordinator = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}
    records = deployment.server.dagster_yaml(DATABASE, run_launcher=launcher, run_coordinator=coordinator)
    (tmp_path / "dagster.yaml").write_text(records)
    with DagsterInstance.from_config(str(tmp_path)) as instance, open_daemon(instance) as opened:
        yield opened


def test_the_policy_asks_for_what_is_missing(deployment: Deployment, daemon: Daemon) -> None:
    daemon.switch_on()
    asked = daemon.tick(execute=False)
    assert asked["technical_scores"] == tuple(sorted(deployment.shards))
    assert not asked.keys() & set(DECODING)


def test_the_sensor_and_a_schedule_tick(deployment: Deployment, daemon: Daemon) -> None:
    sensor = daemon.repository.get_sensor(SOURCE_SENSOR)
    daemon.instance.start_sensor(sensor)
    assert [error for error in execute_sensor_iteration(daemon.workspace, LOGGER, None, None) if error] == []
    (tick,) = daemon.instance.get_ticks(sensor.get_remote_origin_id(), sensor.selector_id)
    assert tick.skip_reason == "source films: 4 files, all as registered"
    schedule = daemon.repository.get_schedule("maintain_daily")
    night = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    with freeze_time(night):
        daemon.instance.start_schedule(schedule)
    with freeze_time(night + dt.timedelta(hours=4.1)):
        ticks = launch_scheduled_runs(daemon.workspace, LOGGER, night + dt.timedelta(hours=4.1), {})
        assert [error for error in ticks if error] == []
    (run,) = daemon.instance.get_runs(dg.RunsFilter(job_name="maintenance"))
    assert run.status is DagsterRunStatus.SUCCESS


def test_no_record_quotes_a_video_that_was_taken_down(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    name, video = "two_shots.mp4", find_item(deployment.job.store, "two_shots.mp4").id
    forget = ["forget", video, "--yes", "--home", str(deployment.job.home)]
    assert {name, video} <= quoted(deployment, {name, video})
    deployment.instance.run_storage.set_cursor_values({"a note": f"{video} looks odd"})
    assert main(forget) == 1
    assert "LEFT: Dagster's table kvs still quote it" in capsys.readouterr().out
    deployment.instance.run_storage.set_cursor_values({"a note": ""})
    assert main(forget) == 0, capsys.readouterr()
    assert quoted(deployment, {name, video, "street.mp4"}) == {"street.mp4"}


def quoted(deployment: Deployment, texts: Collection[str]) -> set[str]:
    """Those of the texts that stand in any table."""
    tables = deployment.server.dump(DATABASE)
    return {text for text in texts if text in tables}


def test_the_password_is_nowhere(deployment: Deployment) -> None:
    folders = (deployment.job.root, deployment.server.log.parent / "log")
    files = [path for folder in folders for path in (folder, *folder.rglob("*")) if path.is_file()]
    assert any(path.name == "dagster.yaml" for path in files)
    snapshots = deployment.server.ask("SELECT snapshot_body FROM snapshots", DATABASE)
    texts = {
        "a file": b"".join(path.read_bytes() for path in files),
        "a table": deployment.server.dump(DATABASE).encode(),
        "a snapshot": b"".join(zlib.decompress(body) for (body,) in snapshots),
        "what runs say": "".join(launched.said for launched in deployment.launched).encode(),
        "a pod's command": str([launched.command for launched in deployment.launched]).encode(),
        "what the UI shows of the instance": deployment.instance.info_str().encode(),
    }
    for place, text in texts.items():
        assert text, place
        for secret in (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe="")):
            assert secret.encode() not in text, place
