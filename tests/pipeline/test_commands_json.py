"""What commands print for programs is what the tables hold; what failed is told, and tried again on request."""

import json
import math
from pathlib import Path

import polars as pl
import pytest

from curation_assets import cli
from curation_assets.commands.terminal import print_json
from tests.pipeline.conftest import AsJson
from tests.pipeline.jobs import SETTINGS, SHARD, Job, changed, write_settings


def fail(job: Job, table: str, item: str, error: str, kind: str = "input", column: str = "clip_id") -> None:
    """The item's row as if it had failed."""
    hit = pl.col(column) == item
    job.edit(
        table,
        error=pl.when(hit).then(pl.lit(error)).otherwise("error"),
        error_kind=pl.when(hit).then(pl.lit(kind)).otherwise("error_kind"),
    )


def test_shards_counts_what_the_tables_hold(job: Job, as_json: AsJson) -> None:
    status, document = as_json("shards")
    assert status == 0
    (shard,) = document["shards"]
    clips = job.table("clips").filter(pl.col("clip_id").is_not_null() & pl.col("dropped").is_null())
    assert shard["shard"] == SHARD
    assert shard["videos"] == job.table("source_files").get_column("video_id").n_unique()
    assert shard["clips"] == clips.height
    assert shard["selected"] == job.table("clip_selection").get_column("selected").sum()
    assert shard["samples"] == job.table("training_manifest").height
    assert shard["failed"] == {"input": 0, "transient": 0}
    assert (shard["blocked"], shard["missing"], shard["out_of_date"]) == (0, {}, [])
    assert shard["last_run"]["status"] == "SUCCESS"
    assert shard["last_run"]["run_id"] in set(job.table("captions").get_column("run_id"))

    clip_id = job.table("training_manifest").get_column("clip_id")[0]
    fail(job, "captions", clip_id, "no answer", "transient")
    other = write_settings(job.root / "other.yaml", changed(SETTINGS, clips__end_trim_s=0.3))
    shard = as_json("shards", settings=other)[1]["shards"][0]
    assert shard["failed"] == {"input": 0, "transient": 1}
    assert shard["out_of_date"][0] == "clips"


def test_release_plan_maintain_and_settings_speak_json(job: Job, as_json: AsJson) -> None:
    (release,) = job.table("training_set").to_dicts()
    (listed,) = as_json("release", "list")[1]["releases"]
    assert (listed["release"], listed["samples"]) == (release["release"], release["samples"])
    shown = as_json("release", "show", "latest")[1]
    assert shown["table_versions"] == {pin["table"]: pin["version"] for pin in release["table_versions"]}
    assert shown["samples_of_source"] == dict(job.table("training_manifest").group_by("source").len().iter_rows())
    assert [export["path"] for export in shown["exports"]] == release["exports"]
    unchanged = as_json("release", "diff", "latest", "latest")[1]
    assert (unchanged["changes"], unchanged["unchanged"], unchanged["settings"]) == ([], release["samples"], [])
    assert as_json("exclude", "--list")[1] == {"exclusions": []}

    status, plan = as_json("plan", str(job.films), "--name", SHARD.rpartition("-")[0])
    assert status == 0
    exactly_none = {"low": 0, "high": 0, "about": False, "clipless": 0}
    assert {line["asset"] for line in plan["assets"] if line["units"] != exactly_none} == set()

    versions = job.versions()
    status, upkeep = as_json("maintain", "--dry-run")
    assert (status, upkeep["dry_run"]) == (0, True)
    assert job.versions() == versions
    assert as_json("settings")[1]["clips"]["end_trim_s"] == 0.2
    assert as_json("settings", "--changed")[1] == SETTINGS


def test_json_knows_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"scores": [math.nan, math.inf, 1.5], "text": "\x1b[31m\x9b\u202e 猫"})
    told = json.loads(out := capsys.readouterr().out)
    assert told == {"scores": [None, None, 1.5], "text": "\x1b[31m\x9b\u202e 猫"}
    assert out.isascii()


def test_failures_are_listed_newest_first_and_tried_again(job: Job, as_json: AsJson) -> None:
    assert as_json("failures") == (0, {"failures": [], "counts": []})
    assert as_json("failures", "--retry") == (0, {"retried": [], "failed_anew": [], "step_failures": []})
    samples = job.table("training_manifest")
    mended, lost = samples.unique("video_id", keep="first").sort("video_id").get_column("clip_id")
    fail(job, "clip_files", mended, "the encoder fell over")
    fail(job, "clip_files", lost, "the encoder fell over")
    (uri,) = samples.filter(clip_id=lost).get_column("source_uri")
    Path(uri).unlink()

    status, listed = as_json("failures")
    assert status == 0
    assert listed["counts"] == [{"asset": "clip_files", "kind": "input", "count": 2}]
    rows = job.table("clip_files").filter(pl.col("error").is_not_null()).sort("computed_at", descending=True)
    assert [(f["item"], f["run_id"]) for f in listed["failures"]] == list(rows.select("clip_id", "run_id").iter_rows())
    assert as_json("failures", "--asset", "captions")[1]["failures"] == []
    assert as_json("failures", "--shard", SHARD)[1] == listed

    others = {
        name: version for name, version in job.versions().items() if name not in ("clip_files", "training_manifest")
    }
    status, became = as_json("failures", "--retry")
    assert status == 1
    outcomes = {each["failure"]["item"]: (each["outcome"], each["error"]) for each in became["retried"]}
    assert outcomes[mended] == ("recovered", None)
    assert outcomes[lost][0] == "failed again"
    assert "can't be opened; restore the file" in outcomes[lost][1]
    assert (became["failed_anew"], became["step_failures"]) == ([], [])
    assert mended in set(job.table("training_manifest").filter(pl.col("error").is_null()).get_column("clip_id"))
    changed_too = {name for name, version in others.items() if job.versions()[name] != version}
    assert changed_too <= {"training_set"}, "what is not made from it was not touched"
    assert as_json("failures")[1]["counts"] == [{"asset": "clip_files", "kind": "transient", "count": 1}]


def test_only_the_source_that_failed_is_registered_again(job: Job, as_json: AsJson) -> None:
    fail(job, "source_files", "bikes.mp4", "the disk was busy", "transient", column="path")
    sources = {"films": {"path": str(job.films)}, "unplugged": {"path": str(job.root / "unplugged")}}
    settings = write_settings(job.root / "settings.yaml", {**SETTINGS, "sources": sources})
    status, became = as_json("failures", "--asset", "source_files", "--retry", settings=settings)
    assert (status, became["step_failures"]) == (0, [])
    assert [(each["failure"]["item"], each["outcome"]) for each in became["retried"]] == [("bikes.mp4", "recovered")]


def test_failures_of_a_shard_there_is_not(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["failures", "--shard", SHARD[:-1], "--json", "--home", str(job.home)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"reelhouse: {SHARD[:-1]}: no such shard; did you mean {SHARD}?\n")


@pytest.mark.parametrize("damage", ["cut off", "gone", "log"])
def test_a_damaged_table_is_named(job: Job, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = job.home / "tables" / "clips"
    for file in table.rglob("*.json" if damage == "log" else "*.parquet"):
        match damage:
            case "cut off":
                file.write_bytes(file.read_bytes()[:500])
            case "gone":
                file.unlink()
            case "log":
                file.write_text("{nonsense")
    assert cli.main(["shards", "--home", str(job.home)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"reelhouse: a table can't be read: {table}: ")
    assert said.endswith("put its folder back from a copy, see docs/operations.md")
