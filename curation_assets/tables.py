"""The schema of every table: columns, types, units, and which columns are bookkeeping.

A bookkeeping column (run, times, attempts, tokens, paths) may differ between two runs over the same input; it
enters neither fingerprints nor data versions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

TIMESTAMP = pl.Datetime("us", "UTC")

Row = dict[str, Any]
"""A table's row by column."""
Scan = Callable[[str], pl.LazyFrame]
"""The rows of a table, of all shards, with every column of its schema; a table that isn't there has none."""


@dataclass(frozen=True)
class Column:
    dtype: pl.DataType | type[pl.DataType]
    description: str
    bookkeeping: bool = False


def col(dtype: pl.DataType | type[pl.DataType], description: str) -> Column:
    return Column(dtype, description)


def note(dtype: pl.DataType | type[pl.DataType], description: str) -> Column:
    return Column(dtype, description, bookkeeping=True)


BOOKKEEPING: Mapping[str, Column] = {
    "shard": col(pl.String, "partition the row belongs to"),
    "input_fingerprint": note(pl.String, "names everything the row was made from: inputs, settings, engine, logic"),
    "error": note(pl.String, "why there is no result: cause and remedy; null when there is one"),
    "error_kind": col(pl.String, "input, transient (tried again next time) or blocked (the parent failed)"),
    "run_id": note(pl.String, "Dagster run that computed the row"),
    "computed_at": note(TIMESTAMP, "when the row was computed"),
}


@dataclass(frozen=True)
class Table:
    """`key` columns identify a row; `stage_columns` are the stage's own, in order."""

    name: str
    row_is: str
    key: tuple[str, ...]
    stage_columns: Mapping[str, Column] = field(repr=False)

    @property
    def columns(self) -> dict[str, Column]:
        return {**self.stage_columns, **BOOKKEEPING}

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema({name: column.dtype for name, column in self.columns.items()})

    @property
    def data_columns(self) -> list[str]:
        """The columns a data version is made of."""
        return [name for name, column in self.columns.items() if not column.bookkeeping]


_SPAN = {
    "start_frame": col(pl.Int64, "first frame, counted in presentation order from 0"),
    "end_frame": col(pl.Int64, "first frame after the span"),
    "start_s": col(pl.Float64, "s from the stream's first frame to the span's"),
    "end_s": col(pl.Float64, "s from the stream's first frame to the end of the span's last"),
    "start_pts": col(pl.Int64, "presentation timestamp of the first frame, in the stream's time base"),
    "end_pts": col(pl.Int64, "presentation timestamp at which the last frame ends"),
    "frame_pts": col(
        pl.List(pl.Int64),
        "timestamp of every frame; null where frame k of n lies at start_pts + k * (end_pts - start_pts) / n exactly",
    ),
}

_SCORED_BY = {
    "engine": col(pl.String, "engine of the score; bounds name it"),
    "model": col(pl.String, "model or algorithm"),
    "revision": col(pl.String, "version of weights or library"),
    "unit": col(pl.String, "unit of the main score"),
    "sampling": col(pl.String, "which frames or pairs were looked at"),
}

_CROPPED = {
    "crop_box": col(
        pl.List(pl.Int64),
        "the part of the source's picture that was looked at: left, top, width, height, px; null: all of it",
    ),
}

SOURCE_FILES = Table(
    "source_files",
    "a file of a source, once per content it had",
    ("source", "path", "video_id"),
    {
        "source": col(pl.String, "name of the source"),
        "path": col(pl.String, "path relative to the source, or as listed"),
        "source_uri": col(pl.String, "where to open it: absolute path or URL"),
        "size_bytes": col(pl.Int64, "bytes"),
        "modified_at": note(TIMESTAMP, "modification time when it was hashed"),
        "video_id": col(pl.String, "first 16 hex digits of the SHA-256 of the bytes (of the path if unreadable)"),
        "media_type": col(pl.String, "video or image, by the path's ending"),
        "listing": col(pl.String, "JSON object of the listing's other columns; null without a listing"),
        "first_seen": note(TIMESTAMP, "first registration of this path with this content"),
        "missing_since": note(
            TIMESTAMP, "when a scan no longer found this content at this path; null while it is there"
        ),
        "missing": col(pl.Boolean, "whether missing_since is set"),
        "etag": note(pl.String, "an object store's own name of the content when it was hashed; null for a file"),
    },
)

