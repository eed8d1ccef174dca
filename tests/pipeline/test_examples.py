"""Every script in examples/ runs on a finished home, and says what the tables hold, counted here another way."""

import hashlib
import re
import runpy
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.tables import TABLES
from tests.pipeline.jobs import SHARD, SOURCE, Job

ROOT = Path(__file__).parents[2]
EXAMPLES, RECIPES = ROOT / "examples", ROOT / "docs" / "recipes.md"


@pytest.fixture
def said(job: Job, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs an example on the job's home and returns what it printed."""

    def run(example: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [example, str(job.home), *arguments])
        runpy.run_path(str(EXAMPLES / f"{example}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("┆")]


def test_score_distribution(job: Job, said: Any) -> None:
    [row] = [cells(line) for line in said("score_distribution").splitlines() if "motion" in line]
    scores = job.table("motion_scores")["motion_score"].to_list()
    reasons = [reason for reasons in job.table("clip_selection")["reasons"] for reason in reasons]
    assert row[2] == str(len(scores))
    assert float(row[5]) == pytest.approx(statistics.median(scores), rel=5e-3)
    assert row[-1] == str(sum(reason.startswith("motion: ") for reason in reasons))


def test_rethreshold(job: Job, said: Any) -> None:
    rows = job.table("clip_selection").to_dicts()

    def stays(row: dict[str, Any], least: float) -> bool:
        [motion] = [each for each in row["measurements"] if each["filter"] == "motion"]
        others = [reason for reason in row["reasons"] if not reason.startswith("motion: ")]
        return not others and least <= motion["value"] <= motion["max"]

    for line in said("rethreshold").splitlines():
        least, stay, clips = re.findall(r"\d+\.?\d*", line)
        assert (int(stay), int(clips)) == (sum(stays(row, float(least)) for row in rows), len(rows))


def test_join_scores(job: Job, said: Any) -> None:
    out = said("join_scores")
    motion = job.table("motion_scores")
    semantic = job.table("semantic_scores")
    assert motion["clip_id"].equals(semantic["clip_id"])
    ranks = [np.argsort(np.argsort(scores)) for scores in (motion["motion_score"], semantic["semantic_score"])]
    correlations = cells(next(line for line in out.splitlines() if line.startswith("│ motion ")))
    assert f"shape: ({motion.height}, 6)" in out
    assert float(correlations[2]) == round(np.corrcoef(*ranks)[0, 1], 2)


def test_time_travel(job: Job, said: Any) -> None:
    before = job.table("clip_selection")["selected"]
    job.edit("clip_selection", selected=pl.lit(False))
    newest, older, *_, a_day_ago = said("time_travel").splitlines()
    assert newest.startswith("version 2,")
    assert newest.endswith(f"{SHARD}: 0 of {before.len()} clips")
    assert older.endswith(f"{SHARD}: {before.sum()} of {before.len()} clips")
    assert "its first version is of" in a_day_ago


def test_changed_since_release(job: Job, said: Any) -> None:
    assert "changed: none" in said("changed_since_release")
    first, second = job.table("training_manifest")["clip_id"][:2]
    job.edit("training_manifest", text=pl.when(clip_id=first).then(pl.lit("another")).otherwise("text"))
    schema = TABLES["training_manifest"].schema
    job.store.change("training_manifest", schema, SHARD, lambda rows: rows.remove(clip_id=second), {})
    out = said("changed_since_release", "r0001")
    assert f"left: {second}\n" in out
    assert "entered: none\n" in out
    assert "changed: text of 1\n" in out


def test_hours_by_source(job: Job, said: Any) -> None:
    selected = set(job.table("clip_selection").filter("selected")["clip_id"])
    clips = [row for row in job.table("clips").to_dicts() if row["dropped"] is None]
    seconds = {
        "videos": job.table("raw_videos")["duration_s"].sum(),
        "clips": sum(row["duration_s"] for row in clips),
        "selected": sum(row["duration_s"] for row in clips if row["clip_id"] in selected),
        "samples": job.table("training_manifest")["duration_s"].sum(),
    }
    assert (
        said("hours_by_source")
        == f"{SOURCE}: {', '.join(f'{s / 3600:.4f} h of {step}' for step, s in seconds.items())}\n"
    )


def test_duckdb_and_arrow(job: Job, said: Any) -> None:
    heights = dict(job.table("raw_videos").select("video_id", "height").rows())
    decided = job.table("clip_selection")
    clips = Counter(heights[video] for video in decided["video_id"])
    selected = Counter(heights[video] for video in decided.filter("selected")["video_id"])
    rows = [line.strip("│").split("│") for line in said("duckdb_and_arrow").splitlines() if re.match(r"│ +\d", line)]
    assert [[int(cell) for cell in row[:3]] for row in rows] == [
        [height, clips[height], selected[height]] for height in sorted(clips)
    ]


def test_caption_search(job: Job, said: Any) -> None:
    captions = dict(job.table("training_manifest").select("clip_id", "text").rows())
    word = re.findall(r"\w{5,}", next(iter(captions.values())))[0]
    holding = [clip for clip, text in captions.items() if word.lower() in re.findall(r"\w+", text.lower())]
    *found, count = said("caption_search", word.upper()).splitlines()
    assert [line.split()[0] for line in found] == sorted(holding)
    assert count == f"{len(holding)} samples"


def test_sampling(job: Job, said: Any) -> None:
    out = said("sampling")
    clips = job.table("training_manifest")["clip_id"].to_list()
    expected = sorted(clips, key=lambda clip: hashlib.sha256(f"look at these {clip}".encode()).digest())[:3]
    assert [line.split()[:2] for line in out.splitlines()] == [[SOURCE, clip] for clip in expected]
    job.edit("training_manifest", text=pl.lit("another"))
    assert said("sampling") == out


def test_worst_failures(job: Job, said: Any) -> None:
    broken = pl.col("clip_id").is_in(job.table("clip_files")["clip_id"][:2].to_list())
    why = pl.when(broken).then(pl.lit("[red]no space"))
    job.edit("clip_files", error=why, error_kind=pl.when(broken).then(pl.lit("transient")))
    out = said("worst_failures").splitlines()
    assert out[:2] == ["2 rows without a result", "2 of clip_files, transient: '[red]no space'"]
    measured = [(row["clip_id"], m) for row in job.table("clip_selection").to_dicts() for m in row["measurements"]]
    missed = {clip for clip, m in measured if m["passed"] is False and m["margin"] is not None}
    assert {line.split()[0] for line in out[2:]} == missed


def test_the_page_begins_with_lines_that_run(job: Job) -> None:
    lines = re.findall(r"```python\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(lines.replace(".reelhouse-demo", str(job.home)).replace("samples-0000", SHARD), names)
    assert names["scores"].collect().height == names["before"].collect().height == job.table("motion_scores").height
    assert names["released"].collect().height == job.table("training_manifest").height


def test_there_is_a_test_of_each() -> None:
    assert {f"test_{path.stem}" for path in EXAMPLES.glob("*.py")} <= set(globals())
