"""The sensor that watches the sources: what it takes for a difference, and how often it asks for a registration."""

import datetime as dt
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.definitions import build_definitions
from curation_assets.orchestration.automation import ASK_AGAIN_S, SOURCE_SENSOR, look
from curation_assets.orchestration.stage_asset import Home
from curation_assets.raw_videos.listing import SourceError, list_source
from curation_assets.settings import Settings, parse_settings
from curation_assets.shards import register
from curation_assets.watching import Difference, compare, registered_files
from resources.delta_store import DeltaStore

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


@dataclass
class Watched:
    """A source `films` of ten files and its home."""

    folder: Path
    home: Path

    @property
    def settings(self) -> Settings:
        sources = {"films": {"path": str(self.folder)}, "others": {"path": str(self.folder.parent / "others")}}
        return parse_settings({"sources": sources, "shards": {"videos_per_shard": 4}}, "test")

    @property
    def store(self) -> DeltaStore:
        return DeltaStore(str(self.home))

    def register(self) -> int:
        """The version of `source_files` afterwards."""
        sources = {"films": self.settings.sources["films"]}
        return register(sources, self.settings.shards, self.store, "run").version

    def difference(self, now: dt.datetime = NOW) -> Difference:
        entries = list_source(self.settings.sources["films"])
        return compare(entries, registered_files(self.store, "films"), self.settings.shards, now)

    def look(self, cursor: str | None, now_s: float, instance: dg.DagsterInstance | None = None) -> dg.SensorResult:
        instance = instance or dg.DagsterInstance.ephemeral()
        return look(instance, cursor, self.settings, Home(root=str(self.home)), now_s)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    folder = tmp_path / "films"
    for name in range(10):
        path = folder / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"film {name}")
    made = Watched(folder, tmp_path / "home")
    made.register()
    return made


def nothing(films: Path) -> None:
    pass


def added(films: Path) -> None:
    (films / "more").mkdir()
    (films / "more" / "10.mp4").write_text("film 10")


def another_content(films: Path) -> None:
    (films / "3.mp4").write_text("another film")


def touched(films: Path) -> None:
    os.utime(films / "3.mp4", ns=(1, 1_000_000))


def renamed(films: Path) -> None:
    (films / "3.mp4").rename(films / "three.mp4")


def removed(films: Path) -> None:
    (films / "3.mp4").unlink()


def replaced_by_a_link_that_leaves(films: Path) -> None:
    (films / "3.mp4").rename(films.parent / "3.mp4")
    (films / "3.mp4").symlink_to(films.parent / "3.mp4")


def no_video(films: Path) -> None:
    (films / "notes.txt").write_text("nothing to see")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (nothing, ((), (), ())),
        (no_video, ((), (), ())),
        (added, (("more/10.mp4",), (), ())),
        (another_content, ((), ("3.mp4",), ())),
        (touched, ((), ("3.mp4",), ())),
        (renamed, (("three.mp4",), (), ("3.mp4",))),
        (removed, ((), (), ("3.mp4",))),
        (replaced_by_a_link_that_leaves, ((), ("3.mp4",), ())),
    ],
)
def test_the_sensor_sees_what_a_registration_would_write(
    watched: Watched, change: Callable[[Path], None], found: tuple[tuple[str, ...], ...]
) -> None:
    change(watched.folder)
    difference = watched.difference()
    assert (difference.added, difference.changed, difference.vanished) == found
    before = watched.store.snapshot("source_files").version()
    assert (watched.register() != before) == bool(difference.size)
    assert watched.difference() == Difference(), "and nothing once it is registered"


def test_a_file_still_being_written_waits(watched: Watched) -> None:
    (watched.folder / "10.mp4").write_text("the first ha")
    now = dt.datetime.now(dt.UTC)
    assert watched.difference(now).size == 0
    assert watched.difference(now + dt.timedelta(minutes=2)).added == ("10.mp4",)
    future = time.time() + 9e6
    os.utime(watched.folder / "10.mp4", (future, future))
    assert watched.difference(now).added == ("10.mp4",), "a wrong clock must not hide a file for good"


def test_a_file_that_cannot_be_used_is_noted_once(watched: Watched) -> None:
    (watched.folder / os.fsdecode(b"caf\xe9.mp4")).write_text("film")
    assert watched.difference().added == ("caf\\xe9.mp4",)
    watched.register()
    assert watched.difference() == Difference()


def test_an_outage_is_no_difference(watched: Watched) -> None:
    for name in range(3):
        (watched.folder / f"{name}.mp4").unlink()
    with pytest.raises(SourceError, match=r"3 of 10 files are gone .* set shards\.max_lost_share to 0\.3 for one run"):
        watched.difference()
    looked = watched.look(None, NOW.timestamp())
    assert not looked.run_requests
    assert looked.skip_reason is not None
    assert str(looked.skip_reason.skip_message).startswith("source films: 3 of 10 files are gone")


def test_one_source_a_tick_in_turn_and_one_out_of_reach_holds_up_none(watched: Watched) -> None:
    added(watched.folder)
    first = watched.look(None, NOW.timestamp())
    assert len(first.run_requests or []) == 1
    second = watched.look(first.cursor, NOW.timestamp())
    assert "source others: " in str(second.skip_reason)
    assert "no such folder or listing; check the path and that it is mounted" in str(second.skip_reason)
    assert json.loads(second.cursor or "")["next"] == "films"


def test_the_same_difference_is_asked_for_once_an_hour_and_another_at_once(watched: Watched) -> None:
    now_s = NOW.timestamp()

    def asks(after_s: float) -> bool:
        nonlocal cursor
        looked = watched.look(cursor, now_s + after_s)
        cursor = watched.look(looked.cursor, now_s + after_s).cursor  # the other source's turn
        assert all(request.run_key is None for request in looked.run_requests or [])
        return bool(looked.run_requests)

    cursor: str | None = None
    added(watched.folder)
    assert [asks(0), asks(60), asks(ASK_AGAIN_S - 60)] == [True, False, False], "while the registration fails"
    assert asks(ASK_AGAIN_S + 60)
    another_content(watched.folder)
    assert asks(ASK_AGAIN_S + 120)
    watched.register()
    assert not asks(ASK_AGAIN_S + 180)
    removed(watched.folder)
    shutil.copy2(watched.folder / "more" / "10.mp4", watched.folder / "3.mp4")
    assert asks(ASK_AGAIN_S + 240)


def test_nothing_is_asked_for_while_a_registration_waits(watched: Watched) -> None:
    added(watched.folder)
    instance = dg.DagsterInstance.ephemeral()
    job = build_definitions(watched.settings, str(watched.home)).resolve_job_def("register")
    run = instance.create_run_for_job(job, tags={"dagster/sensor_name": SOURCE_SENSOR})
    assert not watched.look(None, NOW.timestamp(), instance).run_requests
    instance.report_run_canceled(run)
    assert watched.look(None, NOW.timestamp(), instance).run_requests


def test_the_sensor_runs_as_the_daemon_runs_it(watched: Watched) -> None:
    """With the resources of the definitions, and a run that registers what it saw."""
    added(watched.folder)
    os.utime(watched.folder / "more" / "10.mp4", (1, 1))
    definitions = build_definitions(watched.settings, str(watched.home))
    sensor = definitions.resolve_sensor_def(SOURCE_SENSOR)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance, definitions=definitions, resources={"home": Home(root=str(watched.home))}
        )
        (request,) = sensor.evaluate_tick(context).run_requests or []
    assert request.tags["reelhouse/difference"] == "films: 1 added"
    assert request.asset_selection == [dg.AssetKey("source_files")]
