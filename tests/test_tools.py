"""While a network runs over a batch, the workers prepare the next: of clips with few frames, or with many."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.incremental.work import Work
from curation_assets.settings import parse_settings
from curation_assets.tables import Row
from curation_assets.tools import Tools
from resources.errors import Need
from resources.files import Files
from resources.networks import Arrays, OpenNetworks
from tests.processes import wait_until

BATCH = 12
WORKERS = 2


@dataclass(frozen=True)
class Watching:
    """An engine whose first forward pass waits until the next batch is prepared; each clip prepared leaves a mark."""

    folder: Path
    frames: int

    def identity(self) -> dict[str, str]:
        return {"model": "watching", "revision": "1"}

    def needs(self) -> list[Need]:
        return []

    def open(self) -> OpenNetworks:
        return OpenNetworks((self._run,), BATCH)

    def _run(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        a_batch = BATCH // self.frames
        taken = a_batch + 1  # the clip that no longer fits shows that the batch is full
        if not (self.folder / "run").exists():
            wait_until(lambda: self._prepared() >= taken + a_batch, "the next batch is prepared", 30)
            time.sleep(0.3)
            assert self._prepared() < taken + a_batch + WORKERS
        (self.folder / "run").touch()
        return samples

    def _prepared(self) -> int:
        return len(list(self.folder.glob("c*")))


def zeros(engine: Watching, clip: str) -> Arrays:
    (engine.folder / clip).touch()
    return (np.zeros((engine.frames, 2), np.float32),)


@pytest.mark.parametrize("frames", [1, 4, 12])
def test_a_batch_is_prepared_while_another_runs_and_no_more(frames: int, tmp_path: Path) -> None:
    def row(unit: Work, engine: str, features: Arrays) -> Row:
        return {"clip_id": unit.unit, "engine": engine, "frames": len(features[0])}

    tools = Tools(parse_settings({"execution": {"workers": WORKERS}}, "x.yaml"), Files(str(tmp_path)))
    work = [Work(f"c{n}", "s-0000", {}, {"scores": ("watching",)}, {}) for n in range(40)]
    engines = {"watching": Watching(tmp_path, frames)}
    done = list(tools.rows_in_batches(zeros, work, engines, lambda unit: {"clip": unit.unit}, row))
    assert sorted(one.unit for one in done) == sorted(unit.unit for unit in work)
    assert all(one.outcome[0]["frames"] == frames for one in done)
