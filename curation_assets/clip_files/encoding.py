"""One clip as an MP4 that holds exactly the frames of its span, checked against the source.

Frames are picked by their own timestamps and keep their distances, so variable frame rates stay variable. The
picture is upright with square pixels; where 4:2:0 needs an even size, the last row or column is cropped rather
than all pixels resampled. Matrix, primaries and transfer are the source's; 8 bits, limited range, which is what
readers that look at no tags take for granted. Sound lasts as long as the picture: silence where there is none,
at most two channels.
"""

import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from curation_assets.settings import ClipFiles
from resources.errors import InputError, TransientError
from resources.ffmpeg import Limits, run_ffmpeg
from resources.media import CONTAINERS, RGB, VideoSource, open_container, read_frames
from resources.object_store import is_url, local_copy
from resources.timestamps import frame_timestamps

MAX_PSNR_DB = 100.0
_MATRIX_TAGS = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}
_UPRIGHT = {0: [], 90: ["transpose=clock"], 180: ["hflip", "vflip"], 270: ["transpose=cclock"]}
_SCALING = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"  # bitexact: the same on every CPU

# How far before the span to start decoding, one try after another. Containers with an index lead to the keyframe
# before that point; sound needs a few packets more to decode cleanly. The others lead anywhere, so the distance must
# hold a whole group of pictures (x264's default: 250 frames).
_SEEK_LEADS_S = (0.0, 2.0)
_SEEK_LEADS_WITH_SOUND_S = (0.1, 2.0)
_SEEK_LEADS_WITHOUT_INDEX_S = (12.0, 30.0)
_CONTAINERS_WITHOUT_INDEX = {"mpegts", "mpeg"}


class _Mismatch(Exception):
    """The encoded file isn't the span."""


def encode_clip(
    clip: Mapping[str, Any],
    source: VideoSource,
    audio_stream_index: int | None,
    settings: ClipFiles,
    destination: Path,
    limits: Limits,
    shown: tuple[RGB, RGB] | None = None,
) -> dict[str, Any]:
    """Encode a span to `destination`, which appears whole and verified or not at all.

    `clip` holds start_s, start_pts, end_pts, frame_pts and frame_count of a row of `clips`. Returns the columns
    of `clip_files` but `clip_id` and `file_path`.

    Verified by decoding: number, size and timestamps of the frames, and the PSNR of the first and the last one
    against the source's, given as `shown` or decoded again. Raises InputError when the source can't be decoded or
    the result isn't the span, TransientError when time, memory or disk ran out.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.partial")
    try:
        local = _local(source)
        row = _encode_and_verify(clip, local, audio_stream_index, settings, scratch, limits, shown)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(destination)
        return row
    except InputError as failure:
        if not is_url(source.uri) and not os.access(source.uri, os.R_OK):  # which is no fault of what it holds
            raise TransientError(f"{source.uri}: can't be opened; restore the file or access to it") from None
        if str(failure).startswith(source.uri):
            raise
        raise InputError(f"{source.uri}: {failure}") from None
    except OSError as failure:
        raise TransientError(
            f"{destination}: can't be written ({failure.strerror or failure}); make room or give access"
        ) from None
    finally:
        scratch.unlink(missing_ok=True)


def _local(source: VideoSource) -> VideoSource:
    """The source as a local file, since ffmpeg itself is kept off the network."""
    if not is_url(source.uri):
        return source
    try:
        return replace(source, uri=str(local_copy(source.uri)))
    except FileNotFoundError:
        raise TransientError(f"{source.uri}: the file is gone; register the source again") from None


def _encode_and_verify(
    clip: Mapping[str, Any],
    source: VideoSource,
    audio_stream_index: int | None,
    settings: ClipFiles,
    scratch: Path,
    limits: Limits,
    shown: tuple[RGB, RGB] | None,
) -> dict[str, Any]:
    # Seeking can land behind the span's first frame (no index, damaged index, keyframes that are none). The
    # check below finds out; decoding from the start of the file is slow but finds every frame.
    has_sound = audio_stream_index is not None and settings.audio != "none"
    for seek_s in (*_seek_points(clip, source, has_sound), None):
        try:
            run_ffmpeg(_arguments(clip, source, audio_stream_index, settings, seek_s, scratch), limits)
            return _verify(clip, source, settings, scratch, shown)
        except (InputError, _Mismatch) as failure:
            cause = failure
    if isinstance(cause, _Mismatch):
        raise InputError(
            f"the encoded clip isn't its span: {cause}; the source is damaged or changed, register it again"
        )
    raise cause


def _seek_points(clip: Mapping[str, Any], source: VideoSource, has_sound: bool) -> list[float]:
    """Where decoding may start, s on the container's clock; points before the first frame are left out."""
    if source.timestamps == "generated":
        return []
    try:
        with open_container(source.uri, source.pixel_limit) as container:
            without_index = container.format.name in _CONTAINERS_WITHOUT_INDEX
    except (av.FFmpegError, OSError) as failure:
        raise InputError(f"can't be read ({failure}); check the file and register the source again") from None
    leads_s = _SEEK_LEADS_WITH_SOUND_S if has_sound else _SEEK_LEADS_S
    if without_index:
        leads_s = _SEEK_LEADS_WITHOUT_INDEX_S
    start_s = float(clip["start_pts"] * source.time_base)
    return [start_s - lead_s for lead_s in leads_s if lead_s < clip["start_s"]]


