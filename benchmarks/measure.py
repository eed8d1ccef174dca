"""What something costs: wall and CPU seconds and memory, of this process and of everything it started."""

import multiprocessing as mp
import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_S = 0.1


@dataclass(frozen=True)
class Cost:
    """`peak_bytes`: the most that a process below this one held, together with those below it."""

    wall_s: float
    cpu_s: float
    peak_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        peak = max(self.peak_bytes, other.peak_bytes)
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, peak)

    def __mul__(self, share: float) -> "Cost":
        """Of as much less work."""
        return Cost(self.wall_s * share, self.cpu_s * share, self.peak_bytes)


NOTHING = Cost(0, 0)


def cost_of(function: Callable[[], Any]) -> Cost:
    started_s, started_cpu_s = time.perf_counter(), cpu_s()
    with _watching_memory() as watched:
        function()
        wall_s = time.perf_counter() - started_s
    return Cost(wall_s, cpu_s() - started_cpu_s - watched.cpu_s, watched.peak_bytes)


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.cpu_s for cost in costs),
        max(cost.peak_bytes for cost in costs),
    )


def median_ratio(costs: Sequence[Cost], limits: Sequence[Cost]) -> Cost:
    """Of pairs taken one right after the other, so that what else the machine did was in both."""
    pairs = list(zip(costs, limits, strict=True))
    return Cost(
        statistics.median(cost.wall_s / limit.wall_s for cost, limit in pairs),
        statistics.median(cost.cpu_s / limit.cpu_s for cost, limit in pairs),
    )


def cpu_s() -> float:
    """CPU seconds of this process and all below it, those that ended included."""
    times, processes = os.times(), _processes()
    below = sum(sum(processes[pid].ticks) for pid in _below(os.getpid(), processes))
    return times.user + times.system + times.children_user + times.children_system + below / _TICKS_PER_S


@dataclass(frozen=True)
class _Process:
    parent: int
    ticks: tuple[int, ...]  # user, system, and both of children that ended
    resident_bytes: int


def _processes() -> dict[int, _Process]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                found[int(entry)] = _Process(
                    int(fields[1]), tuple(map(int, fields[11:15])), int(fields[21]) * _PAGE_BYTES
                )
    return found


def _below(pid: int, processes: dict[int, _Process]) -> list[int]:
    children = defaultdict(list)
    for child, process in processes.items():
        children[process.parent].append(child)
    found, left = [], children[pid]
    while left:
        found.append(left.pop())
        left += children[found[-1]]
    return found


@dataclass
class _Watched:
    peak_bytes: int = 0
    cpu_s: float = 0.0
    """of the watching itself"""


@contextmanager
def _watching_memory() -> Iterator[_Watched]:
    watched, ended, mine = _Watched(), threading.Event(), os.getpid()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            processes = _processes()
            for pid in [pid for pid, process in processes.items() if process.parent == mine]:
                held = sum(processes[below].resident_bytes for below in (pid, *_below(pid, processes)))
                watched.peak_bytes = max(watched.peak_bytes, held)
        watched.cpu_s = time.thread_time()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watched
    finally:
        ended.set()
        thread.join()


def seconds_of(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def peak_bytes() -> int:
    """The most memory that this process had, alone: `ru_maxrss` begins with that of the process it was started from."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
