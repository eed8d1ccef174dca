"""A film that came in twice, in two encodings and two shards: one of the two is captioned, encoded and trained on."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.duplicates import deciding
from curation_assets.home import open_home
from curation_assets.inspection.lookup import find_item
from curation_assets.orchestration.headless import HeadlessRun
from curation_assets.selection.exclusions import Excluded, exclude
from curation_assets.settings import SettingsError, load_settings, parse_settings
from curation_assets.tables import CLIP_SELECTION, DUPLICATES, TABLES, Row
from curation_assets.upkeep.takedown import forget, holdings
from tests import videos
from tests.automation.daemon import instance_in_memory, open_daemon
from tests.conftest import Command
from tests.pipeline.jobs import (
    BARE_SETTINGS,
    SOURCE,
    Job,
    Session,
    changed,
    copy_videos,
    quoting,
    reelhouse,
    write_settings,
)

FIND = changed(
    BARE_SETTINGS,
    clips={"min_source_area_px": 1, "min_duration_s": 0.8, "end_trim_s": 0.2},
    shards={"videos_per_shard": 1},
    embeddings={"engines": ["efficientnet_lite0"]},
    duplicates={"kinds": ["exact", "perceptual", "semantic"], "min_cosine": 0.97, "keep": ["resolution"]},
)


@dataclass(frozen=True)
class Twins:
    """Two encodings of a film of five clips, each alone in its shard; the `small` one has a quarter of the pixels."""

    job: Job

    def run(self) -> Session:
        """What `reelhouse run` does, without the command."""
        with self.job.session(FIND) as session:
            assert session.register()
            first, after = session.runs.parts(session.runs.assets)
            shards = sorted(session.runs.shards())
            assert all(session.runs.shard(shard, first) for shard in shards), session.outcome.step_failures
            session.runs.duplicates()
            assert all(session.runs.shard(shard, after) for shard in shards), session.outcome.step_failures
        return session

    def gaps(self) -> list[Row]:
        """Of a release made now."""
        with self.job.session(FIND) as session:
            assert session.register()
            assert session.release()
            return [record.data for record in session.metadata("training_set")["gaps"].records]

    def clips(self, name: str) -> set[str]:
        video_id = self.job.table("source_files").row(by_predicate=pl.col("path") == name, named=True)["video_id"]
        clips = self.job.table("clips").filter(pl.col("dropped").is_null(), pl.col("video_id") == video_id)
        return set(clips["clip_id"])

    def ids(self, table: str) -> set[str]:
        return set(self.job.table(table)["clip_id"])


def small_copy() -> Path:
    return videos.ffmpeg("small_bikes.mp4", "-i", str(videos.bikes()), "-vf", "scale=480:-2", "-crf", "30", "-an")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    twins = Twins(Job(tmp_path_factory.mktemp("twins") / "job"))
    copy_videos(twins.job.films, large=videos.bikes(), small=small_copy())
    twins.run()
    return Path(shutil.copytree(twins.job.root, twins.job.root.with_name("kept")))


@pytest.fixture
def twins(made: Path) -> Twins:
    """A finished job, to change at will, where it was made."""
    job = Job(made.with_name("job"))
    shutil.rmtree(job.root)
    shutil.copytree(made, job.root)
    return Twins(job)


def test_of_two_encodings_the_larger_is_kept_and_the_other_says_of_which_clip_it_is_a_copy(twins: Twins) -> None:
    large, small = twins.clips("large.mp4"), twins.clips("small.mp4")
    decided = twins.job.table("duplicates")
    assert set(decided["clip_id"]) == large | small
    given_way = decided.filter(pl.col("duplicate_of").is_not_null())
    assert given_way.height >= 3
    assert set(given_way["clip_id"]) <= small
    assert set(given_way["duplicate_of"]) <= large
    found = twins.job.table("clip_neighbours")["neighbours"].explode().struct.field("kind")
    assert set(found.drop_nulls()) == {"perceptual", "semantic"}, "no two encodings have the very same frames"
    reasons = dict(twins.job.table("sample_selection").select("clip_id", "reasons").iter_rows())
    for clip, kept, kind, similarity in given_way.select("clip_id", "duplicate_of", "kind", "similarity").iter_rows():
        assert clip.partition("-")[2][:6] == kept.partition("-")[2][:6], "the clips begin at one time of the film"
        assert reasons[clip] == [f"duplicates: of {kept} ({kind}, {round(similarity, 3)})"]
    assert twins.ids("captions").isdisjoint(given_way["clip_id"])
    assert twins.ids("clip_files").isdisjoint(given_way["clip_id"])
    assert twins.ids("training_manifest") == twins.ids("sample_selection") - set(given_way["clip_id"])


def test_nothing_is_compared_again_and_nothing_follows_where_nothing_changed(twins: Twins) -> None:
    before = twins.job.versions()
    again = twins.run()
    assert again.computed().keys() <= {"source_files"}
    assert again.metadata("duplicates")["shards_changed"] == []
    assert twins.job.versions() == before


def test_when_the_kept_clip_is_excluded_the_other_takes_its_place(twins: Twins) -> None:
    clip, kept = twins.job.table("duplicates").drop_nulls("duplicate_of").select("clip_id", "duplicate_of").row(0)
    shard = twins.job.table("clips").row(by_predicate=pl.col("clip_id") == kept, named=True)["shard"]
    exclude(open_home(str(twins.job.home)).store, Excluded("clip", kept, kept[:16], shard), "a brand", None)
    then = twins.run()
    assert {name: n for name, n in then.computed().items() if name in ("clip_hashes", "clip_neighbours")} == {}
    assert clip in twins.ids("training_manifest")
    assert kept not in twins.ids("training_manifest")


def test_a_release_lists_decisions_that_would_be_others_now_and_what_to_do(twins: Twins, command: Command) -> None:
    clip, kept = twins.job.table("duplicates").drop_nulls("duplicate_of").select("clip_id", "duplicate_of").row(0)
    shard_of = dict(twins.job.table("clips").select("clip_id", "shard").iter_rows())
    video_id, _, _ = kept.partition("-")
    exclude(open_home(str(twins.job.home)).store, Excluded("clip", kept, video_id, shard_of[kept]), "a brand", None)
    with twins.job.session(FIND) as session:
        assert session.register()
        assert session.runs.shard(shard_of[kept], ["clip_selection"])
    assert {"shard": shard_of[clip], "table": "duplicates", "kind": "out of date", "count": 1} in twins.gaps()
    _, shown, _ = command("release", "show", "latest", "--home", twins.job.home)
    assert f"{shard_of[clip]}  duplicates: out of date 1" in shown
    assert "`reelhouse run` decides anew" in " ".join(shown.split())
    settings = write_settings(twins.job.root / "settings.yaml", FIND)
    _, told, _ = command("shards", "--json", "--home", twins.job.home, "--settings", settings)
    to_do = {shard["shard"]: shard["out_of_date"] for shard in json.loads(told)["shards"]}
    assert "duplicates" in to_do[shard_of[clip]]
    twins.run()
    assert twins.gaps() == []


def test_a_preview_counts_samples_without_duplicates_and_decides_them_anew(twins: Twins, command: Command) -> None:
    settings = write_settings(twins.job.root / "settings.yaml", FIND)

    def previewed() -> Row:
        status, said, problem = command("preview", "--json", "--home", twins.job.home, "--settings", settings)
        assert status == 0, problem
        return dict(json.loads(said)["samples"])

    given_way = twins.job.table("duplicates").drop_nulls("duplicate_of")
    before = previewed()
    assert before["duplicates"]["clips"] == given_way.height
    assert before["selected"]["clips"] == len(twins.ids("training_manifest"))
    assert (before["not_compared"]["clips"], before["to_caption"]["clips"]) == (0, 0)
    kept = given_way["duplicate_of"][0]
    shard = twins.job.table("clips").row(by_predicate=pl.col("clip_id") == kept, named=True)["shard"]
    exclude(open_home(str(twins.job.home)).store, Excluded("clip", kept, kept[:16], shard), "a brand", None)
    after = previewed()
    assert after["duplicates"]["clips"] == given_way.height - 1
    assert after["to_caption"]["clips"] == 1, "the clip that takes its place"
    _, shown, _ = command("preview", "--home", twins.job.home, "--settings", settings)
    stay = twins.job.table("clip_selection")["selected"].sum() - 1
    words = f"of the {stay} clips that stay, {given_way.height - 1} give way. Captions: of the"
    assert words in " ".join(shown.split())


def test_a_release_lists_clips_that_were_compared_and_not_decided_on(twins: Twins) -> None:
    shard = twins.job.table("duplicates")["shard"][0]
    undecided = twins.job.table("duplicates").filter(shard=shard).height
    twins.job.store.change("duplicates", DUPLICATES.schema, shard, pl.DataFrame.clear, {})
    found = [gap for gap in twins.gaps() if gap["table"] == "duplicates"]
    assert found == [{"shard": shard, "table": "duplicates", "kind": "missing", "count": undecided}]


def test_no_clip_names_one_of_a_video_that_was_taken_down_in_any_version_of_any_table(twins: Twins) -> None:
    job, small, made = twins.job, twins.clips("small.mp4"), twins.job.versions()
    for table in ("clip_neighbours", "duplicates", "sample_selection"):
        for shard in job.table("clips")["shard"].unique():
            job.store.change(table, TABLES[table].schema, shard, lambda rows: rows.with_columns(run_id=pl.lit("2")), {})

    def others(table: str, version: int | None) -> pl.DataFrame:
        rows = job.table(table, version).filter(pl.col("clip_id").is_in(small))
        return rows.drop("neighbours", "reasons", strict=False)

    versions = [(table, at) for table in ("clip_neighbours", "sample_selection") for at in (made[table], None)]
    before = [others(*version) for version in versions]
    given_way = set(job.table("duplicates").drop_nulls("duplicate_of")["clip_id"])
    home = open_home(str(job.home))
    video = find_item(home.store, "large.mp4")
    assert holdings(home, video, None).named_by >= 2 * len(given_way), "in `duplicates` and in reasons"

    assert forget(home, video, None, None).left == []

    assert {place.split("/shard=")[0] for place in quoting(job.home, video.id)} == {"tables/takedowns"}
    assert holdings(home, video, None).named_by == 0
    for version, rows in zip(versions, before, strict=True):
        assert others(*version).equals(rows), version
    then = twins.run()
    assert then.computed().keys().isdisjoint({"clip_hashes", "clip_neighbours"})
    assert twins.ids("training_manifest") == small


def test_of_two_decisions_at_once_the_one_on_older_rows_is_taken_again(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = twins.job.table("duplicates")["duplicate_of"].drop_nulls()[0]
    shutil.rmtree(twins.job.home / "tables" / "duplicates")
    settings, resolve = parse_settings(FIND, "a test's settings"), deciding.resolve

    def overtaken(*arguments: Any) -> pl.DataFrame:
        monkeypatch.setattr(deciding, "resolve", resolve)
        shard = twins.job.table("clips").row(by_predicate=pl.col("clip_id") == kept, named=True)["shard"]
        still = pl.col("selected") & (pl.col("clip_id") != kept)
        schema = CLIP_SELECTION.schema
        twins.job.store.change("clip_selection", schema, shard, lambda rows: rows.with_columns(selected=still), {})
        deciding.decide(twins.job.store, settings, "the faster run")
        return resolve(*arguments)

    monkeypatch.setattr(deciding, "resolve", overtaken)
    decided = deciding.decide(twins.job.store, settings, "the slower run")
    stands = twins.job.table("duplicates")
    assert not stands.is_empty()
    assert kept not in stands["duplicate_of"].to_list()
    assert decided.rows.drop("run_id", "computed_at").equals(stands.drop("run_id", "computed_at"))


def test_a_copy_that_comes_later_and_is_better_replaces_the_one_that_was_there(new_job: Job) -> None:
    twins = Twins(new_job)
    copy_videos(new_job.films, small=small_copy())
    twins.run()
    samples = twins.ids("training_manifest")
    copy_videos(new_job.films, large=videos.bikes())
    then = twins.run()
    assert samples
    assert twins.ids("training_manifest") <= twins.clips("large.mp4") | twins.clips("small.mp4")
    assert set(twins.job.table("duplicates").drop_nulls("duplicate_of")["clip_id"]) <= twins.clips("small.mp4")
    assert len(then.metadata("duplicates")["shards_changed"]) == 2


def test_the_command_compares_all_shards_before_it_asks_for_captions(new_job: Job) -> None:
    copy_videos(new_job.films, large=videos.bikes(), small=small_copy())
    by_eye = changed(FIND, embeddings={"engines": []}, duplicates={"kinds": ["perceptual"], "keep": ["resolution"]})
    settings = write_settings(new_job.root / "settings.yaml", by_eye)
    where = ("--name", SOURCE, "--home", new_job.home, "--settings", settings)
    done = reelhouse("run", new_job.films, *where, "--until", "captions")
    assert done.returncode == 0, done.stdout
    given_way = new_job.table("duplicates").drop_nulls("duplicate_of")
    assert given_way.height
    assert set(new_job.table("captions")["clip_id"]).isdisjoint(given_way["clip_id"])


def test_the_policy_compares_what_came_and_lets_captions_wait_for_that(
    new_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(
        FIND,
        sources={SOURCE: {"path": str(new_job.films)}},
        embeddings={"engines": []},
        duplicates={"kinds": ["perceptual"], "keep": ["resolution"]},
    )
    settings_file = write_settings(new_job.root / "settings.yaml", settings)
    monkeypatch.setenv("CURATION_HOME", str(new_job.home))
    monkeypatch.setenv("CURATION_SETTINGS", str(settings_file))
    with instance_in_memory(new_job.root) as instance, open_daemon(instance) as daemon:
        runs = HeadlessRun(load_settings(), str(new_job.home), instance)
        daemon.switch_on()
        assert daemon.tick() == {}
        for number, film in enumerate((small_copy(), videos.bikes())):
            copy_videos(new_job.films, **{f"film{number}": film})
            runs.register({})
            ticks = daemon.until_quiet()
            asked = [(place, asset) for place, tick in enumerate(ticks) for asset in tick]
            compared = [place for place, asset in asked if asset == "duplicates"]
            assert max(compared) > max(
                place for place, asset in asked if asset in ("clip_neighbours", "clip_selection")
            )
            assert min(place for place, asset in asked if asset == "captions") > min(compared)
    given_way = new_job.table("duplicates").drop_nulls("duplicate_of")
    assert given_way.height >= 3
    manifest = set(new_job.table("training_manifest")["clip_id"])
    assert manifest == set(new_job.table("duplicates")["clip_id"]) - set(given_way["clip_id"])


def test_a_clip_that_was_not_compared_yet_is_no_sample(new_job: Job) -> None:
    copy_videos(new_job.films, large=videos.bikes())
    with new_job.session(FIND) as session:
        session.register()
        session.refresh()
    reasons = new_job.table("sample_selection")["reasons"].explode().unique().to_list()
    assert reasons == ["duplicates: not compared with other clips yet"]
    assert new_job.table("captions").is_empty()


def test_semantic_duplicates_need_embeddings_to_compare() -> None:
    with pytest.raises(SettingsError, match="add it there, or name another"):
        parse_settings({"duplicates": {"kinds": ["semantic"]}}, "a test's settings")
