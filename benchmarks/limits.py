"""What no implementation gets past: ffmpeg by itself, on the same files and spans, with one thread."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curation_assets.settings import ClipFiles
from resources.ffmpeg import ffmpeg_program


def run_ffmpeg(*arguments: str) -> None:
    command = [ffmpeg_program(), "-nostdin", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, check=True)


def decode(video: Mapping[str, Any]) -> None:
    """Every frame of a row of `raw_videos`, thrown away."""
    source, stream = f"file:{video['source_uri']}", f"0:{video['stream_index']}"
    run_ffmpeg("-threads", "1", "-i", source, "-map", stream, "-fps_mode", "passthrough", "-f", "null", "-")


def encode(clips: Sequence[Mapping[str, Any]], video: Mapping[str, Any], settings: ClipFiles, folder: Path) -> None:
    """Rows of `clips`, each cut out of its video by a run of its own, unverified."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        span = ["-ss", f"{clip['start_s']:.6f}", "-t", f"{clip['duration_s']:.6f}"]
        source = ["-threads", "1", *span, "-i", f"file:{video['source_uri']}", "-map", f"0:{video['stream_index']}"]
        picture = ["-c:v", settings.video_codec, "-preset", settings.preset, "-crf", str(settings.crf)]
        picture += ["-g", str(settings.keyframe_interval), "-pix_fmt", settings.pixel_format]
        sound = ["-map", f"0:{video['audio_stream_index']}"] if video["audio_stream_index"] is not None else []
        sound += ["-c:a", settings.audio, "-b:a", f"{settings.audio_bitrate_kbps}k"] if sound else []
        threads = ["-threads:v", str(settings.encoder_threads), "-filter_threads", "1"]
        run_ffmpeg(*source, *picture, *sound, *threads, str(folder / f"{clip['clip_id']}.mp4"))
