"""How many hours came from each source, and what is left of them at each step?"""

import sys

import polars as pl

from curation_assets import open_tables

HOURS = pl.col("duration_s").sum() / 3600


def main(home: str) -> None:
    tables = open_tables(home)
    videos = tables.scan("raw_videos").filter(pl.col("error").is_null())
    source_of = videos.select("video_id", "source")
    clips = tables.scan("clips").filter(pl.col("dropped").is_null() & pl.col("error").is_null())
    selected = tables.scan("clip_selection").filter("selected").select("clip_id")
    steps = {
        "videos": videos,
        "clips": clips.join(source_of, on="video_id"),
        "selected": clips.join(source_of, on="video_id").join(selected, on="clip_id"),
        "samples": tables.scan("training_manifest"),
    }
    found = [rows.group_by("source").agg(hours=HOURS).with_columns(step=pl.lit(step)) for step, rows in steps.items()]
    table = pl.concat(found).collect().pivot("step", index="source", values="hours").fill_null(0).sort("source")
    for row in table.iter_rows(named=True):
        print(f"{row['source']}:", ", ".join(f"{row[step]:.4f} h of {step}" for step in steps if step in row))


if __name__ == "__main__":
    main(sys.argv[1])
