"""What a video file holds: the probe columns of `raw_videos`."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from curation_assets.settings import RawVideos
from resources.errors import InputError, TransientError
from resources.media import (
    ColourRange,
    ColourSpace,
    choose_video_stream,
    demux,
    open_container,
    video_streams,
)
from resources.object_store import is_url, object_size, open_object
from resources.spent import count, spent, within

# AVColorSpace -> matrix. FCC and BT.470BG are BT.601 within rounding, SMPTE 240M is closest to BT.709.
_MATRIX_TAGS: dict[int, ColourSpace] = {
    1: "bt709",
    4: "bt601",
    5: "bt601",
    6: "bt601",
    7: "bt709",
    9: "bt2020",
    10: "bt2020",
}
_FULL_RANGE_TAG = 2  # AVCOL_RANGE_JPEG
_UNKNOWN_RATE = Fraction(25)  # FFmpeg's default
_UNTAGGED_HD_LINES = 720  # untagged video is BT.709 from here on, BT.601 below


class _Packet(NamedTuple):
    pts: int | None
    duration: int


class _Timing(NamedTuple):
    """Times of a stream's frames, in units of `time_base` s."""

    timestamps: str
    time_base: Fraction
    first_pts: int
    duration: int
    frame_rate: Fraction
    is_variable: bool


def probe_video(uri: str, limits: RawVideos) -> dict[str, Any]:
    """Read a video's packets and first frame; returns the columns of `raw_videos` from `container` on.

    Raises InputError, with cause and remedy in one sentence, when the file is gone, unreadable, empty, no
    video, cut off, above `limits.max_pixels`, or holds no frame that can be decoded.
    """
    check_file(uri)
    try:
        with ExitStack() as opened:
            with spent("reading"):
                container = opened.enter_context(open_container(uri, _codec_limit(limits)))
            return _probe(container, uri, limits)
    except FileNotFoundError:
        raise gone(uri) from None
    except (av.FFmpegError, OSError) as failure:  # also EPERM, which demuxers say of damaged data
        raise _unreadable(uri, failure) from None


def gone(uri: str) -> TransientError:
    """What a probe raises for a file that was there when it was registered."""
    return TransientError(f"{uri}: the file is gone; register the source again")


def check_file(uri: str) -> None:
    """Raise InputError or TransientError for what can't be opened, or is empty."""
    try:
        if is_url(uri):
            size = object_size(uri)
        else:
            size = os.stat(uri).st_size
            with open(uri, "rb"):
                pass
    except (FileNotFoundError, NotADirectoryError):
        raise gone(uri) from None
    except IsADirectoryError:
        raise InputError(f"{uri}: is a folder, not a video; take it out of the listing") from None
    except PermissionError:
        raise TransientError(f"{uri}: no permission to read it; give the user that runs Reelhouse access") from None
    if size == 0:
        raise InputError(f"{uri}: the file is empty; copy it again")


def _unreadable(uri: str, failure: Exception) -> InputError:
    if _is_mp4(uri):
        return InputError(
            f"{uri}: cut off or damaged, its index (moov) is missing or unreadable; copy or record it again"
        )
    reason = getattr(failure, "strerror", None) or failure
    return InputError(f"{uri}: no video container ({reason}); convert it, or take it out of the source")


def _is_mp4(uri: str) -> bool:
    with open_object(uri) if is_url(uri) else open(uri, "rb") as file:
        return file.read(8)[4:] in (b"ftyp", b"mdat", b"moov", b"wide", b"free", b"skip")


def _codec_limit(limits: RawVideos) -> int:
    return 2 * limits.max_pixels  # codecs compare sizes padded to whole blocks


def _probe(container: InputContainer, uri: str, limits: RawVideos) -> dict[str, Any]:
    stream = choose_video_stream(container)
    if stream is None:
        raise _no_video(container, uri)
    _check_size(stream.width, stream.height, uri, limits)
    frame, packets = _read(container, stream, _codec_limit(limits))
    if not packets:
        raise InputError(f"{uri}: its video stream holds no frames; copy or record it again")
    if frame is None:
        raise InputError(f"{uri}: none of its {len(packets)} frames can be decoded; copy or record it again")
    _check_size(frame.width, frame.height, uri, limits)

    timing = _timing(packets, stream)
    if timing.duration <= 0:
        raise InputError(f"{uri}: its duration is zero; copy or record it again")
    rotation_deg = round(-frame.rotation / 90) % 4 * 90
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if aspect <= 0:
        aspect = Fraction(1)
    width, height = max(1, round(frame.width * aspect)), frame.height
    _check_size(width, height, uri, limits)
    if rotation_deg in (90, 270):
        width, height = height, width
    colour_space, colour_range = _colours(frame)
    audio = _audio_stream(container)
    return {
        "container": container.format.name,
        "codec": stream.codec_context.codec.canonical_name,
        "pixel_format": frame.format.name,
        "bit_depth": max(component.bits for component in frame.format.components),
        "stream_index": stream.index,
        "video_stream_count": len(video_streams(container)),
        "width": width,
        "height": height,
        "coded_width": frame.width,
        "coded_height": frame.height,
        "rotation_deg": rotation_deg,
        "sample_aspect_ratio": str(aspect),
        "frame_rate": str(timing.frame_rate),
        "frames_per_s": float(timing.frame_rate),
        "frame_count": len(packets),
        "duration_s": float(timing.duration * timing.time_base),
        "start_time_s": float(timing.first_pts * timing.time_base),
        "time_base": str(timing.time_base),
        "timestamps": timing.timestamps,
        "is_variable_frame_rate": timing.is_variable,
        "colour_space": colour_space,
        "colour_range": colour_range,
        "audio_stream_index": audio.index if audio else None,
        "audio_codec": audio.codec_context.codec.canonical_name if audio else None,
    }


