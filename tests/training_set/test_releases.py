"""Releases: what they pin and lack, what two differ in and why, and one made again after everything has changed."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from curation_assets.commands.release import LISTED, print_gaps
from curation_assets.tables import TRAINING_SET
from curation_assets.training_set.history import Diff, diff
from curation_assets.training_set.reproduce import Reproduction, reproduce
from curation_assets.upkeep import releases
from curation_assets.upkeep.releases import all_releases, find_release, pinned_versions, retire, versions_of
from resources.errors import InputError
from resources.files import Files
from tests import videos
from tests.conftest import Command
from tests.pipeline.jobs import BARE_SETTINGS, SOURCE, Job, Session, changed, copy_videos, write_settings
from tests.stand_in_server import completion, stand_in_server

SETTINGS = changed(BARE_SETTINGS, motion__engines=["dis"], selection__motion={"dis": {"min": 0.0, "max": None}})


DECISIONS = ("clip_selection", "sample_selection", "training_manifest")


@dataclass(frozen=True)
class Released:
    job: Job
    exports: dict[str, dict[str, bytes]]  # by release, as they were written

    @property
    def names(self) -> list[str]:
        return list(self.exports)

    def diff(self, before: int, after: int) -> Diff:
        store = self.job.store
        return diff(store, find_release(store, self.names[before]), find_release(store, self.names[after]))

    def reproduce(self, name: str, folder: Path) -> Reproduction:
        store = self.job.store
        return reproduce(store, Files(str(self.job.home)), find_release(store, name), Files(str(folder)))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    """Four releases: of two films; under a bound of motion; encoded and captioned otherwise; of other films."""
    job = Job(tmp_path_factory.mktemp("released"))
    exports = {}

    def release(settings: dict[str, Any], *assets: str) -> None:
        """Of what all assets, or only these, make of the films."""
        with job.session(settings) as session:
            assert session.register()
            assert session.refresh(assets)
            assert session.release()
        row = all_releases(job.store)[-1]
        exports[row["release"]] = {path: (job.home / path).read_bytes() for path in row["exports"]}

    copy_videos(job.films, two_shots=videos.two_shots(), street=videos.street())
    release(SETTINGS)
    least = job.table("motion_scores")["motion_score"].min()
    release(changed(SETTINGS, selection__motion={"dis": {"min": least + 0.001, "max": None}}), *DECISIONS)
    with stand_in_server(lambda _: (200, completion("A street with people."))) as server:
        chat = {"base_url": server.url, "model": "stand-in"}
        other = changed(SETTINGS, clip_files__crf=35, captions={"engine": "chat", "chat": chat})
        release(other, *DECISIONS, "captions", "rewritten_captions", "clip_files")
        (job.films / "street.mp4").unlink()
        copy_videos(job.films, plain=videos.plain())
        release(changed(other, motion__dis={"pairs_per_s": 4.0}))
    return Released(job, exports)


def test_a_bound_is_why_a_sample_left(released: Released) -> None:
    found = released.diff(0, 1)
    (change,) = found.changes
    (cause,) = change.causes
    least = released.job.table("motion_scores", 1).sort("motion_score").row(0, named=True)
    assert (change.how, change.clip_id) == ("left", least["clip_id"])
    assert cause.what == "clip_selection: motion below the minimum, bound changed"
    score = least["motion_score"]
    assert cause.detail == f"motion (dis): score {score:.6g}, min 0 -> {score + 0.001:.6g}"
    assert found.settings == [("selection.motion.dis.min", 0.0, score + 0.001)]
    assert found.unchanged == 2


def test_backwards_the_same_sample_entered_for_the_same_reason(released: Released) -> None:
    there, back = released.diff(0, 1), released.diff(1, 0)
    assert [(c.how, c.clip_id) for c in back.changes] == [("entered", c.clip_id) for c in there.changes]
    assert [c.causes[0].what for c in back.changes] == [c.causes[0].what for c in there.changes]
    assert " -> 0" in back.changes[0].causes[0].detail


def test_captions_and_files_that_changed(released: Released) -> None:
    found = released.diff(0, 2)
    assert found.causes() == {
        ("changed", "caption changed: other engine, model, revision, prompt, facts"): 3,
        ("changed", "the file is encoded anew"): 3,
    }
    caption, file = found.changes[0].causes
    assert caption.detail.startswith("facts -> chat: ")
    assert caption.detail.endswith("-> A street with people.")
    assert file.detail.startswith("clip_files.crf 22 -> 35; ")
    assert ("captions.engine", "facts", "chat") in (found.settings or [])
    assert not any("url" in key for key, _, _ in found.settings or []), "where a server is, is no result setting"


def test_videos_that_came_and_went_and_scores_that_changed(released: Released) -> None:
    assert released.diff(2, 3).causes() == {
        ("entered", "the video is new"): 1,
        ("left", "the video is gone from its source"): 1,
        ("changed", "motion score changed: other sampling"): 2,
    }
    back = released.diff(3, 2).causes()
    assert back["left", "the video is no longer registered"] == 1
    assert back["entered", "the video is back"] == 1


def test_the_same_release_differs_in_nothing(released: Released) -> None:
    found = released.diff(2, 2)
    assert (found.changes, found.settings, found.unchanged) == ([], [], 3)


def test_every_release_is_made_again_byte_for_byte_after_compaction_and_vacuum(
    released: Released, tmp_path: Path
) -> None:
    store, home = released.job.store, tmp_path / "home"
    shutil.copytree(released.job.home, home)
    pinned = pinned_versions(store)
    for name in released.job.versions():
        table = type(store)(str(home)).snapshot(name)
        table.optimize.compact()
        keep = sorted(pinned.get(name, ()))
        table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, keep_versions=keep)
    aged = Released(Job(tmp_path), released.exports)
    for name, exports in released.exports.items():
        folder = tmp_path / name
        found = aged.reproduce(name, folder)
        assert [export.as_released for export in found.exports] == [True] * 4
        assert {f"exports/{name}/{e.name}": (folder / e.name).read_bytes() for e in found.exports} == exports
        assert found.is_whole
        assert [file.state for file in found.clip_files] == ["present"] * find_release(store, name)["samples"]


def test_clip_files_that_are_gone_or_changed_are_named(released: Released, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(released.job.home, home)
    aged, name = Released(Job(tmp_path), released.exports), released.names[0]
    gone, short, kept = (file.path for file in aged.reproduce(name, tmp_path / "a").clip_files)
    (home / gone).unlink()
    (home / short).write_bytes(b"cut off")
    found = aged.reproduce(name, tmp_path / "b")
    assert {file.path: file.state for file in found.clip_files} == {
        gone: "missing",
        short: "of another size",
        kept: "present",
    }
    assert not found.is_whole


def mark(job: Job, name: str, **values: Any) -> None:
    """Set columns of a release's row."""
    table = job.store.open(TRAINING_SET.name, TRAINING_SET.schema)
    rows = [row | values if row["release"] == name else row for row in all_releases(job.store)]
    job.store.replace(table, pl.DataFrame(rows, schema=TRAINING_SET.schema, orient="row"), "releases", {})


