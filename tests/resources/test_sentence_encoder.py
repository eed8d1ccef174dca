"""Sentence embeddings of the packaged MiniLM."""

import numpy as np

from resources.sentence_encoder import open_sentence_encoder

TEXTS = ["A red car drives down a street.", "An automobile moves along a road.", "A bowl of soup stands on a table."]


def test_a_vector_does_not_depend_on_the_texts_beside_it() -> None:
    encoder = open_sentence_encoder()
    together = encoder.encode([*TEXTS, "word " * 500])
    assert together.shape == (4, 384)
    assert together.dtype == np.float32
    for text, vector in zip(TEXTS, together, strict=False):
        assert np.array_equal(encoder.encode([text])[0], vector)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    paraphrase, other = together[0] @ together[1], together[0] @ together[2]
    assert paraphrase > 0.4 > other
