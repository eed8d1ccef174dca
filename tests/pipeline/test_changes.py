"""Every change of the table makes the product do exactly its work, a plan foretells it, and the policy requests it.

Work is counted in what worker processes and the stand-in server are given. That nothing else opens a video is shown
by taking the films away after registration: what then needs one fails.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.inspection.plan import Figure, make_plan
from curation_assets.settings import Settings
from resources.calls import Call
from resources.workers import WorkerPool
from tests.automation.daemon import Requests
from tests.pipeline.automated import Automated, copy_of, finished_job, only
from tests.pipeline.changes import AB, CHANGES, SAMPLES, VIDEOS, Change, Tick
from tests.pipeline.jobs import Job, same_results
from tests.stand_in_server import StandInServer, completion, stand_in_server

FIGURES = ("video_decodes", "clip_decodes", "encodes", "calls")
COUNTED_AS = {
    "detect_or_split": "video_decodes",
    "ClipTask": "clip_decodes",
    "FileTask": "encodes",
    "probe_video": "probes",
    "frames_are_as_described": "checks",
    "clip_is_as_described": "checks",
}
BY_NAME = {change.name: change for change in CHANGES}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what worker processes are given; they work as always."""
    given: Counter[str] = Counter()
    real = WorkerPool.map

    def counting(
        pool: WorkerPool, function: Callable[[Any], Any], items: Iterable[Any], **options: Any
    ) -> Iterator[Any]:
        def counted() -> Iterator[Any]:
            for item in items:
                for one in item if isinstance(item, list) else [item]:
                    name = one.function.__name__ if isinstance(one, Call) else type(one).__name__
                    given[COUNTED_AS.get(name, "calls")] += 1
                yield item

        return real(pool, function, counted(), **options)

    monkeypatch.setattr(WorkerPool, "map", counting)
    return given


@dataclass(frozen=True)
class Jobs:
    """Jobs to start from: each is kept in `folder`, and starts at `place`, where it was made."""

    folder: Path
    place: Path
    server: StandInServer

    def keep(self, automated: Automated, after: str = "") -> None:
        if not (folder := self._folder(after)).exists():
            automated.keep(folder)

    def kept(self, after: str = "") -> Job:
        """The finished job, or what it was after a change and all that followed; to be read."""
        if not self._folder(after).exists():
            if after:
                with self.start(BY_NAME[after].after) as automated:
                    self.make(BY_NAME[after], automated)
                    automated.work()
                    self.keep(automated, after)
            else:
                with finished_job(self.place) as automated:
                    self.keep(automated)
        return Job(self._folder(after))

    def start(self, after: str = "") -> AbstractContextManager[Automated]:
        return copy_of(self.kept(after).root, self.place)

    def make(self, change: Change, automated: Automated) -> Settings:
        """The change itself; the settings with it."""
        change.films(automated.job)
        return automated.load(change.settings_at(automated.settings, self.server.url))

    def _folder(self, after: str) -> Path:
        return self.folder / (after.replace(" ", "-") or "finished")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("automated")
    job = Job(folder / "job")
    with (
        pytest.MonkeyPatch.context() as environment,
        stand_in_server(lambda _: (200, completion("A street with people."))) as server,
    ):
        environment.setenv("CURATION_HOME", str(job.home))
        environment.setenv("CURATION_SETTINGS", str(job.root / "settings.yaml"))
        yield Jobs(folder, job.root, server)
    shutil.rmtree(folder)


def bytes_of(home: Path) -> dict[str, str]:
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in sorted(home.rglob("*")) if path.is_file()}


def assert_foretold(figure: Figure, did: int, what: str) -> None:
    """Exact, or within bounds; where a figure is an estimate, at least that there would be something."""
    if figure.is_exact:
        assert did == figure.low, what
    elif not figure.about:
        assert figure.low <= did <= figure.high, what
    else:
        assert figure.high > 0, what


def requests(tick: Tick) -> Requests:
    return {asset: shards for shards, assets in tick.items() for asset in assets.split()}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name.replace(" ", "-"))
