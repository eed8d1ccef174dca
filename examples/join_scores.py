"""Do the scores tell different things? One row a clip with all of them, and how their ranks correlate."""

import sys

import polars as pl

from curation_assets import open_tables

ENGINES = {"motion": "dis", "semantic": "efficientnet_lite0", "text": "rapidocr", "technical": "opencv"}


def main(home: str) -> None:
    tables = open_tables(home)
    clips = tables.scan("clip_selection").select("clip_id", "selected")
    for slot, engine in ENGINES.items():
        scores = tables.scan(f"{slot}_scores").filter(engine=engine).select("clip_id", **{slot: f"{slot}_score"})
        clips = clips.join(scores, on="clip_id", how="left")
    joined = clips.sort("clip_id").collect()
    correlations = [
        joined.drop_nulls().select(
            pl.lit(slot).alias("ranks of"),
            *(pl.corr(slot, other, method="spearman").round(2).alias(other) for other in ENGINES),
        )
        for slot in ENGINES
    ]
    with pl.Config(fmt_str_lengths=40, tbl_hide_column_data_types=True):
        print(joined, pl.concat(correlations), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