def test_a_release_that_held_a_video_taken_down_is_not_whole_and_leaves_it_out(
    released: Released, tmp_path: Path, command: Command
) -> None:
    shutil.copytree(released.job.home, tmp_path / "home")
    aged, name = Released(Job(tmp_path), released.exports), released.names[0]
    video = json.loads(released.exports[name][f"exports/{name}/train.jsonl"].splitlines()[0])["video_id"]
    mark(aged.job, name, forgotten=[video])
    found = aged.reproduce(name, tmp_path / "again")
    assert not found.is_whole
    assert found.taken_down == [video]
    assert found.samples < 3
    assert video.encode() not in (tmp_path / "again" / "train.jsonl").read_bytes()
    assert aged.diff(0, 1).gone == {}, "the pinned rows are there as long as nobody removes them"
    _, listed, _ = command("release", "list", "--home", tmp_path / "home")
    assert "videos taken down since: 1" in listed
    status, said, _ = command("release", "reproduce", name, "--to", tmp_path / "third", "--home", tmp_path / "home")
    assert status == 1
    assert f"{3 - found.samples} of 3 samples are gone" in said


def test_retired_releases_pin_nothing_and_say_so_when_their_versions_are_gone(
    released: Released, tmp_path: Path
) -> None:
    shutil.copytree(released.job.home, tmp_path / "home")
    aged, name = Released(Job(tmp_path), released.exports), released.names[1]
    store = aged.job.store
    version = versions_of(find_release(store, name))["training_manifest"]
    assert version in pinned_versions(store)["training_manifest"]
    assert retire(store, name)["retired_at"] == retire(store, name)["retired_at"]
    assert version not in pinned_versions(store)["training_manifest"]
    manifest = store.snapshot("training_manifest")
    keep = sorted(pinned_versions(store)["training_manifest"])
    manifest.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, keep_versions=keep)
    with pytest.raises(InputError, match=rf"version {version} of training_manifest can't be read"):
        aged.reproduce(name, tmp_path / "again")
    assert aged.reproduce(released.names[0], tmp_path / "first").is_whole


