"""Some of many, at random, and the same every time."""

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


def sample(count: int, size: int) -> Positions:
    """`size` positions out of `count`, or all of them, ascending."""
    if count <= size:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, size, replace=False))
