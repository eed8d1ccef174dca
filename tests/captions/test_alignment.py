"""Captions fit the shots they describe better than other shots."""

import numpy as np
from numpy.typing import NDArray

from curation_assets.captions.alignment import LabelSimilarity, score_alignment
from curation_assets.captions.facts import collect_facts, facts_caption
from curation_assets.settings import AlignmentBounds
from curation_assets.tables import ALIGNMENT_SCORES
from resources.image_encoder import EfficientNetLite0
from resources.sentence_encoder import SentenceEncoder

Shots = dict[str, NDArray[np.float32]]


def table(captions: list[str], shots: Shots, scorer: LabelSimilarity) -> NDArray[np.float64]:
    """Mean frame score of every caption (rows) with every shot (columns)."""
    return np.array([[np.mean(scorer.frame_scores(c, p)) for p in shots.values()] for c in captions])


def compare(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    matched = np.eye(len(scores), dtype=bool)
    return scores[matched], scores[~matched]


def test_a_persons_captions_score_higher_with_their_own_shots(
    shots: Shots, sentences: SentenceEncoder, classifier: EfficientNetLite0
) -> None:
    matched, mismatched = compare(table(list(shots), shots, LabelSimilarity(sentences, classifier.labels())))
    print("person", matched.round(3), mismatched.mean().round(3))
    assert matched.mean() > mismatched.mean() + 0.1
    assert (matched[:, None] > mismatched).mean() > 0.75


def test_facts_captions_pass_the_bound_with_their_own_shots(
    shots: Shots, sentences: SentenceEncoder, classifier: EfficientNetLite0
) -> None:
    labels = classifier.labels()
    grey = [np.full((8, 8, 3), 128, np.uint8)]
    captions = [facts_caption(collect_facts(grey, p, labels, 4.0, 1.5)) for p in shots.values()]
    matched, mismatched = compare(table(captions, shots, LabelSimilarity(sentences, labels)))
    print("facts", matched.round(3), mismatched.mean().round(3))
    bound = AlignmentBounds().label_similarity.min
    assert bound is not None
    assert matched.min() >= bound
    assert matched.mean() > mismatched.mean() + 0.25


def test_a_score_depends_on_its_own_clip_alone(
    shots: Shots, sentences: SentenceEncoder, classifier: EfficientNetLite0
) -> None:
    caption, probabilities = next(iter(shots.items()))
    used = LabelSimilarity(sentences, classifier.labels())
    table(list(shots), shots, used)
    identity = {"model": "m", "revision": "r"}
    row = score_alignment("c1", caption, probabilities, used, identity)
    fresh = LabelSimilarity(sentences, classifier.labels())
    assert score_alignment("c1", caption, probabilities[:1], fresh, identity)["frame_scores"] == row["frame_scores"][:1]
    assert [*row, "crop_box"] == list(ALIGNMENT_SCORES.stage_columns)
    assert row["alignment_score"] == round(sum(row["frame_scores"]) / 4, 5)


def test_the_stored_centre_is_that_of_the_class_phrases(
    sentences: SentenceEncoder, classifier: EfficientNetLite0
) -> None:
    from curation_assets.captions.alignment import label_phrase

    centre = LabelSimilarity(sentences, classifier.labels())._centre
    some = sentences.encode([label_phrase(label) for label in classifier.labels()[::10]]).mean(axis=0)
    assert np.linalg.norm(some - centre) < 0.1 * np.linalg.norm(centre) + 0.05