RAW_VIDEOS = Table(
    "raw_videos",
    "a source video or image and what probing found, or why it can't be read",
    ("video_id",),
    {
        "video_id": col(pl.String, "content id of the video"),
        "source": col(pl.String, "source of its first path"),
        "path": col(pl.String, "its first path that exists, relative to the source"),
        "source_uri": col(pl.String, "where to open it"),
        "missing": col(pl.Boolean, "no path of it exists any more"),
        "listing": col(pl.String, "JSON object of the listing's other columns"),
        "size_bytes": col(pl.Int64, "bytes"),
        "media_type": col(pl.String, "video or image"),
        "container": col(pl.String, "container format as FFmpeg names it; of an image its format"),
        "codec": col(pl.String, "codec of the chosen video stream; of an image its format"),
        "pixel_format": col(pl.String, "pixel format of the chosen stream; of an image Pillow's mode"),
        "bit_depth": col(pl.Int64, "bits of a component; null for an image"),
        "stream_index": col(pl.Int64, "index of the chosen video stream: default disposition first, then the largest"),
        "video_stream_count": col(pl.Int64, "video streams in the file, cover pictures excluded"),
        "width": col(pl.Int64, "display width, px: rotation and sample aspect ratio applied"),
        "height": col(pl.Int64, "display height, px"),
        "coded_width": col(pl.Int64, "stored width, px"),
        "coded_height": col(pl.Int64, "stored height, px"),
        "rotation_deg": col(
            pl.Int64, "clockwise rotation to show it upright: 0, 90, 180 or 270; of a mirrored image after mirroring"
        ),
        "sample_aspect_ratio": col(pl.String, "width:height of a stored pixel, as a fraction"),
        "frame_rate": col(pl.String, "exact average frame rate, 1/s, as a fraction; null for an image"),
        "frames_per_s": col(pl.Float64, "the same as a number"),
        "frame_count": col(pl.Int64, "frames, counted from packets"),
        "duration_s": col(pl.Float64, "s from the first frame to the end of the last"),
        "start_time_s": col(pl.Float64, "s, the first frame's timestamp in the container"),
        "time_base": col(pl.String, "s per timestamp unit of the stream, as a fraction"),
        "timestamps": col(
            pl.String, "stream; generated where the stream has none that can be used; none: an image, at 0 for 0 s"
        ),
        "is_variable_frame_rate": col(pl.Boolean, "frame durations differ by more than the time base's rounding"),
        "colour_space": col(pl.String, "matrix used for conversion to RGB: bt601, bt709, bt2020 or rgb"),
        "colour_range": col(pl.String, "limited or full"),
        "audio_stream_index": col(pl.Int64, "index of the audio stream taken; null without audio"),
        "audio_codec": col(pl.String, "its codec"),
    },
)

SCENES = Table(
    "scenes",
    "a shot: the frames between two cuts; an image is one",
    ("video_id", "scene_index"),
    {
        "video_id": col(pl.String, "video the shot is of"),
        "scene_index": col(pl.Int64, "counted from 0"),
        **_SPAN,
        "ends_at_cut": col(pl.Boolean, "false for the last scene, which ends with the video"),
        "detector": col(pl.String, "detector that found the cuts"),
    },
)

DROP_RULES = ("source too small", "too short", "too long", "trim", "remainder")