def test_change(change: Change, jobs: Jobs, figures: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with jobs.start(change.after) as automated:
        job = automated.job
        change.patch(monkeypatch)
        settings = jobs.make(change, automated)
        before, paid_calls = bytes_of(job.home), len(jobs.server.received)

        foretold = make_plan(settings, str(job.home), settings.sources)
        assert bytes_of(job.home) == before, "a plan changes nothing"
        figures.clear()
        did = automated.work(None if change.is_refused else change.needs, change.is_by_hand)
        figures["calls"] += len(jobs.server.received) - paid_calls

        assert did.failed == Counter()
        assert bool(did.refused) == bool(foretold.problems) == change.is_refused
        assert did.computed == Counter(change.computed) + Counter(change.again)
        assert {name: figures[name] for name in FIGURES} == {name: getattr(change, name) for name in FIGURES}
        assert job.table("training_manifest").height == change.samples
        if change.is_refused:
            assert bytes_of(job.home) == before, "nothing is marked as gone"

        assert did.ticks == [requests(tick) for tick in change.ticks]
        stale = did.ticks[change.has_new_asset] if did.ticks else {}
        expected = {(asset, shard) for asset, shards in stale.items() for shard in shards if shard in AB}
        assert did.stale == expected  # a new shard is missing instead
        jobs.keep(automated, change.name)

    for line in foretold.lines:
        if line.asset != "training_set":
            assert_foretold(line.figure("units"), change.computed.get(line.asset, 0), line.asset)
            if not change.is_refused:
                assert line.figure("units").is_exact or not change.is_exact, line.asset
    if change.why:
        asset, text = change.why
        assert any(text in reason for reason in foretold.line(asset).reasons)
    for name in FIGURES:
        assert_foretold(foretold.figure(name), getattr(change, name), name)


def test_taking_the_films_away_shows_what_opens_them(jobs: Jobs) -> None:
    """The check that the other tests rely on: what needs a video does fail without it."""
    with jobs.start() as automated, only(automated.job, ()):
        jobs.make(BY_NAME["threshold of cuts, the same cuts found"], automated)
        runs = automated.runs()
        for shard in runs.shards():
            runs.shard(shard, ["scenes"])
        assert sum(metadata["failed"] for _, _, metadata in runs.outcome.materialized) == VIDEOS


def test_what_was_changed_back_is_as_it_was(jobs: Jobs) -> None:
    """Also what the daemon made step by step, to what a plain run made in one go."""
    finished = jobs.kept()
    for undone in ("threshold loosened", "video back again"):
        for name in finished.versions().keys() - {"source_files", "training_set"}:
            assert same_results(name, jobs.kept(undone).table(name), finished.table(name)), name


def test_results_of_paid_stages_outlive_a_decision(jobs: Jobs) -> None:
    tight, finished = jobs.kept("threshold tightened"), jobs.kept()
    for name in ("captions", "rewritten_captions", "alignment_scores", "clip_files"):
        assert tight.table(name).equals(finished.table(name)), name
    passed = finished.table("training_manifest").filter(pl.col("motion_score") >= 5.0)
    assert 0 < passed.height < SAMPLES
    assert same_results("training_manifest", tight.table("training_manifest"), passed)


@pytest.mark.parametrize(
    ("change", "path", "samples"),
    [("video renamed", "Fahrräder [1] $HOME.mp4", 5), ("video moved", "more/two_shots.mp4", 2)],
)
def test_a_renamed_or_moved_video_is_the_same_video_under_another_name(
    jobs: Jobs, change: str, path: str, samples: int
) -> None:
    renamed, finished = jobs.kept(change), jobs.kept()
    manifest = renamed.table("training_manifest")
    assert manifest.filter(source_uri=str(Job(jobs.place).films / path)).height == samples
    for name in ("clip_id", "text", "file_path"):
        assert manifest[name].equals(finished.table("training_manifest")[name])
    assert renamed.table("scenes").equals(finished.table("scenes"))


def test_a_replaced_video_is_marked_missing_and_leaves_the_manifest(jobs: Jobs) -> None:
    replaced = jobs.kept("video replaced")
    files = replaced.table("source_files").filter(path="two_shots.mp4").sort("missing")
    assert files["missing"].to_list() == [False, True]
    manifest = replaced.table("training_manifest").filter(pl.col("source_uri").str.ends_with("two_shots.mp4"))
    assert manifest["video_id"].to_list() == [files["video_id"][0]]
