"""The same tables in SQL: by height of the source, how many clips are selected, and how fast they move?

An Arrow table of any library takes a frame as it lies in memory, and DuckDB takes any Arrow table.
"""

import sys

import duckdb
from arro3.core import Table

from curation_assets import open_tables

QUERY = """
    SELECT height, count(*) AS clips, count(*) FILTER (selected) AS selected, median(motion_score) AS motion
    FROM clip_selection JOIN raw_videos USING (video_id) LEFT JOIN motion_scores USING (clip_id)
    GROUP BY height ORDER BY height
"""


def main(home: str) -> None:
    tables = open_tables(home)
    with duckdb.connect() as database:
        for name in ("clip_selection", "raw_videos", "motion_scores"):
            database.register(name, Table.from_arrow(tables.scan(name).collect()))
        print(database.sql(QUERY))


if __name__ == "__main__":
    main(sys.argv[1])