CLIPS = Table(
    "clips",
    "a span of a shot: a clip, or a part that was dropped with the reason; an image is one, from 0 to 0",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "<video_id>-<start_ms:08d>-<end_ms:08d>"),
        "video_id": col(pl.String, "video the clip is of"),
        "scene_index": col(pl.Int64, "scene the span lies in"),
        "part_index": col(pl.Int64, "span within the scene, counted from 0"),
        **_SPAN,
        "frame_count": col(pl.Int64, "frames"),
        "duration_s": col(pl.Float64, "end_s - start_s"),
        "dropped": col(pl.String, f"'<rule>: <why>', of the rules {', '.join(DROP_RULES)}; null: kept"),
    },
)

FRAMES = Table(
    "frames",
    "a clip's nine sampled frames, or an image's one picture, in a stored zip of JPEGs",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "video_id": col(pl.String, "its video"),
        "frame_indices": col(pl.List(pl.Int64), "within the clip: floor(i*N/8) for i = 0..7, and N-1; of an image 0"),
        "frame_times_s": col(pl.List(pl.Float64), "s from the clip's first frame"),
        "width": col(pl.Int64, "of the stored pictures, px, upright, square pixels"),
        "height": col(pl.Int64, "px"),
        "frames_sha256": col(pl.String, "SHA-256 of the zip file"),
        "frames_path": note(pl.String, "zip of 0.jpg .. 8.jpg, relative to the home"),
        "frames_size_bytes": note(pl.Int64, "bytes of the zip"),
    },
)

CLIP_CROPS = Table(
    "clip_crops",
    "a clip: what is cut off its picture, or why nothing is",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "crop_box": col(
            pl.List(pl.Int64),
            "what stays: left, top, width, height, px of the source's upright picture of square pixels, all even; "
            "null: all of it",
        ),
        "frames_box": col(pl.List(pl.Int64), "what of the stored frames lies within it, px of those"),
        "area_share": col(pl.Float64, "share of the picture without borders and subtitles, 0..1, cut off or not"),
        "reason": col(pl.String, "letterbox, pillarbox, subtitles; or why the picture stays whole"),
    },
)

MOTION_SCORES = Table(
    "motion_scores",
    "a clip and a motion engine",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        **_SCORED_BY,
        "motion_score": col(
            pl.Float64, "mean over pairs of the mean flow magnitude, 5 decimals; of the whole picture, cropped or not"
        ),
        "motion_min": col(pl.Float64, "smallest pair"),
        "motion_max": col(pl.Float64, "largest pair"),
        "motion_p90": col(pl.Float64, "90th percentile over pairs, linear interpolation"),
        "pair_scores": col(pl.List(pl.Float64), "one a pair"),
        "pair_frames": col(pl.List(pl.List(pl.Int64)), "the two frame indices of each pair, within the clip"),
        "camera_motion": col(
            pl.String,
            "static, pan left or right, tilt up or down, zoom in or out, roll left or right, shake or mixed, as "
            "the camera moves; null: it can't be told, or the engine isn't dis",
        ),
        "camera_pan": col(pl.Float64, "to the right, percent of the diagonal a second, median over pairs"),
        "camera_tilt": col(pl.Float64, "up, likewise"),
        "camera_zoom": col(pl.Float64, "in, percent a second (100 x logarithm of the scale), median over pairs"),
        "camera_roll": col(pl.Float64, "clockwise, degrees a second, median over pairs"),
        "camera_shake": col(
            pl.Float64,
            "how far a pair's pan and tilt lie from the mean of the pairs before and after it, percent of the "
            "diagonal a second, median over pairs; null below three pairs",
        ),
        "camera_share": col(pl.Float64, "share of the picture's texture that moves with the camera, median, 0..1"),
    },
)

SEMANTIC_SCORES = Table(
    "semantic_scores",
    "a clip and an image encoder",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        **_SCORED_BY,
        "semantic_score": col(pl.Float64, "smallest cosine of neighbouring frames' features, -1..1"),
        "semantic_mean": col(pl.Float64, "mean cosine of neighbours, -1..1"),
        "pair_scores": col(pl.List(pl.Float64), "cosine of each pair of neighbours"),
        **_CROPPED,
    },
)

