"""Runs the assets in this process on the persistent Dagster instance of a home."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster import DagsterInstance
from dagster._core.events import RunFailureReason

from curation_assets.beautified_prompts.assets import PROMPT_FILES
from curation_assets.definitions import build_definitions, stage_assets
from curation_assets.engines import missing
from curation_assets.orchestration.automation import DUPLICATES, RELEASE, WHOLE
from curation_assets.orchestration.local_storage import instance_in
from curation_assets.orchestration.stage_asset import RETRY_TAG, SHARDS
from curation_assets.run_launcher import end_dead_runs
from curation_assets.settings import Settings, SettingsError
from resources.errors import EngineUnavailable
from resources.object_store import is_url
from resources.text import one_line

INSTANCE_SETTINGS = Path(__file__).parents[2] / "deployments" / "local" / "dagster.yaml"
SOURCE_FILES = dg.AssetKey("source_files")
OF_PROMPTS = ("prompts", "beautified_prompts")
_SHIPPED_BEFORE = {"4c4849b3b519ccd9b1b00801b54a459d0417e5e15e9a0ede0d5e8351fa9aecd7"}  # SHA-256 of older dagster.yaml
WHY_CHARACTERS = 300
Watch = Callable[[dg.DagsterEvent], None]
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class NoInstanceError(SettingsError):
    """The home is on an object store and nothing says where Dagster keeps its records."""


def instance_folder(home: str) -> Path:
    """Where the home's Dagster instance lies, with its `dagster.yaml`; created where it is missing.

    `DAGSTER_HOME` wins; a local home has it under `dagster/`. A `dagster.yaml` that an older version put there is
    brought up to date, one that somebody changed is left. Raises NoInstanceError for a URL without DAGSTER_HOME.
    """
    named = os.environ.get("DAGSTER_HOME")
    if named is None and is_url(home):
        raise NoInstanceError(f"{home} is no local folder: set DAGSTER_HOME to a folder for Dagster's records")
    folder = Path(named or Path(home) / "dagster").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "dagster.yaml"
    if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() in _SHIPPED_BEFORE:
        shutil.copy(INSTANCE_SETTINGS, file)
    return folder


def open_instance(home: str) -> DagsterInstance:
    """The home's Dagster instance, to be closed by `with`; the environment names it from then on.

    Raises SettingsError for a `dagster.yaml` that Dagster can't use.
    """
    folder = instance_folder(home)
    os.environ["DAGSTER_HOME"] = str(folder)
    try:
        return instance_in(folder)
    except (dg.DagsterInvalidConfigError, yaml.YAMLError) as failure:
        why = one_line(str(failure), WHY_CHARACTERS)
        raise SettingsError(f"{folder / 'dagster.yaml'}: {why}; correct it, or delete it to get the default") from None


@dataclass
class Outcome:
    """What runs did: the metadata of each materialization, and the messages of failed steps."""

    materialized: list[tuple[str, str | None, dict[str, Any]]] = field(default_factory=list)
    step_failures: list[str] = field(default_factory=list)


class HeadlessRun:
    """Executes asset runs one after another; the UI shows them like its own."""

    def __init__(self, settings: Settings, home: str, instance: DagsterInstance, watch: Watch | None = None) -> None:
        """`watch` is called with each of Dagster's events as it happens, from the thread that runs the steps."""
        self._job = build_definitions(settings, home).resolve_implicit_global_asset_job_def()
        self._graph = self._job.asset_layer.asset_graph
        self._settings = settings
        self._watch = watch
        self.instance = instance
        self.outcome = Outcome()
        end_dead_runs(instance)

    @property
    def assets(self) -> list[str]:
        """Names of the assets made from videos, upstream first."""
        made = self._graph.materializable_asset_keys
        names = [key.to_user_string() for key in self._graph.toposorted_asset_keys if key in made]
        return [name for name in names if name not in OF_PROMPTS]

    def up_to(self, asset: str) -> set[str]:
        """The asset and everything it is made from."""
        selection = dg.AssetSelection.assets(asset).upstream().resolve(self._graph)
        return {key.to_user_string() for key in selection & self._graph.materializable_asset_keys}

    def parts(self, assets: Iterable[str]) -> list[set[str]]:
        """Those of `assets` that are made shard by shard, in parts between which `duplicates` looks at all shards."""
        wanted, duplicates = set(assets), DUPLICATES.to_user_string()
        by_shard = {name for name in wanted if dg.AssetKey(name) not in WHOLE}
        if duplicates not in wanted:
            return [by_shard]
        after = by_shard & self.made_from([duplicates])
        return [by_shard - after, after]

    def made_from(self, assets: Iterable[str]) -> set[str]:
        """The assets and everything that is made from them."""
        selection = dg.AssetSelection.assets(*assets).downstream().resolve(self._graph)
        return {key.to_user_string() for key in selection & self._graph.materializable_asset_keys}

    def missing(self, assets: Container[str]) -> list[str]:
        """What the engines of `assets` need and this machine lacks, a line each with the command that gets it."""
        made = stage_assets(self._settings)
        wanted = [asset for asset in made if any(stage.table.name in assets for stage in asset.stages)]
        return missing(need for asset in wanted for need in asset.needs)

    def require(self, assets: Container[str]) -> None:
        """Raises EngineUnavailable that names all that `missing` finds."""
        if missing := self.missing(assets):
            raise EngineUnavailable("\n".join(("nothing was begun, for want of:", *missing)))

    def register(self, config: dict[str, Any]) -> bool:
        """Materialize `source_files` with the asset's own config."""
        return self._execute([SOURCE_FILES], None, {"ops": {"source_files": {"config": config}}}, {})

    def shard(self, shard: str, assets: Iterable[str], retry_failed: bool = False) -> bool:
        """Materialize the partitioned ones of `assets` for one shard."""
        keys = [key for key in map(dg.AssetKey, assets) if key not in WHOLE]
        if not keys:  # which Dagster would take for all
            return True
        return self._execute(keys, shard, {}, {RETRY_TAG: "true"} if retry_failed else {})

    def duplicates(self) -> list[str]:
        """Materialize `duplicates`; returns the shards whose rows it changed."""
        done = self._execute([DUPLICATES], None, {}, {})
        return list(self.outcome.materialized[-1][2]["shards_changed"]) if done else []

    def prompts(self, name: str, config: dict[str, Any], retry_failed: bool = False) -> bool:
        """Register a prompt file under `name` with the config of `prompts`, and materialize `beautified_prompts`."""
        self.instance.add_dynamic_partitions(str(PROMPT_FILES.name), [name])
        keys = [dg.AssetKey(asset) for asset in OF_PROMPTS]
        tags = {RETRY_TAG: "true"} if retry_failed else {}
        return self._execute(keys, name, {"ops": {"prompts": {"config": config}}}, tags)

    def release(self, assets: Container[str] = ("training_set", "release_report")) -> bool:
        """Materialize `training_set` and its report, those of them that are among `assets`."""
        return self._execute([key for key in RELEASE if key.to_user_string() in assets], None, {}, {})

    def shards(self) -> Sequence[str]:
        return self.instance.get_dynamic_partitions(str(SHARDS.name))

    def _execute(
        self, keys: list[dg.AssetKey], shard: str | None, config: dict[str, Any], tags: dict[str, str]
    ) -> bool:
        """Whether every step succeeded. Raises KeyboardInterrupt when the user interrupted one."""
        run_id = str(uuid.uuid4())
        self.instance.add_event_listener(run_id, self._tell)
        result = self._job.execute_in_process(
            instance=self.instance,
            run_id=run_id,
            asset_selection=keys,
            partition_key=shard,
            run_config={**config, **_QUIET},
            tags=tags,
            raise_on_error=False,
        )
        for event in result.all_events:
            if event.is_step_materialization:
                made = event.step_materialization_data.materialization
                metadata = {name: value.value for name, value in made.metadata.items()}
                self.outcome.materialized.append((made.asset_key.to_user_string(), shard, metadata))
            elif event.is_job_failure and event.job_failure_data.failure_reason is not RunFailureReason.STEP_FAILURE:
                if event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION:  # between steps
                    raise KeyboardInterrupt
                self.outcome.step_failures.append(event.message or "the run failed without a message")
            elif event.is_step_failure:
                error = event.step_failure_data.error
                if error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
                    raise KeyboardInterrupt
                self.outcome.step_failures.append(_why(event, result.all_events))
        return bool(result.success)

    def _tell(self, entry: dg.EventLogEntry) -> None:
        if self._watch and entry.dagster_event:
            self._watch(entry.dagster_event)


def _why(event: dg.DagsterEvent, events: Iterable[dg.DagsterEvent]) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is not None and error.cls_name == "DagsterAssetCheckFailedError":
        _, *checks = error.message.strip().splitlines()
        of_step = [other for other in events if other.step_key == event.step_key]
        evaluated = [e for e in of_step if e.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION]
        found = [e.asset_check_evaluation_data for e in evaluated]
        reasons = [check.description for check in found if check.blocking and not check.passed and check.description]
        why = "; ".join(reasons) or "its failed rows say why"
        return f"{', '.join(checks)}: this check failed, so nothing made from it was refreshed; {why}"
    return f"{event.step_key}: {error.message.strip() if error else 'failed without a message'}"
