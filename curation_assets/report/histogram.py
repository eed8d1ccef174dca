"""Counts in bins of equal width."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 48
REACH = (0.005, 0.995)  # quantiles between which the bins lie; what is outside is counted in the first and last


def histogram(values: Mapping[str, NDArray[Any]], marks: tuple[float | None, ...] = ()) -> dict[str, Any]:
    """The same bins for every series of `values`: low, high and counts of each. They reach over all `marks`.

    A bin of whole numbers holds one or more of them.
    """
    finite = {name: series[np.isfinite(series)] for name, series in values.items()}
    everything = np.concatenate(list(finite.values()))
    if not everything.size:
        return {"low": 0.0, "high": 1.0, "counts": {name: [] for name in values}}
    ends = [*np.quantile(everything, REACH).tolist(), *(mark for mark in marks if mark is not None)]
    low, high = min(ends), max(ends)
    bins = BINS
    if everything.dtype.kind in "iu":
        width = int((high - low) // BINS) + 1
        bins = int((high - low) // width) + 1
        low, high = low - 0.5, low - 0.5 + bins * width
    elif low == high:
        low, high = low - 0.5, high + 0.5
    clipped = {name: np.clip(series, low, high) for name, series in finite.items()}
    counts = {name: np.histogram(series, bins, (low, high))[0].tolist() for name, series in clipped.items()}
    return {"low": low, "high": high, "counts": counts}