def _decoded(clip: Mapping[str, Any], source: VideoSource) -> tuple[RGB, RGB]:
    """The source's own first and last frame of the span."""
    stamps = _timestamps(clip)
    first, last = (next(iter(read_frames(source, stamp, clip["end_pts"]))).rgb() for stamp in (stamps[0], stamps[-1]))
    return first, last


def _arguments(
    clip: Mapping[str, Any],
    source: VideoSource,
    audio_stream_index: int | None,
    settings: ClipFiles,
    seek_s: float | None,
    scratch: Path,
) -> list[str]:
    # Timestamps stay as stored (-copyts) up to the filters, which pick frames by them.
    arguments = ["-y", "-filter_threads", "1", "-copyts"]
    if seek_s is not None:
        arguments += ["-seek_timestamp", "1", "-noaccurate_seek", "-ss", f"{seek_s:.6f}"]
    arguments += ["-threads", "1", "-max_pixels", str(source.pixel_limit), "-noautorotate"]
    # A file may hold a playlist or a script: these lists keep it from naming other files or hosts.
    arguments += ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
    arguments += ["-i", f"file:{os.path.abspath(source.uri)}"]

    arguments += ["-map", f"0:{source.stream_index}", "-filter:v", _picture_filters(clip, source, settings)]
    arguments += ["-fps_mode", "passthrough", "-enc_time_base:v", "filter"]
    arguments += ["-c:v", settings.video_codec, "-preset", settings.preset, "-crf", str(settings.crf)]
    arguments += ["-g", str(settings.keyframe_interval), "-threads:v", str(settings.encoder_threads)]
    if _is_variable(clip):
        # MP4 stores durations in decoding order: with B-frames uneven ones add up to a wrong length of the file.
        arguments += ["-bf", "0"]
    if settings.video_codec == "libx265":
        threads = settings.encoder_threads
        x265 = f"log-level=error:info=0:wpp=1:pools={threads}:frame-threads={threads}"
        arguments += ["-x265-params", x265, "-tag:v", "hvc1"]

    if audio_stream_index is not None and settings.audio != "none":
        arguments += ["-map", f"0:{audio_stream_index}", "-filter:a", _sound_filters(clip, source)]
        arguments += ["-c:a", settings.audio, "-b:a", f"{settings.audio_bitrate_kbps}k"]

    arguments += ["-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"]
    arguments += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    return [*arguments, "-movflags", "+faststart", "-f", "mp4", f"file:{os.path.abspath(scratch)}"]


def _picture_filters(clip: Mapping[str, Any], source: VideoSource, settings: ClipFiles) -> str:
    if source.timestamps == "generated":
        # They count frames: the time base is one frame.
        picked = [
            f"trim=start_frame={clip['start_pts']}:end_frame={clip['end_pts']}",
            f"settb={source.time_base}",
            "setpts=N",
        ]
    else:
        picked = [
            f"settb={source.time_base}",
            f"trim=start_pts={clip['start_pts']}:end_pts={clip['end_pts']}",
            r"select=isnan(prev_selected_pts)+gt(pts\,prev_selected_pts)",  # reading skips such frames, too
            f"setpts=PTS-({clip['start_pts']})",
        ]
    # What would turn the picture is taken off, else it would be handed on to the file and turn it again.
    filters = [*picked, "sidedata=mode=delete:type=DISPLAYMATRIX"]
    matrix = _MATRIX_TAGS.get(source.colour_space)
    if matrix:
        full = "pc" if source.colour_range == "full" else "tv"
        filters.append(f"setparams=colorspace={matrix}:range={full}")
    filters += _UPRIGHT[source.rotation_deg]
    out_matrix = matrix or _MATRIX_TAGS["bt709"]
    filters.append(f"scale={source.width}:{source.height}:out_color_matrix={out_matrix}:out_range=tv:{_SCALING}")
    filters += [f"format={settings.pixel_format}", "setsar=1"]
    width, height = _file_size(source, settings)
    if (width, height) != (source.width, source.height):
        filters.append(f"crop={width}:{height}:0:0")
    return ",".join(filters)


