"""The check of a clip's file decodes half of it and finds what decoding all of it finds."""

import av
import numpy as np
import pytest

from curation_assets.clip_files.checking import Mismatch, check_file
from curation_assets.clip_files.encoding import encode_clip
from curation_assets.settings import ClipFiles
from resources.media import RGB, read_frames
from tests import videos
from tests.clip_files.test_encoding import LIMITS, SETTINGS, probed, span


def _psnr_db(a: RGB, b: RGB) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("preset", ["veryfast", "medium"])
def test_the_figures_are_those_of_a_decode_of_all_frames(codec, preset, tmp_path):
    video = probed(videos.bikes())
    settings = ClipFiles(video_codec=codec, preset=preset, keyframe_interval=20)
    path = tmp_path / "clip.mp4"
    row = encode_clip(span(video, 30, 77), video.source, None, settings, path, LIMITS)
    wanted = [frame.rgb() for frame in read_frames(video.source)][30:77]
    shown = [frame.rgb() for frame in read_frames(probed(path).source)]
    assert row["frame_count"] == len(shown) == 47
    assert row["first_frame_psnr_db"] == pytest.approx(_psnr_db(wanted[0], shown[0]), abs=0.001)
    assert row["last_frame_psnr_db"] == pytest.approx(_psnr_db(wanted[-1], shown[-1]), abs=0.001)


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (31, 77, "it has 46 frames, not 47"),
        (30, 76, "it has 46 frames, not 47"),
        (130, 177, "its first frame differs"),
        (30, 77, "its last frame differs"),
    ],
)
def test_a_file_that_is_not_the_span_is_found_out(start, end, said, tmp_path):
    video = probed(videos.bikes())
    path = tmp_path / "clip.mp4"
    encode_clip(span(video, start, end), video.source, None, SETTINGS, path, LIMITS)
    first, *_, last = [frame.rgb() for frame in read_frames(video.source)][30:77]
    shown = (first, np.roll(last, 99, axis=1))
    with pytest.raises(Mismatch, match=said):
        check_file(span(video, 30, 77), video.source, SETTINGS, path, shown)


def test_frames_at_other_times_are_found_out(tmp_path):
    video = probed(videos.variable_frame_rate())
    path = tmp_path / "clip.mp4"
    encode_clip(span(video, 2, 9), video.source, None, SETTINGS, path, LIMITS)
    clip = span(video, 2, 9)
    clip["frame_pts"][3] += 1
    with pytest.raises(Mismatch, match="frame 3 is shown at"):
        check_file(clip, video.source, SETTINGS, path, None)


def test_a_file_whose_end_is_damaged_is_found_out(tmp_path):
    video = probed(videos.bikes())
    path = tmp_path / "clip.mp4"
    encode_clip(span(video, 30, 77), video.source, None, SETTINGS, path, LIMITS)
    data = bytearray(path.read_bytes())
    data[-20_000:] = bytes(20_000)
    path.write_bytes(data)
    with pytest.raises(Mismatch):
        check_file(span(video, 30, 77), video.source, SETTINGS, path, None)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_damage_before_what_is_decoded_is_found_out(codec, tmp_path):
    video = probed(videos.bikes())
    settings = ClipFiles(video_codec=codec, keyframe_interval=10)
    path = tmp_path / "clip.mp4"
    encode_clip(span(video, 30, 77), video.source, None, settings, path, LIMITS)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert sum(packet.is_keyframe for packet in packets) > 3
    data = bytearray(path.read_bytes())
    damaged = packets[len(packets) // 2]
    data[damaged.pos : damaged.pos + damaged.size] = bytes(damaged.size)
    path.write_bytes(data)
    with pytest.raises(Mismatch, match="it is damaged"):
        check_file(span(video, 30, 77), video.source, settings, path, None)
