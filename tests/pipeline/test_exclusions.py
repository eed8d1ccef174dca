"""`reelhouse exclude`: what people leave out stays out, is never paid for again, and can come back."""

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterInstance

from curation_assets.cli import main
from curation_assets.definitions import build_definitions
from curation_assets.home import open_home
from curation_assets.orchestration.stage_asset import report_shards
from curation_assets.selection.exclusions import Excluded, exclude, exclusions, include_again
from curation_assets.settings import parse_settings
from tests.pipeline.jobs import SETTINGS, SHARD, Job

REASON = "shows a person who objected"


def refreshed(job: Job) -> dict[str, int]:
    """Asset -> what a refresh of all computed."""
    with job.session(SETTINGS) as session:
        assert session.register()
        assert session.refresh()
    return {asset: count for asset, count in session.computed().items() if asset != "source_files"}


def test_an_excluded_clip_leaves_the_manifest_alone_and_comes_back_unpaid(job: Job) -> None:
    sample, *others = job.table("training_manifest").to_dicts()
    before = {name: job.table(name) for name in ("clip_selection", "captions", "clip_files", "training_manifest")}
    store = open_home(str(job.home)).store
    clip = Excluded("clip", sample["clip_id"], sample["video_id"], SHARD)

    assert exclude(store, clip, REASON, None).changed
    assert not exclude(store, clip, REASON, None).changed
    assert refreshed(job) == {"clip_selection": 1}
    row = job.table("clip_selection").row(by_predicate=pl.col("clip_id") == clip.id, named=True)
    (day,) = exclusions(store).get_column("excluded_on")
    assert row["reasons"] == [f"excluded: {REASON} ({day})"]
    assert row["measurements"]
    assert all(measured["passed"] for measured in row["measurements"])
    assert job.table("training_manifest").get_column("clip_id").to_list() == [other["clip_id"] for other in others]
    assert job.table("captions").equals(before["captions"])
    assert job.table("clip_files").equals(before["clip_files"])
    assert refreshed(job) == {}

    assert include_again(store, clip).changed
    assert refreshed(job) == {"clip_selection": 1, "sample_selection": 1, "training_manifest": 1}
    for name, rows in before.items():
        assert job.table(name).drop("run_id", "computed_at").equals(rows.drop("run_id", "computed_at")), name


def test_an_excluded_video_takes_all_its_clips(job: Job) -> None:
    video_id = job.table("training_manifest").get_column("video_id")[0]
    clips = job.table("clip_selection").filter(video_id=video_id).height
    exclude(open_home(str(job.home)).store, Excluded("video", video_id, video_id, SHARD), REASON, None)
    assert refreshed(job) == {"clip_selection": clips}
    assert video_id not in job.table("training_manifest").get_column("video_id")


def test_the_command_excludes_lists_and_takes_back(
    job: Job, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_HOME", "restored after the test")

    def says(*arguments: str) -> tuple[int, str]:
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        return main(["exclude", *arguments, "--home", str(job.home)]), capsys.readouterr().out

    clip_id = job.table("training_manifest").get_column("clip_id")[0]
    status, said = says(clip_id, "--reason", "\x1b[2Jtoo dark")
    assert status == 0
    assert f"at the next refresh of shard {SHARD}" in said
    status, listed = says("--list")
    assert clip_id in listed
    assert "\x1b" not in listed
    assert says(clip_id, "--undo")[0] == 0
    assert "Nothing is excluded" in says("--list")[1]
    assert says(clip_id)[0] == 2
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def test_the_policy_asks_for_the_selection_of_that_shard_only(job: Job) -> None:
    definitions = build_definitions(parse_settings(SETTINGS, "the test's settings"), str(job.home))
    with DagsterInstance.from_config(str(job.home / "dagster")) as instance:
        these = dg.AssetSelection.assets("raw_videos", "clips", "clip_selection")
        first = dg.evaluate_automation_conditions(definitions, instance, these)
        assert first.total_requested == 0
        report_shards(instance, "exclusions", {SHARD: "a-new-version"})
        asked = dg.evaluate_automation_conditions(definitions, instance, these, cursor=first.cursor)
        assert asked.get_requested_partitions(dg.AssetKey("clip_selection")) == {SHARD}
        assert asked.total_requested == 1