def _no_video(container: InputContainer, uri: str) -> InputError:
    contexts = [stream.codec_context for stream in container.streams.video]
    codecs = sorted({context.name if context else "unknown" for context in contexts})
    if codecs and not video_streams(container):
        return InputError(
            f"{uri}: holds no video that can be decoded (pictures or unknown codecs: {', '.join(codecs)}); "
            "convert it, or take it out of the source"
        )
    kind = "only audio" if container.streams.audio else "neither video nor audio"
    return InputError(f"{uri}: holds {kind}; take it out of the source")


def _check_size(width: int, height: int, uri: str, limits: RawVideos) -> None:
    if width * height > limits.max_pixels:
        raise InputError(
            f"{uri}: its frames are {width}x{height}, above raw_videos.max_pixels ({limits.max_pixels}); "
            "raise the limit or take it out of the source"
        )


def _read(
    container: InputContainer, stream: VideoStream, codec_limit: int
) -> tuple[av.VideoFrame | None, list[_Packet]]:
    """The first frame that can be decoded, and all packets of shown frames, up to unreadable data."""
    context = stream.codec_context
    context.options = {"max_pixels": str(codec_limit)}
    context.thread_count = 1
    frame: av.VideoFrame | None = None
    packets = []
    try:
        for packet in within("reading", demux(container, stream)):
            count("bytes", packet.size)
            if packet.size and not packet.is_discard:
                packets.append(_Packet(packet.pts, packet.duration or 0))
            if frame is None:
                try:
                    with spent("reading"):
                        frame = next(iter(context.decode(packet if packet.size else None)), None)
                except av.FFmpegError:
                    continue
    except av.FFmpegError:
        pass
    return frame, packets


def _timing(packets: Sequence[_Packet], stream: VideoStream) -> _Timing:
    known = sorted((packet.pts, packet.duration) for packet in packets if packet.pts is not None)
    pts = [stamp for stamp, _ in known]
    steps = {later - earlier for earlier, later in pairwise(pts)}
    if len(pts) < len(packets) or 0 in steps or stream.time_base is None:
        # Here the demuxer's average is a mere default, while the codec's headers may name a rate.
        rate = stream.guessed_rate or stream.average_rate or _UNKNOWN_RATE
        return _Timing("generated", 1 / rate, 0, len(packets), rate, False)

    nominal_rate = stream.average_rate or stream.guessed_rate or _UNKNOWN_RATE
    time_base = stream.time_base
    last_duration = known[-1][1] or round(1 / nominal_rate / time_base)
    duration = pts[-1] + last_duration - pts[0]
    is_variable = bool(steps) and max(steps) - min(steps) > 1  # rounding to the time base moves a step by one
    # The stream's own figure is exact where timestamps are rounded, but some containers only guess it.
    drift = (len(pts) - 1) / nominal_rate / time_base - (pts[-1] - pts[0])
    rate = nominal_rate
    if (is_variable or abs(drift) > 1) and duration > 0:
        rate = len(pts) / (duration * time_base)
    return _Timing("stream", time_base, pts[0], duration, rate, is_variable)


def _colours(frame: av.VideoFrame) -> tuple[ColourSpace, ColourRange]:
    pixels = frame.format
    if pixels.is_rgb or pixels.has_palette:
        return "rgb", "full"
    untagged: ColourSpace = "bt709" if frame.height >= _UNTAGGED_HD_LINES else "bt601"
    matrix = _MATRIX_TAGS.get(frame.colorspace, untagged)
    # swscale takes grey and the yuvj formats as full range, whatever the tag
    always_full = pixels.name.startswith(("yuvj", "gray", "ya"))
    return matrix, "full" if always_full or frame.color_range == _FULL_RANGE_TAG else "limited"


def _audio_stream(container: InputContainer) -> Any:
    """Default disposition first, then the first that can be decoded; None without audio."""
    streams = [s for s in container.streams.audio if s.codec_context]
    return max(streams, key=lambda s: (bool(s.disposition & Disposition.default), -s.index), default=None)
