"""In a real run a broken rule stops what would be made from the table, says why, and lets go once it is repaired."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest

from curation_assets.orchestration.checks import NOTHING_LOST, SOUND
from curation_assets.orchestration.stage_asset import SHARDS
from tests.checks.conftest import SETTINGS
from tests.checks.test_rules import change_first, write
from tests.pipeline.jobs import SHARD, Job, Session


@contextmanager
def session_of(job: Job) -> Iterator[Session]:
    """On a new Dagster instance that knows the shard."""
    with job.session(SETTINGS) as session:
        session.runs.instance.add_dynamic_partitions(str(SHARDS.name), [SHARD])
        yield session


def newest(session: Session, check: str, table: str) -> Any:
    """The last evaluation of one check of a table."""
    key = dg.AssetCheckKey(dg.AssetKey(table), check)
    [record] = session.runs.instance.event_log_storage.get_asset_check_execution_history(check_key=key, limit=1)
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.event_specific_data


@pytest.mark.parametrize(
    ("table", "column", "value", "rule", "stopped"),
    [
        ("motion_scores", "motion_score", math.nan, "numbers are finite and in range", "clip_selection"),
        ("captions", "frames_sha256", "other frames", "frames_sha256 is that of frames", "rewritten_captions"),
        ("clips", "end_s", 99.0, "a video's spans add up to its shots", "frames"),
    ],
)
def test_a_broken_rule_stops_what_is_made_from_the_table(
    job: Job, table: str, column: str, value: object, rule: str, stopped: str
) -> None:
    sound = job.table(table).to_dicts()
    row = change_first(job, table, **{column: value})
    name = row["video_id"] if table == "clips" else row["clip_id"]
    before = job.versions()
    with session_of(job) as session:
        assert not session.refresh([table, stopped])
        made = {asset for asset, _, _ in session.outcome.materialized}
        [failure] = session.outcome.step_failures
        evaluated = newest(session, SOUND, table)
    assert table in made
    assert stopped not in made
    assert job.versions() == before
    assert failure.startswith(f"{table}: {SOUND}: this check failed, so nothing made from it was refreshed; {rule}")
    assert name in failure
    assert not evaluated.passed
    assert name in str(evaluated.metadata["rules"].records)

    write(job, table, sound)
    with session_of(job) as session:
        assert session.refresh([table, stopped])
        assert set(session.counts()) == {table, stopped}
        assert session.computed() == {}


def test_a_loss_warns_and_stops_nothing(job: Job) -> None:
    change_first(job, "raw_videos", duration_s=100.0)
    with session_of(job) as session:
        assert session.refresh(["scenes", "clips"])
        assert "clips" in session.counts()
        evaluated = newest(session, NOTHING_LOST, "scenes")
    assert not evaluated.passed
    assert evaluated.severity == dg.AssetCheckSeverity.WARN
    assert "can't be decoded" in evaluated.description


@pytest.mark.parametrize("only", ["motion_scores", "frames", "captions", "training_manifest"])
def test_checks_hold_when_one_table_is_refreshed_alone(job: Job, only: str) -> None:
    with session_of(job) as session:
        assert session.refresh([only])
        assert set(session.counts()) == {only}
        assert newest(session, SOUND, only).passed
