"""How far a step is: a line for Dagster's log and plain terminals now and then, every unit for a live table."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

TERMINAL = logging.getLogger("reelhouse")


@dataclass(frozen=True)
class Pace:
    """`done` of `total` units of a step after `seconds`; `what` is its asset and shard."""

    what: str
    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.done / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None as long as nothing tells the rate."""
        return (self.total - self.done) / self.rate if self.done else None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None or self.done >= self.total else f", {self.seconds_left:.0f} s left"
        return f"{self.what}: {self.done}/{self.total}, {self.rate:.1f}/s{left}"


class Progress:
    """Says how far a shard is at most every `every_s` seconds and at the end, by `say` and to the terminal.

    Each call reaches the terminal's handlers as the attribute `pace` of a record, of level DEBUG where none is due.
    """

    def __init__(self, say: Callable[[str], None], what: str, every_s: float = 5.0) -> None:
        self._say = say
        self._what = what
        self._every_s = every_s
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        pace = Pace(self._what, done, total, now - self._started)
        is_due = done >= total or now - self._said >= self._every_s
        TERMINAL.log(logging.INFO if is_due else logging.DEBUG, "%s", pace, extra={"pace": pace})
        if is_due:
            self._said = now
            self._say(str(pace))
