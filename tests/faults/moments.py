"""Moments of a run: before and after everything by which it changes its home, counted from 1.

The n-th moment is about the same in every run of the job, so that a fault can be had again. What worker processes
do lies between moments; a delay after a moment strikes it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from curation_assets.orchestration import stage_asset
from resources.delta_store import DeltaStore
from resources.files import Files

CHANGES = ((DeltaStore, "replace"), (Files, "write"), (Files, "delete"), (Path, "replace"))


@dataclass(frozen=True)
class Moment:
    """`delay_s` after the `nth` moment."""

    nth: int
    delay_s: float = 0.0

    def __str__(self) -> str:
        return f"moment {self.nth} + {self.delay_s * 1000:.0f} ms"

    def reached(self, action: Callable[[], None]) -> Callable[[int], None]:
        def reach(number: int) -> None:
            if number == self.nth and self.delay_s:
                threading.Timer(self.delay_s, action).start()
            elif number == self.nth:
                action()

        return reach


def announcing(finished: Callable[[str], None], reach: Callable[[int], None] | None) -> Callable[[], int]:
    """Let this process, which runs the job, call `finished` with the step of each finished unit, `reach` at moments.

    Returns how many moments there were so far.
    """
    numbers = count(1)
    last = 0
    lock = threading.Lock()

    def moment() -> None:
        nonlocal last
        with lock:
            last = next(numbers)
        if reach:
            reach(last)

    for owner, name in CHANGES:
        setattr(owner, name, _between(getattr(owner, name), moment))

    class NotingProgress(stage_asset.Progress):
        def __init__(self, say: Callable[[str], None], what: str, every_s: float = 5.0) -> None:
            super().__init__(say, what, every_s)
            self._step = what.split()[0]

        def __call__(self, done: int, total: int) -> None:
            if done:
                finished(self._step)
            super().__call__(done, total)
            moment()

    stage_asset.Progress = NotingProgress  # type: ignore[misc]
    return lambda: last


def _between(method: Callable[..., Any], moment: Callable[[], None]) -> Callable[..., Any]:
    def announced(*arguments: Any, **options: Any) -> Any:
        moment()
        result = method(*arguments, **options)
        moment()
        return result

    return announced
