"""Faults of the object store that films and home lie on, by kind."""

from collections.abc import Callable
from itertools import count
from random import Random

from tests.faults.bench import Bench, Fault, Kind
from tests.faults.child import start
from tests.faults.job import Job
from tests.object_store import faulty_proxy

WELL_REQUESTS = 800  # of the 1,200 that the small job sends
BURSTS = 0.02  # the share of requests at which one begins
BURST_REQUESTS = (1, 5, 40)  # the longest is longer than any client's patience


def store(answer: Callable[[Random], faulty_proxy.Fault]) -> Fault:
    """A store that from some request on now and then gives some in a row the same wrong `answer`."""

    def fault(bench: Bench, job: Job, random: Random) -> str:
        assert bench.bucket
        first = random.randrange(WELL_REQUESTS)
        requests = count()
        left, wrong, times = 0, faulty_proxy.Fault(), 0

        def decide(method: str, path: str) -> faulty_proxy.Fault | None:
            nonlocal left, wrong, times
            if not left:
                if next(requests) < first or random.random() >= BURSTS:
                    return None
                left, wrong = random.choice(BURST_REQUESTS), answer(random)
            left, times = left - 1, times + 1
            return wrong

        bench.bucket.proxy.fault = decide
        status = bench.run(job)
        assert times, f"{first} requests never came: {job.said.read_text()}"
        return f"{times} requests after {first}, exit status {status}"

    return fault


def fails(random: Random) -> faulty_proxy.Fault:
    return faulty_proxy.Fault(status=random.choice([403, 500]))


def throttles(random: Random) -> faulty_proxy.Fault:
    return random.choice([faulty_proxy.Fault(status=503), faulty_proxy.Fault(delay_s=random.uniform(0, 0.3))])


def disconnects(random: Random) -> faulty_proxy.Fault:
    """Before the request has its effect, after it, or in the middle of the answer."""
    cut = faulty_proxy.Fault(cut_after=random.choice([0, random.randrange(1, 1000)]))
    return random.choice([faulty_proxy.Fault(refuse=True), cut])


def run_killed(bench: Bench, job: Job, random: Random) -> str:
    """When it sends a change of the home, which is made or not."""
    assert bench.bucket
    nth = random.randint(1, sum(path.is_file() for path in bench.home.rglob("*")))
    is_made = random.choice([True, False])
    changes = count(1)
    process = start(job)

    def decide(method: str, path: str) -> faulty_proxy.Fault | None:
        if method != "PUT" or next(changes) != nth:
            return None
        job.struck.touch()
        process.kill()
        return faulty_proxy.Fault(cut_after=0) if is_made else faulty_proxy.Fault(refuse=True)

    bench.bucket.proxy.fault = decide
    status = bench.ended(process)
    assert job.struck.exists(), f"there was no change {nth}: {job.said.read_text()}"
    return f"at change {nth}, {'made' if is_made else 'not made'}, exit status {status}"


OF_STORE = (
    Kind("store fails", store(fails)),
    Kind("store throttles", store(throttles)),
    Kind("store disconnects", store(disconnects)),
    Kind("run on a store killed", run_killed),
)
