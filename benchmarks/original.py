"""EasyAnimate's `video_caption` as far as CPUs do it, written anew from what its scripts do, for comparison.

One script after another, each with a pool of processes: PySceneDetect over each video, an ffmpeg for each clip, then of
each clip a decode for each score, one more to list its I-frames, and of those kept one for captions and one for their
alignment. Text detector, captioner and alignment are left out, here and in ours, their frames are not. Code and weights
are loaded before, here and in ours, where each of its scripts would load its own.

Where a part of it isn't in packages the stand-in does no more work: PyAV on one thread for decord (from the keyframe
before a frame, or on from the last one where that is nearer) and for ffprobe (a decode of the whole clip, as listing
its picture types is). OpenCV keeps to one thread a process, which joblib's processes don't see to.

Each script scores the clips that the scripts before it kept. `run` has them score all, as if all that is dropped were
dropped by the last, which is what a comparison of equal work takes; `FILTERS` says their order.
"""

import multiprocessing as mp
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from benchmarks.measure import Cost, cost_of
from benchmarks.stages import evenly_kept
from resources.ffmpeg import ffmpeg_program

THRESHOLD, MIN_SCENE_FRAMES = 27, 15
TRIM_S, MAX_S = 0.5, 10
SAMPLES_PER_S = 2
AESTHETIC_FRAMES, CAPTION_FRAMES, ALIGNMENT_FRAMES = 4, 8, 8
SIDES_PX = 336, 384  # of the pictures that CLIP and SigLIP take
FILTERS = ("semantic", "aesthetic", "text", "motion")
BATCH = 16
MOTION_BOUNDS = (2.0, 20.0)
ENCODER = "-c:v libx264 -preset veryfast -crf 22 -c:a aac"
HEAD_LAYERS = (0, 2, 4, 6, 8)


@dataclass(frozen=True)
class Video:
    """What cut detection writes of a video."""

    path: Path
    scenes: list[tuple[float, float]]
    duration_s: float
    area_px: int


@dataclass(frozen=True)
class Clip:
    """A file that splitting makes."""

    video: Path
    name: str
    start_s: float
    length_s: float


