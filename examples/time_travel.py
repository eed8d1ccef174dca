"""How many clips were selected after each of the last changes, and how many a day ago?"""

import datetime as dt
import sys

import polars as pl

from curation_assets import open_tables
from resources.errors import InputError

TABLE = "clip_selection"


def main(home: str) -> None:
    tables = open_tables(home)

    def selected(version: int | dt.datetime) -> str:
        rows = tables.scan(TABLE, version=version).select(pl.col("selected").sum(), clips=pl.len()).collect()
        return "{} of {} clips".format(*rows.row(0))

    for version, time, shard, _ in tables.versions(TABLE).head(5).rows():
        try:
            print(f"version {version}, {time:%Y-%m-%d %H:%M:%S}, {shard or 'made'}: {selected(version)}")
        except (InputError, FileNotFoundError):
            print(f"version {version}: deleted by maintenance")
    try:
        print("a day ago:", selected(dt.datetime.now(dt.UTC) - dt.timedelta(days=1)))
    except InputError as there_is_none:
        print("a day ago:", there_is_none)


if __name__ == "__main__":
    main(sys.argv[1])
