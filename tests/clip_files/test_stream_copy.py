"""With `copy_where_exact`: the source's own packets where they show exactly the span, else an encode."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from curation_assets.clip_files.encoding import encode_clip
from curation_assets.settings import ClipFiles
from resources.media import read_frames
from tests import videos
from tests.clip_files.test_encoding import LIMITS, Probed, probed, span

COPY = ClipFiles(copy_where_exact=True)
GOP = ("-g", "25", "-sc_threshold", "0", "-c:a", "aac")
CLOSED = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-x264-params", "b-pyramid=none:b-adapt=0", *GOP)
OPEN = ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "open-gop=1", "-bf", "2", *GOP)
HEVC = ("-c:v", "libx265", "-x265-params", "keyint=25:open-gop=0:scenecut=0:log-level=error:pools=1", "-c:a", "aac")


def stored(name: str, *options: str) -> Path:
    """Real footage, of which no encoder gives back the very pictures: 100 frames of 160x68, with a tone."""
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=4")
    return videos.ffmpeg(
        name, "-i", str(videos.bikes()), *tone, "-filter:v", "scale=160:68", "-frames:v", "100", *options
    )


def copied(video: Probed, start: int, end: int, folder: Path, settings: ClipFiles = COPY) -> bool:
    """Whether the clip's file shows the source's very pictures."""
    path = folder / "clip.mp4"
    row = encode_clip(span(video, start, end), video.source, video.audio_stream_index, settings, path, LIMITS)
    again = probed(path).source
    assert row["frame_count"] == end - start
    assert row["duration_s"] == pytest.approx(float(video.timeline.seconds(end) - video.timeline.seconds(start)))
    assert (row["audio_codec"] is None) == (video.audio_stream_index is None)
    boundaries = video.timeline.boundaries
    wanted = [f.rgb() for f in read_frames(video.source, boundaries[start], boundaries[end])]
    shown = [frame.rgb() for frame in read_frames(again)]
    assert len(shown) == len(wanted)
    assert [p.name for p in folder.iterdir()] == ["clip.mp4"]
    return all(np.array_equal(a, b) for a, b in zip(shown, wanted, strict=True))


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("start", "end"), [(25, 50), (0, 75), (50, 79), (75, 100), (25, 26)])
def test_a_span_from_a_keyframe_is_copied(container, start, end, tmp_path):
    video = probed(stored(f"closed.{container}", *CLOSED, "-output_ts_offset", "3.1"))
    assert copied(video, start, end, tmp_path)


def test_hevc_is_copied_where_it_is_wanted(tmp_path):
    video = probed(stored("closed_hevc.mp4", *HEVC))
    assert copied(video, 25, 50, tmp_path, ClipFiles(copy_where_exact=True, video_codec="libx265"))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"
    assert not copied(video, 25, 50, tmp_path)


@pytest.mark.parametrize(
    ("make", "start", "end"),
    [
        pytest.param(lambda: stored("closed.mp4", *CLOSED), 26, 50, id="starts at no keyframe"),
        pytest.param(lambda: stored("closed.mp4", *CLOSED), 25, 49, id="ends before a reference"),
        pytest.param(lambda: stored("open.mp4", *OPEN), 25, 49, id="open group of pictures"),
        pytest.param(videos.variable_frame_rate, 1, 5, id="variable frame rate"),
        pytest.param(lambda: videos.rotated(90), 0, 10, id="rotated"),
        pytest.param(videos.anamorphic, 0, 10, id="pixels that aren't square"),
        pytest.param(videos.odd_size, 0, 10, id="another pixel format"),
        pytest.param(videos.ten_bit, 0, 10, id="ten bits"),
        pytest.param(lambda: videos.tagged("bt709", True), 0, 2, id="full range"),
        pytest.param(videos.raw_h264, 0, 10, id="no timestamps"),
        pytest.param(videos.city, 0, 12, id="another codec"),
    ],
)
def test_other_spans_are_encoded(make: Callable[[], Path], start, end, tmp_path):
    video = probed(make())
    encode_clip(span(video, start, end), video.source, video.audio_stream_index, COPY, tmp_path / "a.mp4", LIMITS)
    plain = tmp_path / "b.mp4"
    encode_clip(span(video, start, end), video.source, video.audio_stream_index, ClipFiles(), plain, LIMITS)
    assert (tmp_path / "a.mp4").read_bytes() == plain.read_bytes()


def test_a_copy_says_its_matrix_where_the_source_does_not(tmp_path):
    video = probed(stored("closed.mp4", *CLOSED))
    untagged = video._replace(source=replace(video.source, colour_space="bt709"))
    assert copied(untagged, 25, 50, tmp_path)
    assert probed(tmp_path / "clip.mp4").source.colour_space == "bt709"


def test_without_sound_the_picture_is_copied_too(tmp_path):
    video = probed(stored("closed.mp4", *CLOSED))
    silent = ClipFiles(copy_where_exact=True, audio="none")
    row = encode_clip(span(video, 25, 50), video.source, 1, silent, tmp_path / "clip.mp4", LIMITS)
    assert row["audio_codec"] is None
    assert row["first_frame_psnr_db"] == row["last_frame_psnr_db"] == 100
