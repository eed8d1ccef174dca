"""Runs a program so that neither it nor what it starts outlives the process that wanted it. Standard library only."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

LOOK_S = 0.2
ENDED = "ended by itself with exit status"  # what the watcher prints then
# Of Python's multiprocessing: frees the shared memory of processes that were killed, then ends by itself.
TRACKER = b"resource_tracker"


def start(command: list[str], grace_s: float, **options: Any) -> "subprocess.Popen[bytes]":
    """Start `command` in a process group of its own; what is returned is the group's leader, which watches it.

    The group ends when the command ends, by `stop`, and when this process is gone in whatever way. What doesn't end
    within `grace_s` of SIGTERM is killed. `options` are subprocess.Popen's.
    """
    watcher = [sys.executable, "-P", __file__, str(os.getpid()), str(grace_s), *command]
    return subprocess.Popen(watcher, stdin=subprocess.DEVNULL, start_new_session=True, **options)


def stop(watcher: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """End the group; it is gone on return."""
    watcher.terminate()
    with suppress(subprocess.TimeoutExpired):
        watcher.wait(3 * grace_s)
    with suppress(ProcessLookupError):
        os.killpg(watcher.pid, signal.SIGKILL)  # what a killed watcher has left
    watcher.wait()


def watch(parent: int, grace_s: float, command: list[str]) -> None:
    """The watcher: run `command` until it ends, `parent` is gone or SIGTERM comes, then end the group and itself."""

    def stop_watching(*_: Any) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, stop_watching)
    with suppress(SystemExit):
        program = subprocess.Popen(command)
        while os.getppid() == parent and program.poll() is None:
            time.sleep(LOOK_S)
        if program.returncode is not None:
            print(ENDED, program.returncode, flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for by in (signal.SIGTERM, signal.SIGKILL):
        _end_others(by, grace_s)
    os.killpg(0, signal.SIGKILL)


def _end_others(by: signal.Signals, grace_s: float) -> None:
    """Signal the group's other processes, and wait for them."""
    for process in _others():
        with suppress(OSError):  # ended meanwhile
            if TRACKER not in Path(f"/proc/{process}/cmdline").read_bytes():
                os.kill(process, by)
    deadline = time.monotonic() + grace_s
    while _others() and time.monotonic() < deadline:
        time.sleep(LOOK_S)


def _others() -> list[int]:
    return [process for process in members(os.getpgrp()) if process != os.getpid()]


def members(group: int) -> list[int]:
    """The ids of a process group's processes."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            state, _, its_group = status.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(status.parent.name))
    return found


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
