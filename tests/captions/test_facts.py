"""A caption of engine `facts` says what was measured and nothing else."""

import json

import numpy as np
import pytest

from curation_assets.captions.facts import collect_facts, facts_caption
from resources.image_encoder import EfficientNetLite0

LABELS = ["airliner", "unicycle", "sunglasses", "kite (bird of prey)", "swim trunks / shorts"]
BLUE = np.full((48, 64, 3), (20, 40, 200), np.uint8)
GREY = np.full((48, 64, 3), 128, np.uint8)


def caption(probabilities: list[float], **known: object) -> str:
    pictures = known.pop("pictures", [GREY, GREY])
    return facts_caption(
        collect_facts(pictures, np.array([probabilities] * 2, np.float32), LABELS, **{"duration_s": 4.0, **known})  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("probabilities", "shown"),
    [
        ([0.9, 0, 0, 0, 0], " that appears to show an airliner,"),
        ([0.3, 0.2, 0, 0, 0], " that may show an airliner or a unicycle,"),
        ([0, 0, 0.2, 0, 0], " that may show sunglasses,"),
        ([0, 0, 0, 0.6, 0], " that appears to show a kite,"),
        ([0, 0, 0, 0, 0.3], " that may show swim trunks,"),
        ([0.09, 0.09, 0, 0, 0], ""),
    ],
)
def test_a_guess_is_called_a_guess(probabilities: list[float], shown: str) -> None:
    assert caption(probabilities) == f"A 4-second clip{shown} with mostly grey colours."


def test_only_what_is_known_is_told() -> None:
    assert caption([0] * 5, motion_score=40.0, pictures=[BLUE, GREY], texts=["SALE"], duration_s=8.2) == (
        "An 8-second clip with strong motion and mostly blue and grey colours. The text “SALE” can be read in it."
    )
    assert caption([0] * 5, pictures=[GREY // 4], duration_s=0.3).startswith("A 1-second dark clip ")
    assert caption([0] * 5, pictures=[GREY + 100]).startswith("A 4-second bright clip ")


def test_text_read_in_a_picture_can_not_leave_its_quotation() -> None:
    hostile = "a” and a “cat\n\x1b[2J" + "x" * 500
    told = caption([0] * 5, texts=[hostile, " \n "])
    assert told.count("“") == told.count("”") == 1
    assert told.isprintable()
    assert len(told) < 200


def test_facts_are_the_same_every_time_and_fit_into_json() -> None:
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    facts = [collect_facts(pictures, np.full((3, 5), 0.2, np.float32), LABELS, 4.0, 1.5) for _ in range(2)]
    assert facts[0] == facts[1] == json.loads(json.dumps(facts[0]))


def test_every_class_name_makes_a_phrase(classifier: EfficientNetLite0) -> None:
    labels = classifier.labels()
    for i in range(len(labels)):
        certain = np.zeros((1, len(labels)), np.float32)
        certain[0, i] = 1
        told = facts_caption(collect_facts([GREY], certain, labels, 4.0))
        assert not set("()/") & set(told), told
        assert "  " not in told, told
