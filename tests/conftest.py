"""The command in the test's own process; and which files start first, and which share a process."""

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

Command = Callable[..., tuple[int, str, str]]

# Dagster keeps so many objects that full collections, as often as Python makes them, take 8 % of a test's time.
gc.set_threshold(*gc.get_threshold()[:2], 100)

# Files whose tests start from copies of the one job that tests/pipeline/conftest.py makes in each process.
OF_THE_FINISHED_JOB = tuple(
    f"tests/pipeline/test_{name}.py"
    for name in (
        "whole_job", "takedown", "document_commands", "exclusions", "run_in_terminal", "commands_json", "old_home",
        "report", "pages_of_your_own", "preview_and_tiers", "trace", "plan", "schedules", "fingerprints", "examples",
        "querying", "readme", "retention",
    )
)  # fmt: skip

# These first, so that no process is left alone with one of them at the end.
LONGEST = (  # goes with `--no-loadscope-reorder`: xdist would start those with the most tests
    *OF_THE_FINISHED_JOB,
    "tests/pipeline/test_changes.py",
    "tests/faults/test_kills.py",
    "tests/kubernetes/test_launch.py",
    "tests/faults/test_daemon.py",
    "tests/kubernetes/test_pod_faults.py",
    "tests/postgres/test_postgres.py",
    "tests/object_store/test_store_faults.py",
    "tests/faults/test_disk_files_and_clock.py",
    "tests/pipeline/test_bad_input.py",
    "tests/object_store/test_remote_job.py",
    "tests/faults/test_chat_server.py",
    "tests/training_set/test_releases.py",
    "tests/pipeline/test_images.py",
    "tests/ui/test_ui.py",
    "tests/scores/test_network_scores.py",
    "tests/clip_files/test_encoding.py",
    "tests/pipeline/test_interruptions.py",
    "tests/clips/test_detection.py",
    "tests/clips/test_stretches.py",
    "tests/automation/test_failures.py",
    "tests/checks/test_rules.py",
    "tests/maintenance/test_maintenance.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


class _Scheduling(LoadFileScheduling):
    """The tests of a file run in one process, and all that start from the finished job."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "the finished job" if file in OF_THE_FINISHED_JOB else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return _Scheduling(config, log)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`reelhouse` with some arguments, in this process: exit status, output, errors."""
    from curation_assets.cli import main

    for name in ("CURATION_HOME", "CURATION_SETTINGS", "DAGSTER_HOME", "RUST_BACKTRACE"):
        monkeypatch.setenv(name, "")  # what the command sets is undone with it
        monkeypatch.delenv(name)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ending:  # argparse's, of wrong use
            status = int(str(ending.code))
        return status, *capsys.readouterr()

    return run
