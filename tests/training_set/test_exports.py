import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.tables import TRAINING_MANIFEST
from curation_assets.training_set.exports import EXPORTS, exports

HOME = "/data/home"
LISTING = {"licence": "CC0", "rank": 3, "share": 0.5, "tags": ["a", "b"], "mixed": 1}


def sample(clip_id: str, text: str, **more: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(TRAINING_MANIFEST.stage_columns),
        "clip_id": clip_id,
        "file_path": f"clips/s/{clip_id}-0a1b2c3d.mp4",
        "text": text,
        "type": "video",
        "width": 640,
        "height": 360,
        "motion_score": 0.1,
        "warnings": [],
        **more,
    }


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(
        list(rows), schema={name: column.dtype for name, column in TRAINING_MANIFEST.stage_columns.items()}
    )


SAMPLES = table(
    sample("c", '=HYPERLINK("http://x")', warnings=["trainer needs 184 frames, has 90", 'a "b"']),
    sample("a", "Ein Café, 猫\n<b>and</b> a comma, a/slash", listing=json.dumps(LISTING)),
    sample("b", "plain", listing=json.dumps({"rank": 4, "share": 2, "mixed": "two", "licence": "@cc"})),
)


def written(folder: Path, samples: pl.DataFrame, paths_from: str | None = None) -> dict[str, Path]:
    for name, data in exports(samples, paths_from):
        (folder / name).write_bytes(data)
    return {name: folder / name for name in EXPORTS}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return written(tmp_path, SAMPLES)


def test_the_trainer_finds_what_it_reads(files):
    text = files["train.json"].read_text(encoding="utf-8")
    assert [row["file_path"][8] for row in json.loads(text)] == ["a", "b", "c"]
    assert json.loads(text)[0] == {
        "file_path": "clips/s/a-0a1b2c3d.mp4",
        "text": "Ein Café, 猫\n<b>and</b> a comma, a/slash",
        "type": "video",
        "width": 640,
        "height": 360,
    }
    assert text.startswith('[\n  {\n    "file_path": "clips/s/a-0a1b2c3d.mp4",\n')
    assert "Café, 猫" in text
    assert "\\/" not in text


def test_every_format_holds_every_column_and_the_listing_taken_apart(files):
    columns = [name for name in TRAINING_MANIFEST.stage_columns if name != "listing"]
    extra = [f"listing.{name}" for name in sorted(LISTING)]
    parquet = pl.read_parquet(files["train.parquet"])
    assert parquet.columns == columns + extra
    assert parquet["listing.rank"].to_list() == [3, 4, None]
    assert parquet["listing.share"].to_list() == [0.5, 2.0, None]
    assert parquet["listing.mixed"].to_list() == ["1", '"two"', None]
    assert parquet["listing.tags"].to_list() == ['["a", "b"]', None, None]
    lines = [json.loads(line) for line in files["train.jsonl"].read_text(encoding="utf-8").split("\n") if line]
    assert lines == parquet.to_dicts()
    with files["train.csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == columns + extra
    assert rows[0]["text"] == SAMPLES["text"][1]
    assert json.loads(rows[2]["warnings"]) == SAMPLES["warnings"][0].to_list()
    assert float(rows[0]["motion_score"]) == 0.1


def test_no_csv_cell_is_a_formula_and_other_formats_keep_the_text(files):
    with files["train.csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[2]["text"] == '\'=HYPERLINK("http://x")'
    assert rows[1]["listing.licence"] == "'@cc"
    assert json.loads(files["train.json"].read_text(encoding="utf-8"))[2]["text"] == '=HYPERLINK("http://x")'


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_each_start_of_a_formula_is_guarded(start, tmp_path):
    written(tmp_path, table(sample("a", f"{start}1")))
    with (tmp_path / "train.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["text"] == f"'{start}1"


def test_numbers_below_zero_stay_numbers_in_csv(tmp_path):
    written(tmp_path, table(sample("a", "x", alignment_score=-0.25)))
    assert pl.read_csv(tmp_path / "train.csv")["alignment_score"].to_list() == [-0.25]


def test_absolute_paths_start_with_the_home(tmp_path):
    written(tmp_path, SAMPLES, HOME + "/")
    rows = json.loads((tmp_path / "train.json").read_text(encoding="utf-8"))
    assert rows[0]["file_path"] == "/data/home/clips/s/a-0a1b2c3d.mp4"
    assert pl.read_parquet(tmp_path / "train.parquet")["file_path"][0] == rows[0]["file_path"]


def test_the_same_samples_in_any_order_give_the_same_bytes():
    other = SAMPLES.sort("clip_id", descending=True)  # polars' reverse() loses the type of lists that are all null
    assert list(exports(other, None)) == list(exports(SAMPLES, None))
    assert [name for name, _ in exports(SAMPLES, None)] == list(EXPORTS)


@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES.clear()], ids=["three samples", "no sample"])
def test_the_trainers_file_is_json_of_two_spaces(samples: pl.DataFrame) -> None:
    text = dict(exports(samples, None))["train.json"].decode()
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_no_samples_are_an_empty_set_with_columns(tmp_path):
    written(tmp_path, SAMPLES.clear())
    assert json.loads((tmp_path / "train.json").read_text(encoding="utf-8")) == []
    assert (tmp_path / "train.jsonl").read_bytes() == b""
    assert "file_path" in pl.read_csv(tmp_path / "train.csv").columns
