"""Finding and waiting for processes that a test has started, and those that they started."""

import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 120.0
MARK = "REELHOUSE_TEST_RUN"


def processes_with(mark: str) -> list[int]:
    """Ids of the processes that inherited the mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def command(process: int) -> str:
    """The command line of a process; of one that has ended, nothing."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def groups_of(parent: int) -> list[int]:
    """The process groups that a process has started by `resources.process_group` and that are still watched."""
    processes = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    return [process for process in processes if f"/process_group.py {parent} " in command(process)]


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = LIMIT_S, every_s: float = 0.01) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what}"
        time.sleep(every_s)
