"""A home with the tables that a preview reads, of any number of clips with made-up scores, in shards of 100 videos."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.simulated_home import shard_name
from curation_assets.tables import TABLES
from resources.delta_store import PARTITION, DeltaStore

VIDEOS_A_SHARD = 100
CLIPS_A_VIDEO = 20
CAPTIONED = 0.5  # share of the clips
CAPTION_WORDS = 60
SETTINGS = {"aesthetic": {"engines": ["laion_v2", "siglip_v2_5"]}}
"""Under which there are 12 filters, with a score of each clip for each."""


def make_scored_home(folder: Path, clips: int, captioned: bool, shards: int = 0) -> None:
    """The tables by the product's store, each in one commit; scores lie about the default bounds.

    `shards`: how many, in place of 100 videos each.
    """
    chance, store = np.random.default_rng(0), DeltaStore(str(folder))
    videos = -(-clips // CLIPS_A_VIDEO)
    videos_a_shard = -(-videos // shards) if shards else VIDEOS_A_SHARD
    ids = np.sort(np.array([chance.bytes(8).hex() for _ in range(videos)]))
    of_video = np.array([shard_name(number // videos_a_shard) for number in range(videos)])
    of_clip, place = np.arange(clips) // CLIPS_A_VIDEO, np.arange(clips) % CLIPS_A_VIDEO
    start_ms, length_ms = place * 10_000, chance.integers(3_000, 10_000, clips)
    spans = pl.DataFrame(
        {PARTITION: of_video[of_clip], "video_id": ids[of_clip], "start": start_ms, "end": start_ms + length_ms}
    ).with_columns(pl.col("start", "end").cast(pl.String).str.zfill(8), duration_s=pl.Series(length_ms / 1000))
    spans = spans.with_columns(clip_id=pl.concat_str("video_id", "start", "end", separator="-"))

    def write(table: str, rows: pl.DataFrame) -> None:
        schema = TABLES[table].schema
        digits = (pl.col(rows.columns[0]).hash(seed).cast(pl.String) for seed in range(3))
        now = pl.lit(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        rows = rows.with_columns(input_fingerprint=pl.concat_str(digits), computed_at=now, run_id=pl.lit("benchmark"))
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns]
        rows = rows.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        store.replace(store.open(table, schema), rows, rows[PARTITION].unique().to_list(), {"made": "for a benchmark"})

    def scores(table: str, **engines: dict[str, np.ndarray]) -> None:
        of_engines = [
            spans.select("clip_id", PARTITION, engine=pl.lit(engine), **{k: pl.Series(v) for k, v in columns.items()})
            for engine, columns in engines.items()
        ]
        write(table, pl.concat(of_engines).sort(PARTITION, "clip_id", "engine"))

    def mostly_none(share: float, spread: float) -> np.ndarray:
        return np.where(chance.random(clips) < share, 0.0, chance.beta(1, spread, clips)).round(5)

    sizes = np.array([(640, 360), (1280, 720), (1920, 1080), (3840, 2160)])[chance.integers(0, 4, videos)]
    sources = np.array(["films", "shorts", "stock"])[chance.integers(0, 3, videos)]
    about = {"video_id": ids, PARTITION: of_video, "source": sources, "width": sizes[:, 0], "height": sizes[:, 1]}
    write("raw_videos", pl.DataFrame(about))
    write("source_files", pl.DataFrame(about).select("video_id", PARTITION, "source"))
    write("clips", spans.select("clip_id", PARTITION, "video_id", "duration_s"))
    scores("motion_scores", dis={"motion_score": chance.lognormal(2, 1.3, clips).round(5)})
    scores("semantic_scores", efficientnet_lite0={"semantic_score": (1 - chance.beta(2, 6, clips)).round(5)})
    beauty = {engine: {"aesthetic_score": chance.normal(4.6, 0.7, clips)} for engine in ("laion_v2", "siglip_v2_5")}
    scores("aesthetic_scores", **beauty)
    scores("text_scores", rapidocr={"text_score": mostly_none(0.7, 30)})
    measures = {
        "sharpness": chance.lognormal(5, 1.2, clips).round(5),
        "luma": chance.normal(110, 35, clips).clip(0, 255).round(5),
        "black_share": chance.beta(1, 15, clips).round(5),
        "white_share": chance.beta(1, 15, clips).round(5),
        "border_share": mostly_none(0.8, 20),
        "frozen_share": mostly_none(0.8, 8),
        "colour": chance.lognormal(2.4, 0.8, clips).round(5),
    }
    scores("technical_scores", opencv=measures)
    if captioned:
        chosen = spans.filter(pl.Series(chance.random(clips) < CAPTIONED))
        words = np.array([chance.bytes(3).hex() for _ in range(4000)])
        texts = pl.Series([" ".join(some) for some in words[chance.integers(0, 4000, (chosen.height, CAPTION_WORDS))]])
        captions = chosen.select("clip_id", PARTITION, status=pl.lit("ok"), caption=texts)
        write("captions", captions)
        write("rewritten_captions", captions)
        aligned = pl.Series(chance.normal(0.2, 0.1, chosen.height))
        write("alignment_scores", captions.with_columns(engine=pl.lit("label_similarity"), alignment_score=aligned))
