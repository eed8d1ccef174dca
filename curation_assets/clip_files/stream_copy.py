"""The span's packets as they are stored in the source, where they alone show exactly the span's frames."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.stream import VideoStream

from curation_assets.clip_files.checking import timestamps
from curation_assets.settings import ClipFiles
from resources.media import VideoSource, demux, open_container

_SEEK_LEAD_S = 2  # in streams without an index seeking can land behind the keyframe
_CODECS = {"libx264": "h264", "libx265": "hevc"}


def copy_packets(clip: Mapping[str, Any], source: VideoSource, settings: ClipFiles, file: Path) -> bool:
    """Write the span's picture to an MP4, its first frame at 0; False where that can't be exact.

    It is exact where all of the picture is wanted, and as it is stored by the settings and an upright display, the span
    begins with a keyframe, and its packets follow each other: none shown before the span (an open group of pictures),
    and none shown after it that a frame of the span is made from.
    """
    if clip.get("crop_box") or source.timestamps != "stream" or source.rotation_deg or source.colour_range != "limited":
        return False
    stamps = timestamps(clip)
    missing = set(stamps)
    has_begun = False
    try:
        with open_container(source.uri, source.pixel_limit) as container:
            stream = container.streams[source.stream_index]
            if not isinstance(stream, VideoStream) or not _is_stored_as_wanted(stream, source, settings):
                return False
            decoding_times = iter(_decoding_times(stamps, stream.codec_context.reorder_depth))
            container.seek(stamps[0] - round(_SEEK_LEAD_S / source.time_base), stream=stream)
            with av.open(str(file), "w", format="mp4") as written:
                copy = written.add_stream_from_template(stream)
                for packet in demux(container, stream):
                    has_begun |= packet.is_keyframe and packet.pts == stamps[0]
                    if not has_begun and packet.pts is not None and packet.pts < stamps[0]:
                        continue
                    if not has_begun or packet.pts not in missing:
                        return False
                    missing.remove(packet.pts)
                    packet.pts -= stamps[0]
                    packet.dts = next(decoding_times)
                    packet.stream = copy
                    written.mux(packet)
                    if not missing:
                        return True
    except (av.FFmpegError, ValueError):
        pass
    return False


def _decoding_times(stamps: Sequence[int], reorder_depth: int) -> list[int]:
    """When the packets are decoded, the first frame shown at 0. Containers don't always say it after a seek."""
    depth = min(reorder_depth, len(stamps) - 1)
    before = [stamps[k] - stamps[depth] for k in range(depth)]
    return [*before, *(stamp - stamps[0] for stamp in stamps[: len(stamps) - depth])]


def _is_stored_as_wanted(stream: VideoStream, source: VideoSource, settings: ClipFiles) -> bool:
    context = stream.codec_context
    return (
        context.codec.canonical_name == _CODECS[settings.video_codec]
        and context.pix_fmt == settings.pixel_format
        and (stream.width, stream.height) == (source.width, source.height)
        and (stream.sample_aspect_ratio or Fraction(1)) == 1
    )