TWO_SHARDS = changed(SETTINGS, shards={"videos_per_shard": 1})
FIRST, SECOND = f"{SOURCE}-0000", f"{SOURCE}-0001"


@dataclass
class TwoShards:
    """Two videos, a shard each; a session a settings tree."""

    job: Job
    session: Callable[[dict[str, Any]], Session]

    def gaps(self) -> list[tuple[str, str, str, int | None]]:
        return [(g["shard"], g["table"], g["kind"], g["count"]) for g in all_releases(self.job.store)[-1]["gaps"]]


@pytest.fixture
def two_shards(tmp_path: Path) -> Iterator[TwoShards]:
    job = Job(tmp_path)
    copy_videos(job.films, plain=videos.plain(), street=videos.street())
    with ExitStack() as stack:

        def session(settings: dict[str, Any]) -> Session:
            made = stack.enter_context(job.session(settings))
            assert made.register()
            return made

        yield TwoShards(job, session)


def test_a_shard_that_fails_or_lags_holds_no_release_up_and_is_listed(
    two_shards: TwoShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "ROWS_AT_ONCE", 1)
    job, session = two_shards.job, two_shards.session(TWO_SHARDS)
    everything = session.runs.assets
    street = job.films / "street.mp4"
    aside = street.rename(job.root / "street.mp4")
    assert not session.runs.shard(SECOND, everything), "what can't be opened stops the shard"
    assert session.runs.shard(FIRST, everything)
    assert session.release()
    assert two_shards.gaps() == [(SECOND, "raw_videos", "transient", 1)]
    assert all_releases(job.store)[-1]["samples"] == 1

    aside.rename(street)
    assert session.runs.shard(SECOND, ["raw_videos"])
    bounded = two_shards.session(changed(TWO_SHARDS, training_set__trainer={"stride": 1}))
    assert bounded.release()
    assert two_shards.gaps() == [(SECOND, "scenes", "missing", 1), (FIRST, "training_manifest", "out of date", 1)]


def test_shards_of_other_settings_and_manifests_behind_their_tables_are_listed(two_shards: TwoShards) -> None:
    first = two_shards.session(TWO_SHARDS)
    assert first.runs.shard(FIRST, first.runs.assets)
    assert first.runs.shard(SECOND, first.runs.up_to("motion_scores"))
    second = two_shards.session(changed(TWO_SHARDS, motion__dis={"pairs_per_s": 4.0}))
    assert second.runs.shard(FIRST, ["motion_scores"])
    assert second.release()
    assert set(two_shards.gaps()) == {
        (FIRST, "captions", "out of date", None),
        (FIRST, "clip_selection", "out of date", None),
        (FIRST, "training_manifest", "out of date", 1),
        (SECOND, "motion_scores", "out of date", None),
        (SECOND, "clip_selection", "missing", 1),
        (SECOND, "frames", "missing", 1),
    }


