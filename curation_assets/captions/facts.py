"""Captions of engine `facts`: sentences made of measured facts alone, without any model of language.

A classifier's label is a guess, so the sentence says so: "appears to show" from `SURE`, "may show" from
`LIKELY`.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SURE = 0.5  # mean probability over the frames
LIKELY = 0.1
MAX_LABELS = 2
MAX_TEXTS = 2
MAX_TEXT_CHARACTERS = 60
MIN_COLOUR_SHARE = 0.15
MAX_COLOURS = 2
DARK_LUMA, BRIGHT_LUMA = 60.0, 170.0

# Upper bounds of the motion score of engine `dis`, percent of the diagonal per second, and the words for what lies
# below. At 25 frames/s they are 0.2, 1 and 4 px a frame at 320 px; real footage has a gap between 0.5 and 1.2 px.
DIS_MOTION_BANDS: tuple[tuple[float, str], ...] = (
    (1.4, "hardly any motion"),
    (7.0, "little motion"),
    (27.0, "moderate motion"),
    (float("inf"), "strong motion"),
)

_WITHOUT_ARTICLE = {
    "binoculars",
    "broccoli",
    "carbonara",
    "cauliflower",
    "chain mail",
    "chocolate syrup",
    "clogs",
    "corn",
    "dough",
    "eggnog",
    "espresso",
    "face powder",
    "guacamole",
    "hair spray",
    "hay",
    "ice cream",
    "jeans",
    "lotion",
    "mashed potatoes",
    "pajamas",
    "parallel bars",
    "perfume",
    "red wine",
    "spaghetti squash",
    "sunglasses",
    "sunscreen",
    "swim trunks",
    "tights for gymnastics",
    "toilet paper",
    "velvet fabric",
    "wool",
}


def collect_facts(
    pictures: Sequence[NDArray[np.uint8]],
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    duration_s: float,
    motion_score: float | None = None,
    motion_bands: Sequence[tuple[float, str]] = DIS_MOTION_BANDS,
    texts: Sequence[str] = (),
) -> dict[str, Any]:
    """What is known of a clip, as a JSON-able dict: `labels` with `probability`, `motion`, `luma`, `colours`
    with `share`, `texts`, `duration_s`.

    `pictures` are RGB frames (H x W x 3), `probabilities` (N, classes) the classifier's for N frames, `labels`
    the classes' names, `motion_bands` ascending upper bounds of the motion score with the words for it.
    """
    mean = probabilities.mean(axis=0, dtype=np.float64)
    best = np.argsort(-mean, kind="stable")[:MAX_LABELS]
    small = np.concatenate([_shrunk(picture) for picture in pictures])
    return {
        "labels": [{"label": labels[i], "probability": round(float(mean[i]), 3)} for i in best if mean[i] >= LIKELY],
        "motion": None if motion_score is None else _band(motion_score, motion_bands),
        "luma": round(float((small @ np.array([0.299, 0.587, 0.114])).mean()), 1),
        "colours": _dominant_colours(small),
        "texts": [_one_line(text)[:MAX_TEXT_CHARACTERS] for text in texts if _one_line(text)][:MAX_TEXTS],
        "duration_s": round(duration_s, 3),
    }


def facts_caption(facts: dict[str, Any]) -> str:
    """One or two English sentences that state `facts` (of `collect_facts`) and nothing else; of 0 s is an image."""
    luma = facts["luma"]
    light = "dark " if luma < DARK_LUMA else "bright " if luma > BRIGHT_LUMA else ""
    if facts["duration_s"]:
        seconds = str(max(1, round(facts["duration_s"])))
        article = "An" if seconds[0] == "8" or seconds in ("11", "18") else "A"
        sentence = f"{article} {seconds}-second {light}clip"
    else:
        sentence = f"A {light}image" if light else "An image"
    shown = _shown(facts["labels"])
    described = []
    if facts["motion"]:
        described.append(facts["motion"])
    if facts["colours"]:
        colours = " and ".join(colour["colour"] for colour in facts["colours"])
        described.append(f"mostly {colours} colours")
    if shown:
        sentence += f" that {shown}"
    if described:
        sentence += f"{',' if shown else ''} with {' and '.join(described)}"
    sentence += "."
    if facts["texts"]:
        quoted = " and ".join(f"“{text}”" for text in facts["texts"])
        sentence += f" The text {quoted} can be read in it."
    return sentence


def _shown(labels: Sequence[dict[str, Any]]) -> str:
    sure = [_with_article(label["label"]) for label in labels if label["probability"] >= SURE]
    likely = [_with_article(label["label"]) for label in labels if label["probability"] < SURE]
    if sure:
        return "appears to show " + " and ".join(sure)
    return "may show " + " or ".join(likely) if likely else ""


def _with_article(label: str) -> str:
    """'an airliner' of 'airliner'; of alternatives in a label the first."""
    name = re.split(r" \(| / | or |,", label)[0].strip()
    if name in _WITHOUT_ARTICLE:
        return name
    vowel = name[0].lower() in "aeiou" and not name.lower().startswith(("uni", "eu", "one"))
    return f"{'an' if vowel else 'a'} {name}"


def _band(score: float, bands: Sequence[tuple[float, str]]) -> str:
    return next(words for bound, words in bands if score < bound)


def _one_line(text: str) -> str:
    """Text read in a picture comes from anyone: keep printable characters, no quotation marks, one line."""
    kept = "".join(c if c.isprintable() and c not in '“”"' else " " for c in text)
    return " ".join(kept.split())


def _shrunk(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The picture's pixels at 64 x 64, shape (4096, 3)."""
    import cv2

    cv2.setNumThreads(1)
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
    pixels: NDArray[np.float32] = small.reshape(-1, 3).astype(np.float32)
    return pixels


def _dominant_colours(pixels: NDArray[np.float32]) -> list[dict[str, Any]]:
    """The basic colour terms that most pixels fall under: lightness and saturation first, then hue."""
    import cv2

    hsv = cv2.cvtColor(pixels[None] / 255, cv2.COLOR_RGB2HSV)[0]
    hue, saturation, value = hsv[:, 0], hsv[:, 1], hsv[:, 2]
    # Hue in degrees; the bounds lie midway between the terms' focal colours.
    hues = np.array([15, 42, 70, 165, 260, 290, 340], np.float32)
    names = np.array(["red", "orange", "yellow", "green", "blue", "purple", "pink", "red"])
    colours = names[np.searchsorted(hues, hue, side="right")].astype("<U6")
    colours[(colours == "orange") & (value < 0.65)] = "brown"
    grey = saturation < 0.18
    colours[grey] = "grey"
    colours[grey & (value > 0.85)] = "white"
    colours[value < 0.16] = "black"
    found, counts = np.unique(colours, return_counts=True)
    order = sorted(zip(-counts, found.tolist(), strict=True))[:MAX_COLOURS]
    shares = [(name, -float(count) / len(pixels)) for count, name in order]
    return [{"colour": name, "share": round(share, 3)} for name, share in shares if share >= MIN_COLOUR_SHARE]
