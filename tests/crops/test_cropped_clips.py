"""Everything made of a cropped clip's pictures is made of what stays of them: scores, captions, files."""

import hashlib
import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import polars as pl
import pytest

from curation_assets.captions.from_frames import sent_jpegs
from curation_assets.clip_files.copying import copy_image
from curation_assets.clip_files.encoding import Wanted, encode_clip, encode_in_one_pass
from curation_assets.crops import from_frames
from curation_assets.definitions import stage_assets
from curation_assets.frames.decoding import decode_clip
from curation_assets.incremental.stage import Stage
from curation_assets.scores.from_frames import technical
from curation_assets.scores.sampling import ALL_STORED, DecodedFrames, StoredFrames
from curation_assets.scores.technical import technical_row
from curation_assets.settings import ClipFiles, Crop, Frames, Sampling, Settings, Technical, Text
from curation_assets.tables import CLIP_FILES
from curation_assets.units import BOXES, READING, SPAN, with_crops
from resources.errors import InputError
from resources.ffmpeg import Limits
from resources.files import Files
from resources.media import VideoSource, read_frames
from resources.pictures import cropped, pack_pictures, unpack_pictures
from resources.text_reader import open_text_reader, read_text
from tests import videos
from tests.crops import films

LIMITS = Limits(timeout_s=60, memory_bytes=4 * 2**30)
SETTINGS = ClipFiles(crf=10)
FROM_PICTURES = {
    *("semantic_scores", "clip_embeddings", "aesthetic_scores", "text_scores", "technical_scores"),
    *("captions", "alignment_scores", "clip_files"),
}


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def box_in(source: VideoSource) -> list[int]:
    """Some even part of the picture, off its middle."""
    return [source.width // 4 // 2 * 2, 6, source.width // 2 // 2 * 2, source.height // 2 // 2 * 2]


@pytest.mark.parametrize(
    ("video", "pixel_format"),
    [
        (videos.ride, "yuv420p"),
        (videos.ride, "yuv444p"),
        (videos.turned_ride, "yuv420p"),
        (videos.anamorphic, "yuv420p"),
        (videos.odd_size, "yuv420p"),
        (videos.odd_size, "yuv444p"),
        (videos.late_start, "yuv420p"),
    ],
)
def test_the_file_holds_the_box_of_the_upright_square_picture(video: Any, pixel_format: str, tmp_path: Path) -> None:
    source, path = videos.source(video()), tmp_path / "clip.mp4"
    clip = {**videos.clip(source, 2, 9), "crop_box": box_in(source)}
    row = encode_clip(clip, source, None, ClipFiles(crf=4, pixel_format=pixel_format), path, LIMITS)
    assert [row["width"], row["height"]] == clip["crop_box"][2:]
    wanted = [cropped(frame.rgb(), clip["crop_box"]) for frame in read_frames(source)][2:9]
    shown = [frame.rgb() for frame in read_frames(videos.source(path))]
    assert len(shown) == 7
    assert all(psnr_db(a, b) > 26 for a, b in zip(wanted, shown, strict=True))
    aside = [np.roll(picture, (2, 2), (0, 1)) for picture in wanted]
    assert all(psnr_db(a, s) > psnr_db(b, s) for a, b, s in zip(wanted, aside, shown, strict=True))


def test_a_file_of_another_part_of_the_picture_is_found_out(tmp_path: Path) -> None:
    source = videos.source(videos.ride())
    clip = {**videos.clip(source, 0, 20), "crop_box": [40, 20, 200, 100]}
    strict = ClipFiles(min_psnr_db=60.0)
    with pytest.raises(InputError, match="its first frame differs from the source's"):
        encode_clip(clip, source, None, strict, tmp_path / "clip.mp4", LIMITS)


def test_cropped_files_made_in_one_pass_are_those_made_alone_byte_for_byte(tmp_path: Path) -> None:
    source = videos.source(videos.ride())
    boxes = [[0, 20, 320, 100], None, [40, 0, 240, 136]]
    clips = [
        {**videos.clip(source, first, last), "crop_box": box}
        for (first, last), box in zip(pairwise([0, 30, 60, 90]), boxes, strict=True)
    ]
    wanted = [Wanted(clip, tmp_path / f"{n}.mp4", None) for n, clip in enumerate(clips)]
    rows = encode_in_one_pass(wanted, source, None, SETTINGS, LIMITS)
    assert [(row["width"], row["height"]) for row in rows] == [(320, 100), (320, 136), (240, 136)]
    for one, row in zip(wanted, rows, strict=True):
        alone = tmp_path / "alone.mp4"
        assert row == encode_clip(one.clip, source, None, SETTINGS, alone, LIMITS)
        assert one.destination.read_bytes() == alone.read_bytes()


def test_a_cropped_picture_is_never_taken_as_it_is_stored(tmp_path: Path) -> None:
    source = videos.source(videos.ride())
    clip = videos.clip(source, 0, 36)
    copy = ClipFiles(copy_where_exact=True)
    stored = encode_clip(clip, source, None, copy, tmp_path / "stored.mp4", LIMITS)
    assert stored["first_frame_psnr_db"] == 100, "whole it is copied"
    row = encode_clip({**clip, "crop_box": [0, 20, 320, 100]}, source, None, copy, tmp_path / "cropped.mp4", LIMITS)
    assert (row["height"], row["first_frame_psnr_db"] < 100) == (100, True)


def test_a_cropped_image_is_a_png_of_what_stays(tmp_path: Path) -> None:
    picture = next(iter(read_frames(videos.source(videos.street())))).rgb()
    path = tmp_path / "picture.jpg"
    PIL.Image.fromarray(picture).save(path, "JPEG", quality=95)
    video_id = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    source = VideoSource(str(path), 0, Fraction(1), "none", Fraction(0), 0, Fraction(1), 320, 180, "rgb", "full")
    clip = {"clip_id": f"{video_id}-00000000-00000000", "video_id": video_id, "crop_box": [20, 30, 200, 100]}
    row = copy_image(clip, source, "clips/s", Files(str(tmp_path)))
    assert (row["width"], row["height"], row["video_codec"]) == (200, 100, "png")
    assert set(row) <= set(CLIP_FILES.columns)
    whole = np.asarray(PIL.Image.open(path).convert("RGB"))
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / row["file_path"])), whole[30:130, 20:220])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """With the stored frames of the letterboxed film in `frames.zip`."""
    return stored(films.letterboxed(), tmp_path)


