"""A pool of worker processes with a limit on time and memory for each item.

Workers are plain child processes that outlive a single `map`, so that models are loaded once a process. A worker
that hangs, crashes or is killed costs its one item; a new one takes its place.
"""

import atexit
import math
import os
import pickle
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from resources.errors import TransientError
from resources.spent import Spent, collector

Item = TypeVar("Item")
Result = TypeVar("Result")

_HEADER = struct.Struct("!Q")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# glibc's: a freed picture's memory is taken for the next one, where else the kernel maps and clears each anew.
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20)}

_CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Cores this process may use: those it may run on, but no more than its container's CPU quota (cgroup v2) fills."""
    cores = len(os.sched_getaffinity(0))
    with suppress(FileNotFoundError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return cores


class _Died(Exception):
    """The worker's pipe closed in the middle of an item."""


class _Worker:
    def __init__(self, memory_bytes: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "resources.worker_process", str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD, **_KEPT_MEMORY, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            start_new_session=True,  # a Ctrl-C reaches the parent alone, which then stops its workers
        )

    def run(self, function: Callable[[Any], Any], item: Any, timeout_s: float) -> tuple[Any, Spent]:
        assert self.process.stdin is not None
        payload = pickle.dumps((function, item))
        deadline = time.monotonic() + timeout_s
        try:
            self.process.stdin.write(_HEADER.pack(len(payload)) + payload)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        (length,) = _HEADER.unpack(self._read(_HEADER.size, deadline))
        result, spent = pickle.loads(self._read(length, deadline))
        return result, spent

    def _read(self, length: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        received = bytearray()
        while len(received) < length:
            ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            chunk = os.read(descriptor, min(length - len(received), 1 << 20))
            if not chunk:
                raise self._death()
            received += chunk
        return bytes(received)

    def _death(self) -> _Died:
        """Its pipe is closed: let it end by itself, so that its exit status tells the cause."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1)
        return _Died()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()


class WorkerPool:
    """Runs top-level functions in `workers` processes.

    `item_timeout_s` and `item_memory_bytes` (address space) bound each item; going over them is a TransientError
    for that item alone.
    """

    def __init__(self, workers: int, item_timeout_s: float, item_memory_bytes: int) -> None:
        self.workers = workers
        self.item_timeout_s = item_timeout_s
        self.item_memory_bytes = item_memory_bytes
        self._idle: list[_Worker] = []
        self._busy: dict[_Worker, threading.Event] = {}
        self._lock = threading.Lock()
        atexit.register(self.close)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        ahead: int = sys.maxsize,
        size: Callable[[Result | Exception], int] = lambda _: 1,
        more: Callable[[Item, Result | Exception], Iterable[Item]] = lambda *_: (),
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Yield each item with its result or the exception it ended in, as they finish (in any order).

        Items that a result asks for, as `more` says in the thread of a worker, are begun after all others. No item is
        begun while results of a summed `size` of `ahead` or more wait to be yielded. Raises what `items` raises and
        what keeps an item from being sent. An iterator that is left early stops the workers that are in the middle of
        an item. What the workers' seconds went into is collected when it ends, as `resources.spent` says.
        """
        feed = iter(items)
        feed_lock = threading.Lock()
        done: queue.SimpleQueue[tuple[Item, Result | Exception] | BaseException | None] = queue.SimpleQueue()
        stopped = threading.Event()
        waiting = running = 0
        asked_for: deque[Item] = deque()
        change = threading.Condition()
        spent_here = collector()
        spent_there: defaultdict[threading.Thread, Spent] = defaultdict(Spent)  # a worker's, by the thread it serves

        def count(difference: int) -> None:
            nonlocal waiting
            with change:
                waiting += difference
                change.notify_all()

        def next_item() -> Item:
            """The next item, once there is one; `_END` when there will be none."""
            nonlocal running
            with change:
                change.wait_for(lambda: stopped.is_set() or waiting < ahead)
                running += 1
            with feed_lock:
                item: Item = _END if stopped.is_set() else next(feed, _END)
            if item is not _END:
                return item
            with change:
                running -= 1
                change.notify_all()
                change.wait_for(lambda: stopped.is_set() or asked_for or not running)
                if stopped.is_set() or not asked_for:
                    return item
                running += 1
                return asked_for.popleft()

        def finish(item: Item, result: Result | Exception) -> None:
            nonlocal running
            asked = list(more(item, result))
            with change:
                asked_for.extend(asked)
                running -= 1
            count(size(result))
            done.put((item, result))

        def serve() -> None:
            worker: _Worker | None = None
            ended: BaseException | None = None
            try:
                while (item := next_item()) is not _END:
                    worker = worker or self._take(stopped)
                    if stopped.is_set():
                        break
                    try:
                        result, spent = worker.run(function, item, self.item_timeout_s)
                        spent_there[threading.current_thread()].add(spent)
                        finish(item, result)
                    except (_Died, TimeoutError) as failure:
                        lost, worker = worker, None
                        self._discard(lost)
                        finish(item, self._explain(lost, failure))
            except BaseException as failure:
                ended = failure
            if worker:
                self._give_back(worker, stopped)
            done.put(ended)

        threads = [threading.Thread(target=serve, daemon=True) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        try:
            serving = len(threads)
            while serving:
                finished = done.get()
                if isinstance(finished, BaseException):
                    raise finished
                if finished is None:
                    serving -= 1
                else:
                    count(-size(finished[1]))
                    yield finished
        finally:
            stopped.set()
            count(0)  # wakes those that wait for room
            self._stop_busy(stopped)
            for thread in threads:
                thread.join()
            for spent in spent_there.values():
                spent_here.add(spent, workers=len(spent_there))

    def close(self) -> None:
        """Stop every worker."""
        self._stop_busy()
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.stop()

    def _take(self, stopped: threading.Event) -> _Worker:
        """An idle worker that is still alive, or a new one; busy for the map that `stopped` ends."""
        worker: _Worker | None = None
        with self._lock:
            while self._idle and worker is None:
                found = self._idle.pop()
                worker = found if found.process.poll() is None else None
        worker = worker or _Worker(self.item_memory_bytes)
        with self._lock:
            self._busy[worker] = stopped
        return worker

    def _give_back(self, worker: _Worker, stopped: threading.Event) -> None:
        with self._lock:
            if not stopped.is_set():
                del self._busy[worker]
                self._idle.append(worker)
                return
        self._discard(worker)

    def _discard(self, worker: _Worker) -> None:
        with self._lock:
            del self._busy[worker]
        worker.stop()

    def _stop_busy(self, stopped: threading.Event | None = None) -> None:
        """Kill the workers of one map, or of all; their threads see that they died."""
        with self._lock:
            for worker, map_stopped in self._busy.items():
                if stopped in (None, map_stopped):
                    with suppress(ProcessLookupError):
                        os.killpg(worker.process.pid, signal.SIGKILL)

    def _explain(self, worker: _Worker, failure: Exception) -> TransientError:
        if isinstance(failure, TimeoutError):
            return TransientError(
                f"took longer than {self.item_timeout_s:g} s and was stopped; raise execution.item_timeout_s "
                "if it needs more"
            )
        code = worker.process.returncode
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return TransientError(f"the worker process died ({how}), perhaps out of memory; the next refresh tries again")


_END: Any = object()
