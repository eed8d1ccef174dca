"""The code location: what the asset graph promises, and that it loads anywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from curation_assets.definitions import build_definitions
from curation_assets.settings import Settings
from curation_assets.tables import TABLES, Table

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
EMPTY = {"PATH": os.defpath}
HEAVY = ("torch", "transformers", "cv2", "scenedetect", "matplotlib", "openai", "rapidocr", "xllamacpp")

LOAD = f"""
import sys, time
started = time.perf_counter()
from curation_assets.definitions import defs
defs().resolve_asset_graph()
import json
heavy = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps({{"heavy": heavy, "seconds": time.perf_counter() - started}}))
"""


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Settings(), str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> list[dg.AssetSpec]:
    return sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key)


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """A command in the repository's root with nothing in its environment but the PATH."""
    return subprocess.run(command, cwd=ROOT, env=EMPTY, capture_output=True, text=True, check=False)


def test_loading_needs_no_environment_no_heavy_import_and_warns_of_nothing() -> None:
    loaded = run(sys.executable, "-c", LOAD)
    assert loaded.returncode == 0, loaded.stderr
    found = json.loads(loaded.stdout)
    print(f"definitions load in {found['seconds']:.2f} s")
    assert found["heavy"] == []
    assert "Warning" not in loaded.stderr


def test_dg_accepts_the_definitions() -> None:
    checked = run(BIN / "dg", "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All definitions loaded successfully" in checked.stdout + checked.stderr


def test_the_workspace_file_loads_the_code_location() -> None:
    checked = run(BIN / "dagster", "definitions", "validate", "-w", "workspace.yaml")
    assert "Validation successful for code location reelhouse" in checked.stdout + checked.stderr


def test_the_asset_graph_is_as_agreed(
    definitions: dg.Definitions, specs: list[dg.AssetSpec], snapshot: SnapshotAssertion
) -> None:
    """After a change that is meant: `pytest tests/test_definitions.py --snapshot-update`."""
    checks: dict[str, list[str]] = {}
    for definition in definitions.assets or []:
        if isinstance(definition, dg.AssetSpec):  # people's decisions, which nothing here makes
            continue
        assert isinstance(definition, dg.AssetsDefinition)
        for check in definition.check_specs:
            words = f"{check.name}, blocking" if check.blocking else check.name
            checks.setdefault(check.asset_key.to_user_string(), []).append(words)
    assert {spec.key.to_user_string(): summary(spec, checks) for spec in specs} == snapshot


def summary(spec: dg.AssetSpec, checks: dict[str, list[str]]) -> dict[str, Any]:
    partitions = spec.partitions_def
    return {
        "made from": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "has a code version": spec.code_version is not None,
        "partitions": partitions.name if isinstance(partitions, dg.DynamicPartitionsDefinition) else None,
        "is refreshed by policy": spec.automation_condition is not None,
        "checks": sorted(checks.get(spec.key.to_user_string(), [])),
    }


@pytest.fixture(scope="module")
def tables(specs: list[dg.AssetSpec]) -> list[dg.AssetSpec]:
    """The assets that are tables, so all but the release's page."""
    return [spec for spec in specs if spec.key != dg.AssetKey("release_report")]


def table_of(spec: dg.AssetSpec) -> Table:
    return TABLES[spec.metadata["dagster/table_name"]]


def test_what_can_be_switched_on_is_as_agreed_and_off(definitions: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    repository = definitions.get_repository_def()
    crons = {schedule.name: str(schedule.cron_schedule) for schedule in repository.schedule_defs}
    switches = [*repository.sensor_defs, *repository.schedule_defs]
    assert all(switch.default_status.value == "STOPPED" for switch in switches)
    jobs = [job.name for job in repository.get_all_jobs() if not job.name.startswith("__")]
    assert {"switches": sorted(switch.name for switch in switches), "crons": crons, "jobs": sorted(jobs)} == snapshot


def test_every_asset_explains_itself(tables: list[dg.AssetSpec]) -> None:
    for spec in tables:
        name = spec.key.to_user_string()
        assert (spec.description or "").startswith("One row is "), name
        assert spec.group_name not in (None, "default"), name
        assert {"deltalake"} < spec.kinds, name
        assert spec.owners, name
        columns = spec.metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == list(table_of(spec).columns), name
        assert all(column.description for column in columns), name
        assert not any("<" in column.description for column in columns), f"{name}: the UI would take it for a tag"


def test_column_lineage_names_columns_that_exist(tables: list[dg.AssetSpec]) -> None:
    lines = 0
    by_key = {spec.key: table_of(spec) for spec in tables}
    for spec in tables:
        lineage = spec.metadata.get("dagster/column_lineage")
        upstream = {dep.asset_key for dep in spec.deps}
        for column, origins in lineage.deps_by_column.items() if lineage else ():
            assert column in table_of(spec).columns
            for origin in origins:
                lines += 1
                assert origin.asset_key in upstream
                assert origin.column_name in by_key[origin.asset_key].columns
    assert lines > 100


def test_no_asset_hands_its_value_to_an_io_manager(definitions: dg.Definitions) -> None:
    for definition in definitions.assets or []:
        if isinstance(definition, dg.AssetSpec):
            continue
        assert isinstance(definition, dg.AssetsDefinition)
        names = definition.keys_by_output_name
        outputs = [output for output in definition.node_def.output_defs if output.name in names]
        assert len(outputs) == len(names)
        assert all(output.dagster_type.is_nothing for output in outputs), definition.keys
