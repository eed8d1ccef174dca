"""A home of the version before: opened, refreshed and released without computing anything again."""

import shutil

import polars as pl

from curation_assets.home import MARKER
from curation_assets.settings import Maintenance
from curation_assets.tables import EXCLUSIONS, TABLES, TAKEDOWNS, TRAINING_SET
from curation_assets.upkeep.maintenance import maintain
from resources.delta_store import DeltaStore
from resources.files import Files
from tests.pipeline.jobs import SETTINGS, Job, same_results

ADDED_SINCE = {"export_sha256", "paths_from", "written_by", "settings", "gaps", "retired_at", "forgotten"}


def make_old(job: Job) -> None:
    """As format 1 was: no marker, no tables of decisions, fewer columns of a release."""
    (job.home / MARKER).unlink(missing_ok=True)
    store = DeltaStore(str(job.home))
    rows = job.table(TRAINING_SET.name)
    for table in (EXCLUSIONS, TAKEDOWNS, TRAINING_SET):
        shutil.rmtree(job.home / "tables" / table.name, ignore_errors=True)
    schema = pl.Schema({name: dtype for name, dtype in TRAINING_SET.schema.items() if name not in ADDED_SINCE})
    store.replace(store.open(TRAINING_SET.name, schema), rows.select(list(schema)), rows.item(0, "shard"), {})


def test_an_old_home_is_refreshed_and_released_without_computing_anything_again(job: Job) -> None:
    make_old(job)
    before = {name: job.table(name) for name in job.versions() if name != TRAINING_SET.name}
    old_release = job.table(TRAINING_SET.name)

    session = job.run(SETTINGS)

    assert not session.outcome.step_failures
    assert session.computed() == {}
    assert all(same_results(name, job.table(name), rows) for name, rows in before.items())
    releases = job.table(TRAINING_SET.name)
    assert set(TRAINING_SET.schema) == set(releases.columns)
    assert releases.head(1).select(old_release.columns).equals(old_release)
    assert releases.height == 1


def test_maintenance_of_a_finished_home_takes_nothing_that_anybody_needs(job: Job) -> None:
    before = {name: job.table(name) for name in TABLES if name in job.versions()}
    files = sorted(path for folder in ("frames", "clips", "exports") for path in (job.home / folder).rglob("*.*"))
    now = Maintenance(unreferenced_grace_hours=0, vanished_grace_days=0, version_retention_days=0)

    maintain(job.store, Files(str(job.home)), now, job.table(TRAINING_SET.name).item(0, "computed_at"))

    assert all(job.table(name).equals(rows) for name, rows in before.items())
    assert (
        sorted(path for folder in ("frames", "clips", "exports") for path in (job.home / folder).rglob("*.*")) == files
    )
    assert job.run(SETTINGS).computed() == {}
