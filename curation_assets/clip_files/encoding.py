"""One clip as an MP4 that holds exactly the frames of its span, checked against the source.

Frames are picked by their own timestamps and keep their distances, so variable frame rates stay variable. The
picture is upright with square pixels, or what stays of it where the clip is cropped; where 4:2:0 needs an even size,
the last row or column is cropped rather than all pixels resampled. Matrix, primaries and transfer are the source's;
8 bits, limited range, which is what readers that look at no tags take for granted. Sound lasts as long as the picture:
silence where there is none, at most two channels.
"""

import math
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from curation_assets.clip_files.checking import Mismatch, check_file, file_size_px, timestamps
from curation_assets.clip_files.stream_copy import copy_packets
from curation_assets.settings import ClipFiles
from resources.errors import InputError, TransientError
from resources.ffmpeg import Limits, run_ffmpeg
from resources.media import CONTAINERS, RGB, VideoSource, open_container
from resources.object_store import is_url, local_copy

_MATRIX_TAGS = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}
_MATRIX_CODES = {"bt601": 6, "bt709": 1, "bt2020": 9}  # ITU-T H.273
_METADATA = {"libx264": "h264_metadata=matrix_coefficients", "libx265": "hevc_metadata=matrix_coefficients"}
_TAG = {"libx264": "avc1", "libx265": "hvc1"}
_UPRIGHT = {0: [], 90: ["transpose=clock"], 180: ["hflip", "vflip"], 270: ["transpose=cclock"]}
_SCALING = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"  # bitexact: the same on every CPU

# How far before the span to start decoding, one try after another. Containers with an index lead to the keyframe
# before that point; sound needs a few packets more to decode cleanly. The others lead anywhere, so the distance must
# hold a whole group of pictures (x264's default: 250 frames).
_SEEK_LEADS_S = (0.0, 2.0)
_SEEK_LEADS_WITH_SOUND_S = (0.1, 2.0)
_SEEK_LEADS_WITHOUT_INDEX_S = (12.0, 30.0)
_CONTAINERS_WITHOUT_INDEX = {"mpegts", "mpeg"}


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

    Verified on the file: number, size and timestamps of the frames, and the PSNR of the first and the last one
    against the source's, given as `shown` or decoded again. Raises InputError when the source can't be decoded or
    the result isn't the span, TransientError when time, memory or disk ran out.
    """
    try:
        with _new_file(destination) as scratch:
            return _encode_and_check(clip, _local(source), audio_stream_index, settings, scratch, limits, shown)
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


@dataclass(frozen=True)
class Wanted:
    """A clip's file to be made; the fields are the arguments of `encode_clip`."""

    clip: Mapping[str, Any]
    destination: Path
    shown: tuple[RGB, RGB] | None


def encode_in_one_pass(
    wanted: Sequence[Wanted],
    source: VideoSource,
    audio_stream_index: int | None,
    settings: ClipFiles,
    limits: Limits,
) -> list[dict[str, Any]]:
    """What `encode_clip` makes of each of the clips, byte for byte, from one decode of the source's picture.

    They follow each other in time. An encoder is kept for each of them until the last is done.

    Raises InputError or TransientError, and makes no file, where they have to be encoded one by one: a file isn't its
    span, or anything in the source is damaged. What a decoder makes of damage depends on where it began.
    """
    local = _local(source)
    with ExitStack() as files:
        scratches = [files.enter_context(_new_file(one.destination)) for one in wanted]
        outputs = [(one.clip, scratch) for one, scratch in zip(wanted, scratches, strict=True)]
        seek_s = next(iter(_seek_points(wanted[0].clip, local, _has_sound(audio_stream_index, settings))), None)
        try:
            run_ffmpeg(["-xerror", *_arguments(outputs, local, audio_stream_index, settings, seek_s)], limits)
            return [
                check_file(one.clip, local, settings, scratch, one.shown)
                for one, scratch in zip(wanted, scratches, strict=True)
            ]
        except Mismatch as failure:
            raise InputError(f"{source.uri}: {failure}; encode the clips one by one") from None


