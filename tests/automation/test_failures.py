"""What failed is not forgotten and not hammered: the policy's wishes, retries at one level, slots of killed runs."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring import execute_concurrency_slots_iteration, execute_run_monitoring_iteration

from curation_assets.definitions import build_definitions
from curation_assets.engines import CHAT, GPU
from curation_assets.orchestration.headless import INSTANCE_SETTINGS
from curation_assets.orchestration.stage_asset import DATA_VERSION_TAG, SHARDS
from curation_assets.settings import Settings, parse_settings
from tests.automation.daemon import Daemon, instance_in_memory, open_daemon
from tests.automation.toy_location import failures

A, B = "films-0000", "films-0001"
HOUR_S = 3600.0


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """Three assets in a row, two shards of which nothing is there, the policy on."""
    monkeypatch.setenv("TOY_FAILURES", str(tmp_path / "failures"))
    failures().write_text("")
    with instance_in_memory(tmp_path) as instance:
        instance.add_dynamic_partitions(str(SHARDS.name), [A, B])
        with open_daemon(instance, "tests.automation.toy_location") as opened:
            opened.switch_on()
            opened.now_s += HOUR_S - opened.now_s % HOUR_S  # the tests count hours from a full one
            yield opened


def change(daemon: Daemon, asset: str, shard: str, data_version: str) -> None:
    """As a run beside the daemon's does."""
    tags = {DATA_VERSION_TAG: data_version}
    daemon.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=shard, tags=tags))


def test_what_is_missing_when_it_is_switched_on_is_requested(daemon: Daemon) -> None:
    assert daemon.until_quiet() == [{name: (A, B)} for name in ("first", "second", "third")]


def test_a_failed_shard_is_requested_again_once_an_hour_and_holds_up_no_other(daemon: Daemon) -> None:
    failures().write_text(f"second {A}")
    assert daemon.until_quiet() == [{"first": (A, B)}, {"second": (A, B)}, {"third": (B,)}]
    hours = [daemon.tick(HOUR_S / 3) for _ in range(3 * 3)]
    assert [requests for requests in hours if requests] == [{"second": (A,)}] * 3
    failures().write_text("")
    recovered = [daemon.tick(HOUR_S / 3) for _ in range(2 * 3)]
    assert [requests for requests in recovered if requests] == [{"second": (A,)}, {"third": (A,)}]


def test_what_a_blocking_check_refused_holds_up_its_own_shard_until_it_passes(daemon: Daemon) -> None:
    failures().write_text(f"unsound first {A}")
    assert daemon.until_quiet() == [{"first": (A, B)}, {"second": (B,)}, {"third": (B,)}]
    hours = [daemon.tick(HOUR_S / 3) for _ in range(2 * 3)]
    assert [requests for requests in hours if requests] == [{"first": (A,)}] * 2
    failures().write_text("")
    recovered = [daemon.tick(HOUR_S / 3) for _ in range(3 + 2)]
    assert [requests for requests in recovered if requests] == [{name: (A,)} for name in ("first", "second", "third")]


def test_a_change_during_a_run_is_requested_after_it(daemon: Daemon) -> None:
    daemon.until_quiet()
    change(daemon, "first", A, "2")
    assert daemon.tick() == {"second": (A,)}
    change(daemon, "first", A, "3")  # the request of the last tick may have read what was there before
    assert daemon.tick() == {"second": (A,)}
    assert daemon.tick() == {}


def test_the_same_data_again_requests_nothing(daemon: Daemon) -> None:
    daemon.until_quiet()
    change(daemon, "first", A, "1")
    assert daemon.tick() == {}


def test_a_shard_that_comes_later_is_requested(daemon: Daemon) -> None:
    daemon.until_quiet()
    daemon.instance.add_dynamic_partitions(str(SHARDS.name), ["films-0002"])
    assert daemon.until_quiet() == [{name: ("films-0002",)} for name in ("first", "second", "third")]


def test_only_runs_whose_process_died_are_retried(tmp_path: Path) -> None:
    retries = yaml.safe_load(INSTANCE_SETTINGS.read_text())["run_retries"]
    assert retries == {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}
    for definition in build_definitions(Settings(), str(tmp_path)).assets or []:
        if isinstance(definition, dg.AssetsDefinition):
            assert definition.node_def.retry_policy is None, definition.keys


def test_steps_with_a_chat_server_share_a_pool_and_embedded_ones_need_none(tmp_path: Path) -> None:
    def pools(settings: Settings) -> dict[str, str | None]:
        made = build_definitions(settings, str(tmp_path)).assets or []
        return {d.node_def.name: d.node_def.pool for d in made if isinstance(d, dg.AssetsDefinition) if d.node_def.pool}

    assert pools(Settings()) == {}
    server = {"engine": "chat", "chat": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}
    assert pools(parse_settings({"captions": server, "rewriting": server}, "test")) == {
        "captions": CHAT,
        "rewritten_captions": CHAT,
    }


HOLDS_A_SLOT = f"""
import sys, time
import dagster as dg

@dg.asset(pool="{GPU}")
def holder():
    open(sys.argv[1], "w").close()
    time.sleep(float(sys.argv[2]))

with dg.DagsterInstance.get() as instance:
    sys.exit(not dg.materialize([holder], instance=instance).success)
"""


def test_a_killed_run_gives_its_slot_back(tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE_SETTINGS.read_text())
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    begun = tmp_path / "begun"
    process = subprocess.Popen([sys.executable, "-c", HOLDS_A_SLOT, str(begun), "300"], env=environment)
    try:
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace,
    ):
        slots = instance.event_log_storage.get_concurrency_info(GPU)
        assert (slots.slot_count, slots.active_slot_count) == (1, 1)
        (run,) = instance.get_runs()
        logger = logging.getLogger("monitoring")
        assert [error for error in execute_run_monitoring_iteration(workspace, logger) if error] == []
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
        with freeze_time(time.time() + 120):
            assert [error for error in execute_concurrency_slots_iteration(workspace, logger) if error] == []
        assert instance.event_log_storage.get_concurrency_info(GPU).active_slot_count == 0
    again = [sys.executable, "-c", HOLDS_A_SLOT, str(begun), "0"]
    assert subprocess.run(again, env=environment, timeout=60, capture_output=True, check=False).returncode == 0
