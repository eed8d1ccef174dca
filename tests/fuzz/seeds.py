"""Small real videos of many containers and codecs, to be mutated."""

from functools import cache
from pathlib import Path

from tests.videos import ffmpeg

_SHOTS = (  # two shots of moving pictures, so that there is a cut to find
    "testsrc2=size=96x64:rate=15:duration=1.2[one];mandelbrot=size=96x64:rate=15[m];[m]trim=duration=0.8[two];"
    "[one][two]concat,format=yuv420p"
)
_PICTURE = ("-f", "lavfi", "-i", _SHOTS, "-map_metadata", "-1", "-threads", "1")
_WITH_SOUND = ("-f", "lavfi", "-i", _SHOTS, "-f", "lavfi", "-i", "sine=duration=2", "-shortest", "-threads", "1")
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "12")

_RECIPES: dict[str, tuple[str, ...]] = {
    "h264.mp4": (*_WITH_SOUND, *_X264, "-c:a", "aac"),
    "faststart.mp4": (*_PICTURE, *_X264, "-movflags", "+faststart"),
    "fragments.mp4": (*_WITH_SOUND, *_X264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    "hevc.mp4": (*_PICTURE, "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
    "mpeg4.mov": (*_PICTURE, "-c:v", "mpeg4", "-aspect", "2:1"),
    "prores.mov": (*_PICTURE, "-c:v", "prores", "-t", "0.6"),
    "rpza.mov": (*_PICTURE, "-c:v", "rpza", "-pix_fmt", "rgb555be", "-t", "0.6"),
    "vp9.webm": (*_WITH_SOUND, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "vp8.webm": (*_PICTURE, "-c:v", "libvpx", "-deadline", "realtime"),
    "av1.mkv": (*_PICTURE, "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"),
    "h264.mkv": (*_WITH_SOUND, *_X264, "-c:a", "flac"),
    "ffv1.mkv": (*_PICTURE, "-c:v", "ffv1", "-t", "0.6"),
    "mpeg4.avi": (*_WITH_SOUND, "-c:v", "mpeg4", "-bf", "1", "-c:a", "mp3"),
    "mjpeg.avi": (*_PICTURE, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "h264.ts": (*_WITH_SOUND, *_X264, "-c:a", "mp2"),
    "mpeg2.mpg": (*_PICTURE, "-r", "25", "-c:v", "mpeg2video"),
    "flv1.flv": (*_PICTURE, "-c:v", "flv"),
    "wmv2.mov": (*_PICTURE, "-c:v", "wmv2", "-f", "asf"),  # under another ending, as files of users are
    "theora.mp4": (*_PICTURE, "-c:v", "libtheora", "-f", "ogg"),
    "pictures.mp4": (*_PICTURE, "-pix_fmt", "rgb8", "-t", "0.6", "-f", "gif"),
    "stream.m4v": (*_PICTURE, *_X264, "-f", "h264"),
}


@cache
def seeds() -> tuple[Path, ...]:
    """The files, each of two seconds at most and 96x64 px."""
    return tuple(ffmpeg(f"fuzz-{name}", *recipe) for name, recipe in _RECIPES.items())
