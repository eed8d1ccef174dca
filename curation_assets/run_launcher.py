"""The run launcher of one machine: Dagster's own, which also tells run monitoring when a run's process is gone.

Dagster's doesn't say. A run whose process was killed, or whose machine was switched off, would count as running for
good, and where runs queue up, as in the local deployment, none would start any more.
"""

import os
from pathlib import Path

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, DefaultRunLauncher, RunsFilter
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.dagster_run import FINISHED_STATUSES


class LocalRunLauncher(DefaultRunLauncher):
    """For an instance whose runs and daemon share a machine. Runs of `reelhouse run` are watched too."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        pid = run_process(self._instance, run.run_id)
        if pid is None or _runs_python(pid):  # it has not said yet what its process is, or is at work
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"its process {pid} is gone; finished rows are kept, launch it again"
        )


def end_dead_runs(instance: DagsterInstance) -> None:
    """Fail the runs whose process is gone and give back the pool slots they hold.

    The daemon does so too, some time later; where none runs, a step would wait for a killed run's slot for good. Does
    nothing where another launcher decides which runs are alive.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, LocalRunLauncher):
        return
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])):
        health = launcher.check_run_worker_health(run)
        if health.status is WorkerStatus.FAILED:
            instance.report_run_failed(run, health.msg)
    holders = list(instance.event_log_storage.get_concurrency_run_ids())
    if holders:
        for run in instance.get_runs(RunsFilter(run_ids=holders, statuses=FINISHED_STATUSES)):
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def run_process(instance: DagsterInstance, run_id: str) -> int | None:
    """Id of the process that executes or executed a run, as the run logged it when it began."""
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event is not None and (pid := event.engine_event_data.metadata.get("pid")) is not None:
            return int(str(pid.value))
    return None


def _runs_python(pid: int) -> bool:
    """Whether the id is that of a live process of this interpreter; another program's means that it was given anew."""
    program = Path("/proc", str(pid), "exe")
    return os.path.realpath(program) == os.path.realpath("/proc/self/exe")
