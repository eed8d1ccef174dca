"""What the daemon requests after each change, tick by tick, on a real job of two shards.

The tests of a class share one job and leave it settled, whatever they changed. Assets in a tick are those whose code
or whose inputs' data changed; of them only the ones under `computed` had a row to compute.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from curation_assets.headless import HeadlessRun
from curation_assets.plan import make_plan
from curation_assets.refresh import Stage
from curation_assets.settings import load_settings
from curation_assets.tables import SAMPLE_SELECTION
from tests import videos
from tests.automation.daemon import Daemon, Requests, instance_in_memory, open_daemon
from tests.pipeline.jobs import BARE_SETTINGS, Job, changed, copy_videos, same_results, write_settings
from tests.stand_in_server import completion, stand_in_server

A, B = "films-0000", "films-0001"
SIZE, RATE, FRAMES = (320, 192), 10, 12
FROM_VIDEOS = {"scenes", "clips", "frames", "motion_scores", "clip_files", "training_manifest"}
EVERYTHING = {"raw_videos", *FROM_VIDEOS, "clip_selection", "captions", "rewritten_captions", "sample_selection"}


@dataclass
class Automated:
    """A job under the daemon; `settings` are those of the last change."""

    job: Job
    instance: dg.DagsterInstance
    settings: dict[str, Any]
    now_s: float = 0.0
    stale: set[tuple[str, str]] = field(default_factory=set)
    ticks: list[Requests] = field(default_factory=list)
    computed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def write(self, **settings: Any) -> None:
        self.settings = changed(self.settings, **settings)
        write_settings(self.job.root / "settings.yaml", self.settings)

    def register(self) -> list[str]:
        """Why it failed, if it did."""
        run = HeadlessRun(load_settings(), str(self.job.home), self.instance)
        run.register({})
        return run.outcome.step_failures

    def settle(self, **settings: Any) -> None:
        """Let the daemon load the settings and work until it requests nothing more."""
        self.write(**settings)
        with self.daemon() as daemon:
            runs = daemon.run_count()
            self.stale = daemon.stale()
            self.ticks = daemon.until_quiet()
            self.computed = daemon.computed(since=runs)

    def daemon(self) -> "_Daemon":
        return _Daemon(self)

    def is_up_to_date(self) -> bool:
        """Whether a plain run would compute nothing."""
        settings = load_settings()
        plan = make_plan(settings, str(self.job.home), settings.sources, until="training_manifest")
        return plan.figure("units").high == 0

    def requested(self) -> set[tuple[str, str]]:
        return {(asset, shard) for tick in self.ticks for asset, shards in tick.items() for shard in shards}


class _Daemon(ExitStack):
    """A daemon whose clock goes on where the last one's stood."""

    def __init__(self, automated: Automated) -> None:
        super().__init__()
        self._automated = automated

    def __enter__(self) -> Daemon:  # type: ignore[override]
        daemon = self.enter_context(open_daemon(self._automated.instance))
        daemon.now_s = max(daemon.now_s, self._automated.now_s)
        self.callback(lambda: setattr(self._automated, "now_s", daemon.now_s))
        return daemon


def film(px_per_frame: int) -> Path:
    return videos.pan(px_per_frame, RATE, SIZE, FRAMES)


@pytest.fixture(scope="module")
def automated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Automated]:
    """Two films in the first shard and one in the second, finished, and the policy switched on."""
    job = Job(tmp_path_factory.mktemp("automated"))
    copy_videos(job.films, one=film(1), two=film(2), three=film(3))
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("CURATION_HOME", str(job.home))
        environment.setenv("CURATION_SETTINGS", str(job.root / "settings.yaml"))
        server = stack.enter_context(stand_in_server(lambda _: (200, completion("A street with people."))))
        instance = stack.enter_context(instance_in_memory(job.root))
        settings = changed(
            BARE_SETTINGS,
            sources={"films": {"path": str(job.films)}},
            shards={"videos_per_shard": 2, "max_lost_share": 0.9},
            motion={"engines": ["dis"]},
            selection={"motion": {"dis": {"min": 0.0, "max": 1000.0}}},
            captions={"engine": "chat", "chat": {"base_url": server.url, "model": "stand-in"}},
            execution={"workers": 1},
        )
        made = Automated(job, instance, settings)
        made.write()
        run = HeadlessRun(load_settings(), str(job.home), instance)
        assert run.register({})
        assert all(run.shard(shard, run.assets) for shard in (A, B))
        made.write(shards__videos_per_shard=10)  # so that further films stay in the second shard
        with made.daemon() as daemon:
            daemon.switch_on()
            assert daemon.tick() == {}, "switched on, it asks for what is missing, and nothing is"
        yield made


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"execution__workers": 2}, id="workers"),
        pytest.param({"execution__batch_units": 1}, id="execution"),
        pytest.param({"shards__videos_per_shard": 20}, id="shard-size"),
    ],
)
def test_what_changes_no_result_requests_nothing(automated: Automated, settings: dict[str, Any]) -> None:
    before = automated.settings
    automated.settle(**settings)
    assert (automated.stale, automated.ticks) == (set(), [])
    automated.write(execution=before["execution"], shards=before["shards"])


def test_a_source_that_cannot_be_reached_requests_nothing(automated: Automated) -> None:
    away = automated.job.root / "away"
    automated.job.films.rename(away)
    assert "check the path and that it is mounted" in automated.register()[0]
    automated.settle()
    away.rename(automated.job.films)
    assert (automated.stale, automated.ticks) == (set(), [])


