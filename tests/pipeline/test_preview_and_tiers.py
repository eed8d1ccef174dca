"""`reelhouse preview` and `reelhouse tiers` on a finished job: what is foretold comes true, what is written nests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from curation_assets import open_tables
from curation_assets.filters import clip_filters
from curation_assets.selection.preview import judged
from curation_assets.selection.scored import kept_clips, with_scores
from curation_assets.settings import load_settings
from curation_assets.thresholds import with_thresholds
from tests.pipeline.jobs import SETTINGS, Job, changed, reelhouse, write_settings


def ask(job: Job, *arguments: str | Path) -> Any:
    done = reelhouse(*arguments, "--json", "--home", job.home, "--settings", job.root / "settings.yaml")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def foretold(job: Job, *given: str) -> set[str]:
    file, scan = str(job.root / "settings.yaml"), open_tables(job.home).scan
    then, now = (clip_filters(settings) for settings in (with_thresholds(given, file)[0], load_settings(file)))
    reaches = ~pl.col("excluded")
    clips = judged(with_scores(kept_clips(scan), scan, then), reaches, reaches, then, now)
    return set(clips.filter("selected")["clip_id"])


def test_a_refresh_selects_the_clips_that_were_foretold(job: Job) -> None:
    before = contents(job.home)
    bounds = f"selection.motion.max={job.table('motion_scores')['motion_score'].median()}", "alignment.min=0.05"
    found = ask(job, "preview", "--set", bounds[0], "--set", bounds[1])
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


def test_it_tells_people_what_to_put_into_which_file(job: Job) -> None:
    file = job.root / "settings.yaml"
    shown = reelhouse("preview", "--set", "selection.motion.max=15", "--home", job.home, "--settings", file).stdout
    assert f"put this into {file}" in " ".join(shown.split())
    assert shown.rstrip().endswith("selection:\n  motion:\n    dis:\n      max: 15")
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 100


def test_one_shard_alone_and_a_shard_there_is_not(job: Job) -> None:
    [shard] = job.table("raw_videos")["shard"].unique()
    assert ask(job, "preview", "--shards", shard) == ask(job, "preview")
    done = reelhouse("preview", "--shards", "films-9999", "--home", job.home)
    assert done.returncode == 2
    assert done.stderr == f"reelhouse: films-9999: no such shard; there are {shard}\n"


def test_the_command_imports_no_dagster(job: Job) -> None:
    seen = "import sys; from curation_assets.cli import main; main(); assert 'dagster' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", seen, "preview", "--home", str(job.home)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_tiers_nest_and_are_the_same_bytes_again(job: Job) -> None:
    manifest = job.table("training_manifest").join(
        job.table("technical_scores").select("clip_id", "sharpness"), on="clip_id"
    )
    middle = float(manifest["sharpness"].median())
    sharp = {"technical": {"opencv": {"sharpness": {"min": middle}}}}
    none = {"motion": {"dis": {"min": 1e9}}}
    tiers = [{"name": "all"}, {"name": "sharp", "selection": sharp}, {"name": "none", "selection": none}]
    write_settings(job.root / "settings.yaml", {**SETTINGS, "tiers": tiers})
    made = ask(job, "tiers")
    ids = [ids_in(Path(made["folder"], tier["name"])) for tier in made["tiers"]]
    wanted = manifest.filter(pl.col("sharpness") >= middle)["clip_id"].to_list()
    assert ids == [manifest["clip_id"].to_list(), wanted, []]
    assert [tier["samples"] for tier in made["tiers"]] == [manifest.height, len(wanted), 0]
    [release] = job.table("training_set").to_dicts()
    assert made["release"] == release["release"]
    assert made["settings_hash"] == release["settings_hash"]
    exports = {path.rpartition("/")[2]: (job.home / path).read_bytes() for path in release["exports"]}
    assert contents(Path(made["folder"], "all")) == exports

    kept = reelhouse("maintain", "--grace-hours", "0", "--home", job.home)
    assert kept.returncode == 0, kept.stderr
    again = ask(job, "tiers", "--to", job.root / "again")
    assert contents(job.root / "again") == contents(Path(made["folder"]))
    assert again["tiers"] == made["tiers"]
    refused = reelhouse(
        "tiers", "--to", job.root / "again", "--home", job.home, "--settings", job.root / "settings.yaml"
    )
    assert refused.returncode == 2
    assert "name a new folder" in refused.stderr


def ids_in(tier: Path) -> list[str]:
    return pl.read_parquet(tier / "train.parquet")["clip_id"].to_list()


def test_without_tiers_in_the_settings_it_says_how_to_list_them(job: Job) -> None:
    done = reelhouse("tiers", "--home", job.home, "--settings", job.root / "settings.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("reelhouse: tiers: the settings list none")
