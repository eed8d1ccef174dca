"""Runs launched through a real `reelhouse ui`, whose processes can be killed."""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance, DagsterRunStatus

from tests.faults.job import Job
from tests.pipeline.jobs import SHARD
from tests.processes import MARK, processes_with, wait_until
from tests.ui.webserver import running

LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""
ENDED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}


@contextmanager
def reelhouse_ui(job: Job) -> Iterator[str]:
    """The address of the UI of the job's home; its processes carry the job's mark."""
    settings = job.folder / "settings.yaml"
    settings.write_text(yaml.safe_dump(dict(job.settings)))
    command = [sys.executable, "-m", "curation_assets.cli", "ui", "--home", job.home, "--settings", str(settings)]
    with running(command, job.said, {MARK: job.mark}) as address:
        yield address


def launch(address: str) -> str:
    """Ask the UI to refresh the shard; returns the run's id."""
    body = json.dumps({"query": LAUNCH, "variables": {"parameters": parameters()}}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return launched(json.load(answer)["data"])


def parameters(assets: Sequence[str] | None = None, shard: str = SHARD, config: object = None) -> dict[str, Any]:
    """Of LAUNCH: all assets of the shard, or these."""
    selector = {"repositoryLocationName": "reelhouse", "repositoryName": "__repository__", "jobName": "refresh_shard"}
    selection = None if assets is None else [{"path": [name]} for name in assets]
    tags = [{"key": "dagster/partition", "value": shard}]
    return {
        "selector": {**selector, "assetSelection": selection},
        "runConfigData": config or {},
        "executionMetadata": {"tags": tags},
    }


def launched(said: Any) -> str:
    """The id of the run in the answer to LAUNCH."""
    assert "run" in said["launchRun"], said
    return str(said["launchRun"]["run"]["runId"])


def status(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def wait_for_end(instance: DagsterInstance, run_id: str, limit_s: float = 180) -> DagsterRunStatus:
    wait_until(lambda: status(instance, run_id) in ENDED, f"run {run_id} ends", limit_s, every_s=0.2)
    return status(instance, run_id)


def wait_for_step(job: Job, instance: DagsterInstance, run_id: str, table: str) -> None:
    """Until the run works at `table`, or has ended before."""
    folder = Path(job.home, "tables", table)
    wait_until(lambda: folder.is_dir() or status(instance, run_id) in ENDED, f"run {run_id} reaches {table}", 180)


def kill_daemon(job: Job) -> None:
    for pid in processes_with(job.mark):
        with suppress(OSError):
            if b"dagster._daemon" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def kill_everything(job: Job) -> None:
    """As when the machine is switched off."""
    for pid in processes_with(job.mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
