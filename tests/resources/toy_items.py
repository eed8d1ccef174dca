"""What the workers of the tests are given to do; light to import."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from resources.errors import EngineUnavailable, InputError, TransientError
from resources.spent import count, spent
from tests.processes import wait_until


def square(number: int) -> int:
    return number * number


def nap(number: int) -> int:
    time.sleep(0.2)
    return number


def whose(_: object) -> int:
    """The worker's process id."""
    return os.getpid()


def segfault() -> int:
    return ctypes.string_at(0)[0]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    time.sleep(600)


def allocate() -> int:
    return len(bytearray(8 << 30))


def leave() -> None:
    sys.exit(3)


FAULTS: dict[str, Callable[[], object]] = {f.__name__: f for f in (segfault, kill, hang, allocate, leave)}


def square_or_fault(item: int | str) -> int:
    if isinstance(item, str):
        FAULTS[item]()
        raise AssertionError(f"{item} went by")
    return square(item)


def fail(how: str) -> object:
    if how == "input":
        raise InputError("no video stream; remove the file")
    if how == "transient":
        raise TransientError("server away")
    if how == "engine":
        raise EngineUnavailable("weights missing")
    if how == "file":
        return Path("/nowhere/a.mp4").read_bytes()
    if how == "value":
        return int("seven")
    return threading.Lock()  # can't be sent back


def chatter(number: int) -> int:
    """Uses standard input and output as libraries and the programs they start do."""
    print("print", number)
    os.write(1, b"\0" * 100)
    subprocess.run(["echo", "program"], check=True)
    left = subprocess.run(["cat"], check=True, capture_output=True, timeout=20).stdout + sys.stdin.buffer.read()
    return square(number) + len(left)


def leave_mark_and_hang(folder: str) -> None:
    """Start a program, note both process ids, hang."""
    program = subprocess.Popen(["sleep", "600"])
    (Path(folder) / str(os.getpid())).write_text(str(program.pid))
    time.sleep(600)


def hang_or_square(item: int | str) -> int:
    if isinstance(item, str):
        leave_mark_and_hang(item)
    return square(int(item))


def work_for(item: float | str) -> None:
    """Spend so many seconds on a model; or fail after that, or be killed."""
    count("frames", 1)
    with spent("model"):
        time.sleep(0.1 if isinstance(item, str) else item)
        if isinstance(item, str):
            {"kill": kill, "fail": lambda: fail("input")}[item]()


def mark_or_wait(path: Path) -> str:
    """Makes a file named `mark`; for one named `mark of another` waits until that is there."""
    if path.name == "mark":
        path.touch()
        return "made"
    if path.name != "mark of another":
        return "nothing"
    wait_until(path.with_name("mark").exists, "the mark", 100)
    return "was there"
