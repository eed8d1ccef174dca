"""Whether a clip's file is its span: what is measured on the finished file, beside what was asked for."""

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from curation_assets.settings import ClipFiles
from resources.errors import InputError
from resources.media import RGB, Frame, VideoSource, read_frames
from resources.pictures import cropped
from resources.timestamps import frame_timestamps

MAX_PSNR_DB = 100.0


class Mismatch(Exception):
    """The file isn't the span."""


def timestamps(clip: Mapping[str, Any]) -> list[int]:
    """Of the clip's frames, in the source's time base."""
    return frame_timestamps({**clip, "start_frame": 0, "end_frame": clip["frame_count"]})


def file_size_px(clip: Mapping[str, Any], source: VideoSource, settings: ClipFiles) -> tuple[int, int]:
    """Width and height of the file's picture. Raises InputError where nothing is left to encode."""
    if clip.get("crop_box"):
        _, _, width, height = clip["crop_box"]
        return width, height
    if settings.pixel_format != "yuv420p":
        return source.width, source.height
    width, height = source.width - source.width % 2, source.height - source.height % 2
    if not width or not height:
        raise InputError(
            f"{source.width}x{source.height} px is less than the 2x2 px that yuv420p needs; raise "
            "clips.min_source_area_px, or set clip_files.pixel_format to yuv444p"
        )
    return width, height


def check_file(
    clip: Mapping[str, Any], source: VideoSource, settings: ClipFiles, file: Path, shown: tuple[RGB, RGB] | None
) -> dict[str, Any]:
    """The columns of `clip_files`, measured on the file. Raises Mismatch where it isn't the span.

    Frames are counted, and their times read, from the packets, each of which has to be whole. Decoded are the first
    frame, and of the last group of pictures those that the last frame may be made from, which is about half of it.
    """
    width, height = file_size_px(clip, source, settings)
    stamps = timestamps(clip)
    try:
        with av.open(f"file:{file}") as container:
            (video,) = container.streams.video
            time_base = video.time_base or Fraction(1)
            wanted = [(stamp - stamps[0]) * source.time_base / time_base for stamp in stamps]
            found, ends = _read_back(container, video, wanted[-1])
            duration = (video.duration or 0) * time_base
            size = (video.width, video.height)
            video_codec = video.codec.canonical_name
            audio_codec = next((stream.codec.canonical_name for stream in container.streams.audio), None)
    except (av.FFmpegError, ValueError) as failure:
        raise Mismatch(f"it can't be read back ({failure})") from None
    if size != (width, height):
        raise Mismatch(f"its pictures are {size[0]}x{size[1]}, not {width}x{height}")
    if len(found) != len(wanted):
        raise Mismatch(f"it has {len(found)} frames, not {len(wanted)}")
    for k, (pts, wanted_pts) in enumerate(zip(found, wanted, strict=True)):
        if pts != wanted_pts:
            raise Mismatch(f"frame {k} is shown at {float(pts * time_base):.6f} s instead of its own time")
    pictures = zip(("first", "last"), (found[0], found[-1]), shown or _decoded(clip, source), strict=True)
    first_psnr_db, last_psnr_db = (
        _psnr_of(name, ends.get(pts), picture, clip, source, settings) for name, pts, picture in pictures
    )
    return {
        "file_size_bytes": file.stat().st_size,
        "width": width,
        "height": height,
        "frame_count": len(found),
        "duration_s": float(duration),
        "frames_per_s": float(len(found) / duration),
        "video_codec": video_codec,
        "audio_codec": audio_codec,
        "first_frame_psnr_db": first_psnr_db,
        "last_frame_psnr_db": last_psnr_db,
    }


def _read_back(
    container: InputContainer, video: VideoStream, last_pts: Fraction
) -> tuple[list[int], dict[int, av.VideoFrame]]:
    """The timestamps of all frames, rising, and the frames at 0 and at `last_pts`."""
    context = video.codec_context
    context.thread_count = 1
    packets = [(packet.pts, packet) for packet in container.demux(video) if packet.pts is not None]
    if not all(_is_whole(bytes(packet)) for _, packet in packets):
        raise Mismatch("it is damaged")
    keyframe = max(k for k, (pts, packet) in enumerate(packets) if packet.is_keyframe and pts <= last_pts)
    ends: dict[int, av.VideoFrame] = {}
    for pts, packet in (*packets[:1], *packets[max(1, keyframe) :], (None, None)):
        context.skip_frame = "DEFAULT" if pts == last_pts else "NONREF"
        for frame in context.decode(packet):
            if frame.pts is not None and frame.pts in (0, last_pts):
                ends[frame.pts] = frame
    return sorted(pts for pts, _ in packets), ends


def _is_whole(packet: bytes) -> bool:
    """Whether the units of H.264 or HEVC fill it, as MP4 stores them: each after its length in four bytes."""
    at = 0
    while at < len(packet) and (length := int.from_bytes(packet[at : at + 4])):
        at += 4 + length
    return at == len(packet)


def _decoded(clip: Mapping[str, Any], source: VideoSource) -> tuple[RGB, RGB]:
    """The source's own first and last frame of the span, or what stays of them."""
    stamps = timestamps(clip)
    whole = (next(iter(read_frames(source, stamp, clip["end_pts"]))).rgb() for stamp in (stamps[0], stamps[-1]))
    first, last = (cropped(picture, clip.get("crop_box")) for picture in whole)
    return first, last


def _psnr_of(
    name: str,
    frame: av.VideoFrame | None,
    picture: RGB,
    clip: Mapping[str, Any],
    source: VideoSource,
    settings: ClipFiles,
) -> float:
    """PSNR of a frame of the file against the source's `picture`, which may be smaller."""
    if frame is None:
        raise Mismatch(f"its {name} frame can't be decoded")
    width, height = file_size_px(clip, source, settings)
    if picture.shape[:2] == (source.height, source.width):
        picture = picture[:height, :width]
    encoded = replace(
        source,
        rotation_deg=0,
        sample_aspect_ratio=Fraction(1),
        width=width,
        height=height,
        colour_space="bt709" if source.colour_space == "rgb" else source.colour_space,
        colour_range="limited",
    )
    shown = Frame(frame, 0, 0, encoded).rgb(picture.shape[1], picture.shape[0])
    psnr_db = _psnr_db(picture, shown)
    if psnr_db < settings.min_psnr_db:
        raise Mismatch(
            f"its {name} frame differs from the source's (PSNR {psnr_db:.1f} dB, "
            f"clip_files.min_psnr_db is {settings.min_psnr_db:g})"
        )
    return psnr_db


def _psnr_db(a: RGB, b: RGB) -> float:
    """Peak signal-to-noise ratio over all RGB samples, 3 decimals, at most 100."""
    import cv2

    error = cv2.norm(a, b, cv2.NORM_L2SQR) / a.size
    return min(MAX_PSNR_DB, round(10 * math.log10(255.0**2 / error), 3)) if error else MAX_PSNR_DB
