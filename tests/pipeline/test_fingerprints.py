"""What a refresh works out for whole tables is what it works out for one unit."""

import pytest

from curation_assets.definitions import video_stages
from curation_assets.incremental.stage import Stage
from curation_assets.settings import load_settings
from tests.pipeline.jobs import SETTINGS, Job, write_settings


@pytest.fixture
def stages(job: Job) -> dict[str, Stage]:
    settings = load_settings(write_settings(job.root / "settings.yaml", SETTINGS))
    return {stage.table.name: stage for stage in video_stages(settings)}


def test_fingerprints_of_all_units_are_those_of_each_and_of_the_rows(job: Job, stages: dict[str, Stage]) -> None:
    assert len(stages) > 10
    for name, stage in stages.items():
        reads = {
            table: job.store.scan(job.store.snapshot(table)).select(*columns, "error", "error_kind").collect()
            for table, columns in stage.reads.items()
        }
        units = stage.units(reads).sort(stage.unit)
        expected = {
            (unit[stage.unit], engine): stage.fingerprint(unit, engine)
            for unit in units.to_dicts()
            for engine in stage.engines
        }
        made = {(unit, engine): fingerprint for unit, engine, fingerprint in stage.fingerprints(units).iter_rows()}
        assert made == expected
        rows = job.table(name).to_dicts()
        assert rows or not stage.engines, name
        assert all(made[stage.key_of(row)] == row["input_fingerprint"] for row in rows), name
