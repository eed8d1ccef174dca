"""`release_report`: the newest release as one HTML file to look at and to pass around."""

import time

import dagster as dg

from curation_assets.orchestration.stage_asset import OWNERS, Home, explaining, require_same_settings
from curation_assets.orchestration.step_pods import pod_tags
from curation_assets.report.page import write_report
from curation_assets.settings import Settings
from curation_assets.tables import TRAINING_SET
from curation_assets.upkeep.releases import LATEST, find_release
from curation_assets.views.metadata import numbers

REPORT = "release_report"


def report_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    @dg.asset(
        name=REPORT,
        deps=[TRAINING_SET.name],
        group_name="6_training_set",
        kinds={"html"},
        owners=OWNERS,
        code_version="1",
        op_tags=pod_tags(REPORT, settings.kubernetes),
    )
    def release_report(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[None]:
        """A page of the newest release: facts, funnel, scores with thresholds to move, clips, captions, changes.

        It lies beside the release's exports, opens without a network, and is made from the table versions that the
        release pins. `reelhouse report` makes that of any release.
        """
        require_same_settings(context, settings)
        started = time.monotonic()
        with explaining(REPORT):
            store, files = home.store(), home.files()
            report = write_report(store, files, find_release(store, LATEST))
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.path(files.url(report.path)),
                **numbers(
                    {
                        "release": report.release,
                        "size_bytes": report.size_bytes,
                        "inputs": 1,
                        "computed": int(report.is_new),
                        "reused": int(not report.is_new),
                        "seconds": round(time.monotonic() - started, 3),
                    }
                ),
            },
            data_version=dg.DataVersion(report.made_of),
        )

    return [release_report]