@dataclass
class Scored:
    costs: dict[str, Cost] = field(default_factory=dict)
    motion: list[tuple[Clip, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Networks:
    """Folders of a CLIP and a SigLIP in transformers' layout, and the file of the aesthetic head."""

    clip: Path
    siglip: Path
    head: Path


@dataclass(frozen=True)
class Rules:
    """Its MIN_SECONDS and --resolution_threshold, and the processes of each script."""

    min_s: int
    min_area_px: int
    jobs: int


def run(videos: Sequence[Path], folder: Path, networks: Networks, rules: Rules, kept: float) -> Scored:
    """Every script; captions are for the share `kept` of the clips' seconds, evenly spread."""
    scored = Scored()
    found: list[Video] = []
    clips: list[Clip] = []

    def split() -> None:
        folder.mkdir(parents=True)
        large = [video for video in found if video.area_px >= rules.min_area_px]
        done = in_pool(partial(split_video, rules.min_s, folder), large, rules.jobs)
        clips.extend(clip for of_video in done for clip in of_video)

    def score_motion() -> None:
        scores = in_pool(partial(motion_score, folder), clips, rules.jobs)
        scored.motion = [(clip, score) for clip, score in zip(clips, scores, strict=True) if score is not None]

    def load_for_captions() -> None:
        captioned = list(compress(clips, evenly_kept((clip.length_s for clip in clips), kept)))
        for frames in (CAPTION_FRAMES, ALIGNMENT_FRAMES):
            for _ in _loaded(partial(uniform_frames, folder, frames), captioned, rules.jobs):
                pass

    steps: dict[str, Callable[[], object]] = {
        "cut detection": lambda: found.extend(in_pool(find_cuts, videos, rules.jobs)),
        "splitting": split,
        "semantic": lambda: semantic_scores(clips, folder, networks, rules.jobs),
        "aesthetic": lambda: aesthetic_scores(clips, folder, networks, rules.jobs),
        "text": lambda: in_pool(partial(look_at_middle, folder), clips, rules.jobs),
        "motion": score_motion,
        "captions": load_for_captions,
    }
    for name, step in steps.items():
        scored.costs[name] = cost_of(step)
    return scored


def in_pool(function: Callable[[Any], Any], items: Iterable[Any], jobs: int) -> list[Any]:
    with mp.get_context("fork").Pool(jobs) as pool:
        return list(pool.imap(function, items))


def find_cuts(path: Path) -> Video:
    from scenedetect import ContentDetector, SceneManager, open_video

    video = open_video(str(path), backend="pyav")
    manager = SceneManager()
    manager.add_detector(ContentDetector(threshold=THRESHOLD, min_scene_len=MIN_SCENE_FRAMES))
    manager.detect_scenes(video)
    edges = sorted({round(edge.seconds, 3) for scene in manager.get_scene_list() for edge in scene})
    width, height = video.frame_size
    duration_s = video.duration.seconds if video.duration else 0.0
    return Video(path, list(pairwise(edges)), duration_s, width * height)


def split_video(min_s: int, folder: Path, video: Video) -> list[Clip]:
    """Input seeking before a fresh ffmpeg for each clip; its options, and none on threads, pixels or rate."""
    clips = list(spans(video, min_s))
    for clip in clips:
        span = ["-ss", f"{clip.start_s:.3f}", "-i", str(clip.video), "-t", f"{clip.length_s:.3f}"]
        command = [ffmpeg_program(), "-nostdin", "-loglevel", "error", "-y", *span, *ENCODER.split(), "-sn"]
        subprocess.run([*command, str(folder / clip.name)], check=True)
    return clips


def spans(video: Video, min_s: int) -> Iterator[Clip]:
    """Scenes as they are, less 0.5 s; those of more than 10 s in pieces, without the 0.5 s; the rest is dropped."""
    stem = f"{video.path.name}_"
    if not video.scenes:
        yield from _pieces(video.path, stem, 0.0, video.duration_s, min_s)
    for index, (start_s, end_s) in enumerate(video.scenes):
        length_s = end_s - start_s
        if length_s > MAX_S:
            yield from _pieces(video.path, f"{stem}{index}_", start_s, length_s, min_s)
        elif length_s >= min_s:
            yield Clip(video.path, f"{stem}{index}.mp4", start_s, length_s - TRIM_S)


def _pieces(video: Path, stem: str, start_s: float, length_s: float, min_s: int) -> Iterator[Clip]:
    for piece in range(int(length_s // MAX_S) + 1):
        piece_s = min(MAX_S, length_s - piece * MAX_S)
        if piece_s >= min_s:
            yield Clip(video, f"{stem}{piece}.mp4", start_s + piece * MAX_S, piece_s)


def semantic_scores(clips: Sequence[Clip], folder: Path, networks: Networks, jobs: int) -> list[list[float]]:
    """Cosines of neighbours among I-frames and the frame at one second."""
    import torch
    from transformers import AutoImageProcessor, AutoModel

    model, processor = AutoModel.from_pretrained(networks.clip), AutoImageProcessor.from_pretrained(networks.clip)
    scores = []
    for batch in _loaded(partial(keyframes_and_first_second, folder), clips, jobs):
        pixels = processor(images=[picture for pictures in batch for picture in pictures], return_tensors="pt")
        with torch.inference_mode():
            features = model.get_image_features(**pixels)
        features = torch.nn.functional.normalize(getattr(features, "pooler_output", features), dim=-1)
        for of_clip in features.split([len(pictures) for pictures in batch]):
            scores.append((of_clip[1:] * of_clip[:-1]).sum(-1).tolist())
    return scores


def aesthetic_scores(clips: Sequence[Clip], folder: Path, networks: Networks, jobs: int) -> list[list[float]]:
    """The five layers of the head on the normalised output of SigLIP's image tower, of four uniform frames."""
    import torch
    from transformers import AutoImageProcessor, AutoModel

    model, processor = AutoModel.from_pretrained(networks.siglip), AutoImageProcessor.from_pretrained(networks.siglip)
    head = torch.load(networks.head, weights_only=True)
    scores = []
    for batch in _loaded(partial(uniform_frames, folder, AESTHETIC_FRAMES), clips, jobs):
        pixels = processor(images=[picture for pictures in batch for picture in pictures], return_tensors="pt")
        with torch.inference_mode():
            values = torch.nn.functional.normalize(model.vision_model(**pixels).pooler_output, dim=-1)
            for layer in HEAD_LAYERS:
                values = values @ head[f"head.{layer}.weight"].T + head[f"head.{layer}.bias"]
        scores += values.reshape(-1, AESTHETIC_FRAMES).tolist()
    return scores


def _loaded(
    load: Callable[[Clip], list[Image.Image]], clips: Sequence[Clip], jobs: int
) -> Iterator[list[list[Image.Image]]]:
    """Batches of what the loader's processes decode, at full size, passed between processes as pictures."""
    with mp.get_context("fork").Pool(jobs) as pool:
        loaded = pool.imap(load, clips)
        for first in range(0, len(clips), BATCH):
            yield [next(loaded) for _ in clips[first : first + BATCH]]


def keyframes_and_first_second(folder: Path, clip: Clip) -> list[Image.Image]:
    with av.open(str(folder / clip.name)) as container:
        types = [frame.pict_type for frame in container.decode(video=0)]
        rate = int(container.streams.video[0].average_rate or 0)
    wanted = {index for index, kind in enumerate(types) if kind == av.video.frame.PictureType.I}
    if rate < len(types) and min(wanted - {0}, default=len(types)) > rate:
        wanted.add(rate)
    return frames_at(folder / clip.name, wanted)


def uniform_frames(folder: Path, frames: int, clip: Clip) -> list[Image.Image]:
    count = frame_count(folder / clip.name)
    return frames_at(folder / clip.name, {i * count // frames for i in range(frames)})


def look_at_middle(folder: Path, clip: Clip) -> None:
    """What the text detector is given, in the process that runs it."""
    frames_at(folder / clip.name, {frame_count(folder / clip.name) // 2})


def frame_count(path: Path) -> int:
    with av.open(str(path)) as container:
        return container.streams.video[0].frames


def frames_at(path: Path, wanted: set[int]) -> list[Image.Image]:
    pictures = []
    with av.open(str(path)) as container:
        (video,) = container.streams.video
        shown = sorted((packet.pts, packet.is_keyframe) for packet in container.demux(video) if packet.pts is not None)
        reorder_depth = video.codec_context.reorder_depth
        decoded, before = iter(()), -1
        for index in sorted(wanted):
            keyframe = max(k for k in range(index + 1) if shown[k][1])
            if keyframe > before:
                container.seek(shown[keyframe][0], stream=video)
                video.codec_context.reorder_depth = reorder_depth  # seeking forgets it, and B-frames would be lost
                decoded = container.decode(video)
            pictures.append(next(frame for frame in decoded if frame.pts == shown[index][0]).to_image())
            before = index
    return pictures


def motion_score(folder: Path, clip: Clip) -> float | None:
    """Farneback's flow at full size between frames about half a second apart; every frame is decoded and converted."""
    import cv2

    cv2.setNumThreads(1)
    video = cv2.VideoCapture(str(folder / clip.name))
    rate, count = video.get(cv2.CAP_PROP_FPS), int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    interval = min(int(rate / min(max(SAMPLES_PER_S, 1), rate)), count - 1)
    before, index, scores = None, 0, []
    while interval:
        decoded, picture = video.read()
        if not decoded:
            break
        if index % interval == 0:
            grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            if before is not None:
                flow = np.empty((*grey.shape, 2), np.float32)
                cv2.calcOpticalFlowFarneback(before, grey, flow, 0.5, 3, 15, 3, 5, 1.2, 0)
                scores.append(float(np.mean(cv2.cartToPolar(flow[..., 0], flow[..., 1])[0])))
            before = grey
        index += 1
    return round(float(np.mean(scores)), 5) if scores else None