def test_the_command_releases_what_there_is_prints_the_gaps_and_fails(tmp_path: Path, command: Command) -> None:
    job = Job(tmp_path)
    copy_videos(job.films, broken=videos.truncated(), plain=videos.plain())
    settings = write_settings(tmp_path / "settings.yaml", SETTINGS)
    status, done, _ = command("run", job.films, "--name", SOURCE, "--home", job.home, "--settings", settings)
    assert status == 1
    assert f"{FIRST}  raw_videos: input 1" in done
    assert all_releases(job.store)[-1]["samples"] == 1
    status, shown, _ = command("release", "show", "latest", "--home", job.home)
    assert status == 0
    assert f"{FIRST}  raw_videos: input 1" in shown
    assert "motion.engines" not in shown, "its default"
    assert "clips.min_duration_s: 3.0 -> 0.05" in shown


def test_a_training_set_of_nothing_is_refused_with_the_reasons(tmp_path: Path) -> None:
    job = Job(tmp_path)
    copy_videos(job.films, plain=videos.plain())
    with job.session(changed(SETTINGS, selection__motion={"dis": {"min": 1000.0, "max": None}})) as session:
        assert session.register()
        assert session.refresh(["raw_videos", "scenes", "clips", "frames", "motion_scores", "clip_selection"])
        assert not session.release()
    (said,) = session.outcome.step_failures
    assert said == (
        "training_set: there is no sample to release, of 1 videos (clip_selection: motion below the minimum 1); "
        "no release was made"
    )
    assert all_releases(job.store) == []
    assert not (job.home / "exports").exists()


def test_the_command_lists_compares_and_makes_again(released: Released, tmp_path: Path, command: Command) -> None:
    home = ("--home", released.job.home)
    _, listed, _ = command("release", "list", *home)
    assert [line.split()[0] for line in listed.splitlines() if line.strip().startswith("r000")] == released.names
    _, compared, _ = command("release", "diff", "r0001", "r0002", *home)
    assert "0 entered, 1 left, 0 changed, 2 as they were" in compared
    assert "left: clip_selection: motion below the minimum, bound changed" in compared
    status, made, _ = command("release", "reproduce", "r0001", "--to", tmp_path / "again", *home)
    assert status == 0
    assert made.count("as released") == 4
    assert "It needs 3 clip files" in made
    status, _, said = command("release", "reproduce", "r0001", "--to", tmp_path / "again", *home)
    assert (status, "there is something already" in said) == (2, True)
    status, _, said = command("release", "show", "r9", *home)
    assert (status, "r9: no such release; there are r0001-" in said) == (2, True)


def test_the_gaps_that_are_not_listed_are_counted() -> None:
    gaps = [{"shard": f"films-{k:04d}", "table": "frames", "kind": "missing", "count": 2} for k in range(50)]
    console = Console(file=io.StringIO())
    print_gaps(console, gaps, 1234)
    said = console.file.getvalue()
    assert "frames: missing 50 100" in " ".join(said.split())
    assert f"{gaps[LISTED - 1]['shard']}  frames: missing 2\n  and {1234 - LISTED} more, in the column" in said


def test_settings_alone_make_a_release_and_nothing_new_makes_none(released: Released, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(released.job.home, home)
    job = Job(tmp_path)
    with stand_in_server(lambda _: (200, completion("A street with people."))) as server:
        chat = {"base_url": server.url, "model": "stand-in"}
        last = changed(
            SETTINGS, clip_files__crf=35, captions={"engine": "chat", "chat": chat}, motion__dis={"pairs_per_s": 4.0}
        )
        with job.session(last) as session:
            assert session.release()
            assert len(all_releases(job.store)) == 4
        with job.session(changed(last, cuts__fade_threshold=13.0)) as session:
            assert session.release()
    newest, before = all_releases(job.store)[-1], all_releases(job.store)[-2]
    assert newest["samples_sha256"] == before["samples_sha256"]
    found = diff(job.store, before, newest)
    assert (found.changes, found.settings) == ([], [("cuts.fade_threshold", 12.0, 13.0)])
