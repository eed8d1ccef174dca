"""A clip's file holds exactly its span, whatever the source looks like."""

import resource
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from curation_assets.clip_files.encoding import Wanted, encode_clip, encode_in_one_pass
from curation_assets.clip_files.storing import ClipEncoder, FileTask
from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import ClipFiles, RawVideos
from curation_assets.tables import CLIP_FILES
from resources.errors import InputError, TransientError
from resources.ffmpeg import Limits, ffmpeg_program, run_ffmpeg
from resources.files import Files
from resources.media import VideoSource, read_frames
from resources.pictures import pack_pictures
from resources.timestamps import Timeline
from tests import videos

LIMITS = Limits(timeout_s=60, memory_bytes=4 * 2**30)
SETTINGS = ClipFiles()


class Probed(NamedTuple):
    source: VideoSource
    audio_stream_index: int | None
    timeline: Timeline


def probed(path: Path) -> Probed:
    row = {"source_uri": str(path), **probe_video(str(path), RawVideos())}
    source = VideoSource.from_row(row)
    frames = [(frame.pts, frame.duration) for frame in read_frames(source)]
    boundaries = [*(pts for pts, _ in frames), sum(frames[-1])]
    return Probed(source, row["audio_stream_index"], Timeline(boundaries, source.time_base))


def span(video: Probed, start: int, end: int) -> dict[str, Any]:
    columns = {**video.timeline.span(start, end), "frame_count": end - start}
    return {name: columns[name] for name in ("start_s", "start_pts", "end_pts", "frame_pts", "frame_count")}


def encode(
    video: Probed, start: int, end: int, folder: Path, settings: ClipFiles = SETTINGS
) -> tuple[dict[str, Any], Path]:
    path = folder / "clip.mp4"
    clip = span(video, start, end)
    return encode_clip(clip, video.source, video.audio_stream_index, settings, path, LIMITS), path


def decoded(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [f.to_ndarray(format="rgb24") for f in frames], [f.pts * f.time_base for f in frames]


def numbers(path: Path) -> list[int]:
    return [videos.frame_number(picture) for picture in decoded(path)[0]]


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", "aac")
LONG_GOP = ("-c:v", "libx264", "-preset", "veryfast", "-g", "600", "-sc_threshold", "0", "-c:a", "aac")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "12", "-bf", "2", "-c:a", "mp2")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plain.mp4", X264),
        ("long_gop.mp4", LONG_GOP),
        ("long_gop.mkv", LONG_GOP),
        ("late.mkv", (*X264, "-output_ts_offset", "5.3")),
        ("late.mp4", (*X264, "-output_ts_offset", "5.3")),
        ("late.ts", (*X264, "-output_ts_offset", "5.3")),
        ("long_gop.ts", (*LONG_GOP, "-output_ts_offset", "5.3")),
        ("mpeg2.ts", MPEG2),
        ("ps.mpg", (*MPEG2, "-output_ts_offset", "5.3")),
        ("b_frames.avi", X264),
        ("bare.h264", (*X264, "-an")),
        ("rare_keyframes.webm", ("-c:v", "libvpx", "-g", "400", "-deadline", "realtime", "-cpu-used", "8")),
        ("film.mov", (*X264, "-r", "24000/1001")),
        ("flash.flv", (*X264, "-ar", "44100")),
    ],
)
def test_the_file_holds_exactly_the_frames_of_the_span(name, arguments, tmp_path):
    video = probed(videos.numbered(f"numbered_{name}", *arguments, frames=400))
    start, end = 331, 356
    row, path = encode(video, start, end, tmp_path)
    # The film's frames are a selection of the 400 made; the source's own numbers are the truth.
    times = video.timeline.boundaries
    wanted = [videos.frame_number(f.rgb()) for f in read_frames(video.source) if times[start] <= f.pts < times[end]]
    assert numbers(path) == wanted
    assert row["frame_count"] == end - start == len(wanted)
    assert row["duration_s"] == pytest.approx(float((times[end] - times[start]) * video.source.time_base), abs=1e-6)
    assert min(row["first_frame_psnr_db"], row["last_frame_psnr_db"]) > 25
    assert decoded(path)[1][0] == 0
    if video.audio_stream_index is not None:
        with av.open(str(path)) as container:
            sound = container.streams.audio[0]
            assert float(sound.duration * sound.time_base) == pytest.approx(row["duration_s"], abs=1024 / sound.rate)


