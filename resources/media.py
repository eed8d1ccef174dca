"""One reading of a video for every step: which stream, which frames, which times, which colours.

Colours: a stream's matrix and range are settled once, by probing, and every conversion names them explicitly,
since FFmpeg's own choice depends on the single frame's tags and on the version. A stream that says nothing is
BT.601 below 720 lines and BT.709 from there on, limited range.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, Self

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from resources.errors import InputError, TransientError
from resources.images import read_image
from resources.object_store import is_url, local_copy, open_object
from resources.spent import count, within

RGB = NDArray[np.uint8]
BGR = NDArray[np.uint8]

ColourSpace = Literal["bt601", "bt709", "bt2020", "rgb"]
ColourRange = Literal["limited", "full"]

# Containers that hold their media themselves. Playlists and scripts (hls, dash, concat, image sequences) are
# not among them: such a file could name any other file or host.
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,vvc,av1,obu,ivf,flv,asf,ogg,mxf,gxf,rm,dv,wtv,nut,"
    "nsv,swf,gif,apng,mjpeg,vc1,vc1test,yuv4mpegpipe,mp3,aac,wav,flac"
)

# Without full chroma and accurate rounding swscale is up to 3 levels off; bit-exact: equal on every CPU.
_SCALING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_MATRIX = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
    "rgb": Colorspace.ITU709,  # not used: there is no matrix between RGB and RGB
}
_RANGE = {"limited": ColorRange.MPEG, "full": ColorRange.JPEG}

_AVFMT_FLAG_GENPTS = 1

# How far before a span to start decoding, one try after another. Seeking goes by decoding times, so it can
# land on a keyframe that is shown after the span begins; in streams without an index it can land anywhere.
_SEEK_LEADS_S = (0, 2, 10)


@dataclass(frozen=True)
class VideoSource:
    """A video as probing settled it; columns of `raw_videos`, typed."""

    uri: str
    stream_index: int
    time_base: Fraction  # s per timestamp unit
    timestamps: Literal["stream", "generated", "none"]
    frame_rate: Fraction  # average, 1/s; 0 for an image
    rotation_deg: int  # clockwise, to show it upright
    sample_aspect_ratio: Fraction
    width: int  # upright, square pixels
    height: int
    colour_space: ColourSpace
    colour_range: ColourRange

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The source of a `raw_videos` row."""
        return cls(
            uri=row["source_uri"],
            stream_index=row["stream_index"],
            time_base=Fraction(row["time_base"]),
            timestamps=row["timestamps"],
            frame_rate=Fraction(row["frame_rate"] or 0),
            rotation_deg=row["rotation_deg"],
            sample_aspect_ratio=Fraction(row["sample_aspect_ratio"]),
            width=row["width"],
            height=row["height"],
            colour_space=row["colour_space"],
            colour_range=row["colour_range"],
        )

    @property
    def is_image(self) -> bool:
        """Whether it is a single picture, which is shown at no time and for no time."""
        return self.timestamps == "none"

    def generated_pts(self, index: int) -> int:
        """Timestamp of frame `index`, in the time base, where the stream's own can't be used."""
        return round(index / self.frame_rate / self.time_base)

    @property
    def pixel_limit(self) -> int:
        """Decoders refuse frames above this: a stream must not grow huge after its probed first frame."""
        return 4 * self.width * self.height * max(1, round(1 / self.sample_aspect_ratio)) + 2**20


# Of these a picture of even height is converted pixel by pixel where its size stays, and in 4:2:2 each row has its
# own chroma: so any rows can be converted without the others.
_BY_ROWS = {"yuv420p": "yuv422p", "yuvj420p": "yuvj422p"}


