"""Dagster assets that turn raw videos into training sets. Their tables, for polars: `open_tables`."""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curation_assets.inspection.querying import Tables


def open_tables(home: str | PathLike[str]) -> "Tables":
    """The tables of a home, a folder or an s3:// URL, to read with polars. Nothing in the home is changed.

    >>> tables = open_tables(home)
    >>> scores = tables.scan("motion_scores", shards="films-0000")
    >>> scores.collect_schema().names()[:2]
    ['clip_id', 'engine']

    Raises InputError where there are no tables.
    """
    from curation_assets.inspection.querying import Tables  # which takes polars and deltalake to import

    return Tables(str(home))