@pytest.mark.parametrize(("start", "end"), [(0, 400), (0, 1), (399, 400), (250, 251), (249, 301)])
def test_spans_at_the_edges_of_a_video_and_of_its_groups_of_pictures(start, end, tmp_path):
    video = probed(videos.numbered("numbered_plain.mp4", *X264, frames=400))
    _, path = encode(video, start, end, tmp_path)
    assert numbers(path) == list(range(start, end))


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_sound_stays_with_the_picture(container, tmp_path):
    tone_from_s, start, end = 13.6, 331, 356
    silence = f"volume=0:enable='lt(t,{tone_from_s})'"
    made = videos.numbered(f"tone.{container}", *X264, "-filter:a", silence, "-output_ts_offset", "5.3", frames=400)
    _, path = encode(probed(made), start, end, tmp_path)
    with av.open(str(path)) as container_:
        frames = list(container_.decode(audio=0))
    rate = frames[0].sample_rate
    samples = np.concatenate([f.to_ndarray()[0] for f in frames])
    heard_s = float(frames[0].pts * frames[0].time_base) + int(np.argmax(np.abs(samples) > 0.02)) / rate
    assert heard_s == pytest.approx(tone_from_s - start / 25, abs=1024 / rate)


def test_missing_sound_becomes_silence_of_the_same_length(tmp_path):
    gaps = "aselect='between(t,1,1.5)+gte(t,2.5)'"  # of the source; the clip starts at 0.4 s
    made = videos.numbered("gaps.mkv", *X264, "-filter:a", gaps, frames=100)
    row, path = encode(probed(made), 10, 90, tmp_path)
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    rate = frames[0].sample_rate
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert len(samples) / rate == pytest.approx(row["duration_s"], abs=1024 / rate)
    for middle_s, heard in ((0.3, False), (0.85, True), (1.6, False), (2.6, True)):
        middle = round(middle_s * rate)
        assert (np.abs(samples[middle - 1000 : middle + 1000]).max() > 0.02) == heard


def test_sound_that_ends_early_is_followed_by_silence(tmp_path):
    made = videos.numbered("short_tone.mp4", *X264, "-filter:a", "atrim=end=1", frames=100)
    row, path = encode(probed(made), 50, 100, tmp_path)
    assert row["audio_codec"] == "aac"
    with av.open(str(path)) as container:
        loudest = max(float(np.abs(f.to_ndarray()).max()) for f in container.decode(audio=0))
        assert float(container.streams.audio[0].duration * container.streams.audio[0].time_base) == pytest.approx(
            2, abs=0.03
        )
    assert loudest < 0.01


def test_surround_sound_becomes_stereo_and_sound_can_be_left_out(tmp_path):
    made = videos.numbered("surround.mkv", *X264, "-filter:a", "pan=5.1|c0=c0|c1=c0", frames=50)
    _, path = encode(probed(made), 0, 25, tmp_path)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].channels == 2
    row, path = encode(probed(made), 0, 25, tmp_path, ClipFiles(audio="none"))
    assert row["audio_codec"] is None
    with av.open(str(path)) as container:
        assert not container.streams.audio


def test_variable_frame_rates_stay_variable(tmp_path):
    video = probed(videos.variable_frame_rate())
    row, path = encode(video, 2, 9, tmp_path)
    _, times = decoded(path)
    assert [float(t) for t in times] == [(ms - 120) / 1000 for ms in videos.VARIABLE_PTS_MS[2:9]]
    assert row["duration_s"] == pytest.approx((1100 - 120) / 1000)
    assert row["frames_per_s"] == pytest.approx(7 / 0.98)


