"""Where a step's seconds go: into decoders, encoders, networks and servers, which no step does without.

Code that does such work says so with `spent` (also a decorator), `within` and `count`. It is collected where
`Spent.collected` is open in the same context, from worker processes by their pool; elsewhere saying it does nothing.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, TypeVar

Kind = Literal["decoding", "encoding", "model", "server", "reading", "starting"]
"""`starting` is loading code and weights: a longer step does no more of it."""
Counted = Literal["frames", "video_s", "tokens", "bytes"]

Item = TypeVar("Item")


@dataclass
class Spent:
    """`seconds` in which work of a kind went on, however much of it at once; `counts` of what it read or made.

    Of `workers` side by side the seconds are those of one, on average.
    """

    seconds: defaultdict[Kind, float] = field(default_factory=lambda: defaultdict(float))
    counts: defaultdict[Counted, float] = field(default_factory=lambda: defaultdict(float))
    workers: int = 1
    _running: defaultdict[Kind, int] = field(default_factory=lambda: defaultdict(int))
    _since: dict[Kind, float] = field(default_factory=dict)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect what is said in the block, and by what it hands to an event loop."""
        token = _collector.set(self)
        try:
            yield
        finally:
            _collector.reset(token)

    def begin(self, kind: Kind) -> None:
        with _lock:
            if not self._running[kind]:
                self._since[kind] = time.perf_counter()
            self._running[kind] += 1

    def end(self, kind: Kind) -> None:
        with _lock:
            self._running[kind] -= 1
            if not self._running[kind]:
                self.seconds[kind] += time.perf_counter() - self._since[kind]

    def add(self, other: "Spent", workers: int = 1) -> None:
        """Take over what one of `workers` spent."""
        with _lock:
            self.workers = max(self.workers, workers)
            for kind, seconds in other.seconds.items():
                self.seconds[kind] += seconds / workers
            for what, amount in other.counts.items():
                self.counts[what] += amount


_lock = threading.Lock()
_collector: ContextVar[Spent | None] = ContextVar("spent", default=None)


def collector() -> Spent:
    """What collects here; one that nobody looks at where nobody collects."""
    return _collector.get() or Spent()


@contextmanager
def spent(kind: Kind) -> Iterator[None]:
    """The block, or the function decorated, is work of that kind."""
    here = _collector.get()
    if here is None:
        yield
        return
    here.begin(kind)
    try:
        yield
    finally:
        here.end(kind)


def within(kind: Kind, items: Iterator[Item]) -> Iterator[Item]:
    """The items; making each is work of that kind, what is done with it isn't."""
    while True:
        with spent(kind):
            item = next(items, _END)
        if item is _END:
            return
        yield item  # type: ignore[misc]


def count(what: Counted, amount: float) -> None:
    """Say how much was read or made."""
    if here := _collector.get():
        with _lock:
            here.counts[what] += amount


_END = object()