@contextmanager
def _new_file(destination: Path) -> Iterator[Path]:
    """Where to make the file: it appears whole when the block ends, or not at all where the block raises."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.partial")
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(destination)
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


def _encode_and_check(
    clip: Mapping[str, Any],
    source: VideoSource,
    audio_stream_index: int | None,
    settings: ClipFiles,
    scratch: Path,
    limits: Limits,
    shown: tuple[RGB, RGB] | None,
) -> dict[str, Any]:
    if settings.copy_where_exact and (row := _copy(clip, source, audio_stream_index, settings, scratch, limits, shown)):
        return row
    # Seeking can land behind the span's first frame (no index, damaged index, keyframes that are none). The
    # check below finds out; decoding from the start of the file is slow but finds every frame.
    for seek_s in (*_seek_points(clip, source, _has_sound(audio_stream_index, settings)), None):
        try:
            run_ffmpeg(_arguments([(clip, scratch)], source, audio_stream_index, settings, seek_s), limits)
            return check_file(clip, source, settings, scratch, shown)
        except (InputError, Mismatch) as failure:
            cause = failure
    if isinstance(cause, Mismatch):
        raise InputError(
            f"the encoded clip isn't its span: {cause}; the source is damaged or changed, register it again"
        )
    raise cause


def _copy(
    clip: Mapping[str, Any],
    source: VideoSource,
    audio_stream_index: int | None,
    settings: ClipFiles,
    scratch: Path,
    limits: Limits,
    shown: tuple[RGB, RGB] | None,
) -> dict[str, Any] | None:
    """The source's own packets as the file's picture, beside the sound; None where that isn't exactly the span."""
    picture = scratch.with_name(f"{scratch.name}.picture.partial")
    try:
        if not copy_packets(clip, source, settings, picture):
            return None
        arguments = ["-y", "-filter_threads", "1", "-copyts", "-i", f"file:{os.path.abspath(picture)}"]
        if _has_sound(audio_stream_index, settings):
            arguments += _input(source, next(iter(_seek_points(clip, source, has_sound=True)), None))
        arguments += ["-map", "0:v", "-c:v", "copy", "-tag:v", _TAG[settings.video_codec]]
        arguments += ["-bsf:v", f"{_METADATA[settings.video_codec]}={_MATRIX_CODES[source.colour_space]}"]
        arguments += _sound(1, clip, source, audio_stream_index, settings)
        run_ffmpeg([*arguments, *_container(scratch)], limits)
        row = check_file(clip, source, settings, scratch, shown)
    except (InputError, Mismatch):
        return None
    finally:
        picture.unlink(missing_ok=True)
    span_s = float((clip["end_pts"] - clip["start_pts"]) * source.time_base)
    return row if math.isclose(row["duration_s"], span_s, abs_tol=0.001) else None


def _seek_points(clip: Mapping[str, Any], source: VideoSource, has_sound: bool) -> list[float]:
    """Where decoding may start, s on the container's clock; points before the first frame are left out."""
    if source.timestamps == "generated":
        return []
    leads_s = _SEEK_LEADS_WITH_SOUND_S if has_sound else _SEEK_LEADS_S
    if _container_format(source.uri, source.pixel_limit) in _CONTAINERS_WITHOUT_INDEX:
        leads_s = _SEEK_LEADS_WITHOUT_INDEX_S
    start_s = float(clip["start_pts"] * source.time_base)
    return [start_s - lead_s for lead_s in leads_s if lead_s < clip["start_s"]]


@lru_cache
def _container_format(uri: str, pixel_limit: int) -> str:
    try:
        with open_container(uri, pixel_limit) as container:
            return container.format.name
    except (av.FFmpegError, OSError) as failure:
        raise InputError(f"can't be read ({failure}); check the file and register the source again") from None


