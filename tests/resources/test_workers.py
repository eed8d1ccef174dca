"""An item that goes wrong costs itself only, and no worker outlives the process that started it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from resources.errors import EngineUnavailable, InputError, TransientError
from resources.workers import WorkerPool, available_cores
from tests.processes import wait_until
from tests.resources import toy_items

TIME_LIMIT_S = 4.0
MACHINE_CORES = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, TIME_LIMIT_S, 2 << 30)
    yield pool
    pool.close()


@pytest.fixture
def patient_pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, 120, 2 << 30)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("100001 100000", min(2, MACHINE_CORES)),
        ("100000000 100000", MACHINE_CORES),
        ("max 100000", MACHINE_CORES),
    ],
)
def test_a_container_counts_the_cores_that_its_quota_fills(tmp_path: Path, quota: str, cores: int) -> None:
    assert available_cores(tmp_path) == MACHINE_CORES
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert available_cores(tmp_path) == cores


def is_running(process: int) -> bool:
    """Whether any thread of it is left."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{process}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_gone(process: int) -> bool:
    return not is_running(process)


def marked(folder: Path) -> list[int]:
    """The processes that `leave_mark_and_hang` has noted."""
    found = [(mark.name, mark.read_text()) for mark in folder.iterdir()]
    return [int(process) for pair in found for process in pair if process]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("hang", r"took longer than 4 s and was stopped; raise execution\.item_timeout_s"),
        ("kill", r"died \(signal 9\), perhaps out of memory; the next refresh tries again"),
        ("segfault", r"died \(signal 11\)"),
        ("leave", r"died \(exit status 3\)"),
        ("allocate", r"more memory than execution\.item_memory_bytes allows"),
    ],
)
def test_an_item_that_goes_wrong_costs_itself_only_and_says_why(pool: WorkerPool, fault: str, why: str) -> None:
    items: list[int | str] = [1, 2, fault, 3, fault, 4]

    ended = list(pool.map(toy_items.square_or_fault, items))

    failures = [outcome for item, outcome in ended if item == fault]
    assert {item: outcome for item, outcome in ended if item != fault} == {1: 1, 2: 4, 3: 9, 4: 16}
    assert len(failures) == 2
    for failure in failures:
        with pytest.raises(TransientError, match=why):
            raise failure  # type: ignore[misc]


def test_neither_order_nor_worker_count_changes_a_result(pool: WorkerPool) -> None:
    items = list(range(60))
    shuffled = random.Random(5).sample(items, len(items))
    alone = WorkerPool(1, 60, 2 << 30)

    results = [sorted(p.map(toy_items.square, i)) for p in (pool, alone) for i in (items, shuffled)]
    alone.close()

    assert results == [[(n, n * n) for n in items]] * 4


def test_workers_live_on_between_maps(pool: WorkerPool) -> None:
    first = {process for _, process in pool.map(toy_items.whose, range(8))}
    second = {process for _, process in pool.map(toy_items.whose, range(8))}

    assert second <= first | second
    assert first & second
    assert os.getpid() not in first | second


def test_a_worker_that_was_killed_while_idle_costs_no_item(pool: WorkerPool) -> None:
    for process in {process for _, process in pool.map(toy_items.whose, range(8))}:
        assert isinstance(process, int)
        os.kill(process, signal.SIGKILL)
        wait_until(partial(is_gone, process), "the killed worker is gone", 5)

    assert sorted(pool.map(toy_items.square, range(4))) == [(0, 0), (1, 1), (2, 4), (3, 9)]


def test_prints_and_reads_inside_a_worker_do_not_touch_the_answers(
    pool: WorkerPool, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sorted(pool.map(toy_items.chatter, range(4))) == [(0, 0), (1, 1), (2, 4), (3, 9)]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("input", InputError, "^no video stream; remove the file$"),
        ("transient", TransientError, "^server away$"),
        ("engine", EngineUnavailable, "^weights missing$"),
        (
            "file",
            TransientError,
            r"^/nowhere/a\.mp4: No such file or directory; make room or give access, then run again$",
        ),
        ("value", TransientError, r"^unexpected ValueError at toy_items\.py:\d+: .*seven"),
        ("unpicklable", TransientError, r"^unexpected TypeError at worker_process\.py:\d+: .*lock"),
    ],
)
def test_exceptions_arrive_as_what_they_are(pool: WorkerPool, how: str, kind: type[Exception], message: str) -> None:
    ((_, failure),) = pool.map(toy_items.fail, [how])

    assert type(failure) is kind
    with pytest.raises(kind, match=message):
        raise failure


