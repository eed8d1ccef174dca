"""What `crop` finds of bars and subtitles whose places are known; writes benchmarks/cropping.md.

    python -m benchmarks.cropping

Films that packages ship, with bars or a line of text drawn into them and encoded with x264 at CRF 23.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.duplicates import FOOTAGE, Change, Clips, clips_of, copy, opened, originals
from benchmarks.report import machine
from curation_assets.crops.boxes import crop_row
from curation_assets.settings import Crop, Text
from resources.packages import package_file
from resources.text_reader import RapidOcrReader, read_text

REPORT = Path(__file__).with_suffix(".md")
CRF = 23
FONT = ("matplotlib", "DejaVuSans.ttf")
SUBTITLE = "And then they rode on"
Box = tuple[int, int, int, int]
"""Left, top, right, bottom of what is to stay, px."""


@dataclass(frozen=True)
class Made:
    """A change of a film of some width and height, and what is to stay of it; None: all."""

    filters: str
    stays: Box | None
    width: int
    height: int
    crf: int = CRF


def barred(rows: float, columns: float, colour: str = "black", scale: float = 1.0, crf: int = CRF) -> Any:
    """Bars on either side, as shares of the picture's height and width."""

    def make(width: int, height: int) -> Made:
        shown = int(width * scale) // 2 * 2, int(height * scale) // 2 * 2
        across, along = int(shown[0] * columns) // 2 * 2, int(shown[1] * rows) // 2 * 2
        whole = shown[0] + 2 * across, shown[1] + 2 * along
        filters = f"scale={shown[0]}:{shown[1]},pad={whole[0]}:{whole[1]}:{across}:{along}:{colour}"
        return Made(filters, (across, along, across + shown[0], along + shown[1]), *whole, crf)

    return make


def subtitled(size: float, at: float, text: str = SUBTITLE, bar: float = 0.0, box: bool = False) -> Any:
    """A line of text of so many shares of the height, that far down; `bar` shares of it are bars below and above."""

    def make(width: int, height: int) -> Made:
        along = int(height * bar) // 2 * 2
        whole = height + 2 * along
        top = int(whole * at)
        options = f"fontfile={package_file(*FONT)}:text='{text}':fontcolor=white:fontsize={int(height * size)}"
        options += f":borderw=1:bordercolor=black:x=(w-tw)/2:y={top}"
        options += ":box=1:boxcolor=black@0.6:boxborderw=2" if box else ""
        pad = f"pad={width}:{whole}:0:{along}," if along else ""
        return Made(
            f"scale={width}:{height},setsar=1,{pad}drawtext={options}",
            (0, along, width, min(top, along + height)),
            width,
            whole,
        )

    return make


MakeOf = Callable[[int, int], Made]
BARS: Mapping[str, MakeOf] = {
    "letterbox": barred(0.15, 0.0),
    "letterbox, thin": barred(0.03, 0.0),
    "pillarbox": barred(0.0, 0.15),
    "both": barred(0.1, 0.1),
    "white": barred(0.15, 0.0, "white"),
    "blue": barred(0.0, 0.15, "0x1a5aa0"),
    "encoded at CRF 35": barred(0.15, 0.0, crf=35),
    "at twice the size": barred(0.15, 0.0, scale=2.0),
}
TEXTS: Mapping[str, MakeOf] = {
    "1/12 of the height": subtitled(1 / 12, 0.85),
    "1/18 of the height": subtitled(1 / 18, 0.85),
    "1/12, over a dark box": subtitled(1 / 12, 0.85, box=True),
    "1/12, in a letterbox's bar": subtitled(1 / 12, 0.9, bar=0.13),
}

INTRODUCTION = """\
# Cropping
{machine}, {date}. Written by `python -m benchmarks.cropping`. {clips} clips of up to two seconds from {films} films,
changed and encoded with x264 at CRF {crf}; `crop` at its defaults, `min_area_share` {min_area_share:g}.

## Bars
Found: of the clips, those that were cropped. Left: cropped clips with a px of a bar still in them. Lost: share of the
true picture that was cut off with the bars, of cropped clips.

| bars | clips | found | left | lost, median | lost, most | not found in |
|---|---|---|---|---|---|---|
"""
SUBTITLES = """
## Subtitles
`{text}` in white with a thin dark edge, {place} of the height down,
found by `crop.subtitles` with `crop.borders`. Left: cropped clips with a px of text or bar.

| a line of | clips | found | left | lost, median | lost, most | not found in |
|---|---|---|---|---|---|---|
"""
PLAIN = """
## Films as they are
Without bars or subtitles: {borders} of {clips} clips were cropped by `borders`, {subtitles} by `subtitles`{which}.

## Time
CPU time of a clip's nine stored frames, median: borders {borders_ms:.0f} ms, subtitles {subtitles_ms:.0f} ms.
"""


