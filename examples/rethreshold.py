"""How many clips would be selected if the least motion were another, and all else as it is?"""

import sys

import polars as pl

from curation_assets import open_tables

ENGINE = "dis"
LEAST_MOTION = (0.5, 1.0, 2.0, 5.0, 10.0)


def main(home: str) -> None:
    clips = open_tables(home).scan("clip_selection").collect()
    of_motion = pl.element().str.starts_with("motion: ")
    no_other_reason = pl.col("reasons").list.eval(pl.element().filter(~of_motion)).list.len() == 0
    motion = (
        clips.select("clip_id", "measurements", others_pass=no_other_reason)
        .explode("measurements")
        .unnest("measurements")
        .filter(filter="motion", engine=ENGINE)
    )
    not_for_it = pl.col("passed").is_null()  # an image has no motion
    not_too_fast = pl.col("max").is_null() | (pl.col("value") <= pl.col("max"))
    for least in LEAST_MOTION:
        passes = not_for_it | ((pl.col("value") >= least) & not_too_fast)
        stay = motion.filter(pl.col("others_pass") & passes)
        print(f"motion of {least:>4} at least: {stay.height} of {clips.height} clips")


if __name__ == "__main__":
    main(sys.argv[1])