CLIP_EMBEDDINGS = Table(
    "clip_embeddings",
    "a clip and an image encoder: what the clip shows, as a vector",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        "engine": _SCORED_BY["engine"],
        "model": _SCORED_BY["model"],
        "revision": _SCORED_BY["revision"],
        "sampling": col(pl.String, "which frames were looked at"),
        "embedding": col(pl.List(pl.Float32), "mean of the frames' unit vectors, made a unit vector again"),
        "length": col(pl.Float64, "of that mean before, 0..1; 1 where all frames look the same"),
        **_CROPPED,
    },
)

AESTHETIC_SCORES = Table(
    "aesthetic_scores",
    "a clip and an aesthetic engine",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        **_SCORED_BY,
        "aesthetic_score": col(pl.Float64, "mean over frames"),
        "frame_scores": col(pl.List(pl.Float64), "one a frame"),
        **_CROPPED,
    },
)

TEXT_SCORES = Table(
    "text_scores",
    "a clip and a text reader",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        **_SCORED_BY,
        "text_score": col(pl.Float64, "mean over frames of text's area over the frame's; craft's sum may be above 1"),
        "frame_scores": col(pl.List(pl.Float64), "one a frame"),
        "texts": col(pl.List(pl.String), "distinct recognised strings in reading order; craft reads none"),
        **_CROPPED,
    },
)

TECHNICAL_SCORES = Table(
    "technical_scores",
    "a clip's measured faults",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        **_SCORED_BY,
        "technical_score": col(pl.Float64, "1 - the largest of black, white, border and frozen share, 0..1"),
        "frame_scores": col(pl.List(pl.Float64), "per frame 1 - the largest of its black, white and border share"),
        "sharpness": col(
            pl.Float64, "median over frames of the Laplacian's variance at 512 px, inside borders, 0..; low is blurred"
        ),
        "luma": col(pl.Float64, "mean luma over frames, 0..255"),
        "black_share": col(pl.Float64, "share of pixels with luma below 16, mean over frames, 0..1"),
        "white_share": col(pl.Float64, "share of pixels with luma above 239, mean over frames, 0..1"),
        "border_share": col(pl.Float64, "share of the picture in flat borders that all frames have, 0..1"),
        "frozen_share": col(pl.Float64, "share of neighbouring frames without visible change, 0..1; null for an image"),
        "colour": col(pl.Float64, "mean chroma (distance from grey in CIELAB) over frames, 0..; near 0 is grey"),
        **_CROPPED,
    },
)

SAFETY_SCORES = Table(
    "safety_scores",
    "a clip and a classifier of unsafe content",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        **_SCORED_BY,
        "safety_score": col(pl.Float64, "of the least safe frame, 0..1"),
        "frame_scores": col(pl.List(pl.Float64), "1 - the probability that it is unsafe, one a frame"),
        **_CROPPED,
    },
)

WATERMARK_SCORES = Table(
    "watermark_scores",
    "a clip and what is laid over its picture",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        **_SCORED_BY,
        "watermark_score": col(
            pl.Float64, "share of the picture in edges of what stands still while all around changes, 0..1"
        ),
        "watermark_box": col(
            pl.List(pl.Int64),
            "the largest such thing: left, top, width, height, px of the frame as cropped; null: none",
        ),
        **_CROPPED,
    },
)

_MEASUREMENT = pl.Struct(
    {
        "filter": pl.String,
        "engine": pl.String,
        "value": pl.Float64,
        "min": pl.Float64,
        "max": pl.Float64,
        "margin": pl.Float64,
        "passed": pl.Boolean,
    }
)

