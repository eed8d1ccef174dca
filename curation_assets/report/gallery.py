"""The clips that the page shows one by one: all of them, or a sample where there are very many."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.report.decided import Decided
from curation_assets.report.histogram import histogram
from curation_assets.report.sampling import Positions, sample
from curation_assets.upkeep.releases import TablesAt
from resources.errors import InputError
from resources.files import Files
from resources.text import one_line
from resources.thumbnails import thumbnail

MAX_CLIPS = 20_000
PICTURE_BYTES = 8_000_000
PICTURE_PX = 224
CAPTION_CHARACTERS = 1_000
NOTE_CHARACTERS = 300
READS_AT_ONCE = 16
MARKS = ("judged", "excluded", "selected", "captioned", "wordless", "chosen", "in_manifest")
"""Bits of a clip's byte in the page, the first the lowest."""


def shown(decided: Decided) -> Positions:
    """Positions of the clips in the page."""
    return sample(decided.clips.height, MAX_CLIPS)


def measures(decided: Decided, positions: Positions) -> list[dict[str, Any]]:
    """Each filter with its histogram over all clips, and the scores of those in the page."""
    return [
        {
            "name": measure.name,
            "engine": measure.engine,
            "unit": measure.unit,
            "setting": measure.setting,
            "stage": measure.table,
            "min": measure.min,
            "max": measure.max,
            "histogram": histogram({"clips": measure.scores}, (measure.min, measure.max)),
            "scores": _packed(measure.scores[positions]),
        }
        for measure in decided.measures
    ]


def clips(decided: Decided, positions: Positions, tables: TablesAt, files: Files) -> dict[str, Any]:
    """The columns of the page's clips: numbers packed, texts shortened, pictures as far as they find room."""
    rows = decided.clips[positions]
    these = pl.col("clip_id").is_in(rows["clip_id"].implode())
    for table, column in (("captions", "caption"), ("rewritten_captions", "caption"), ("frames", "frames_path")):
        found = tables.read(table, ["clip_id", pl.col(column).alias(table)], these)
        rows = rows.join(found, on="clip_id", how="left", maintain_order="left")
    videos = rows.select("video_id", "source", "path").unique("video_id").sort("video_id")
    number = {video: n for n, video in enumerate(videos["video_id"])}
    marks = sum(rows[name].to_numpy().astype(np.uint8) << bit for bit, name in enumerate(MARKS))
    originals = zip(rows["captions"], rows["rewritten_captions"], strict=True)
    return {
        "ids": rows["clip_id"].to_list(),
        "videos": [(source, one_line(path or "")) for _, source, path in videos.rows()],
        "video": _packed(np.array([number[video] for video in rows["video_id"]], np.uint32)),
        "start_s": _packed(rows["start_s"].fill_null(0).to_numpy()),
        "duration_s": _packed(rows["duration_s"].fill_null(0).to_numpy()),
        "marks": _packed(np.asarray(marks, np.uint8)),
        "texts": [_shortened(text) for text in rows["rewritten_captions"]],
        "originals": [None if original == text else _shortened(original) for original, text in originals],
        "notes": {
            n: [one_line(note, NOTE_CHARACTERS) for note in notes]
            for n, notes in enumerate(rows["notes"])
            if len(notes)
        },
        "pictures": dict(_pictures(rows, files)),
    }


def _packed(numbers: NDArray[Any]) -> str:
    """Little-endian bytes in Base64, which a typed array is made of."""
    return base64.b64encode(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()).decode()


def _shortened(text: str | None) -> str | None:
    return None if text is None else one_line(text, CAPTION_CHARACTERS)


def _pictures(rows: pl.DataFrame, files: Files) -> Iterator[tuple[int, str]]:
    """Position in the page and JPEG of as many clips as PICTURE_BYTES hold, samples and others in turn, at random."""
    order = np.random.default_rng(0).permutation(rows.height)
    order = order[rows["frames"].is_not_null().to_numpy()[order]]
    is_sample = rows["in_manifest"].to_numpy()[order]
    turns = zip_longest(order[is_sample].tolist(), order[~is_sample].tolist())
    wanted = [n for n in chain.from_iterable(turns) if n is not None]

    def picture(n: int) -> bytes:
        try:
            return thumbnail(files.read(rows["frames"][n]), longest_side_px=PICTURE_PX)
        except (InputError, FileNotFoundError):  # damaged, or no longer there: the clip is shown without
            return b""

    left = PICTURE_BYTES
    with ThreadPoolExecutor(READS_AT_ONCE) as threads:
        for first in range(0, len(wanted), READS_AT_ONCE):
            batch = wanted[first : first + READS_AT_ONCE]
            for n, jpeg in zip(batch, threads.map(picture, batch), strict=True):
                left -= len(jpeg)
                if left < 0:
                    return
                if jpeg:
                    yield n, base64.b64encode(jpeg).decode()
