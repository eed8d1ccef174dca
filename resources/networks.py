"""Networks that score clips on a device: what an engine offers, and how its input is run in batches.

The work is split in two. `prepare` reads pictures and text into arrays and needs no weights: it runs in worker
processes. `open` loads the weights, once, in the step's process, and what it returns is run over the arrays of several
clips at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from resources.errors import InputError, Need, TransientError
from resources.spent import spent

Pictures = Sequence[NDArray[np.uint8]]
"""RGB, height x width x 3."""
Arrays = tuple[NDArray[Any], ...]
Network = Callable[[NDArray[Any]], NDArray[np.float32]]
"""(N, ...) samples to (N, D) features; a sample's features don't depend on the other samples."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class OpenNetworks:
    """Loaded networks: the k-th runs over the k-th array of what was prepared; arrays beyond pass by unchanged."""

    networks: tuple[Network, ...]
    batch: int
    """samples of a forward pass, at most"""


class NetworkEngine(Protocol):
    """A frozen dataclass of settings: small, picklable, hashable; nothing is loaded until it is used."""

    def identity(self) -> dict[str, str]:
        """`model` and `revision` of each row, known without torch. Raises EngineUnavailable where files are missing."""

    def needs(self) -> list[Need]:
        """Weights, packages and device. None is loaded, but a file that is named by URL is downloaded."""

    def open(self) -> OpenNetworks:
        """Load the weights onto the device. Raises EngineUnavailable, before any work, for whatever is missing."""


class PictureEngine(NetworkEngine, Protocol):
    def prepare(self, pictures: Pictures) -> Arrays:
        """One array of N samples for N pictures."""


class AlignmentEngine(NetworkEngine, Protocol):
    """Scores a caption against the eight uniform frames of a clip."""

    @property
    def unit(self) -> str:
        """Unit of the score."""

    def prepare(self, pictures: Pictures, caption: str) -> Arrays:
        """Samples of the pictures, one a picture or one for all, and tokens of the caption (one sample)."""

    def score(self, pictures: NDArray[np.float32], caption: NDArray[np.float32]) -> tuple[float, list[float]]:
        """The clip's score and those of its frames (empty where the network sees all frames at once).

        From the features of the clip's own samples, (N, D) and (1, D).
        """


def in_batches(
    prepared: Iterable[tuple[Key, Arrays | Exception]], opened: OpenNetworks
) -> Iterator[tuple[Key, Arrays | Exception]]:
    """Run the networks over what was prepared of several clips at a time; yields each clip's features, in order.

    A batch holds whole clips whose samples have one shape, as many as have at most `opened.batch` samples, but one at
    least. No more than that is taken from `prepared` ahead.
    """
    runs = [_Halving(network, opened.batch) for network in opened.networks]
    waiting: list[tuple[Key, Arrays]] = []
    held = 0
    for key, arrays in prepared:
        if isinstance(arrays, Exception):
            yield key, arrays
            continue
        if waiting and (held + samples(arrays) > opened.batch or _shapes(arrays) != _shapes(waiting[0][1])):
            yield from _features(waiting, runs)
            waiting, held = [], 0
        waiting.append((key, arrays))
        held += samples(arrays)
    if waiting:
        yield from _features(waiting, runs)


def samples(arrays: Arrays | Exception) -> int:
    """How many of a batch's samples were prepared of a clip."""
    return 0 if isinstance(arrays, Exception) else len(arrays[0])


def _shapes(arrays: Arrays) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in arrays]


def _features(
    clips: Sequence[tuple[Key, Arrays]], runs: "Sequence[_Halving]"
) -> Iterator[tuple[Key, Arrays | Exception]]:
    try:
        of_networks = [run([arrays[k] for _, arrays in clips]) for k, run in enumerate(runs)]
    except TransientError as failure:
        yield from ((key, failure) for key, _ in clips)
        return
    for (key, arrays), *features in zip(clips, *of_networks, strict=True):
        if all(np.isfinite(part).all() for part in features):
            yield key, (*features, *arrays[len(runs) :])
        else:
            why = "fp16 overflows, use bf16 or fp32; or the weights are damaged"
            yield key, InputError(f"the network's output is not finite: {why}")


class _Halving:
    """A network whose batches are halved, for good, each time the device runs out of memory."""

    def __init__(self, network: Network, batch: int) -> None:
        self._network = network
        self._batch = batch

    def __call__(self, clips: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Features of each clip, run together. Raises TransientError when a single sample doesn't fit."""
        import torch

        samples = np.concatenate(clips)
        features: list[NDArray[np.float32]] = []
        start = 0
        while start < len(samples):
            batch = samples[start : start + self._batch]
            try:
                with spent("model"):
                    features.append(self._network(batch))
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise TransientError(
                        "the device has no memory for a single sample; free it, or set the engine's device to cpu"
                    ) from None
                self._batch = (len(batch) + 1) // 2
            else:
                start += len(batch)
        return np.split(np.concatenate(features), np.cumsum([len(clip) for clip in clips])[:-1])
