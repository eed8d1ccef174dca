"""Brings one shard of a stage's table up to date."""

import time
from collections.abc import Sequence

from curation_assets.incremental.committing import Report, commit
from curation_assets.incremental.computing import compute_pending
from curation_assets.incremental.context import Context
from curation_assets.incremental.planning import planned
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.staging import Results, Staging
from curation_assets.incremental.work import Compute
from resources.delta_store import Conflict
from resources.errors import TransientError
from resources.spent import Spent

MAX_CONFLICTS = 20


def refresh(stages: Sequence[Stage], shard: str, compute: Compute, context: Context) -> list[Report]:
    """Bring one shard of the stages' tables up to date; stages given together share one computation of a unit.

    Raises what `compute` raises for the whole shard (an engine that can't start); what was finished until then is
    in staging. Failures of single units are rows.
    """
    started = time.monotonic()
    finished: dict[str, Results] = {stage.table.name: {} for stage in stages}
    reports: dict[str, Report] = {}
    spent = Spent()
    staging = [Staging(context.files, stage.table, shard) for stage in stages]
    for _ in range(MAX_CONFLICTS):
        plans = [planned(stage, shard, context, area) for stage, area in zip(stages, staging, strict=True)]
        for plan, area in zip(plans, staging, strict=True):
            if plan.ready:
                area.renew()
            plan.take(finished[plan.stage.table.name])
        with spent.collected():
            compute_pending(plans, shard, compute, context, staging, finished)
        try:
            for plan, area in zip(plans, staging, strict=True):
                name = plan.stage.table.name
                if name not in reports:
                    reports[name] = commit(plan, shard, context, finished[name], started)
                    area.clear()
        except Conflict:
            continue
        for report in reports.values():
            report.seconds, report.spent = time.monotonic() - started, spent
        return [reports[stage.table.name] for stage in stages]
    raise TransientError(
        f"{stages[0].table.name} {shard}: other writers changed this shard {MAX_CONFLICTS} times while it was being "
        "refreshed; stop the other runs of this shard and run it again"
    )