def test_the_chosen_one_of_two_video_streams_is_encoded(tmp_path):
    video = probed(videos.two_streams_default_second())
    row, path = encode(video, 5, 15, tmp_path)
    assert (row["width"], row["height"]) == (64, 48)
    assert row["first_frame_psnr_db"] > 25
    with av.open(str(path)) as container:
        assert len(container.streams) == 1


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_sources_come_out_upright(degrees, tmp_path):
    upright = decoded(videos.rotated_upright(degrees))[0][0]
    row, path = encode(probed(videos.rotated(degrees)), 2, 7, tmp_path)
    picture = decoded(path)[0][0]
    assert (row["height"], row["width"]) == picture.shape[:2] == upright.shape[:2]
    centres = (slice(10, None, 20), slice(10, None, 20))
    assert np.abs(picture[centres].astype(int) - upright[centres]).max() < 20
    video = probed(path)
    assert video.source.rotation_deg == 0


def test_odd_sizes_lose_one_line_and_nothing_is_resampled(tmp_path):
    video = probed(videos.odd_size())
    row, path = encode(video, 0, 5, tmp_path, ClipFiles(crf=4))
    assert (row["width"], row["height"]) == (62, 46)
    wanted = next(iter(read_frames(video.source))).rgb()[:46, :62]
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs(decoded(path)[0][0] @ luma - wanted @ luma).mean() < 2
    row, _ = encode(video, 0, 5, tmp_path, ClipFiles(pixel_format="yuv444p"))
    assert (row["width"], row["height"]) == (63, 47)


def test_anamorphic_sources_get_square_pixels(tmp_path):
    row, path = encode(probed(videos.anamorphic()), 0, 5, tmp_path)
    assert (row["width"], row["height"]) == (84, 48)
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)


