"""What a user finds in `raw_videos` for each kind of file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import RawVideos
from curation_assets.tables import RAW_VIDEOS
from resources.errors import InputError, TransientError
from resources.media import VideoSource, read_frames
from tests import videos

Probe = Callable[[Path], dict[str, Any]]


def test_the_columns_are_those_of_the_table(probe: Probe) -> None:
    columns = list(RAW_VIDEOS.stage_columns)
    assert list(probe(videos.plain())) == columns[columns.index("container") :]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            videos.bikes,
            {"width": 640, "height": 272, "frame_rate": "25", "frame_count": 250, "duration_s": 10.0, "codec": "h264"},
        ),
        (
            videos.bigbuckbunny,
            {"frame_count": 132, "duration_s": 5.28, "colour_space": "bt709", "audio_codec": "aac"},
        ),
        (
            videos.city,
            {"container": "mpeg", "frame_count": 190, "duration_s": 7.6, "start_time_s": 0.54, "audio_codec": None},
        ),
        (videos.one_frame, {"frame_count": 1, "duration_s": 0.1, "is_variable_frame_rate": False}),
        (videos.one_pixel, {"width": 1, "height": 1, "frame_count": 5, "colour_space": "rgb"}),
        (videos.odd_size, {"width": 63, "height": 47}),
        (videos.huge, {"width": 7680, "height": 4320, "frame_count": 1}),
        (videos.ten_bit, {"bit_depth": 10, "pixel_format": "yuv420p10le"}),
        (videos.hevc, {"codec": "hevc", "frame_count": 20}),
        (
            videos.anamorphic,
            {"width": 85, "height": 48, "coded_width": 64, "sample_aspect_ratio": "4/3"},
        ),
        (
            videos.variable_frame_rate,
            {"is_variable_frame_rate": True, "frame_count": 10, "duration_s": 1.2, "frame_rate": "25/3"},
        ),
        (videos.late_start, {"start_time_s": 11.4, "frame_count": 50, "duration_s": 2.0}),
        (
            videos.two_streams_default_second,
            {"stream_index": 1, "width": 64, "video_stream_count": 2},
        ),
        (videos.two_streams_larger_second, {"stream_index": 1, "width": 96, "video_stream_count": 2}),
        (videos.raw_h264, {"timestamps": "generated", "frame_rate": "24", "duration_s": 2.0}),
        (videos.avi_h264, {"timestamps": "generated", "frame_count": 48, "duration_s": 2.0}),
    ],
)
def test_facts_are_the_files(probe: Probe, make: Callable[[], Path], expected: dict[str, Any]) -> None:
    found = probe(make())
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("degrees", "clockwise", "size"), [(90, 270, (48, 64)), (180, 180, (64, 48))])
def test_rotated_videos_have_their_upright_size(
    probe: Probe, degrees: int, clockwise: int, size: tuple[int, int]
) -> None:
    found = probe(videos.rotated(degrees))
    assert (found["rotation_deg"], found["width"], found["height"]) == (clockwise, *size)


@pytest.mark.parametrize(
    ("matrix", "full", "size", "expected"),
    [
        ("bt709", False, "64x48", ("bt709", "limited")),
        ("smpte170m", True, "64x48", ("bt601", "full")),
        ("bt2020nc", False, "64x48", ("bt2020", "limited")),
        ("", False, "64x48", ("bt601", "limited")),
        ("", False, "1280x720", ("bt709", "limited")),
    ],
)
def test_colours_follow_the_tags_and_else_the_number_of_lines(
    probe: Probe, matrix: str, full: bool, size: str, expected: tuple[str, str]
) -> None:
    found = probe(videos.tagged(matrix, full, size))
    assert (found["colour_space"], found["colour_range"]) == expected


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (videos.empty, "empty; copy it again"),
        (videos.text_file, "no video container .*; convert it"),
        (videos.playlist, "no video container .*; convert it"),
        (videos.truncated, r"cut off or damaged, its index \(moov\)"),
        (videos.undecodable, "none of its 20 frames can be decoded; copy"),
        (videos.audio_only, "holds only audio; take it out"),
        (videos.cover_picture, r"pictures or unknown codecs: mjpeg\); convert it"),
        (videos.folder, "is a folder"),
    ],
)
def test_a_bad_file_is_named_with_cause_and_remedy(probe: Probe, make: Callable[[], Path], cause: str) -> None:
    path = make()
    with pytest.raises(InputError, match=cause) as failure:
        probe(path)
    assert str(path) in str(failure.value)


def test_a_file_that_is_gone_is_tried_again_next_time(probe: Probe) -> None:
    with pytest.raises(TransientError, match=r"nowhere.mp4: the file is gone; register the source again"):
        probe(videos.folder() / "nowhere.mp4")


def test_a_file_above_the_pixel_limit_is_refused() -> None:
    with pytest.raises(InputError, match=r"7680x4320, above raw_videos.max_pixels \(33000000\); raise the limit"):
        probe_video(str(videos.huge()), RawVideos(max_pixels=33_000_000))
    assert probe_video(str(videos.bigbuckbunny()), RawVideos(max_pixels=1280 * 720))["width"] == 1280


@pytest.mark.parametrize(
    "name", ["a'b\"c.mp4", "100%d %s.mp4", "http:x.mp4", "concat:a|b.mp4", "größe 影.mp4", "-i.mp4", "new\nline.mp4"]
)
def test_odd_file_names_are_read_as_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    os.symlink(videos.plain(), path)
    found = probe_video(str(path), RawVideos())
    source = VideoSource.from_row({**found, "source_uri": str(path)})
    assert sum(1 for _ in read_frames(source)) == found["frame_count"] == 20


def test_a_url_is_read_like_a_file(probe: Probe) -> None:
    assert probe_video(f"file://{videos.plain()}", RawVideos()) == probe(videos.plain())