class Cropper:
    """Rows of `clip_crops`, and the time that they take."""

    def __init__(self) -> None:
        self.reader = RapidOcrReader()
        self.seconds: dict[str, list[float]] = {"borders": [], "subtitles": []}

    def row(self, pictures: list[np.ndarray], made: Made, settings: Crop) -> dict[str, Any]:
        started, text = time.process_time(), Text()
        tops = [
            float(box.polygon[:, 1].min())
            for picture in (pictures if settings.subtitles else ())
            for box in read_text(
                self.reader,
                picture,
                longest_side_px=text.longest_side_px,
                min_confidence=text.min_confidence,
                min_characters=text.min_characters,
            )
        ]
        read = time.process_time()
        found = crop_row(pictures, tops, made.width, made.height, settings, 0)
        if settings.subtitles:
            self.seconds["subtitles"].append(read - started)
        if settings.borders:
            self.seconds["borders"].append(time.process_time() - read)
        return found


def films() -> dict[str, Path]:
    return {footage: package_file(*where) for footage, where in FOOTAGE.items()}


def clips_with(make: MakeOf) -> Iterator[tuple[Made, Clips]]:
    """The clips of each film, changed."""
    for footage, path in films().items():
        source = opened(path)
        made = make(source.width // 2 * 2, source.height // 2 * 2)
        yield made, clips_of(copy(path, Change(made.filters, made.crf)), originals(footage, path))


def line(name: str, make: MakeOf, cropper: Cropper, settings: Crop) -> str:
    lost, left, clips, whole = [], 0, 0, set()
    for made, changed in clips_with(make):
        for clip, pictures in changed.items():
            clips += 1
            row = cropper.row(pictures, made, settings)
            if "crop_box" in row and made.stays:
                x, y, width, height = row["crop_box"]
                first_x, first_y, end_x, end_y = made.stays
                left += x < first_x or y < first_y or x + width > end_x or y + height > end_y
                seen = max(0, min(x + width, end_x) - max(x, first_x)) * max(
                    0, min(y + height, end_y) - max(y, first_y)
                )
                lost.append(1 - seen / ((end_x - first_x) * (end_y - first_y)))
            else:
                whole.add(clip.partition("/")[0])
    shares = (f"{100 * median(lost):.1f} %", f"{100 * max(lost):.1f} %") if lost else ("-", "-")
    return f"| {name} | {clips} | {len(lost)} | {left} | {shares[0]} | {shares[1]} | {', '.join(sorted(whole))} |"


def cropped_as_they_are(cropper: Cropper) -> tuple[int, list[str], list[str]]:
    """How many clips there are; which of them borders and which subtitles crop."""
    clips, found = 0, {"borders": [], "subtitles": []}
    for made, plain in clips_with(lambda width, height: Made("null", None, width, height)):
        for clip, pictures in plain.items():
            clips += 1
            for kind, names in found.items():
                if "crop_box" in cropper.row(pictures, made, Crop(**{kind: True})):
                    names.append(clip)
    return clips, found["borders"], found["subtitles"]


def main() -> None:
    cropper = Cropper()
    clips, by_borders, by_subtitles = cropped_as_they_are(cropper)
    wrong = [*by_borders, *by_subtitles]
    lines = [line(name, make, cropper, Crop(borders=True)) for name, make in BARS.items()]
    texts = [line(name, make, cropper, Crop(borders=True, subtitles=True)) for name, make in TEXTS.items()]
    about = {"machine": machine(), "date": date.today(), "clips": clips, "films": len(FOOTAGE), "crf": CRF}
    page = INTRODUCTION.format(**about, min_area_share=Crop().min_area_share) + "\n".join(lines) + "\n"
    page += SUBTITLES.format(text=SUBTITLE, place="85 % (in a bar 90 %)") + "\n".join(texts) + "\n"
    page += PLAIN.format(
        borders=len(by_borders),
        subtitles=len(by_subtitles),
        clips=clips,
        which=f" ({', '.join(wrong)})" if wrong else "",
        borders_ms=1000 * median(cropper.seconds["borders"]),
        subtitles_ms=1000 * median(cropper.seconds["subtitles"]),
    )
    REPORT.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