_DECISION = {
    "clip_id": col(pl.String, "clip"),
    "video_id": col(pl.String, "its video"),
    "selected": col(pl.Boolean, "whether every filter for its media type passed"),
    "reasons": col(pl.List(pl.String), "'<filter>: <why, with figure and bound>'; empty when selected"),
    "measurements": col(
        pl.List(_MEASUREMENT),
        "every filter with its score, bounds and margin (distance to the nearest bound, negative when outside); "
        "`passed` is null where the filter isn't for the clip's media type",
    ),
}

CLIP_SELECTION = Table("clip_selection", "a clip: selected by its scores or not, and why", ("clip_id",), _DECISION)

_GENERATED_BY = {
    "engine": col(pl.String, "what wrote the text"),
    "model": col(pl.String, "model"),
    "revision": col(pl.String, "version of weights or library"),
    "prompt_sha256": col(pl.String, "hash of the prompt or template"),
    "attempts": note(pl.Int64, "requests made for this row"),
    "finish_reason": note(pl.String, "why the server stopped"),
    "prompt_tokens": note(pl.Int64, "tokens sent, all attempts"),
    "completion_tokens": note(pl.Int64, "tokens received, all attempts"),
    "seconds": note(pl.Float64, "s spent on the row"),
}

CAPTIONS = Table(
    "captions",
    "a selected clip's caption",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "caption": col(pl.String, "the caption"),
        "status": col(pl.String, "ok, long (more tokens than asked for), truncated or failed"),
        "frames_sha256": col(pl.String, "hash of the frames that were described"),
        "facts": col(pl.String, "JSON object of the facts a `facts` caption was made from"),
        **_GENERATED_BY,
    },
)

REWRITTEN_CAPTIONS = Table(
    "rewritten_captions",
    "a selected clip's rewritten caption",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "caption": col(pl.String, "the rewritten caption"),
        "status": col(pl.String, "rewritten, long (likewise), unchanged (rewriting is off) or failed"),
        "original_caption": col(pl.String, "what was rewritten"),
        "similarity": col(pl.Float64, "MiniLM cosine of both, -1..1"),
        "last_answer": col(pl.String, "failed only: the model's last answer"),
        **_GENERATED_BY,
    },
)

ALIGNMENT_SCORES = Table(
    "alignment_scores",
    "a selected clip and how well its final caption fits",
    ("clip_id", "engine"),
    {
        "clip_id": col(pl.String, "clip"),
        **_SCORED_BY,
        "alignment_score": col(pl.Float64, "how well caption and pictures fit, in the engine's unit"),
        "frame_scores": col(pl.List(pl.Float64), "one a frame"),
        "caption": col(pl.String, "the caption that was scored"),
        **_CROPPED,
    },
)

SAMPLE_SELECTION = Table(
    "sample_selection",
    "a selected clip: in the manifest or not, and why",
    ("clip_id",),
    {**_DECISION, "caption": col(pl.String, "the final caption")},
)

CLIP_HASHES = Table(
    "clip_hashes",
    "a clip's frames as hashes that survive another encoding",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "frames_sha256": col(pl.String, "hash of the stored frames"),
        "frame_count": col(pl.Int64, "of the clip, not of the stored frames"),
        "frame_hashes": col(pl.List(pl.Int64), "256 bits a stored frame, as four integers; null: too plain"),
    },
)

CLIP_NEIGHBOURS = Table(
    "clip_neighbours",
    "a clip and those like it, of any shard, that were there when it was looked at",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "frames_sha256": col(pl.String, "hash of its stored frames"),
        "neighbours": col(
            pl.List(
                pl.Struct(
                    {"clip_id": pl.String, "frames_sha256": pl.String, "kind": pl.String, "similarity": pl.Float64}
                )
            ),
            "exact, perceptual or semantic; which of two clips names the other depends on which was there first",
        ),
    },
)

DUPLICATES = Table(
    "duplicates",
    "a clip that was compared with all others, and which one is kept in its place",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "duplicate_of": col(pl.String, "a selected clip that is kept; null: this one is no duplicate, or not selected"),
        "kind": col(pl.String, "exact, perceptual or semantic"),
        "similarity": col(pl.Float64, "1 for exact; perceptual: share of frames that are the same; semantic: cosine"),
    },
)

