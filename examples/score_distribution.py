"""How is each score spread, and how many clips lie outside its bounds?"""

import sys

import polars as pl

from curation_assets import open_tables

PERCENTILES = (1, 10, 50, 90, 99)


def main(home: str) -> None:
    measured = open_tables(home).scan("clip_selection").explode("measurements").unnest("measurements")
    spread = (
        measured.filter(pl.col("value").is_not_null())
        .group_by("filter", "engine", maintain_order=True)
        .agg(
            pl.len().alias("clips"),
            *(pl.col("value").quantile(p / 100, "linear").round_sig_figs(3).alias(f"p{p}") for p in PERCENTILES),
            pl.col("min", "max").first(),
            outside=pl.col("passed").not_().sum(),
        )
    )
    with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=130, tbl_hide_column_data_types=True):
        print(spread.collect())


if __name__ == "__main__":
    main(sys.argv[1])