def test_an_iterator_that_is_left_early_stops_its_workers_and_leaves_the_pool_usable(
    patient_pool: WorkerPool, tmp_path: Path
) -> None:
    items: list[int | str] = [2, str(tmp_path), 3, 4]
    results = patient_pool.map(toy_items.hang_or_square, items)
    assert next(results) == (2, 4)
    wait_until(lambda: len(marked(tmp_path)) == 2, "all have begun", 30)
    processes = marked(tmp_path)

    results.close()  # type: ignore[attr-defined]

    wait_until(lambda: not any(is_running(process) for process in processes), "they have ended", 5)
    assert sorted(patient_pool.map(toy_items.square, range(4))) == [(0, 0), (1, 1), (2, 4), (3, 9)]


def test_leaving_one_map_does_not_disturb_another(patient_pool: WorkerPool, tmp_path: Path) -> None:
    items: list[int | str] = [1, str(tmp_path)]
    left = patient_pool.map(toy_items.hang_or_square, items)
    assert next(left) == (1, 1)
    other = patient_pool.map(toy_items.nap, range(8))
    first = next(other)

    left.close()  # type: ignore[attr-defined]

    assert sorted([first, *other]) == [(n, n) for n in range(8)]


def test_a_broken_source_of_items_is_raised_not_waited_for(pool: WorkerPool) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise RuntimeError("the listing broke off")

    with pytest.raises(RuntimeError, match="the listing broke off"):
        list(pool.map(toy_items.square, items()))

    with pytest.raises((AttributeError, TypeError)):
        list(pool.map(lambda number: number, [1]))  # can't be sent

    assert list(pool.map(toy_items.square, [3])) == [(3, 9)]


PARENT = """
import signal, sys
from resources.workers import WorkerPool
from tests.resources import toy_items
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)  # a background shell leaves SIGINT ignored, and Dagster SIGTERM with it
list(WorkerPool(2, 600, 2 << 30).map(toy_items.leave_mark_and_hang, [sys.argv[1]] * 2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_and_their_programs_end_with_the_parent(tmp_path: Path, how: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], env=environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(marked(tmp_path)) == 4, "all have begun", 30)
    processes = marked(tmp_path)
    assert all(is_running(process) for process in processes)

    parent.send_signal(how)
    parent.wait(timeout=10)

    wait_until(lambda: not any(is_running(process) for process in processes), "they have ended", 5)


def test_what_a_result_asks_for_is_begun_while_others_still_run(patient_pool: WorkerPool, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def more(item: Path, result: object) -> list[Path]:
        return [mark] if item == tmp_path else []

    items = [tmp_path, tmp_path / "mark of another"]  # which waits for the mark that the first one asks for
    assert dict(patient_pool.map(toy_items.mark_or_wait, items, more=more)) == {
        tmp_path: "nothing",
        mark: "made",
        items[1]: "was there",
    }


def test_what_is_asked_for_after_all_else_is_done_too(pool: WorkerPool) -> None:
    found = pool.map(toy_items.square, [3, 1], more=lambda item, _: [item - 1] * item)
    assert sorted(item for item, _ in found) == sorted([3, 2, 2, 2] + [1] * 6 + [0] * 6 + [1, 0])


def noted(begun: list[int]) -> Iterator[int]:
    """Thirty numbers, each put into `begun` when it is asked for."""
    for number in range(30):
        begun.append(number)
        yield number


def test_no_more_than_asked_for_is_begun_ahead(pool: WorkerPool) -> None:
    begun: list[int] = []
    for taken, _ in enumerate(pool.map(toy_items.square, noted(begun), ahead=4)):
        time.sleep(0.01)
        assert len(begun) <= taken + 1 + 3 + pool.workers  # three may wait when the last ones are begun
    assert len(begun) == 30


def test_what_waits_is_counted_by_its_size(pool: WorkerPool) -> None:
    begun: list[int] = []
    results = pool.map(toy_items.square, noted(begun), ahead=12, size=lambda _: 4)
    next(results)
    wait_until(lambda: len(begun) >= 1 + 3, "as many as may are begun", 20)
    time.sleep(0.2)
    assert len(begun) <= 1 + 2 + pool.workers
    assert 1 + len(list(results)) == 30


def test_a_map_with_a_limit_can_be_left_early(pool: WorkerPool) -> None:
    results = pool.map(toy_items.square, range(1000), ahead=1)
    next(results)
    results.close()

    assert dict(pool.map(toy_items.square, range(5), ahead=1)) == {n: n * n for n in range(5)}
