"""OpenLineage events, as an HTTP server gets them from the client that users configure by environment."""

import gzip
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from curation_assets.incremental.context import Context
from curation_assets.incremental.refresh import refresh
from curation_assets.orchestration import lineage
from curation_assets.orchestration.lineage import columns_made_from
from curation_assets.settings import Lineage
from curation_assets.tables import FRAMES, MOTION_SCORES
from resources.errors import EngineUnavailable
from tests.http_server import JsonHandler, serving
from tests.toy_stages import SHARD, Home, frames, motion, put, some_videos

RUN = "0b5f6e4e-2f0c-4f3e-9d7a-0d5f3c2b1a00"


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The events that reach the server OPENLINEAGE_URL names."""
    events: list[dict[str, Any]] = []

    class Receiver(JsonHandler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            events.append(json.loads(body))
            self.reply(201, b"")

    with serving(Receiver) as url:
        monkeypatch.setenv("OPENLINEAGE_URL", url)
        lineage._client.cache_clear()
        yield events


@pytest.fixture
def home(tmp_path) -> Home:
    made = Home(tmp_path)
    put(made.store, some_videos(3))
    return made


def refreshed(home: Home, settings: Lineage, failure: Exception | None = None) -> None:
    """Refresh two tables that share a computation, as an asset does."""
    computer = home.computer(frames(), motion("dis"))

    def compute(work):
        if failure:
            raise failure
        return computer(work)

    with lineage.telling(settings, computer.stages, SHARD, RUN, home.store) as reports:
        reports += refresh(computer.stages, SHARD, compute, Context(home.store, home.files, RUN))


def test_an_event_a_table_says_what_was_read_and_written(home: Home, received: list[dict[str, Any]]) -> None:
    refreshed(home, Lineage(emit=True))
    assert [(e["eventType"], e["job"]["namespace"], e["job"]["name"]) for e in received] == [
        ("COMPLETE", "reelhouse", "frames"),
        ("COMPLETE", "reelhouse", "motion_scores"),
    ]
    of_frames, of_motion = received
    assert of_frames["run"]["runId"] != of_motion["run"]["runId"]
    assert of_frames["run"]["facets"]["parent"]["run"]["runId"] == RUN
    assert of_frames["run"]["facets"]["tags"]["tags"][0]["value"] == SHARD
    source = {"namespace": "file", "name": f"{home.folder}/tables/raw_videos"}
    assert [{key: dataset[key] for key in source} for dataset in of_motion["inputs"]] == [source]
    (written,) = of_motion["outputs"]
    assert written["name"] == f"{home.folder}/tables/motion_scores"
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 3
    assert written["facets"]["version"]["datasetVersion"] == str(home.version(MOTION_SCORES))
    assert [field["name"] for field in written["facets"]["schema"]["fields"]] == list(MOTION_SCORES.columns)
    fields = written["facets"]["columnLineage"]["fields"]["motion_score"]["inputFields"]
    assert {(f["namespace"], f["name"], f["field"]) for f in fields} == {
        (*source.values(), column) for column in ("video_id", "frame_count", "missing")
    }


def test_a_step_that_stops_is_told_as_failed_and_still_raises(home: Home, received: list[dict[str, Any]]) -> None:
    with pytest.raises(EngineUnavailable):
        refreshed(home, Lineage(emit=True, namespace="films"), EngineUnavailable("the server is down"))
    assert [(e["eventType"], e["job"]["namespace"]) for e in received] == [("FAIL", "films")] * 2
    assert received[0]["run"]["facets"]["errorMessage"]["message"] == "the server is down"


def test_nothing_is_sent_unless_the_settings_say_so(home: Home, received: list[dict[str, Any]]) -> None:
    refreshed(home, Lineage())
    assert received == []
    assert home.table(FRAMES).height == 3


def test_a_service_that_can_not_be_reached_costs_a_warning(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    config = tmp_path / "openlineage.yml"
    config.write_text("transport: {type: http, url: 'http://127.0.0.1:9', retry: {total: 0}}\n", encoding="utf-8")
    monkeypatch.setenv("OPENLINEAGE_CONFIG", str(config))
    lineage._client.cache_clear()
    caplog.set_level(logging.WARNING, "reelhouse")
    refreshed(home, Lineage(emit=True))
    put(home.store, some_videos(4))
    refreshed(home, Lineage(emit=True))
    assert home.table(FRAMES).height == 4
    said = [record.getMessage() for record in caplog.records if record.name == "reelhouse"]
    assert len(said) == 1
    assert said[0].startswith("lineage events can't be sent, and this run tries no more: ConnectionError")


def test_columns_come_from_what_the_stage_reads() -> None:
    found = columns_made_from(motion("dis"))
    assert "input_fingerprint" not in found
    assert found["motion_score"] == [("raw_videos", name) for name in ("video_id", "frame_count", "missing")]
