"""What would the next release have that the last one, or the one named, doesn't, and the other way round?"""

import sys

import polars as pl

from curation_assets import open_tables


def main(home: str, release: str = "latest") -> None:
    tables = open_tables(home)
    then = tables.release(release).scan("training_manifest").collect()
    now = tables.scan("training_manifest").collect()
    columns = [name for name in now.columns if name not in ("run_id", "computed_at", "input_fingerprint")]
    both = now.join(then, on="clip_id", suffix="_then")
    changed = {
        name: both.filter(pl.col(name).ne_missing(pl.col(f"{name}_then"))).height
        for name in columns
        if name != "clip_id"
    }
    print(f"{then.height} samples in release {release}, {now.height} now")
    for what, here, there in (("entered", now, then), ("left", then, now)):
        print(f"{what}:", ", ".join(here.join(there, on="clip_id", how="anti")["clip_id"].sort()) or "none")
    print("changed:", ", ".join(f"{name} of {count}" for name, count in changed.items() if count) or "none")


if __name__ == "__main__":
    main(*sys.argv[1:])
