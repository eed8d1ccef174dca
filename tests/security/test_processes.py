"""Who decodes what others made, and what a name can do to a table."""

import shutil
import sys
from pathlib import Path
from typing import Any

import av
import polars as pl
import pytest
from deltalake import DeltaTable

from curation_assets.orchestration.stage_asset import SHARDS
from curation_assets.tables import SCENES
from resources.delta_store import DeltaStore
from tests import videos
from tests.pipeline.jobs import BARE_SETTINGS, Job, changed
from tests.security.hostile import QUOTES
from tests.stand_in_server import completion, stand_in_server


def test_nothing_is_decoded_in_the_process_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg and OpenCV run in worker processes only, which this process's traps don't reach."""
    job = Job(tmp_path)
    job.films.mkdir()
    shutil.copy(videos.two_shots(), job.films)

    def trap(*_: Any, **__: Any) -> None:
        raise AssertionError("opened in the process of the step")

    monkeypatch.setattr(av, "open", trap)
    for module in ("cv2", "onnxruntime", "rapidocr", "scenedetect", "imageio_ffmpeg"):
        monkeypatch.setitem(sys.modules, module, None)
    with stand_in_server(lambda body: (200, completion("Two shots."))) as server:
        chat = {"engine": "chat", "chat": {"base_url": server.url, "model": "stand-in"}}
        with job.session(changed(BARE_SETTINGS, captions=chat, execution__workers=1)) as session:
            assert session.register()
            assert session.runs.instance.get_dynamic_partitions(str(SHARDS.name))
            assert session.refresh(), session.outcome.step_failures
    assert job.table("clip_files")["error"].null_count() == job.table("clip_files").height > 0
    assert job.table("training_manifest").height > 0


@pytest.mark.parametrize("name", ["it's", QUOTES.replace("/", ""), "x' OR '1'='1", "true", "\\'"])
def test_a_shards_name_is_a_value_in_the_predicate_never_a_part_of_it(tmp_path: Path, name: str) -> None:
    store = DeltaStore(str(tmp_path))

    def rows(shard: str, *videos: str) -> pl.DataFrame:
        made = [{**dict.fromkeys(SCENES.schema), "video_id": video, "shard": shard} for video in videos]
        return pl.DataFrame(made, schema=SCENES.schema, orient="row")

    def handle() -> DeltaTable:
        return store.open(SCENES.name, SCENES.schema)

    store.replace(handle(), rows("other", "a", "b"), "other", {})
    for video in ("c", "d"):
        store.replace(handle(), rows(name, video), name, {})
    columns = ["video_id", "shard"]
    assert sorted(store.read(handle(), columns).rows()) == sorted([("a", "other"), ("b", "other"), ("d", name)])
    assert store.read(handle(), columns, name).rows() == [("d", name)]