class _Converter:
    """Converts the frames of one video; keeps one scaler for each size and format."""

    def __init__(self, source: VideoSource) -> None:
        self._source = source
        self._scalers: dict[tuple[str, int, int], VideoReformatter] = {}
        self._taken: av.VideoFrame | None = None

    def convert(
        self, frame: av.VideoFrame, pixels: str, matrix: Colorspace, width: int, height: int
    ) -> NDArray[np.uint8]:
        source = self._source
        stored = (height, width) if source.rotation_deg in (90, 270) else (width, height)
        scaler = self._scalers.setdefault((pixels, *stored), VideoReformatter())
        converted = scaler.reformat(
            frame,
            *stored,
            pixels,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=_RANGE[source.colour_range],
            dst_color_range=ColorRange.JPEG,
            interpolation=_SCALING,
            threads=1,
        ).to_ndarray()
        return np.ascontiguousarray(np.rot90(converted, -source.rotation_deg // 90))

    def stored_rows(self, frame: av.VideoFrame, rows: NDArray[np.intp]) -> BGR:
        if frame.format.name in _BY_ROWS and frame.height % 2 == 0 and not frame.interlaced_frame:
            return self._bgr(self._take(frame, rows))[: len(rows)]
        return self._bgr(frame)[rows]

    def _take(self, frame: av.VideoFrame, rows: NDArray[np.intp]) -> av.VideoFrame:
        """The rows as a picture of their own, of even height."""
        pixels, height = _BY_ROWS[frame.format.name], len(rows) + len(rows) % 2
        taken = self._taken
        if taken is None or (taken.format.name, taken.width, taken.height) != (pixels, frame.width, height):
            taken = self._taken = av.VideoFrame(frame.width, height, pixels)
        taken.colorspace, taken.color_range = frame.colorspace, frame.color_range
        for plane, into, of in zip(frame.planes, taken.planes, (rows, rows // 2, rows // 2), strict=True):
            np.take(_pixels(plane), of, 0, out=_pixels(into)[: len(rows)], mode="clip")  # "raise" would copy twice
        return taken

    def _bgr(self, frame: av.VideoFrame) -> BGR:
        scaler = self._scalers.setdefault(("bgr24", frame.width, frame.height), VideoReformatter())
        (plane,) = scaler.reformat(frame, format="bgr24", threads=1).planes
        return _pixels(plane, 3).reshape(frame.height, frame.width, 3)


def _pixels(plane: VideoPlane, bytes_each: int = 1) -> NDArray[np.uint8]:
    """A plane's rows without what pads them."""
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : plane.width * bytes_each]


class Frame:
    """A decoded frame; pixels are converted when asked for."""

    __slots__ = ("_converter", "_frame", "_source", "after_damage", "duration", "pts")

    def __init__(
        self,
        frame: av.VideoFrame,
        pts: int,
        duration: int,
        source: VideoSource,
        converter: _Converter | None = None,
        after_damage: bool = False,
    ) -> None:
        self.pts = pts  # in the stream's time base
        self.duration = duration  # in the stream's time base
        self.after_damage = after_damage  # whether it, or anything decoded before it, is not as it was encoded
        self._frame = frame
        self._source = source
        self._converter = converter or _Converter(source)

    @property
    def is_intra(self) -> bool:
        """Whether it is an I-frame, which refers to no other frame; keyframes are."""
        return self._frame.pict_type == PictureType.I

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of the stored picture, which isn't turned upright and whose pixels needn't be square."""
        return self._frame.width, self._frame.height

    def stored_rows(self, rows: NDArray[np.intp]) -> BGR:
        """These rows of the stored picture, rows x width x 3, in the colours FFmpeg gives it unasked.

        They equal those of PyAV's `to_ndarray(format="bgr24")`, which PySceneDetect works on, on the same CPU.
        """
        return self._converter.stored_rows(self._frame, rows)

    def size_within(self, longest_side_px: int) -> tuple[int, int]:
        """Width and height of the upright picture, shrunk if needed so that no side is longer."""
        source = self._source
        scale = min(1.0, longest_side_px / max(source.width, source.height))
        return max(1, round(source.width * scale)), max(1, round(source.height * scale))

    def rgb(self, width: int | None = None, height: int | None = None) -> RGB:
        """The picture upright, height x width x 3, colours as tagged; without a size at display size."""
        source = self._source
        matrix = _MATRIX[source.colour_space]
        return self._converter.convert(self._frame, "rgb24", matrix, width or source.width, height or source.height)

    def luma(self, width: int | None = None, height: int | None = None) -> NDArray[np.uint8]:
        """The luma plane upright, height x width, 0 black to 255 white whatever the stream's range."""
        source = self._source
        # Grey in swscale is BT.601: naming any other matrix would take luma through RGB, where it is clipped.
        return self._converter.convert(
            self._frame, "gray", Colorspace.ITU601, width or source.width, height or source.height
        )


@contextmanager
def open_container(uri: str, pixel_limit: int) -> Iterator[InputContainer]:
    """Open a local path or a URL for demuxing and decoding in one thread.

    Whatever a file contains, FFmpeg opens no other file and no network connection: an object is read for it, by
    ranges. Decoders refuse frames of more than `pixel_limit` pixels. Raises what PyAV raises; of objects also
    FileNotFoundError and TransientError, at the latest when the block ends.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": CONTAINERS,
        "max_pixels": str(pixel_limit),
        "threads": "1",
    }
    if is_url(uri):
        with open_object(uri) as file, _open(file, options) as container:
            yield _without_guessed_pts(container)
    else:
        with _open(f"file:{uri}", options) as container:  # else 'a:b.mp4' is protocol a
            yield _without_guessed_pts(container)


def _open(file: Any, options: dict[str, str]) -> InputContainer:
    """Tags need not be UTF-8: old AVI files hold them in the code page of whoever made them."""
    container: InputContainer = av.open(file, mode="r", options=options, metadata_errors="replace")
    return container


def _without_guessed_pts(container: InputContainer) -> InputContainer:
    """AVI stores no presentation times, and those FFmpeg makes up are wrong for streams with B-frames."""
    if container.format.name == "avi":
        container.flags &= ~_AVFMT_FLAG_GENPTS
    return container


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams that can be decoded; cover pictures and thumbnails excluded."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return [s for s in container.streams.video if s.codec_context is not None and not s.disposition & pictures]


def choose_video_stream(container: InputContainer) -> VideoStream | None:
    """The stream every step reads: default disposition first, then the largest picture, then the first.

    ffmpeg, OpenCV and decord each choose another one in files with several. None when there is none.
    """
    return max(
        video_streams(container),
        key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height, -s.index),
        default=None,
    )


def read_frames(
    source: VideoSource,
    start_pts: int | None = None,
    end_pts: int | None = None,
    *,
    only_by_seeking: bool = False,
    passed_over: set[int] | None = None,
) -> Iterator[Frame]:
    """The frames shown from `start_pts` up to but not including `end_pts`, in presentation order.

    `start_pts` is a frame's own timestamp; decoding starts at the keyframe before it, or at the beginning of
    the file where seeking doesn't find that very frame: with `only_by_seeking` there is no frame then. Packets that
    can't be decoded are skipped. An image is one frame at 0, whatever the span.

    `passed_over`: timestamps of frames that may be left out, which are those that no other is made from. Each is
    taken out of the set when its packet is met; what remains is missing in the file.

    Raises InputError when the file can't be opened any more, or has no frame in the span.
    """
    converter = _Converter(source)
    frames = shown = first_pts = 0
    try:
        if source.is_image:
            yield _picture(source)
            return
        opened = source
        if start_pts is not None and is_url(source.uri):  # by ranges, spans would read the index again each time
            opened = replace(source, uri=str(local_copy(source.uri)))
        left_out = set() if passed_over is None else passed_over
        with closing(_decode_from(opened, start_pts, only_by_seeking, left_out)) as decoded:
            for frame, pts, duration, after_damage in within("decoding", decoded):
                if end_pts is not None and pts >= end_pts:
                    break
                first_pts = pts if not frames else first_pts
                frames += 1
                shown = pts + duration - first_pts  # with what was passed over
                yield Frame(frame, pts, duration, source, converter, after_damage)
    except (FileNotFoundError, PermissionError, TimeoutError) as failure:
        raise TransientError(
            f"{source.uri}: can't be opened ({failure.strerror}); restore the file or access to it"
        ) from None
    except (av.FFmpegError, OSError) as failure:
        raise InputError(
            f"{source.uri}: can't be read ({failure}); check the file and register the source again"
        ) from None
    finally:
        count("frames", frames)
        count("video_s", float(shown * source.time_base))
    if not frames:
        raise InputError(
            f"{source.uri}: no frame can be decoded here; the file changed or is damaged, register it again"
        )


def shown_packets(source: VideoSource) -> tuple[list[int], list[int]] | None:
    """Timestamps of all frames, rising, and which of them are keyframes, as the packets say without being decoded.

    None where they don't say, or nothing can be found by them. Damaged frames are listed too.
    """
    is_keyframe: dict[int, bool] = {}
    try:
        with open_container(source.uri, source.pixel_limit) as container:
            if source.timestamps != "stream" or not _has_timestamps_to_seek_by(container):
                return None
            for packet in _packets(container, _stream(container, source)):
                if packet is not None and not packet.is_discard:
                    if packet.pts is None or packet.pts in is_keyframe:
                        return None
                    is_keyframe[packet.pts] = packet.is_keyframe
    except (av.FFmpegError, OSError):
        return None
    shown = sorted(is_keyframe)
    return shown, [index for index, pts in enumerate(shown) if is_keyframe[pts]]


def _has_timestamps_to_seek_by(container: InputContainer) -> bool:
    """MPEG-PS has too few: after a seek frames get their neighbours'."""
    return container.format.name != "mpeg"


def _stream(container: InputContainer, source: VideoSource) -> VideoStream:
    stream = next((s for s in container.streams if s.index == source.stream_index), None)
    if not isinstance(stream, VideoStream):
        raise InputError(f"{source.uri}: stream {source.stream_index} is no video; the file changed, register it again")
    return stream


def read_clip(source: VideoSource, clip: Mapping[str, Any]) -> Iterator[Frame]:
    """The frames of a clip, a row of `clips`.

    Raises InputError as `read_frames`, and after the last frame when there weren't `frame_count` of them.
    """
    seen = 0
    for frame in read_frames(source, clip["start_pts"], clip["end_pts"]):
        seen += 1
        yield frame
    require_counted(source, clip, seen)


def require_counted(source: VideoSource, clip: Mapping[str, Any], seen: int) -> None:
    """Raises InputError unless as many frames were seen as `clip`, a row of `clips`, has."""
    if seen != clip["frame_count"]:
        raise InputError(
            f"{source.uri}: the clip's span holds {seen} frames where {clip['frame_count']} were counted; "
            "the file changed or is damaged, register the source again"
        )


def _picture(source: VideoSource) -> Frame:
    """An image as a frame."""
    try:
        image = read_image(source.uri, source.pixel_limit)
    except InputError as failure:
        raise InputError(f"{source.uri}: {failure}") from None
    upright = replace(source, rotation_deg=0)
    return Frame(av.VideoFrame.from_ndarray(image.rgb, format="rgb24"), 0, 0, upright)


_Decoded = tuple[av.VideoFrame, int, int, bool]


def _decode_from(
    source: VideoSource, start_pts: int | None, only_by_seeking: bool, passed_over: set[int]
) -> Generator[_Decoded, None, None]:
    """Frames from `start_pts` on, each with timestamp and duration, and whether damage was met on the way to it."""
    if start_pts is not None and source.timestamps == "stream":
        for lead_s in _SEEK_LEADS_S:
            seek_pts = start_pts - round(lead_s / source.time_base)
            with closing(_decode(source, passed_over, start_pts, seek_pts)) as decoded:
                first = next((item for item in decoded if item[1] >= start_pts), None)
                if first is not None and first[1] == start_pts:
                    yield first
                    yield from decoded
                    return
        if only_by_seeking:
            return
    with closing(_decode(source, passed_over)) as decoded:
        for item in decoded:
            if start_pts is None or item[1] >= start_pts:
                yield item


def _decode(
    source: VideoSource, passed_over: set[int], start_pts: int | None = None, seek_pts: int | None = None
) -> Generator[_Decoded, None, None]:
    """Frames of the whole stream, or from the keyframe at or before `seek_pts` on.

    After seeking nothing is given unless the first keyframe found is shown at or before `start_pts`: frames
    shown before it would be decoded without what they refer to.
    """
    with open_container(source.uri, source.pixel_limit) as container:
        stream = _stream(container, source)
        context = stream.codec_context
        context.options = {"max_pixels": str(source.pixel_limit)}
        context.thread_count = 1
        if seek_pts is not None:
            if not _has_timestamps_to_seek_by(container):
                return
            reorder_depth = context.reorder_depth
            try:
                container.seek(seek_pts, stream=stream)
            except av.FFmpegError:
                return
            context.reorder_depth = reorder_depth  # flushing forgets it, and the first B-frames would be lost
        if not _says_what_is_unreferenced(container, stream, source):
            passed_over.clear()
        index = 0
        last_pts: int | None = None
        after_damage = False
        keyframe_found = seek_pts is None
        for packet in _packets(container, stream):
            if not keyframe_found:
                if packet is not None and packet.is_keyframe:
                    keyframe_found = packet.pts is not None and packet.pts <= (start_pts or 0)
                    if not keyframe_found:
                        return
                else:
                    continue
            if packet is not None:
                context.skip_frame = "NONREF" if packet.pts in passed_over else "DEFAULT"
                passed_over.discard(packet.pts)
            try:
                frames = context.decode(packet)
            except av.FFmpegError:
                after_damage = True
                continue
            for frame in frames:
                after_damage |= frame.is_corrupt
                if source.timestamps == "generated":
                    pts = source.generated_pts(index)
                    duration = source.generated_pts(index + 1) - pts
                    index += 1
                elif frame.pts is None or (last_pts is not None and frame.pts <= last_pts):
                    continue  # damage: it can't be placed in time
                else:
                    pts = frame.pts
                    duration = frame.duration or source.generated_pts(1)
                last_pts = pts
                yield frame, pts, duration, after_damage


def _says_what_is_unreferenced(container: InputContainer, stream: VideoStream, source: VideoSource) -> bool:
    """Of H.264 each packet does; of HEVC only within a layer, and layers above may refer to it all the same."""
    has_timestamps = source.timestamps == "stream" and _has_timestamps_to_seek_by(container)
    return has_timestamps and stream.codec_context.codec.canonical_name == "h264"


def demux(container: InputContainer, stream: VideoStream) -> Iterator["av.Packet[VideoStream]"]:
    """The stream's packets; other streams may appear on the way, as they do in recorded broadcasts."""
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:  # PyAV trips over streams that it didn't know at the beginning; now it knows them
            continue


def _packets(container: InputContainer, stream: VideoStream) -> Iterator["av.Packet[VideoStream] | None"]:
    """The stream's packets, up to unreadable data, then None: a decoder then hands out what it holds."""
    try:
        for packet in demux(container, stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        pass
    yield None
