"""`prompts`: the rows of a registered prompt file. `beautified_prompts`: what a language model makes of them."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from curation_assets.beautified_prompts.beautifying import beautifier_of, beautify_prompts, unchanged
from curation_assets.beautified_prompts.reading import COLUMN, read_prompts
from curation_assets.incremental.digests import data_version
from curation_assets.incremental.stage import Stage, blocked_by
from curation_assets.incremental.work import Done, Work
from curation_assets.language_models import language_model, named_chat, served_by, writer_settings
from curation_assets.orchestration.stage_asset import (
    OWNERS,
    Home,
    StageAsset,
    require_name,
    require_same_settings,
    stage_asset,
)
from curation_assets.orchestration.step_pods import pod_tags
from curation_assets.settings import Beautifying, Settings
from curation_assets.tables import BEAUTIFIED_PROMPTS, PROMPTS, Row
from curation_assets.tools import Tools
from curation_assets.views.definition import column_schema
from curation_assets.views.metadata import numbers, where
from curation_assets.writing import explained
from resources.delta_store import Conflict, DeltaStore
from resources.errors import InputError

GROUP = "prompts"
PROMPT_FILES = dg.DynamicPartitionsDefinition(name="prompt_files")
CARRIED = ("prompt_sha256", "occurrence", "position", "prompt")


class PromptFile(dg.Config):
    """Where the prompts are: a .csv, .json or .jsonl file, by path or URL, and the column that holds them."""

    path: str
    column: str = COLUMN


def beautified_prompt_assets(settings: Settings) -> list[StageAsset | dg.AssetsDefinition]:
    return [_prompts(settings), _beautified_prompts(settings)]


def _prompts(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=PROMPT_FILES,
        group_name=GROUP,
        kinds={"python", "deltalake"},
        owners=OWNERS,
        code_version="1",
        metadata={"dagster/column_schema": column_schema(PROMPTS), "dagster/table_name": PROMPTS.name},
        op_tags=pod_tags(PROMPTS.name, settings.kubernetes),
    )
    def prompts(context: dg.AssetExecutionContext, config: PromptFile, home: Home) -> dg.MaterializeResult[None]:
        """One row is a row of a registered prompt file; registering a name again takes the file as it is then."""
        require_same_settings(context, settings)
        require_name(context.partition_key)
        try:
            rows = read_prompts(config.path, config.column)
            version, data = register(rows, context.partition_key, home.store(), context.run.run_id)
        except (InputError, Conflict) as failure:
            raise dg.Failure(f"prompts {context.partition_key}: {failure}", allow_retries=False) from failure
        failed = sum(row["error"] is not None for row in rows)
        counts = {"inputs": len(rows), "computed": len(rows) - failed, "failed": failed}
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": dg.MetadataValue.int(len(rows)),
                **numbers(counts),
                **where(home.store(), PROMPTS, version),
            },
            data_version=dg.DataVersion(data),
        )

    return prompts


def register(rows: list[Row], file: str, store: DeltaStore, run_id: str) -> tuple[int, str]:
    """Make `rows` the partition `file` of `prompts`; returns the Delta version and the data version.

    Raises Conflict when another run registers the same name meanwhile.
    """
    now = dt.datetime.now(dt.UTC)
    handle = store.open(PROMPTS.name, PROMPTS.schema)
    completed = [
        {
            **row,
            "shard": file,
            "input_fingerprint": row["prompt_sha256"],
            "error_kind": "input" if row["error"] else None,
            "run_id": run_id,
            "computed_at": now,
        }
        for row in rows
    ]
    after = pl.DataFrame(completed, schema=PROMPTS.schema, orient="row").sort("position")
    data = data_version(after, PROMPTS)
    if data == data_version(store.read(handle, list(PROMPTS.schema), file), PROMPTS):
        return int(handle.version()), data
    return store.replace(handle, after, file, {"run_id": run_id, "shard": file}), data


def _beautified_prompts(settings: Settings) -> StageAsset:
    section = settings.beautifying
    stage = Stage(
        BEAUTIFIED_PROMPTS,
        unit="prompt_id",
        reads={PROMPTS.name: ["prompt_id", *CARRIED]},
        units=registered_prompts,
        version="1",
        effort="call" if section.engine != "off" else "arithmetic",
        paid=True,
        settings=_settings(section),
        carried=CARRIED,
    )

    @stage_asset(stage, settings, group=GROUP, kinds={"openai"}, partitions=PROMPT_FILES)
    def beautified_prompts(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """A language model's detailed version of each prompt, in the style of the training captions."""
        if section.engine == "off":
            return tools.rows_here(lambda unit: unchanged(unit["prompt"]), work)
        return _beautify(work, section, tools)

    return beautified_prompts


def registered_prompts(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return reads[PROMPTS.name].select("prompt_id", *CARRIED, blocked_by(PROMPTS.name))


def _settings(section: Beautifying) -> dict[str, Any]:
    if section.engine == "off":
        return {"engine": "off"}
    named = named_chat(section, "beautifying")
    beautifier = beautifier_of(section, named.model or "", named.revision)
    return writer_settings(beautifier, named) | served_by(section)


def _beautify(work: Sequence[Work], section: Beautifying, tools: Tools) -> Iterator[Done]:
    """Ask once for a text that the file holds several times."""
    with_text: dict[str, list[Work]] = defaultdict(list)
    for unit in work:
        with_text[unit.values["prompt_sha256"]].append(unit)
    with language_model(section, "beautifying", tools.say) as (client, revision):
        client.check()
        beautifier = beautifier_of(section, client.model, revision)
        why = f"no answer of {section.max_attempts} was a usable description; `last_answer` holds the last one"
        distinct = (units[0].values for units in with_text.values())
        for text, outcome in beautify_prompts(distinct, client, beautifier):
            for unit in with_text[text]:
                yield Done(unit.unit, explained(outcome, why))