def _has_sound(audio_stream_index: int | None, settings: ClipFiles) -> bool:
    return audio_stream_index is not None and settings.audio != "none"


def _arguments(
    outputs: Sequence[tuple[Mapping[str, Any], Path]],
    source: VideoSource,
    audio_stream_index: int | None,
    settings: ClipFiles,
    seek_s: float | None,
) -> list[str]:
    """ffmpeg's, to make each clip's file; decoding starts `seek_s` on the container's clock."""
    # Timestamps stay as stored (-copyts) up to the filters, which pick frames by them.
    arguments = ["-y", "-filter_threads", "1", "-copyts", *_input(source, seek_s)]
    has_sound = _has_sound(audio_stream_index, settings)
    if has_sound:  # what its decoders give depends on where they began, so each clip has an input of its own
        for clip, _ in outputs[1:]:
            arguments += _input(source, next(iter(_seek_points(clip, source, has_sound)), None))
    for number, (clip, scratch) in enumerate(outputs):
        arguments += ["-map", f"0:{source.stream_index}", "-filter:v", _picture_filters(clip, source, settings)]
        arguments += _picture_encoder(clip, settings)
        arguments += _sound(number, clip, source, audio_stream_index, settings)
        arguments += _container(scratch)
    return arguments


def _input(source: VideoSource, seek_s: float | None) -> list[str]:
    arguments = []
    if seek_s is not None:
        arguments += ["-seek_timestamp", "1", "-noaccurate_seek", "-ss", f"{seek_s:.6f}"]
    arguments += ["-threads", "1", "-max_pixels", str(source.pixel_limit), "-noautorotate"]
    # A file may hold a playlist or a script: these lists keep it from naming other files or hosts.
    arguments += ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
    return [*arguments, "-i", f"file:{os.path.abspath(source.uri)}"]


def _picture_encoder(clip: Mapping[str, Any], settings: ClipFiles) -> list[str]:
    arguments = ["-fps_mode", "passthrough", "-enc_time_base:v", "filter"]
    arguments += ["-c:v", settings.video_codec, "-preset", settings.preset, "-crf", str(settings.crf)]
    arguments += ["-g", str(settings.keyframe_interval), "-threads:v", str(settings.encoder_threads)]
    if _is_variable(clip):
        # MP4 stores durations in decoding order: with B-frames uneven ones add up to a wrong length of the file.
        arguments += ["-bf", "0"]
    if settings.video_codec == "libx265":
        threads = settings.encoder_threads
        x265 = f"log-level=error:info=0:wpp=1:pools={threads}:frame-threads={threads}"
        arguments += ["-x265-params", x265, "-tag:v", _TAG[settings.video_codec]]
    return arguments


def _sound(
    number: int,
    clip: Mapping[str, Any],
    source: VideoSource,
    audio_stream_index: int | None,
    settings: ClipFiles,
) -> list[str]:
    """The clip's sound, from the input of that number; nothing where there is none."""
    if not _has_sound(audio_stream_index, settings):
        return []
    arguments = ["-map", f"{number}:{audio_stream_index}", "-filter:a", _sound_filters(clip, source)]
    return [*arguments, "-c:a", settings.audio, "-b:a", f"{settings.audio_bitrate_kbps}k"]


def _container(file: Path) -> list[str]:
    arguments = ["-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"]
    arguments += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    return [*arguments, "-movflags", "+faststart", "-f", "mp4", f"file:{os.path.abspath(file)}"]


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
    width, height = file_size_px(clip, source, settings)
    if (width, height) != (source.width, source.height):
        left, top, *_ = clip.get("crop_box") or (0, 0)
        filters.append(f"crop={width}:{height}:{left}:{top}")
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
    stamps: list[int] = [*timestamps(clip), clip["end_pts"]]
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    return max(steps) > min(steps) + 1
