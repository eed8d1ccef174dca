"""What a step's seconds went into: never more than passed, whoever did the work."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

import pytest

from resources.chat import ChatRequest
from resources.spent import Spent, count, spent, within
from resources.workers import WorkerPool
from tests.resources import toy_items
from tests.stand_in_server import completion, stand_in_server

NAP_S = 0.1


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, 30, 2 << 30)
    yield pool
    pool.close()


def test_what_overlaps_counts_once_and_pauses_dont() -> None:
    def work() -> None:
        with spent("model"):
            time.sleep(NAP_S)

    collected, started = Spent(), time.perf_counter()
    with collected.collected(), ThreadPoolExecutor(4) as threads:
        for _ in range(2):
            wait([threads.submit(copy_context().run, work) for _ in range(4)])
            time.sleep(NAP_S)

    assert 2 * NAP_S <= collected.seconds["model"] <= time.perf_counter() - started - 2 * NAP_S


def test_requests_at_once_count_once_and_their_tokens_add_up() -> None:
    def answer(_: dict[str, Any]) -> tuple[int, bytes]:
        time.sleep(NAP_S)
        return 200, completion("hello")

    collected, started = Spent(), time.perf_counter()
    with stand_in_server(answer) as server, collected.collected():
        requests = [(n, ChatRequest([{"role": "user", "content": "Say hello."}])) for n in range(20)]
        answers = [answer for _, answer in server.client(concurrency=10).complete_all(requests)]

    assert collected.counts == {"tokens": sum(answer.completion_tokens for answer in answers)}
    assert 2 * NAP_S <= collected.seconds["server"] <= time.perf_counter() - started


def test_of_a_generator_only_the_making_counts() -> None:
    def frames() -> Iterator[int]:
        for number in range(3):
            time.sleep(NAP_S)
            yield number

    collected, started = Spent(), time.perf_counter()
    with collected.collected():
        for _ in within("decoding", frames()):
            time.sleep(NAP_S)

    assert 3 * NAP_S <= collected.seconds["decoding"] <= time.perf_counter() - started - 3 * NAP_S


def test_work_that_fails_counts_and_ends() -> None:
    @spent("model")
    def fail() -> None:
        count("frames", 1)
        raise ValueError("broken")

    collected, started = Spent(), time.perf_counter()
    with collected.collected():
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                fail()

    assert collected.counts == {"frames": 2}
    assert 0 < collected.seconds["model"] <= time.perf_counter() - started


def test_nothing_is_collected_outside() -> None:
    collected = Spent()
    with collected.collected():
        pass
    with spent("model"):
        count("tokens", 1)

    assert not collected.seconds
    assert not collected.counts


def test_workers_bring_what_they_spent_never_more_than_passed(pool: WorkerPool) -> None:
    collected, started = Spent(), time.perf_counter()
    with collected.collected():
        list(pool.map(toy_items.work_for, [NAP_S] * 8))

    assert collected.workers == 2
    assert collected.counts == {"frames": 8}
    assert 4 * NAP_S <= collected.seconds["model"] <= time.perf_counter() - started


def test_what_a_killed_worker_spent_is_lost_and_failures_keep_theirs(pool: WorkerPool) -> None:
    collected, started = Spent(), time.perf_counter()
    with collected.collected():
        ended = list(pool.map(toy_items.work_for, [NAP_S, "kill", NAP_S, "fail"]))

    assert sum(isinstance(outcome, Exception) for _, outcome in ended) == 2
    assert collected.counts == {"frames": 3}
    assert 0 < collected.seconds["model"] <= time.perf_counter() - started


def test_maps_side_by_side_keep_apart(pool: WorkerPool) -> None:
    collected = [Spent(), Spent()]

    def run(here: Spent, items: list[float | str]) -> None:
        with here.collected():
            list(pool.map(toy_items.work_for, items))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(run, collected, [[NAP_S], [NAP_S] * 5]))

    assert [each.counts["frames"] for each in collected] == [1, 5]


def test_a_single_worker_that_did_all_is_not_divided_by_the_others(pool: WorkerPool) -> None:
    collected = Spent()
    with collected.collected():
        list(pool.map(toy_items.work_for, [NAP_S]))

    assert collected.workers == 1
    assert collected.seconds["model"] >= NAP_S