CLIP_FILES = Table(
    "clip_files",
    "an encoded clip, or an image's copy",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "file_path": note(pl.String, "MP4 or image, relative to the home"),
        "file_size_bytes": note(pl.Int64, "bytes"),
        "width": col(pl.Int64, "px, upright, square pixels, even where the pixel format needs it"),
        "height": col(pl.Int64, "px"),
        "frame_count": col(pl.Int64, "frames, counted in the file"),
        "duration_s": col(pl.Float64, "s"),
        "frames_per_s": col(pl.Float64, "frame_count / duration_s; null for an image"),
        "video_codec": col(pl.String, "codec of the file; of an image its format"),
        "audio_codec": col(pl.String, "null without audio"),
        "first_frame_psnr_db": col(pl.Float64, "first frame against the source's, at most 100"),
        "last_frame_psnr_db": col(pl.Float64, "last frame against the source's, at most 100"),
        "crop_box": col(
            pl.List(pl.Int64), "the part of the source's picture it shows: left, top, width, height, px; null: all"
        ),
    },
)

TRAINING_MANIFEST = Table(
    "training_manifest",
    "a training sample",
    ("clip_id",),
    {
        "clip_id": col(pl.String, "clip"),
        "file_path": col(pl.String, "the clip's file, relative to the home"),
        "text": col(pl.String, "final caption"),
        "type": col(pl.String, "video or image"),
        "width": col(pl.Int64, "of the file, px"),
        "height": col(pl.Int64, "px"),
        "video_id": col(pl.String, "source video"),
        "source": col(pl.String, "source it was registered from"),
        "source_uri": col(pl.String, "file it was cut from"),
        "start_s": col(pl.Float64, "s in the source"),
        "end_s": col(pl.Float64, "s in the source"),
        "duration_s": col(pl.Float64, "s of the file"),
        "frame_count": col(pl.Int64, "frames of the file"),
        "frames_per_s": col(pl.Float64, "1/s; null for an image"),
        "motion_score": col(pl.Float64, "of the first motion engine; null for an image"),
        "camera_motion": col(pl.String, "likewise; also null where it can't be told"),
        "semantic_score": col(pl.Float64, "of the first image encoder; null for an image"),
        "aesthetic_score": col(pl.Float64, "of the first aesthetic engine; null when off"),
        "text_score": col(pl.Float64, "of the first text reader"),
        "technical_score": col(pl.Float64, "of the first technical engine"),
        "safety_score": col(pl.Float64, "of the first classifier of unsafe content; null when off"),
        "watermark_score": col(pl.Float64, "of the first watermark engine; null when off, and for an image"),
        "alignment_score": col(pl.Float64, "of the first alignment engine; null when off"),
        "original_caption": col(pl.String, "before rewriting"),
        "caption_engine": col(pl.String, "what wrote the original caption"),
        "rewriting_engine": col(pl.String, "what rewrote it"),
        "caption_tokens": col(pl.Int64, "estimated tokens of text"),
        "warnings": col(pl.List(pl.String), "what the trainer would stumble over"),
        "crop_box": col(
            pl.List(pl.Int64), "the part of the source's picture it shows: left, top, width, height, px; null: all"
        ),
        "listing": col(pl.String, "JSON object of the source listing's extra columns"),
    },
)

GAP = pl.Struct({"shard": pl.String, "table": pl.String, "kind": pl.String, "count": pl.Int64})