def test_ten_bits_become_eight(tmp_path):
    row, path = encode(probed(videos.ten_bit()), 0, 5, tmp_path)
    assert row["first_frame_psnr_db"] > 30
    with av.open(str(path)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt2020nc", ""])
def test_colours_stay_and_are_tagged(matrix, full_range, tmp_path):
    video = probed(videos.tagged(matrix, full_range))
    _, path = encode(video, 0, 2, tmp_path, ClipFiles(crf=4))
    again = probed(path).source
    assert (again.colour_space, again.colour_range) == (video.source.colour_space, "limited")
    shown = next(iter(read_frames(again))).rgb()
    assert np.abs(shown.astype(int) - next(iter(read_frames(video.source))).rgb()).max() <= 3


def test_rgb_sources_keep_their_colours(tmp_path):
    made = videos.ffmpeg("rgb.mkv", "-i", str(videos.quadrants()), "-c:v", "ffv1", "-pix_fmt", "bgr0")
    video = probed(made)
    assert video.source.colour_space == "rgb"
    _, path = encode(video, 0, 5, tmp_path)
    assert probed(path).source.colour_space == "bt709"
    wanted = next(iter(read_frames(video.source))).rgb()[5::16, 5::16]
    assert np.abs(decoded(path)[0][0][5::16, 5::16].astype(int) - wanted).max() < 12


def test_real_footage_with_damage_in_its_timestamps(tmp_path):
    video = probed(videos.city())
    row, _ = encode(video, 116, 166, tmp_path)
    assert (row["width"], row["height"]) == (720, 404)
    assert min(row["first_frame_psnr_db"], row["last_frame_psnr_db"]) > 30


def test_x265_files_are_whole_too(tmp_path):
    video = probed(videos.numbered("numbered_plain.mp4", *X264, frames=400))
    row, path = encode(video, 100, 110, tmp_path, ClipFiles(video_codec="libx265"))
    assert row["video_codec"] == "hevc"
    assert numbers(path) == list(range(100, 110))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_two_encodes_are_equal_byte_for_byte(codec, tmp_path):
    made = videos.numbered("metadata.mp4", *X264, "-metadata", "title=a title", frames=100)
    settings = ClipFiles(video_codec=codec)
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _, path = encode(probed(made), 60, 90, tmp_path / name, settings)
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert b"a title" not in files[0]


def test_a_row_fits_its_table(tmp_path):
    row, path = encode(probed(videos.plain()), 0, 10, tmp_path)
    assert set(row) == set(CLIP_FILES.stage_columns) - {"clip_id", "file_path", "crop_box"}
    assert row["file_size_bytes"] == path.stat().st_size


def test_a_source_behind_a_url_is_read_whole_and_leaves_no_copy(tmp_path):
    import fsspec

    remote = "memory://encoding/plain.mp4"
    fsspec.filesystem("memory").pipe_file(remote, videos.plain().read_bytes())
    video = probed(videos.plain())
    video = video._replace(source=VideoSource(**{**_fields(video.source), "uri": remote}))
    row, _ = encode(video, 5, 15, tmp_path)
    assert row["frame_count"] == 10
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def _fields(source: VideoSource) -> dict[str, Any]:
    return {name: getattr(source, name) for name in source.__dataclass_fields__}


OPUS = ("-c:v", "libvpx", "-g", "400", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus")
NOISE = ("-f", "lavfi", "-i", "anoisesrc=colour=pink:duration=10", "-c:v", "copy", "-c:a", "aac", "-b:a", "32k")
OPEN_GOP = ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "open-gop=1:keyint=20:min-keyint=20")
HOSTILE: dict[str, Callable[[], Path]] = {
    "one keyframe": lambda: videos.numbered("long_gop.mp4", *LONG_GOP, frames=200),
    "open GOP, start offset": lambda: videos.numbered(
        "open_gop.ts", *OPEN_GOP, "-c:a", "aac", "-output_ts_offset", "5.3", frames=200
    ),
    "Opus": lambda: videos.numbered("opus.webm", *OPUS, frames=200),
    "noise in AAC": lambda: videos.ffmpeg("noise.mp4", "-i", str(videos.bikes()), *NOISE),
    "MPEG-2": lambda: videos.numbered("mpeg2.ts", *MPEG2, frames=200),
    "no timestamps": videos.raw_h264,
    "AVI": videos.avi_h264,
    "variable frame rate": videos.variable_frame_rate,
    "rotated": lambda: videos.rotated(90),
    "odd size": videos.odd_size,
    "real, MPEG-PS": videos.city,
}


def spans_of(video: Probed, folder: Path) -> list[Wanted]:
    """Three clips, the last two next to each other, with the source's own pictures."""
    frames = [frame.rgb() for frame in read_frames(video.source)]
    count = len(frames)
    edges = [(0, count // 4), (count // 2, count - count // 4), (count - count // 4, count)]
    return [
        Wanted(span(video, start, end), folder / f"{start}.mp4", (frames[start], frames[end - 1]))
        for start, end in edges
    ]


@pytest.mark.parametrize(("name", "codec"), [*((name, "libx264") for name in HOSTILE), ("one keyframe", "libx265")])
def test_files_made_in_one_pass_are_those_made_alone_byte_for_byte(name, codec, tmp_path):
    video, settings = probed(HOSTILE[name]()), ClipFiles(video_codec=codec)
    together = spans_of(video, tmp_path / "together")
    rows = encode_in_one_pass(together, video.source, video.audio_stream_index, settings, LIMITS)
    for one, row in zip(together, rows, strict=True):
        alone = tmp_path / "alone.mp4"
        assert row == encode_clip(one.clip, video.source, video.audio_stream_index, settings, alone, LIMITS, one.shown)
        assert one.destination.read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("cause", ["a wrong count", "another picture", "damage"])
def test_one_pass_makes_all_files_or_none(cause, tmp_path):
    video = probed(videos.damaged() if cause == "damage" else videos.bikes())
    wanted = spans_of(video, tmp_path)
    if cause == "a wrong count":
        wanted[1].clip["frame_count"] += 1
    if cause == "another picture":
        wanted[1] = replace(wanted[1], shown=(np.zeros_like(wanted[1].shown[0]), wanted[1].shown[1]))
    with pytest.raises(InputError, match=r"one by one|ffmpeg failed"):
        encode_in_one_pass(wanted, video.source, video.audio_stream_index, SETTINGS, LIMITS)
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_fails_takes_no_neighbour_with_it(tmp_path):
    video = probed(videos.bikes())
    files = Files(str(tmp_path))
    about = {"source_uri": video.source.uri, **probe_video(video.source.uri, RawVideos()), "video_id": "v"}
    tasks = []
    for number, one in enumerate(spans_of(video, tmp_path)):
        files.write(f"{number}.zip", pack_pictures([one.shown[0]] * 8 + [one.shown[1]], 92))
        tasks.append(FileTask({**about, **one.clip, "frames_path": f"{number}.zip"}, f"clips/{number}.mp4"))
    tasks[1].clip["frame_count"] += 1
    outcomes = ClipEncoder(files, SETTINGS, LIMITS)(tasks)
    assert [isinstance(outcome, InputError) for outcome in outcomes] == [False, True, False]
    assert files.listing("clips") == ["clips/0.mp4", "clips/2.mp4"]
    assert all(files.size(row["file_path"]) == row["file_size_bytes"] for row in outcomes if isinstance(row, dict))


def test_a_full_disk_leaves_nothing_and_is_tried_again(tmp_path):
    video = probed(videos.bikes())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(TransientError, match="disk space"):
            encode(video, 0, 50, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_too_little_time_leaves_nothing_and_is_tried_again(tmp_path):
    video = probed(videos.bikes())
    clip = span(video, 0, 250)
    with pytest.raises(TransientError, match=r"longer than 0\.01 s"):
        encode_clip(clip, video.source, None, SETTINGS, tmp_path / "clip.mp4", Limits(0.01, 2**32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("megabytes", [100, 150, 200])
def test_too_little_memory_is_tried_again(megabytes, tmp_path):
    video = probed(videos.bikes())
    limits = Limits(60, megabytes * 2**20)
    with pytest.raises(TransientError, match="memory"):
        encode_clip(span(video, 0, 250), video.source, None, SETTINGS, tmp_path / "clip.mp4", limits)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_changed_is_refused_and_a_former_file_stays(tmp_path):
    video = probed(videos.plain())
    kept = tmp_path / "clip.mp4"
    kept.write_bytes(b"former")
    other = VideoSource(**{**_fields(video.source), "uri": str(videos.variable_frame_rate())})
    with pytest.raises(InputError, match=r"variable\.mp4: the encoded clip isn't its span"):
        encode_clip(span(video, 0, 20), other, None, SETTINGS, kept, LIMITS)
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    assert kept.read_bytes() == b"former"


@pytest.mark.parametrize("maker", [videos.text_file, videos.empty, videos.playlist, videos.undecodable])
def test_what_is_no_video_is_refused_and_opens_no_other_file(maker, tmp_path):
    video = probed(videos.plain())
    other = VideoSource(**{**_fields(video.source), "uri": str(maker())})
    with pytest.raises(InputError, match=maker().name):
        encode_clip(span(video, 0, 20), other, None, SETTINGS, tmp_path / "clip.mp4", LIMITS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["-y.mp4", "http:a.mp4", "a b'\"$(id);%d\n.mp4", "ünïcode 猫.mp4"])
def test_hostile_file_names_are_only_names(name, tmp_path):
    hostile = tmp_path / name
    hostile.write_bytes(videos.plain().read_bytes())
    row, _ = encode(probed(hostile), 0, 10, tmp_path)
    assert row["frame_count"] == 10


def test_a_psnr_bound_that_nothing_meets_says_so(tmp_path):
    with pytest.raises(InputError, match=r"first frame differs .* clip_files\.min_psnr_db is 99"):
        encode(probed(videos.bikes()), 0, 10, tmp_path, ClipFiles(min_psnr_db=99))


def test_what_ffmpeg_said_is_in_the_error():
    with pytest.raises(InputError, match="Unrecognized option 'nonsense'"):
        run_ffmpeg(["-nonsense", "1"], LIMITS)


def test_the_program_runs():
    assert subprocess.run([ffmpeg_program(), "-version"], capture_output=True).stdout.startswith(b"ffmpeg version")
