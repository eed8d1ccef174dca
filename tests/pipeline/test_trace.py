"""`reelhouse trace`: what became of a clip, from its source to the releases that hold it."""

import io
import json
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from curation_assets.commands import trace as command
from curation_assets.home import open_home
from curation_assets.inspection.lookup import find_item
from curation_assets.inspection.trace import Story, trace
from curation_assets.tables import TABLES
from resources.errors import Unknown
from tests.pipeline.jobs import SETTINGS, SHARD, Job, changed


def story_of(job: Job, name: str) -> Story:
    home = open_home(str(job.home))
    return trace(home, find_item(home.store, name))


def a_sample(job: Job) -> dict[str, object]:
    return job.table("training_manifest").to_dicts()[0]


def printed(story: Story) -> str:
    out = io.StringIO()
    command._print(Console(file=out, width=120), story)
    return out.getvalue()


def test_a_sample_is_told_from_its_source_to_its_release(job: Job) -> None:
    sample = a_sample(job)
    story = story_of(job, str(sample["clip_id"]))
    assert story.outcome == "in the training manifest"
    assert story.failures == []
    assert [row["source_uri"] for row in story.rows["source_files"]] == [sample["source_uri"]]
    assert len(story.rows["scenes"]) == len(story.rows["clips"]) == len(story.rows["captions"]) == 1
    assert [release["holds"] for release in story.releases] == [True]
    assert all(size is not None for size in story.files.values())
    assert len(story.files) == 2

    measured = {
        m["filter"]: m
        for table in ("clip_selection", "sample_selection")
        for m in job.table(table).row(by_predicate=pl.col("clip_id") == sample["clip_id"], named=True)["measurements"]
    }
    assert {score["filter"] for score in story.scores} == set(measured)
    for score in story.scores:
        assert {name: score[name] for name in measured[score["filter"]]} == measured[score["filter"]]
        assert score["revision"]
        assert score["unit"]
        assert score["run_id"]

    text = printed(story)
    (release,) = job.table("training_set").get_column("release")
    for fact in (str(sample["source_uri"]), str(sample["text"]), str(sample["file_path"]), release, "margin +", "PSNR"):
        assert fact in text
    titles = ["source files", "video", "scene", "span", "frames", "scores", "clip_selection", "captions", "clip file"]
    places = [text.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)


def test_json_says_the_same(job: Job, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(job.home))
    sample = a_sample(job)
    options = command.argparse.Namespace(item=sample["clip_id"], json=True)
    assert command.run(options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"]["captions"][0]["caption"] == sample["original_caption"]
    assert told["item"]["id"] == sample["clip_id"]


def test_an_item_is_found_by_id_start_and_path(job: Job) -> None:
    sample = a_sample(job)
    clip, video, source = str(sample["clip_id"]), str(sample["video_id"]), Path(str(sample["source_uri"]))
    store = open_home(str(job.home)).store
    file = str(sample["file_path"])
    for name in (clip, clip[:-1], file, Path(file).name, str(job.home / file)):
        assert find_item(store, name).id == clip, name
    for name in (video, video[:5], str(source), source.name):
        assert find_item(store, name).id == video, name
    with pytest.raises(Unknown, match=clip):
        find_item(store, video + "-")
    with pytest.raises(Unknown, match="nothing is called so"):
        find_item(store, "no-such-film.mp4")


def test_a_dropped_span_names_its_rule_and_an_unselected_clip_its_figures(job: Job) -> None:
    span = job.table("clips").filter(pl.col("dropped").is_not_null()).to_dicts()[0]
    story = story_of(job, span["clip_id"])
    assert span["dropped"] in story.outcome
    assert f"DROPPED by rule {span['dropped']}" in printed(story)

    clip = job.table("clip_selection").filter(~pl.col("selected")).to_dicts()[0]
    story = story_of(job, clip["clip_id"])
    assert clip["reasons"][0] in story.outcome
    assert "FAILS, margin -" in printed(story)


def test_a_video_lists_its_spans(job: Job) -> None:
    sample = a_sample(job)
    story = story_of(job, str(sample["video_id"]))
    text = printed(story)
    for clip_id in job.table("clips").filter(video_id=sample["video_id"]).get_column("clip_id"):
        assert clip_id in text


def test_a_blocked_clip_leads_to_the_first_cause(job: Job) -> None:
    clip_id = str(a_sample(job)["clip_id"])
    hit = pl.col("clip_id") == clip_id
    handle = job.store.snapshot("frames")
    frames = job.table("frames").with_columns(
        error=pl.when(hit).then(pl.lit("can't be decoded")).otherwise("error"),
        error_kind=pl.when(hit).then(pl.lit("input")).otherwise("error_kind"),
    )
    job.store.replace(handle, frames, SHARD, {})
    with job.session(SETTINGS) as session:
        assert session.register()
        session.refresh(["semantic_scores", "clip_selection"])
    story = story_of(job, clip_id)
    assert [(f["table"], f["kind"]) for f in story.failures[:2]] == [
        ("frames", "input"),
        ("semantic_scores", "blocked"),
    ]
    assert "frames: can't be decoded" in printed(story)


def test_a_clip_whose_cuts_changed_is_found_in_older_versions_and_releases(job: Job) -> None:
    sample = a_sample(job)
    with job.session(changed(SETTINGS, clips__end_trim_s=0.4)) as session:
        assert session.register()
        assert session.refresh(["clips", "training_manifest"])
    story = story_of(job, str(sample["clip_id"]))
    assert "no such clip now" in story.outcome
    assert {row["table"] for row in story.earlier} >= {"clips", "training_manifest"}
    assert [release["holds"] for release in story.releases] == [True]
    assert str(sample["text"]) in printed(story)


def test_names_and_captions_cannot_write_to_the_terminal(job: Job) -> None:
    clip_id = str(a_sample(job)["clip_id"])
    hostile = "\x1b]0;owned\x07\x1b[31m[red]a dog"
    handle = job.store.snapshot("captions")
    captions = job.table("captions").with_columns(
        caption=pl.when(pl.col("clip_id") == clip_id).then(pl.lit(hostile)).otherwise("caption")
    )
    job.store.replace(handle, captions.select(list(TABLES["captions"].schema)), SHARD, {})
    text = printed(story_of(job, clip_id))
    assert "[red]a dog" in text
    assert "\x1b" not in text
    assert "\x07" not in text
