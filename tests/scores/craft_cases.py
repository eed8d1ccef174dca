"""CRAFT weights, maps and pictures that a test and `make_craft_goldens.py` make alike."""

import zlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Shapes = Mapping[str, Sequence[int]]
Weights = dict[str, NDArray]
Bar = tuple[float, float, float, float, float]
"""x, y of the middle, length, thickness, px; degrees clockwise"""

BARS: Mapping[str, list[Bar]] = {
    "nothing": [],
    "one subtitle": [(320, 320, 300, 32, 0)],
    "two lines": [(320, 280, 300, 32, 0), (320, 330, 200, 32, 0)],
    "words of one line": [(120, 180, 80, 30, 0), (220, 182, 80, 30, 0), (330, 178, 80, 34, 0)],
    "words too far apart": [(120, 180, 60, 24, 0), (320, 180, 60, 24, 0)],
    "words of two sizes": [(120, 180, 80, 20, 0), (210, 180, 60, 64, 0)],
    "turned by 30 degrees": [(320, 180, 200, 40, 30)],
    "turned the other way": [(320, 180, 200, 40, -50), (100, 100, 90, 20, -20)],
    "upright": [(320, 180, 30, 200, 0)],
    "crossing": [(320, 180, 240, 36, 0), (320, 180, 36, 240, 0), (320, 180, 240, 36, 45)],
    "overlapping boxes": [(200, 180, 160, 60, 0), (200, 246, 160, 60, 0), (450, 260, 120, 30, 25)],
    "beyond the edges": [(0, 180, 90, 40, 0), (640, 10, 120, 50, 0), (320, 360, 80, 30, 20)],
    "squares": [(100, 100, 60, 60, 45), (300, 180, 60, 62, 0), (500, 100, 50, 50, 20)],
    "small": [(40, 25, 40, 16, 0), (95, 25, 40, 16, 0), (90, 80, 70, 18, 30)],
    "tiny": [(40, 25, 50, 12, 0)],
    "specks": [(50, 50, 4, 4, 0), (150, 50, 12, 8, 0), (250, 50, 14, 12, 0), (350, 50, 30, 4, 0)],
}


def bars(case: str, height: int = 360, width: int = 640) -> NDArray[np.uint8]:
    """A black picture with a case's bars in red, and blue links between neighbouring ones."""
    picture = np.zeros((height, width, 3), np.uint8)
    for x, y, length, thickness, degrees in BARS[case]:
        corners = cv2.boxPoints(((x, y), (length, thickness), degrees))
        cv2.fillPoly(picture, [np.rint(corners).astype(np.int32)], (255, 0, 0))
    for (x, y, *_), (x_next, y_next, *_) in zip(BARS[case], BARS[case][1:], strict=False):
        if abs(y - y_next) < 5 and abs(x - x_next) < 120:
            cv2.line(picture, (int(x), int(y)), (int(x_next), int(y_next)), (0, 0, 255), 6)
    return picture


def noise(seed: int, height: int = 180, width: int = 320) -> NDArray[np.uint8]:
    """Red and blue blobs of many shapes."""
    blurred = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width, 3), np.float32), (0, 0), 4 + seed % 3)
    lowest, highest = blurred.min(), blurred.max()
    return np.clip((blurred - lowest) / (highest - lowest) * 420 - 170, 0, 255).astype(np.uint8)


def maps_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(2, H / 2, W / 2): what `copying_weights` make of a picture with even sides, red and blue, pooled."""
    height, width = picture.shape[:2]
    blocks = picture.reshape(height // 2, 2, width // 2, 2, 3).max(axis=(1, 3))
    return np.moveaxis(blocks[..., [0, 2]], 2, 0).astype(np.float32) / 255


def copying_weights(shapes: Shapes) -> Weights:
    """A CRAFT whose text map is a picture's red and whose link map is its blue, at half of the size."""
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for name in weights:
        if name.endswith("running_var") or (name.endswith("weight") and weights[name].ndim == 1):
            weights[name] += 1
    first = "module.basenet.slice1.0"
    for channel, (colour, mean, std) in enumerate([(0, 0.485, 0.229), (2, 0.406, 0.225)]):
        weights[f"{first}.weight"][channel, colour, 1, 1] = std
        weights[f"{first}.bias"][channel] = mean
        for layer in ("basenet.slice1.3", "basenet.slice1.7", "basenet.slice1.10", "upconv4.conv.3"):
            weights[f"module.{layer}.weight"][channel, channel, 1, 1] = 1
        weights["module.upconv4.conv.0.weight"][channel, 64 + channel] = 1  # behind what comes from below
        for number in (0, 2, 4, 6, 8):
            layer = weights[f"module.conv_cls.{number}.weight"]
            layer[channel, channel, layer.shape[2] // 2, layer.shape[3] // 2] = 1
    return weights


def random_weights(shapes: Shapes) -> Weights:
    """The same on every machine; activations keep their size from layer to layer."""
    weights = {}
    for name, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        if len(shape) == 4:
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif name.endswith(("running_var", "weight")):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.normal(0, 0.2, shape)
        weights[name] = values.astype(np.float32)
    return weights