@pytest.mark.parametrize(
    ("settings", "ticks", "computed"),
    [
        pytest.param(
            {"selection__motion": {"dis": {"min": 0.5, "max": 1000.0}}},
            [{"clip_selection"}, {"captions", "rewritten_captions", "alignment_scores", "sample_selection"}],
            {"clip_selection"},
            id="threshold",
        ),
        pytest.param(
            {"captions__prompt": "What is shown?"},
            [{"captions"}, {"rewritten_captions", "sample_selection", "training_manifest"}],
            {"captions"},
            id="caption-prompt",
        ),
        pytest.param(
            {"motion__dis": {"pairs_per_s": 4.0}},
            [
                {"motion_scores"},
                {"clip_selection", "training_manifest"},
                {"captions", "rewritten_captions", "alignment_scores", "sample_selection"},
            ],
            {"motion_scores", "clip_selection", "training_manifest"},
            id="motion-setting",
        ),
    ],
)
def test_a_setting_requests_what_it_can_change(
    automated: Automated, settings: dict[str, Any], ticks: list[set[str]], computed: set[str]
) -> None:
    automated.settle(**settings)
    (first,) = ticks[0]
    assert automated.stale == {(first, A), (first, B)}
    assert [set(tick) for tick in automated.ticks] == ticks
    assert automated.requested() == {(asset, shard) for tick in ticks for asset in tick for shard in (A, B)}
    assert set(automated.computed) == {(asset, shard) for asset in computed for shard in (A, B)}
    assert automated.is_up_to_date()


def test_another_revision_of_an_engine(automated: Automated) -> None:
    chat = automated.settings["captions"]["chat"]
    automated.settle(captions__chat={**chat, "revision": "2"})
    assert automated.stale == {("captions", A), ("captions", B)}
    assert set(automated.ticks[0]) == {"captions"}
    assert set(automated.computed) == {("captions", A), ("captions", B)}


def test_other_logic_with_the_same_results_stops_where_it_began(
    automated: Automated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newer(table: Any, **declared: Any) -> Stage:
        return Stage(table, **{**declared, "version": "2"} if table is SAMPLE_SELECTION else declared)

    monkeypatch.setattr("curation_assets.selection.assets.Stage", newer)
    automated.settle()
    assert automated.stale == {("sample_selection", A), ("sample_selection", B)}
    assert automated.ticks == [{"sample_selection": (A, B)}]
    assert set(automated.computed) == {("sample_selection", A), ("sample_selection", B)}
    monkeypatch.undo()
    automated.settle()
    assert automated.ticks == [{"sample_selection": (A, B)}], "back again"


def video_added(films: Path) -> None:
    shutil.copy(film(4), films / "zz.mp4")


def video_replaced(films: Path) -> None:
    shutil.copy(film(5), films / "zz.mp4")


def renamed_and_moved(films: Path) -> None:
    (films / "more").mkdir()
    (films / "zz.mp4").rename(films / "more" / "zz renamed.mp4")


def removed(films: Path) -> None:
    (films / "more" / "zz renamed.mp4").rename(films.parent / "kept.mp4")


def back_again(films: Path) -> None:
    (films.parent / "kept.mp4").rename(films / "zz.mp4")


@pytest.mark.parametrize(
    ("change", "computed"),
    [
        (
            video_added,
            {"raw_videos", "clip_selection", "captions", "sample_selection", "rewritten_captions"} | FROM_VIDEOS,
        ),
        (
            video_replaced,
            {"raw_videos", "clip_selection", "captions", "sample_selection", "rewritten_captions"} | FROM_VIDEOS,
        ),
        (renamed_and_moved, {"training_manifest"}),
        (removed, set()),
        (back_again, {"training_manifest"}),
    ],
)
def test_a_change_of_files_concerns_its_shard_alone(
    automated: Automated, change: Callable[[Path], None], computed: set[str]
) -> None:
    other = {name: automated.job.table(name).filter(shard=A) for name in ("raw_videos", "training_manifest")}
    change(automated.job.films)
    assert automated.register() == []
    automated.settle()
    assert automated.stale == {("raw_videos", B)}
    assert automated.ticks[0] == {"raw_videos": (B,)}
    assert set(automated.ticks[1]) == FROM_VIDEOS
    assert {shard for _, shard in automated.requested()} == {B}
    assert automated.computed == {(asset, B): 1 for asset in computed}
    assert automated.is_up_to_date()
    for name, rows in other.items():
        assert automated.job.table(name).filter(shard=A).equals(rows)


def test_the_same_files_again_request_nothing(automated: Automated) -> None:
    assert automated.register() == []
    automated.settle()
    assert (automated.stale, automated.ticks) == (set(), [])


def test_the_tables_are_those_of_a_plain_run(automated: Automated, tmp_path: Path) -> None:
    """After all changes, whichever ran before this."""
    automated.write(shards__videos_per_shard=2)  # which gives each film the shard it has
    plain = HeadlessRun(load_settings(), str(tmp_path / "home"), dg.DagsterInstance.ephemeral())
    assert plain.register({})
    for shard in plain.shards():
        assert plain.shard(shard, plain.assets)
    here, there = automated.job, Job(tmp_path)
    present = here.table("source_files").filter(~pl.col("missing"))["video_id"].to_list()
    for name in set(plain.assets) - {"source_files", "training_set"}:
        rows = here.table(name)
        of = "clip_id" if "clip_id" in rows.columns else "video_id"
        rows = rows.filter(pl.col(of).str.head(16).is_in(present))
        assert same_results(name, rows, there.table(name)), name
    assert there.table("training_manifest").height == len(present)
