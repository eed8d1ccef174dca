"""Three assets in a row under the policy, whose steps do next to nothing; a file says which of them fail."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from curation_assets.orchestration.automation import policy_sensor, with_policy
from curation_assets.orchestration.stage_asset import SHARDS, in_shards

NAMES = ("first", "second", "third")


def failures() -> Path:
    """The file with the asset and shard of each step, or "unsound" and those of each check, that is to fail."""
    return Path(os.environ["TOY_FAILURES"])


def _toy(name: str, *deps: str) -> dg.AssetsDefinition:
    check = in_shards(dg.AssetCheckSpec("sound", asset=name, blocking=True), SHARDS)

    spec = dg.AssetSpec(name, deps=deps, code_version="1")

    @dg.multi_asset(name=name, specs=[spec], partitions_def=SHARDS, check_specs=[check])
    def toy(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        step, told = f"{name} {context.partition_key}", failures().read_text().splitlines()
        if step in told:
            raise dg.Failure("as told", allow_retries=False)
        sound = dg.AssetCheckResult(check_name="sound", passed=f"unsound {step}" not in told)
        yield dg.MaterializeResult(data_version=dg.DataVersion("1"), check_results=[sound])

    return toy


@dg.definitions
def defs() -> dg.Definitions:
    assets = [_toy(name, *NAMES[:number][-1:]) for number, name in enumerate(NAMES)]
    return dg.Definitions(assets=with_policy(assets), sensors=[policy_sensor()], executor=dg.in_process_executor)
