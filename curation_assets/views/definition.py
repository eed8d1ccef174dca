"""What an asset's definition shows in the Dagster UI: columns, where they come from, and the code that makes them."""

import html
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from curation_assets.incremental.stage import Stage
from curation_assets.orchestration.lineage import columns_made_from, told_by
from curation_assets.tables import Table

SOURCE_URL = "CURATION_SOURCE_URL"
ROOT = Path(__file__).parents[2]


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns; the UI takes descriptions for Markdown, where `<rule>` would be a tag."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, str(column.dtype), description=html.escape(column.description, quote=False))
            for name, column in table.columns.items()
        ]
    )


def column_lineage(stage: Stage) -> dg.TableColumnLineage:
    """A key column comes from the upstream columns of its name; any other from all that the stage reads as data."""
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(told_by(table), column) for table, column in sources]
            for name, sources in columns_made_from(stage).items()
        }
    )


def linked_to_code(definition: dg.AssetsDefinition, made_by: Callable[..., Any] | None = None) -> dg.AssetsDefinition:
    """With a link to the function that makes the assets, its own or `made_by`, below the URL of CURATION_SOURCE_URL.

    Without that variable it is the file on this machine, for an editor; with an empty one, as in the image, there is
    no link.
    """
    url = os.environ.get(SOURCE_URL)
    if url == "":
        return definition
    code = (made_by or definition.op.compute_fn.decorated_fn).__code__  # type: ignore[union-attr]  # of a decorator
    file, line = code.co_filename, code.co_firstlineno
    place = Path(file).relative_to(ROOT).as_posix()
    with warnings.catch_warnings(action="ignore", category=dg.BetaWarning):  # there is no other way to make a link
        reference = (
            dg.LocalFileCodeReference(file_path=file, line_number=line, label=place)
            if url is None
            else dg.UrlCodeReference(url=f"{url.rstrip('/')}/{place}#L{line}", label=place)
        )
        shown = {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}
    return definition.map_asset_specs(lambda spec: spec.merge_attributes(metadata=shown))