def stored(film: Path, folder: Path) -> Files:
    source = videos.source(film)
    decoded = decode_clip(videos.clip(source), source, frames=Frames(), motion={})
    assert decoded.pictures is not None
    (folder / "frames.zip").write_bytes(decoded.pictures)
    return Files(str(folder))


def test_scores_of_stored_frames_are_those_of_what_stays(files: Files) -> None:
    box = [0, 42, 320, 176]
    pictures = unpack_pictures(files.read("frames.zip"))
    seen = [picture for _, picture in StoredFrames(files, "clip", "frames.zip", ALL_STORED, box)]
    assert len(seen) == 9
    assert all(np.array_equal(a, cropped(b, box)) for a, b in zip(seen, pictures, strict=True))
    row = technical(StoredFrames(files, "clip", "frames.zip", ALL_STORED, box), Technical(), "opencv")
    assert row == technical_row(seen, Technical(), "opencv")
    whole = technical(StoredFrames(files, "clip", "frames.zip", ALL_STORED), Technical(), "opencv")
    assert (row["border_share"], whole["border_share"] > 0.3) == (0.0, True)


def test_scores_of_frames_decoded_anew_are_those_of_what_stays() -> None:
    source = videos.source(films.letterboxed())
    row = {**videos.clip(source), "source_uri": source.uri, "clip_id": "clip", "crop_box": [0, 42, 320, 176]}
    row |= {name: getattr(source, name) for name in READING}
    ((index, picture),) = DecodedFrames(row, Sampling(method="mid"))
    assert np.array_equal(picture, [frame.rgb() for frame in read_frames(source)][index][42:218])


