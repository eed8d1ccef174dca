"""What a refresh works out for whole tables is what it works out for one unit."""

import pytest

from curation_assets.definitions import all_assets
from curation_assets.refresh import Stage
from curation_assets.settings import load_settings
from curation_assets.stage_asset import SHARDS, StageAsset
from tests.pipeline.jobs import SETTINGS, Job, write_settings


@pytest.fixture
def stages(job: Job) -> dict[str, Stage]:
    settings = load_settings(write_settings(job.root / "settings.yaml", SETTINGS))
    assets = [
        asset
        for asset in all_assets(settings)
        if isinstance(asset, StageAsset) and asset.definition.partitions_def == SHARDS
    ]
    return {stage.table.name: stage for asset in assets for stage in asset.stages}


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