def _sound_filters(clip: Mapping[str, Any], source: VideoSource) -> str:
    """Cut to the span, moved to 0; gaps and a missing start or end become silence."""
    generated = source.timestamps == "generated"
    start_s = clip["start_s"] if generated else float(clip["start_pts"] * source.time_base)
    duration_s = float((clip["end_pts"] - clip["start_pts"]) * source.time_base)
    return ",".join(
        [
            f"atrim=start={start_s:.6f}:end={start_s + duration_s:.6f}",
            f"asetpts=PTS-({start_s:.6f})/TB",
            "aresample=async=1:first_pts=0",
            "aformat=channel_layouts=mono|stereo",
            "apad",
            f"atrim=end={duration_s:.6f}",
        ]
    )


def _is_variable(clip: Mapping[str, Any]) -> bool:
    """Whether frame durations differ by more than the rounding of timestamps."""
    stamps: list[int] = [*_timestamps(clip), clip["end_pts"]]
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    return max(steps) > min(steps) + 1


def _timestamps(clip: Mapping[str, Any]) -> list[int]:
    return frame_timestamps({**clip, "start_frame": 0, "end_frame": clip["frame_count"]})


def _file_size(source: VideoSource, settings: ClipFiles) -> tuple[int, int]:
    """Width and height of the file, px. Raises InputError where nothing is left to encode."""
    if settings.pixel_format != "yuv420p":
        return source.width, source.height
    width, height = source.width - source.width % 2, source.height - source.height % 2
    if not width or not height:
        raise InputError(
            f"{source.width}x{source.height} px is less than the 2x2 px that yuv420p needs; raise "
            "clips.min_source_area_px, or set clip_files.pixel_format to yuv444p"
        )
    return width, height


def _verify(
    clip: Mapping[str, Any], source: VideoSource, settings: ClipFiles, scratch: Path, shown: tuple[RGB, RGB] | None
) -> dict[str, Any]:
    """The columns of `clip_files`, measured on the file. Raises _Mismatch where it isn't the span."""
    width, height = _file_size(source, settings)
    try:
        with av.open(f"file:{scratch}") as container:
            (video,) = container.streams.video
            stream_index, size = video.index, (video.width, video.height)
            duration = (video.duration or 0) * (video.time_base or Fraction(0))
            video_codec = video.codec.canonical_name
            audio_codec = next((stream.codec.canonical_name for stream in container.streams.audio), None)
            time_base = video.time_base or Fraction(0)
        encoded = replace(
            source,
            uri=str(scratch),
            stream_index=stream_index,
            time_base=time_base,
            timestamps="stream",
            rotation_deg=0,
            sample_aspect_ratio=Fraction(1),
            width=width,
            height=height,
            colour_space="bt709" if source.colour_space == "rgb" else source.colour_space,
            colour_range="limited",
        )
        times: list[Fraction] = []
        for frame in read_frames(encoded):
            if not times:
                first = frame
            last = frame
            times.append(frame.pts * time_base)
    except (InputError, av.FFmpegError, ValueError) as failure:
        raise _Mismatch(f"it can't be read back ({failure})") from None
    stamps = _timestamps(clip)
    if size != (width, height):
        raise _Mismatch(f"its pictures are {size[0]}x{size[1]}, not {width}x{height}")
    if len(times) != len(stamps):
        raise _Mismatch(f"it has {len(times)} frames, not {len(stamps)}")
    for k, (time, stamp) in enumerate(zip(times, stamps, strict=True)):
        if time != (stamp - stamps[0]) * source.time_base:
            raise _Mismatch(f"frame {k} is shown at {float(time):.6f} s instead of its own time")

    psnrs = []
    first_shown, last_shown = shown or _decoded(clip, source)
    for name, wanted, mine in (("first", first_shown, first), ("last", last_shown, last)):
        if wanted.shape[:2] == (source.height, source.width):
            wanted = wanted[:height, :width]
        psnr_db = _psnr_db(wanted, mine.rgb(wanted.shape[1], wanted.shape[0]))
        if psnr_db < settings.min_psnr_db:
            raise _Mismatch(
                f"its {name} frame differs from the source's (PSNR {psnr_db:.1f} dB, "
                f"clip_files.min_psnr_db is {settings.min_psnr_db:g})"
            )
        psnrs.append(psnr_db)
    return {
        "file_size_bytes": scratch.stat().st_size,
        "width": width,
        "height": height,
        "frame_count": len(times),
        "duration_s": float(duration),
        "frames_per_s": float(len(times) / duration),
        "video_codec": video_codec,
        "audio_codec": audio_codec,
        "first_frame_psnr_db": psnrs[0],
        "last_frame_psnr_db": psnrs[1],
    }


def _psnr_db(a: RGB, b: RGB) -> float:
    """Peak signal-to-noise ratio over all RGB samples, 3 decimals, at most 100."""
    error = float(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2, dtype=np.float64))
    return min(MAX_PSNR_DB, round(10 * float(np.log10(255.0**2 / error)), 3)) if error else MAX_PSNR_DB
