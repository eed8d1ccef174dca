"""Makes `label_centre.json`, which `alignment.py` centres with: the mean embedding of all class phrases.

Run `python -m curation_assets.captions.make_label_centre` after a change of sentence encoder, class names or
phrase. No picture and no caption enters it, so it favours no data set.
"""

import json
from pathlib import Path

import numpy as np

from curation_assets.captions.alignment import label_phrase
from resources.image_encoder import EfficientNetLite0
from resources.sentence_encoder import open_sentence_encoder, sentence_encoder_identity


def main() -> None:
    phrases = [label_phrase(label) for label in EfficientNetLite0().labels()]
    centre = open_sentence_encoder().encode(phrases).mean(axis=0, dtype=np.float64)
    document = {
        "made_of": f"mean of the embeddings of {len(phrases)} phrases like {phrases[0]!r}",
        "encoder": " ".join(sentence_encoder_identity()),
        "centre": [round(float(value), 7) for value in centre],
    }
    Path(__file__).with_name("label_centre.json").write_text(json.dumps(document) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