TRAINING_SET = Table(
    "training_set",
    "a release: all shards' samples, exported, with the table versions they came from",
    ("release",),
    {
        "release": col(pl.String, "r<number>-<8 hex of the samples>"),
        "samples": col(pl.Int64, "rows"),
        "samples_sha256": col(pl.String, "hash of the samples"),
        "settings_hash": col(pl.String, "settings in force"),
        "table_versions": col(pl.List(pl.Struct({"table": pl.String, "version": pl.Int64})), "Delta versions read"),
        "warnings": col(pl.Int64, "samples with a warning"),
        "exports": note(pl.List(pl.String), "files written, relative to the home"),
        "export_sha256": note(pl.List(pl.String), "SHA-256 of each file, in the order of exports"),
        "paths_from": note(pl.String, "what file_path starts with in the exports; null: relative to the home"),
        "written_by": note(pl.String, "library and version that wrote the exports"),
        "settings": note(pl.String, "JSON object of the settings that can change a result"),
        "gaps": note(pl.List(GAP), "what the release lacks: inputs without result, rows out of date, failures"),
        "retired_at": note(TIMESTAMP, "since when the versions may be deleted; null: they are kept"),
        "forgotten": note(pl.List(pl.String), "videos taken down since; null or empty: none"),
    },
)

EXCLUSIONS = Table(
    "exclusions",
    "a person's decision to leave a video or a clip out",
    ("excluded_id",),
    {
        "excluded_id": col(pl.String, "video_id or clip_id"),
        "kind": col(pl.String, "video or clip"),
        "video_id": col(pl.String, "the video, or the clip's video"),
        "reason": col(pl.String, "why, in the person's words"),
        "excluded_on": col(pl.String, "day of the decision, YYYY-MM-DD, UTC"),
        "excluded_by": note(pl.String, "account that gave the command; null where the system names none"),
    },
)

TAKEDOWNS = Table(
    "takedowns",
    "a video that was taken down and must not come back",
    ("video_id",),
    {
        "video_id": col(pl.String, "content id of the video; nothing else of it is kept"),
        "reason": col(pl.String, "why, in the person's words; null where none was given"),
        "taken_down_on": col(pl.String, "day of the first request, YYYY-MM-DD, UTC"),
    },
)

_PROMPT = {
    "prompt_id": col(pl.String, "<first 16 hex digits of prompt_sha256>-<occurrence>"),
    "prompt_sha256": col(pl.String, "SHA-256 of the prompt's text"),
    "occurrence": col(pl.Int64, "0 for the first time the text stands in the file"),
    "position": col(pl.Int64, "row of the file, counted from 1"),
    "prompt": col(pl.String, "the prompt as given; null where the row has none"),
}

PROMPTS = Table("prompts", "a row of a registered prompt file", ("prompt_sha256", "occurrence"), _PROMPT)

BEAUTIFIED_PROMPTS = Table(
    "beautified_prompts",
    "a prompt of a prompt file",
    ("prompt_sha256", "occurrence"),
    {
        **_PROMPT,
        "beautified_prompt": col(pl.String, "in the style of the training captions"),
        "status": col(pl.String, "ok, unchanged (beautifying is off) or failed"),
        "last_answer": col(pl.String, "failed only: the model's last answer"),
        "template_sha256": col(pl.String, "hash of the template"),
        **{name: column for name, column in _GENERATED_BY.items() if name != "prompt_sha256"},
    },
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        SOURCE_FILES,
        RAW_VIDEOS,
        SCENES,
        CLIPS,
        FRAMES,
        CLIP_CROPS,
        MOTION_SCORES,
        SEMANTIC_SCORES,
        CLIP_EMBEDDINGS,
        AESTHETIC_SCORES,
        TEXT_SCORES,
        TECHNICAL_SCORES,
        SAFETY_SCORES,
        WATERMARK_SCORES,
        CLIP_SELECTION,
        CLIP_HASHES,
        CLIP_NEIGHBOURS,
        DUPLICATES,
        CAPTIONS,
        REWRITTEN_CAPTIONS,
        ALIGNMENT_SCORES,
        SAMPLE_SELECTION,
        CLIP_FILES,
        TRAINING_MANIFEST,
        TRAINING_SET,
        EXCLUSIONS,
        TAKEDOWNS,
        PROMPTS,
        BEAUTIFIED_PROMPTS,
    )
}
