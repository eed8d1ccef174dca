"""Text readers: where text stands in a picture, and what it says."""

import unicodedata
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.errors import EngineUnavailable
from resources.packages import package_file, package_version
from resources.spent import spent

_PACKAGE = "rapidocr"
_RUNTIME_PACKAGE = "onnxruntime"
_WEIGHTS_FILES = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}


@dataclass(frozen=True)
class TextBox:
    polygon: NDArray[np.float32]
    """(4, 2): x, y of the corners, in pixels of the picture"""
    text: str
    confidence: float
    """mean probability of the recognised characters, 0..1"""


class TextReader(Protocol):
    engine: str
    model: str
    revision: str

    def read(self, picture: NDArray[np.uint8], longest_side_px: int, min_confidence: float) -> list[TextBox]:
        """Boxes with recognised text in reading order, in an RGB picture (H x W x 3).

        Text is searched for with the picture's longest side shrunk to `longest_side_px`; a box counts when
        its text was recognised with at least `min_confidence`.
        """


def read_text(
    reader: TextReader,
    picture: NDArray[np.uint8],
    *,
    longest_side_px: int,
    min_confidence: float,
    min_characters: int,
) -> list[TextBox]:
    """The boxes of `TextReader.read` with so many characters that can be printed, and these alone as their text."""
    boxes = reader.read(picture, longest_side_px, min_confidence)
    printed = [replace(box, text=_printable(box.text)) for box in boxes]
    return [box for box in printed if len(box.text) >= min_characters]


def _printable(text: str) -> str:
    """Without control, format and unassigned characters, which could disturb where the text is shown."""
    return "".join(c for c in text if not unicodedata.category(c).startswith("C")).strip()


def text_reader_identity(engine: str) -> dict[str, str]:
    """`model` and `revision` of an engine, without loading it.

    Raises EngineUnavailable when the engine is unknown or its package isn't installed.
    """
    if engine != "rapidocr":
        raise EngineUnavailable(f"unknown text reader {engine!r}; known: rapidocr")
    return {"model": "PP-OCRv6 small", "revision": f"{_PACKAGE} {package_version(_PACKAGE)}"}


def open_text_reader(engine: str) -> TextReader:
    """Load an engine. Raises EngineUnavailable naming the package that is missing."""
    text_reader_identity(engine)
    return RapidOcrReader()


class RapidOcrReader:
    """PP-OCRv6 small (weights in the package) on one CPU thread of onnxruntime.

    Boxes are found in the shrunk picture and read at the picture's own resolution. A box without recognised
    text doesn't count: the detector alone marks foliage and cobbles as text.

    Raises EngineUnavailable when a package is missing.
    """

    engine = "rapidocr"

    @spent("starting")
    def __init__(self, package: str = _PACKAGE, runtime_package: str = _RUNTIME_PACKAGE) -> None:
        weights = {f"{step}.model_path": str(package_file(package, file)) for step, file in _WEIGHTS_FILES.items()}
        package_version(runtime_package)
        from rapidocr import RapidOCR

        self._ocr: Any = RapidOCR(
            params={
                **weights,  # named, since RapidOCR downloads a default model that it doesn't find
                "Global.log_level": "error",
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,  # no thread pool, so nothing spins
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Det.limit_type": "max",
            }
        )
        self._ocr(np.zeros((32, 32, 3), np.uint8))  # loads the detector, whose size limit `read` sets
        identity = text_reader_identity(self.engine)
        self.model = identity["model"]
        self.revision = identity["revision"]

    @spent("model")
    def read(self, picture: NDArray[np.uint8], longest_side_px: int, min_confidence: float) -> list[TextBox]:
        """See `TextReader.read`. The time of the model holds RapidOCR's own work around its three networks."""
        self._ocr.text_det.limit_side_len = longest_side_px
        # All three steps are named because RapidOCR keeps those of the call before.
        found = self._ocr(
            np.ascontiguousarray(picture[:, :, ::-1]),
            use_det=True,
            use_cls=True,
            use_rec=True,
            text_score=min_confidence,
        )
        if found.boxes is None or found.txts is None:
            return []
        return [
            TextBox(np.asarray(box, np.float32), text, float(confidence))
            for box, text, confidence in zip(found.boxes, found.txts, found.scores, strict=True)
        ]
