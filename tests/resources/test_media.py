"""Which frames of a video are read, when they are shown, and in which colours."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import RawVideos
from resources.errors import InputError, TransientError
from resources.media import VideoSource, read_frames
from tests import videos


@pytest.mark.parametrize(
    "make",
    [videos.bikes, videos.city, videos.late_start, videos.hevc, videos.variable_frame_rate, videos.avi_h264],
)
def test_a_span_holds_the_frames_a_full_decode_shows_there(make: Callable[[], Path]) -> None:
    source = videos.source(make())
    everything = [(frame.pts, frame.rgb(32, 24)) for frame in read_frames(source)]
    for first in range(0, len(everything) - 3, max(1, len(everything) // 12)):
        span = list(read_frames(source, everything[first][0], everything[first + 3][0]))
        assert [frame.pts for frame in span] == [pts for pts, _ in everything[first : first + 3]]
        for frame, (_, pixels) in zip(span, everything[first : first + 3], strict=True):
            assert np.array_equal(frame.rgb(32, 24), pixels)


@pytest.mark.parametrize(
    "make", [videos.bikes, videos.city, videos.one_frame, videos.raw_h264, videos.two_streams_larger_second]
)
def test_frames_decoded_are_the_frames_counted(make: Callable[[], Path]) -> None:
    facts = probe_video(str(make()), RawVideos())
    source = videos.source(make())
    frames = list(read_frames(source))
    assert len(frames) == facts["frame_count"]
    shown = (frames[-1].pts + frames[-1].duration - frames[0].pts) * source.time_base
    assert float(shown) == facts["duration_s"]


def test_variable_frame_rates_keep_their_times() -> None:
    shown = read_frames(videos.source(videos.variable_frame_rate()))
    assert tuple(frame.pts for frame in shown) == videos.VARIABLE_PTS_MS


def test_frames_without_timestamps_are_placed_by_their_number() -> None:
    source = videos.source(videos.raw_h264())
    assert [float(frame.pts * source.time_base) for frame in read_frames(source)] == [i / 24 for i in range(48)]


def test_damage_in_the_middle_costs_only_frames_near_it() -> None:
    source = videos.source(videos.damaged())
    times_s = [float(frame.pts * source.time_base) for frame in read_frames(source)]
    assert 150 < len(times_s) < 200
    assert times_s == sorted(times_s)
    assert (times_s[0], times_s[-1]) == (0, 199 / 25)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_videos_are_shown_upright_as_ffmpeg_shows_them(degrees: int) -> None:
    shown = next(read_frames(videos.source(videos.rotated(degrees)))).rgb()
    expected = next(read_frames(videos.source(videos.rotated_upright(degrees)))).rgb()
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 3  # chroma at the inner edges is sited differently


def test_stretched_pixels_are_shown_square() -> None:
    assert next(read_frames(videos.source(videos.anamorphic()))).rgb().shape == (48, 85, 3)


_Y, _CB, _CR = 120, 90, 170


def _as_standard(kr: float, kb: float, full: bool) -> list[float]:
    """RGB of the stored colour by the definition of the matrix with luma weights kr and kb."""
    y = _Y / 255 if full else (_Y - 16) / 219
    cb, cr = ((c - 128) / (255 if full else 224) for c in (_CB, _CR))
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return [255 * channel for channel in (red, (y - kr * red - kb * blue) / (1 - kr - kb), blue)]


@pytest.mark.parametrize("size", [None, (32, 24)])
@pytest.mark.parametrize(
    ("tag", "full", "kr", "kb"),
    [
        ("bt709", False, 0.2126, 0.0722),
        ("smpte170m", False, 0.299, 0.114),
        ("smpte170m", True, 0.299, 0.114),
        ("bt2020nc", False, 0.2627, 0.0593),
        ("", False, 0.299, 0.114),
    ],
)
def test_colours_are_converted_as_tagged(
    tag: str, full: bool, kr: float, kb: float, size: tuple[int, int] | None
) -> None:
    frame = next(read_frames(videos.source(videos.tagged(tag, full))))
    assert frame.rgb(*(size or ()))[12, 16] == pytest.approx(_as_standard(kr, kb, full), abs=1)
    assert frame.luma(*(size or ()))[12, 16] == pytest.approx(_Y if full else (_Y - 16) / 219 * 255, abs=1)


def test_the_settled_colours_win_over_a_frames_own_tag() -> None:
    tagged = videos.source(videos.tagged("bt709", False))
    settled = VideoSource(**{**vars(tagged), "colour_space": "bt601", "colour_range": "full"})
    assert next(read_frames(settled)).rgb()[0, 0] == pytest.approx(_as_standard(0.299, 0.114, True), abs=1)


def test_a_file_without_frames_in_the_span_is_an_error() -> None:
    source = videos.source(videos.plain())
    with pytest.raises(InputError, match="no frame can be decoded"):
        list(read_frames(source, 10**9))


def test_a_file_that_is_gone_is_tried_again_next_time(tmp_path: Path) -> None:
    gone = VideoSource(**{**vars(videos.source(videos.plain())), "uri": str(tmp_path / "gone.mp4")})
    with pytest.raises(TransientError, match="restore the file"):
        list(read_frames(gone))


def test_a_stream_that_grew_beyond_the_limit_is_not_decoded() -> None:
    small = VideoSource(**{**vars(videos.source(videos.huge())), "width": 64, "height": 48})
    with pytest.raises(InputError, match="no frame can be decoded"), av.logging.Capture():
        list(read_frames(small))
