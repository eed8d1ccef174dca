"""`reelhouse preview` and `reelhouse tiers` on a finished job: what is foretold comes true, what is written nests."""

import subprocess
import sys
from pathlib import Path

import polars as pl

from curation_assets import open_tables
from curation_assets.filters import clip_filters
from curation_assets.inspection.thresholds import with_thresholds
from curation_assets.report.decided import funnel, read_decided
from curation_assets.selection.exclusions import Excluded, exclude
from curation_assets.selection.preview import judged
from curation_assets.selection.scored import kept_clips, with_scores
from curation_assets.settings import load_settings
from curation_assets.upkeep.releases import TablesAt
from tests.conftest import Command
from tests.pipeline.conftest import AsJson
from tests.pipeline.jobs import SETTINGS, SHARD, Job, changed, write_settings


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def foretold(job: Job, *given: str) -> set[str]:
    file, scan = str(job.root / "settings.yaml"), open_tables(job.home).scan
    settings = load_settings(file)
    then, now = clip_filters(with_thresholds(settings, given, file)[0]), clip_filters(settings)
    reaches = ~pl.col("excluded")
    clips = judged(with_scores(kept_clips(scan), scan, then), reaches, reaches, then, now)
    return set(clips.filter("selected")["clip_id"])


def test_a_refresh_selects_the_clips_that_were_foretold(job: Job, as_json: AsJson) -> None:
    before = contents(job.home)
    bounds = f"selection.motion.max={job.table('motion_scores')['motion_score'].median()}", "alignment.min=0.05"
    status, found = as_json("preview", "--set", bounds[0], "--set", bounds[1])
    assert status == 0
    clips = foretold(job, *bounds)
    assert contents(job.home) == before
    assert found["selected_now"]["clips"] == job.table("clip_selection")["selected"].sum()
    assert 0 < found["selected"]["clips"] == len(clips) < found["selected_now"]["clips"]

    motion, alignment = found["set"]["selection"]["motion"], found["set"]["sample_selection"]["alignment"]
    with job.session(changed(SETTINGS, selection__motion=motion, sample_selection__alignment=alignment)) as session:
        session.register()
        assert session.refresh(["clip_selection", "sample_selection"])
    assert set(job.table("clip_selection").filter("selected")["clip_id"]) == clips
    assert job.table("sample_selection")["selected"].sum() == found["samples"]["selected"]["clips"]


def test_the_report_counts_what_the_preview_counts_also_where_clips_never_reach_a_filter(
    job: Job, as_json: AsJson
) -> None:
    alignment = job.table("alignment_scores").sort("alignment_score")
    bounds = {"label_similarity": {"min": alignment["alignment_score"][1]}}
    settings = changed(SETTINGS, sample_selection__alignment=bounds)
    dropped, wordless = job.table("clip_selection").filter(~pl.col("selected"))["clip_id"][0], alignment["clip_id"][0]
    exclude(job.store, Excluded("clip", dropped, dropped[:16], SHARD), "dull", None)
    hit = pl.col("clip_id") == wordless
    said = {"status": "failed", "error": "no answer", "error_kind": "transient"}
    failed = {name: pl.when(hit).then(pl.lit(value)).otherwise(name) for name, value in said.items()}
    job.edit("captions", **failed)
    with job.session(settings) as session:
        session.register()
        assert session.refresh(["clip_selection", "sample_selection"])
    write_settings(job.root / "settings.yaml", settings)
    _, found = as_json("preview")
    assert (found["excluded"]["clips"], found["samples"]["failed"]["clips"]) == (1, 1)
    steps = {step.name: step for step in funnel(read_decided(TablesAt(job.store, job.versions())))}
    for effect in (*found["effects"], *found["samples"]["effects"]):
        step = steps[f"{effect['name']}/{effect['engine']}"]
        foretold = [effect[name]["clips"] for name in ("remaining", "alone", "last", "not_scored")]
        assert [step.clips, step.alone, step.last, step.unscored] == foretold, step.name


def test_it_tells_people_what_to_put_into_which_file(job: Job, command: Command) -> None:
    file = job.root / "settings.yaml"
    _, shown, _ = command("preview", "--set", "selection.motion.max=15", "--home", job.home, "--settings", file)
    assert f"put this into {file}" in " ".join(shown.split())
    assert shown.rstrip().endswith("selection:\n  motion:\n    dis:\n      max: 15")
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 100


def test_one_shard_alone_and_a_shard_there_is_not(job: Job, as_json: AsJson, command: Command) -> None:
    [shard] = job.table("raw_videos")["shard"].unique()
    assert as_json("preview", "--shards", shard) == as_json("preview")
    status, _, said = command("preview", "--shards", "films-9999", "--home", job.home)
    assert status == 2
    assert said == f"reelhouse: films-9999: no such shard; did you mean {shard}?\n"


def test_the_command_imports_no_dagster(job: Job) -> None:
    seen = "import sys; from curation_assets.cli import main; main(); assert 'dagster' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", seen, "preview", "--home", str(job.home)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_tiers_nest_and_are_the_same_bytes_again(job: Job, as_json: AsJson, command: Command) -> None:
    manifest = job.table("training_manifest").join(
        job.table("technical_scores").select("clip_id", "sharpness"), on="clip_id"
    )
    middle = float(manifest["sharpness"].median())
    sharp = {"technical": {"opencv": {"sharpness": {"min": middle}}}}
    none = {"motion": {"dis": {"min": 1e9}}}
    tiers = [{"name": "all"}, {"name": "sharp", "selection": sharp}, {"name": "none", "selection": none}]
    write_settings(job.root / "settings.yaml", {**SETTINGS, "tiers": tiers})
    status, made = as_json("tiers")
    assert status == 0
    ids = [ids_in(Path(made["folder"], tier["name"])) for tier in made["tiers"]]
    wanted = manifest.filter(pl.col("sharpness") >= middle)["clip_id"].to_list()
    assert ids == [manifest["clip_id"].to_list(), wanted, []]
    assert [tier["samples"] for tier in made["tiers"]] == [manifest.height, len(wanted), 0]
    [release] = job.table("training_set").to_dicts()
    assert made["release"] == release["release"]
    assert made["settings_hash"] == release["settings_hash"]
    exports = {path.rpartition("/")[2]: (job.home / path).read_bytes() for path in release["exports"]}
    assert contents(Path(made["folder"], "all")) == exports

    status, _, said = command("maintain", "--grace-hours", "0", "--home", job.home)
    assert status == 0, said
    _, again = as_json("tiers", "--to", job.root / "again")
    assert contents(job.root / "again") == contents(Path(made["folder"]))
    assert again["tiers"] == made["tiers"]
    status, _, said = command(
        "tiers", "--to", job.root / "again", "--home", job.home, "--settings", job.root / "settings.yaml"
    )
    assert status == 2
    assert "name a new folder" in said


def ids_in(tier: Path) -> list[str]:
    return pl.read_parquet(tier / "train.parquet")["clip_id"].to_list()


def test_without_tiers_in_the_settings_it_says_how_to_list_them(job: Job, command: Command) -> None:
    status, _, said = command("tiers", "--home", job.home, "--settings", job.root / "settings.yaml")
    assert status == 2
    assert said.startswith("reelhouse: tiers: the settings list none")
