"""Makes the demo's sample videos, and `samples.json`, which holds where each is from and the truth about it.

python -m deployments.demo.sample_videos FOLDER
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import imageio_ffmpeg

from deployments.demo.films import FILMS, FONT, FONT_PACKAGE, FOOTAGE, REALS, Dissolve, Film, Real, Shot
from resources.packages import package_file, package_version

RECORD = "samples.json"
FILMS_AT_ONCE = 2
SCALING = "bicubic+accurate_rnd+bitexact"  # so that pixels don't depend on the processor
VIDEO_OPTIONS = "-c:v libx264 -preset veryfast -crf 20 -threads 1 -colorspace bt709"
AUDIO_OPTIONS = "-map [sound] -c:a aac -b:a 64k"
FILE_OPTIONS = "-map_metadata -1 -fflags +bitexact -flags +bitexact -f mp4"
Made = Mapping[str, tuple[str, int]]
"""File name -> recipe and size in bytes, of the files made before."""


@dataclass(frozen=True)
class Source:
    package: str
    version: str
    file: str
    licence: str


@dataclass(frozen=True)
class Scene:
    """Frames between two cuts (`end_frame` exclusive); expected: "selected" or the filter that drops it."""

    start_frame: int
    end_frame: int
    expected: str


@dataclass(frozen=True)
class Sample:
    """A video of the demo and the truth about it: an entry of `samples.json`.

    `cuts` are the first frames of new shots; `recipe` names everything the file was made from.
    """

    file: str
    kind: Literal["real", "composed"]
    made_from: list[Source]
    frames_per_s: int
    frame_count: int
    cuts: list[int]
    scenes: list[Scene]
    recipe: str
    size_bytes: int


def make_sample_videos(folder: Path) -> list[Sample]:
    """Put every sample and `samples.json` into `folder`; a file made by the same recipe stays as it is.

    Files that an older version of this module recorded there and that are no samples any more are deleted.

    Raises EngineUnavailable when a package of the `samples` extra is missing, RuntimeError when ffmpeg fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = _recorded(folder)
    with ThreadPoolExecutor(FILMS_AT_ONCE) as pool:
        jobs = [pool.submit(copy_real, real, folder, made) for real in REALS]
        jobs += [pool.submit(compose, film, folder, made) for film in FILMS]
        samples = [job.result() for job in jobs]
    for outdated in made.keys() - {sample.file for sample in samples}:
        (folder / Path(outdated).name).unlink(missing_ok=True)
    text = json.dumps([asdict(sample) for sample in samples], indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")
    return samples


def copy_real(real: Real, folder: Path, made: Made) -> Sample:
    source, origin = locate(real.footage)
    recipe = _hash(["copy", asdict(source)])
    target = folder / real.name
    if not _is_made(target, recipe, made):
        shutil.copyfile(origin, target)
    return _sample("real", target, real.frames_per_s, real.scenes, [source], recipe)


def compose(film: Film, folder: Path, made: Made) -> Sample:
    """Make one film. x264 runs on one thread, since its output depends on their number."""
    names = sorted({shot.footage for shot in film.plain_shots})
    sources, origins = zip(*(locate(name) for name in names), strict=True)
    options = ["-filter_complex", filter_graph(film, names), "-map", "[film]"]
    options += VIDEO_OPTIONS.split()
    if film.audio:
        options += AUDIO_OPTIONS.split()
    options += FILE_OPTIONS.split()
    recipe = _hash([imageio_ffmpeg.__version__, options, [asdict(source) for source in sources]])
    target = folder / film.name
    if not _is_made(target, recipe, made):
        inputs = [argument for origin in origins for argument in ("-i", f"file:{origin}")]
        partial = target.with_name(f"{target.name}.part").resolve()
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y"]
        # The font is looked up in the working folder, so that its path needs no escaping.
        font_folder = package_file(FONT_PACKAGE, FONT).parent
        run = subprocess.run(
            [*ffmpeg, *inputs, *options, f"file:{partial}"], cwd=font_folder, capture_output=True, text=True
        )
        if run.returncode:
            raise RuntimeError(f"{film.name}: ffmpeg could not make it: {run.stderr.strip()[-600:]}")
        partial.replace(target)
    scenes, end = [], 0
    for shot in film.shots:
        end += shot.frame_count
        scenes.append((end, shot.expected))
    return _sample("composed", target, film.frames_per_s, scenes, sources, recipe)


def filter_graph(film: Film, inputs: Sequence[str]) -> str:
    """ffmpeg's filter graph of a film: `[film]`, and `[sound]` (pink noise) where it has audio."""
    chains: list[str] = []
    for index, shot in enumerate(film.shots):
        if isinstance(shot, Dissolve):
            chains += _shot_chains(shot.before, f"before{index}", film, inputs)
            chains += _shot_chains(shot.after, f"after{index}", film, inputs)
            seconds = shot.overlap / film.frames_per_s
            offset = shot.before.frame_count / film.frames_per_s - seconds
            chains.append(
                f"[before{index}][after{index}]xfade=duration={seconds}:offset={offset},{_timed(film)}[shot{index}]"
            )
        else:
            chains += _shot_chains(shot, f"shot{index}", film, inputs)
    joined = "".join(f"[shot{index}]" for index in range(len(film.shots)))
    chains.append(f"{joined}concat=n={len(film.shots)}[film]")
    if film.audio:
        seconds = film.frame_count / film.frames_per_s
        chains.append(f"anoisesrc=color=pink:seed=7:amplitude=0.2:sample_rate=48000:duration={seconds}[sound]")
    return ";".join([f"sws_flags={SCALING}", *chains])


def _shot_chains(shot: Shot, out: str, film: Film, inputs: Sequence[str]) -> list[str]:
    chains = []
    taken = f"[{inputs.index(shot.footage)}:v]trim=start_frame={shot.first}:end_frame={shot.end}"
    if shot.there_and_back:
        chains = [f"{taken},split[{out}there][{out}turn]", f"[{out}turn]reverse[{out}back]"]
        taken = f"[{out}there][{out}back]concat=n=2"
    if shot.hold:
        taken += f",loop=loop={shot.hold}:size=1:start={shot.end - shot.first - 1}"
    sized = f"scale={film.width}:{film.height}:out_color_matrix=bt709:out_range=tv,setsar=1,format=yuv420p"
    return [*chains, f"{taken},setpts=N/25/TB,{shot.look},{sized},{_timed(film)}[{out}]"]


def _timed(film: Film) -> str:
    """Frame k at k / frames_per_s exactly."""
    return f"settb=1/{film.frames_per_s},setpts=N,fps={film.frames_per_s}"


def locate(footage_name: str) -> tuple[Source, Path]:
    """What a footage file is, and where it lies. Raises EngineUnavailable when its package is missing."""
    footage = FOOTAGE[footage_name]
    version = package_version(footage.package)
    source = Source(footage.package, version, footage.file, footage.licence)
    return source, package_file(footage.package, Path(footage.file).name)


def _sample(
    kind: Literal["real", "composed"],
    target: Path,
    frames_per_s: int,
    scenes: Sequence[tuple[int, str]],
    sources: Sequence[Source],
    recipe: str,
) -> Sample:
    ends = [end for end, _ in scenes]
    return Sample(
        file=target.name,
        kind=kind,
        made_from=list(sources),
        frames_per_s=frames_per_s,
        frame_count=ends[-1],
        cuts=ends[:-1],
        scenes=[Scene(start, *scene) for start, scene in zip([0, *ends[:-1]], scenes, strict=True)],
        recipe=recipe,
        size_bytes=target.stat().st_size,
    )


def _recorded(folder: Path) -> Made:
    try:
        entries = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {entry["file"]: (entry["recipe"], entry["size_bytes"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_made(target: Path, recipe: str, made: Made) -> bool:
    return target.exists() and made.get(target.name) == (recipe, target.stat().st_size)


def _hash(recipe: object) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m deployments.demo.sample_videos FOLDER")
    samples = make_sample_videos(Path(sys.argv[1]))
    seconds = sum(sample.frame_count / sample.frames_per_s for sample in samples)
    scenes = [scene for sample in samples for scene in sample.scenes]
    kept = sum(scene.expected == "selected" for scene in scenes)
    print(
        f"{len(samples)} sample videos, {seconds:.0f} s, in {sys.argv[1]}: {len(scenes)} scenes, "
        f"of which {kept} ought to be selected; {RECORD} says why the others not"
    )


if __name__ == "__main__":
    main()
