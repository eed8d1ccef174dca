"""Which rows have no result, the most frequent cause first; and which clips miss a bound by the most?"""

import sys

import polars as pl

from curation_assets import open_tables


def main(home: str) -> None:
    tables = open_tables(home)
    own = pl.col("error").is_not_null() & (pl.col("error_kind") != "blocked")
    failures = pl.concat(
        tables.scan(name).filter(own).select("error_kind", "error", table=pl.lit(name)) for name in tables.names
    )
    counted = failures.group_by("table", "error_kind", "error").len().sort("len", "table", descending=True).collect()
    print(f"{counted['len'].sum()} rows without a result")
    for table, kind, error, count in counted.head(10).rows():
        print(f"{count} of {table}, {kind}: {error!r}")

    measured = tables.scan("clip_selection").explode("measurements").unnest("measurements")
    bound = pl.max_horizontal(pl.col("min", "max").abs())
    missed = measured.filter(~pl.col("passed")).drop_nulls("margin")  # which a clip without a score has none of
    furthest = missed.with_columns(missed_by=-pl.col("margin") / bound).sort("missed_by", descending=True)
    for row in furthest.head(10).collect().iter_rows(named=True):
        print(f"{row['clip_id']}  {row['filter']} {row['value']:.4g}, bounds {row['min']} and {row['max']}")


if __name__ == "__main__":
    main(sys.argv[1])