def test_a_captioner_is_sent_the_stored_jpegs_or_jpegs_of_what_stays(files: Files) -> None:
    data = files.read("frames.zip")
    whole, inside = sent_jpegs(data, None), sent_jpegs(data, [0, 42, 320, 176])
    pictures = unpack_pictures(data)
    assert len(whole) == len(inside) == 8
    assert all(jpeg in data for jpeg in whole)
    again = unpack_pictures(pack_pictures([cropped(p, [0, 42, 320, 176]) for p in pictures[:8]], 95))
    sent = [np.asarray(PIL.Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in inside]
    assert all(a.shape == b.shape and psnr_db(a, b) > 40 for a, b in zip(sent, again, strict=True))


def test_subtitles_are_read_and_what_stays_holds_no_text(tmp_path: Path) -> None:
    files = stored(films.subtitled(), tmp_path)
    row = from_frames.crop(files, "frames.zip", 640, 272, Crop(subtitles=True), Text(), 0)
    left, top, width, height = row["crop_box"]
    assert (left, top, width) == (0, 0, 640)
    assert films.SUBTITLE_TOP_PX - 12 <= height <= films.SUBTITLE_TOP_PX
    assert row["reason"] == "subtitles"
    reader = open_text_reader("rapidocr")
    figures = {"longest_side_px": 640, "min_confidence": 0.5, "min_characters": 2}
    pictures = unpack_pictures(files.read("frames.zip"), [0, 4], row["frames_box"])
    assert [box.text for picture in pictures for box in read_text(reader, picture, **figures)] == []


def test_without_subtitles_no_text_is_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_frames, "text_reader", lambda engine: pytest.fail("a reader was loaded"))
    row = from_frames.crop(files, "frames.zip", 320, 260, Crop(borders=True), Text(), 0)
    assert row["reason"] == "letterbox"


def stages_of(settings: Settings) -> dict[str, Stage]:
    return {stage.table.name: stage for asset in stage_assets(settings) for stage in asset.stages}


def test_all_that_is_made_from_pictures_reads_the_boxes_and_without_cropping_nothing_does() -> None:
    off, on = stages_of(Settings()), stages_of(Settings(crop=Crop(borders=True)))
    assert on.keys() - off.keys() == {"clip_crops"}
    assert {name for name, stage in on.items() if "clip_crops" in stage.reads} == FROM_PICTURES
    assert not any("clip_crops" in stage.reads for stage in off.values())
    assert {name: on[name].code_version for name in off} == {name: stage.code_version for name, stage in off.items()}


@pytest.mark.parametrize("sampling", [None, Sampling(method="uniform", frames=7)])
def test_fingerprints_of_clips_that_stay_whole_are_those_of_before(sampling: Sampling | None) -> None:
    text = Text(sampling=sampling)
    before, after = (stages_of(Settings(text=text, crop=crop))["text_scores"] for crop in (Crop(), Crop(borders=True)))
    fine = {"error": pl.lit(None, pl.String), "error_kind": pl.lit(None, pl.String)}
    clips = pl.DataFrame({"clip_id": ["a", "b"], "video_id": ["v", "v"], "dropped": [None, None]})
    reads = {
        "frames": pl.DataFrame({"clip_id": ["a", "b"], "frames_path": ["1", "2"], "frames_sha256": ["1", "2"]}),
        "clips": clips.with_columns(**dict.fromkeys(SPAN, pl.lit(1))),
        "raw_videos": pl.DataFrame({"video_id": ["v"], "source_uri": ["v.mp4"], "missing": [False]}).with_columns(
            **dict.fromkeys(READING, pl.lit("same"))
        ),
        "clip_crops": pl.DataFrame(
            {"clip_id": ["a", "b"], "crop_box": [None, [0, 2, 4, 4]], "frames_box": [None, [0, 1, 2, 2]]}
        ),
    }
    units = [
        stage.units({name: reads[name].select(*columns).with_columns(**fine) for name, columns in stage.reads.items()})
        for stage in (before, after)
    ]
    one, other = (stage.fingerprints(found) for stage, found in zip((before, after), units, strict=True))
    assert dict(zip(one["_unit"], one["_fingerprint"] == other["_fingerprint"], strict=True)) == {"a": True, "b": False}


def test_a_clip_is_blocked_while_its_box_is_not_known() -> None:
    clips = pl.DataFrame({"clip_id": ["failed", "new", "whole", "cropped"]})
    crops = pl.DataFrame(
        {
            "clip_id": ["failed", "whole", "cropped"],
            "crop_box": [None, None, [0, 2, 4, 4]],
            "error": ["frames.zip: damaged", None, None],
            "error_kind": ["input", None, None],
        }
    )
    found = with_crops(clips, {"clip_crops": crops})
    assert dict(found.select("clip_id", "blocked").iter_rows()) == {
        "failed": "clip_crops: frames.zip: damaged",
        "new": "clip_crops: no row of it",
        "whole": None,
        "cropped": None,
    }
    assert found["crop_box"].to_list() == [None, None, None, [0, 2, 4, 4]]
    assert set(BOXES) & set(found.columns) == {"crop_box"}, "what is read"
    assert with_crops(clips, {}).equals(clips)
