"""The Dagster UI as a user meets it: a real webserver and daemon, a real browser, one shard from click to table."""

import json
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from curation_assets.orchestration.lineage import SHARD_FILES
from curation_assets.tables import TABLES
from tests import videos
from tests.ui.browser import Browser
from tests.ui.skips import needs_chromium
from tests.ui.webserver import reelhouse_ui

SETTINGS = """
clips: {min_source_area_px: 100000, min_duration_s: 1}
rewriting: {engine: "off"}
"""
SHARD = "streets-0000"
ASSETS = 'key:"raw_videos" or group:"2_clips" or key:"frames" or key:"motion_scores"'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which one real video is registered."""
    folder = tmp_path_factory.mktemp("ui")
    (folder / "settings.yaml").write_text(SETTINGS)
    (folder / "videos").mkdir()
    shutil.copy(videos.bikes(), folder / "videos")
    register = ["run", str(folder / "videos"), "--name", "streets", "--until", "source_files"]
    where = ["--home", str(folder / "home"), "--settings", str(folder / "settings.yaml")]
    subprocess.run([sys.executable, "-m", "curation_assets.cli", *register, *where], check=True, capture_output=True)
    return folder / "home"


OFF_BY_DEFAULT = {"clip_crops", "clip_hashes", "clip_neighbours", "duplicates", "safety_scores", "watermark_scores"}
TABLES_BY_DEFAULT = TABLES.keys() - OFF_BY_DEFAULT


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with reelhouse_ui(home, home.parent / "settings.yaml") as address:
        yield address


def test_the_webserver_serves_every_table_as_an_asset(address: str) -> None:
    query = urllib.parse.urlencode({"query": "{ assetNodes { assetKey { path } repository { location { name } } } }"})
    with urllib.request.urlopen(f"{address}/graphql?{query}") as answer:
        nodes = json.load(answer)["data"]["assetNodes"]
    assert {node["assetKey"]["path"][0] for node in nodes} == {*TABLES_BY_DEFAULT, SHARD_FILES, "release_report"}
    assert {node["repository"]["location"]["name"] for node in nodes} == {"reelhouse"}


@needs_chromium
def test_a_shard_is_materialized_from_the_asset_graph(home: Path, address: str) -> None:
    with Browser() as page:
        page.open(f"{address}/asset-groups")
        page.expand_groups()
        page.wait_for_text(*TABLES_BY_DEFAULT)

        page.type_into("Search and filter assets", ASSETS)
        page.press("Enter", "Enter", 13)
        page.wait_for("!document.body.innerText.includes('training_set')")
        page.click("Materialize all…")
        page.wait_for_text("Launch runs to materialize 5 assets")
        page.click("Select a partition or create one")
        page.click(SHARD)
        page.press("Escape", "Escape", 27)  # closes the list of partitions
        page.click("Launch 1 run")
        page.click("View")
        page.wait_for_text("Success", "RUN_SUCCESS", limit_s=120)
        page.click(selector="input[placeholder='Filter…']")
        page.type(f"scenes {SHARD}")
        page.wait_for_text(f"scenes {SHARD}: 1/1")

        clips = pl.read_delta(f"{home}/tables/clips").sort("clip_id")
        assert clips.height > 5
        page.open(f"{address}/assets/clips?view=partitions")
        page.click(SHARD)
        page.wait_for_text("dagster/partition_row_count", "preview", *clips.get_column("clip_id").head(8))
        words = page.text.split()
        shown = {name: words[words.index(name) + 1] for name in ("inputs", "computed", "reused", "failed", "blocked")}
        assert shown == {"inputs": "1", "computed": "1", "reused": "0", "failed": "0", "blocked": "0"}
        assert words[words.index("dagster/partition_row_count") + 1] == str(clips.height)
        assert "Materialized" in page.text

        page.open(f"{address}/assets/clips")
        page.wait_for_text("One row is a span of a shot", "<rule>: <why>", "reelhouse", "clips/assets.py")
        page.click("Plots")
        page.wait_for_text("dropped: remainder", "dropped: trim", "computed")
        page.wait_for("document.querySelectorAll('canvas').length > 8")

        scored = pl.read_delta(f"{home}/tables/motion_scores")["clip_id"].to_list()
        page.open(f"{address}/assets/motion_scores?view=partitions&partition={SHARD}")
        page.wait_for_text("motion.dis.longest_side_px", "whole number, 64..4096", "units_per_second")
        page.show_markdown("scores")
        page.click("Close")
        page.wait_for("!document.querySelector('[role=dialog]')")
        page.show_markdown("contact_sheet")
        page.wait_for_text("Highest", "At a border")
        dialog = page.evaluate("document.querySelector('[role=dialog]').innerText")
        pictures = page.evaluate("[...document.querySelectorAll('[role=dialog] img')].map(e => e.naturalWidth)")
        assert 1 < len(pictures) <= 15
        assert {*pictures} == {160}
        assert sum(clip in dialog.replace("\n", "") for clip in scored) > 1
