"""A few clips of each source for people to look at: chance, but the same ones each time, also when others come.

A clip's place follows from its id and the seed alone. polars' own hashes may change with its version.
"""

import hashlib
import sys

import polars as pl

from curation_assets import open_tables

CLIPS_A_SOURCE = 3
SEED = "look at these"


def place(clip_id: str) -> str:
    return hashlib.sha256(f"{SEED} {clip_id}".encode()).hexdigest()


def main(home: str) -> None:
    samples = open_tables(home).scan("training_manifest").select("source", "clip_id", "file_path").collect()
    placed = samples.with_columns(place=pl.col("clip_id").map_elements(place, pl.String))
    chosen = placed.sort("source", "place").group_by("source", maintain_order=True).head(CLIPS_A_SOURCE)
    for source, clip_id, file_path, _ in chosen.rows():
        print(source, clip_id, file_path)


if __name__ == "__main__":
    main(sys.argv[1])
