"""EasyAnimate's `video_caption`, stages 1 and 2, written anew from what its scripts do: what ours is compared with.

One script after another, each with a pool of processes: PySceneDetect over each video, an ffmpeg for each clip, then a
decode of each clip for each score. The text score is left out, here and in ours: its model would be the same work.

Where a part of it isn't in packages the stand-in does no more work: PyAV for decord (one thread, frames in order up to
the last one wanted) and for ffprobe (a decode of the whole clip, as listing its picture types is). OpenCV keeps to one
thread a process, which joblib's processes don't see to.
"""

import multiprocessing as mp
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from benchmarks.measure import Cost, cost_of
from resources.ffmpeg import ffmpeg_program

THRESHOLD, MIN_SCENE_FRAMES = 27, 15
TRIM_S, MAX_S = 0.5, 10
SAMPLES_PER_S = 2
AESTHETIC_FRAMES = 4
BATCH = 16
MOTION_BOUNDS = (2.0, 20.0)
ITS_ENCODER = "-c:v libx264 -preset veryfast -crf 22 -c:a aac"
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


def run(videos: Sequence[Path], folder: Path, networks: Networks, rules: Rules, other_encoder: str) -> Scored:
    """Stages 1 and 2; splitting also with `other_encoder`, whose clips nobody looks at."""
    scored = Scored()
    found: list[Video] = []
    clips: list[Clip] = []

    def split(encoder: str, into: Path) -> None:
        into.mkdir(parents=True, exist_ok=True)
        kept = [video for video in found if video.area_px >= rules.min_area_px]
        done = in_pool(partial(split_video, rules.min_s, encoder, into), kept, rules.jobs)
        clips[:] = [clip for of_video in done for clip in of_video]

    def score_motion() -> None:
        scores = in_pool(partial(motion_score, folder / "clips"), clips, rules.jobs)
        scored.motion = [(clip, score) for clip, score in zip(clips, scores, strict=True) if score is not None]

    steps: dict[str, Callable[[], object]] = {
        "cut detection": lambda: found.extend(in_pool(find_cuts, videos, rules.jobs)),
        "splitting, other encoder settings": lambda: split(other_encoder, folder / "others"),
        "splitting": lambda: split(ITS_ENCODER, folder / "clips"),
        "semantic": lambda: semantic_scores(clips, folder / "clips", networks, rules.jobs),
        "aesthetic": lambda: aesthetic_scores(clips, folder / "clips", networks, rules.jobs),
        "motion": score_motion,
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


def split_video(min_s: int, encoder: str, folder: Path, video: Video) -> list[Clip]:
    """Input seeking before a fresh ffmpeg for each clip; its options, and none on threads, pixels or rate."""
    clips = list(spans(video, min_s))
    for clip in clips:
        span = ["-ss", f"{clip.start_s:.3f}", "-i", str(clip.video), "-t", f"{clip.length_s:.3f}"]
        command = [ffmpeg_program(), "-nostdin", "-loglevel", "error", "-y", *span, *encoder.split(), "-sn"]
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
    for batch in _loaded(partial(uniform_frames, folder), clips, jobs):
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


def uniform_frames(folder: Path, clip: Clip) -> list[Image.Image]:
    with av.open(str(folder / clip.name)) as container:
        count = container.streams.video[0].frames
    return frames_at(folder / clip.name, {i * count // AESTHETIC_FRAMES for i in range(AESTHETIC_FRAMES)})


def frames_at(path: Path, wanted: set[int]) -> list[Image.Image]:
    pictures = []
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                pictures.append(frame.to_image())
            if len(pictures) == len(wanted):
                break
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
