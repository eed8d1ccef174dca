"""Writes craft_goldens.json: what EasyOCR itself makes of the cases of craft_cases.py.

In an environment of its own, since torchvision beside a CPU build of torch breaks transformers:

    python -m venv /tmp/easyocr
    /tmp/easyocr/bin/pip install torch==2.13.0 "numpy<2.5" opencv-python-headless==5.0.0.93 \
        pillow scikit-image scipy shapely pyclipper python-bidi pyyaml ninja
    /tmp/easyocr/bin/pip install --no-deps torchvision==0.28.0 easyocr==1.7.2
    /tmp/easyocr/bin/python tests/scores/make_craft_goldens.py

EasyOCR 1.7.2 and 1.7.1, which EasyAnimate pins, have the same craft.py, craft_utils.py, imgproc.py and `detect`.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from craft_cases import BARS, Weights, bars, copying_weights, maps_of, noise, random_weights

_operators = torch.library.Library("torchvision", "FRAGMENT")  # lets its compiled part be missing
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from easyocr.craft import CRAFT  # noqa: E402
from easyocr.craft_utils import adjustResultCoordinates, getDetBoxes  # noqa: E402
from easyocr.detection import get_textbox  # noqa: E402
from easyocr.imgproc import normalizeMeanVariance, resize_aspect_ratio  # noqa: E402
from easyocr.utils import diff, group_text_box  # noqa: E402

Boxes = dict[str, Any]


def network(weights: Weights) -> CRAFT:
    craft = CRAFT()
    craft.load_state_dict({name.removeprefix("module."): torch.tensor(value) for name, value in weights.items()})
    return craft.eval()


def boxes(words: list[Any], height: int, width: int) -> Boxes:
    """As `Reader.detect` goes on from the words; the sum as EasyAnimate's `compute_text_score.py` takes it."""
    level, slanted = group_text_box(words, 0.1, 0.5, 0.5, 0.5, 0.1, True)
    level = [box for box in level if max(box[1] - box[0], box[3] - box[2]) > 20]
    slanted = [box for box in slanted if max(diff([c[0] for c in box]), diff([c[1] for c in box])) > 20]
    area = sum((right - left) * (bottom - top) for left, right, top, bottom in level)
    return {
        "level": [[int(left), int(top), int(right), int(bottom)] for left, right, top, bottom in level],
        "slanted": [[[float(x), float(y)] for x, y in box] for box in slanted],
        "sum": float(area) / (height * width),
    }


def of_maps(picture: np.ndarray, scale: float) -> Boxes:
    text, link = maps_of(picture)
    found, _, _ = getDetBoxes(text, link, 0.7, 0.4, 0.4, False, False)
    found = adjustResultCoordinates(found, 1 / scale, 1 / scale)
    height, width = (round(side / scale) for side in picture.shape[:2])
    return boxes([np.array(box).astype(np.int32).reshape(-1) for box in found], height, width)


def of_picture(craft: CRAFT, picture: np.ndarray) -> Boxes:
    (words,) = get_textbox(craft, picture, 2560, 1.0, 0.7, 0.4, 0.4, False, "cpu")
    return boxes(words, *picture.shape[:2])


def maps(craft: CRAFT, picture: np.ndarray) -> list[Any]:
    shrunk, _, _ = resize_aspect_ratio(picture, 2560, cv2.INTER_LINEAR)
    pixels = torch.from_numpy(normalizeMeanVariance(shrunk)).permute(2, 0, 1)[None]
    with torch.no_grad():
        return craft(pixels)[0][0].permute(2, 0, 1)[:, ::3, ::5].tolist()


shapes = {
    f"module.{name}": list(value.shape) for name, value in CRAFT().state_dict().items() if "num_batches" not in name
}
goldens = {
    "shapes": shapes,
    "maps_of_random_weights": maps(network(random_weights(shapes)), noise(0, 50, 70)),
    "of_maps": {case: of_maps(bars(case), 1.0) for case in BARS},
    "of_shrunk_maps": {case: of_maps(bars(case), 0.37) for case in BARS},
    "of_noise": [of_maps(noise(seed), 1.0) for seed in range(8)],
    "of_picture": of_picture(network(copying_weights(shapes)), bars("small", 110, 150)),
}
Path(__file__).with_name("craft_goldens.json").write_text(json.dumps(goldens) + "\n")
