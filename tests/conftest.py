"""The command in the test's own process; and an order of files.

What takes longest starts first, so that no worker is left alone with one of them at the end.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]

LONGEST = (  # goes with `--no-loadscope-reorder`: xdist would start those with the most tests
    "tests/faults/test_kills.py",
    "tests/kubernetes/test_pod_faults.py",
    "tests/kubernetes/test_launch.py",
    "tests/object_store/test_store_faults.py",
    "tests/pipeline/test_changes.py",
    "tests/object_store/test_remote_job.py",
    "tests/faults/test_daemon.py",
    "tests/postgres/test_postgres.py",
    "tests/faults/test_disk_files_and_clock.py",
    "tests/training_set/test_releases.py",
    "tests/faults/test_chat_server.py",
    "tests/pipeline/test_bad_input.py",
    "tests/ui/test_ui.py",
    "tests/pipeline/test_interruptions.py",
    "tests/pipeline/test_whole_job.py",
    "tests/pipeline/test_takedown.py",
    "tests/pipeline/test_exclusions.py",
    "tests/clip_files/test_encoding.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


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
