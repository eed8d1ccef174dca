"""Which samples have captions with all of these words?"""

import re
import sys

import polars as pl

from curation_assets import open_tables


def main(home: str, *words: str) -> None:
    samples = open_tables(home).scan("training_manifest")
    has_all = [pl.col("text").str.contains(rf"(?i)\b{re.escape(word)}\b") for word in words or ("little", "motion")]
    found = samples.filter(has_all).sort("clip_id").select("clip_id", "text").collect()
    for clip_id, text in found.rows():
        print(f"{clip_id}  {text!r}")
    print(f"{found.height} samples")


if __name__ == "__main__":
    main(*sys.argv[1:])
