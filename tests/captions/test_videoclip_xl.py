"""VideoCLIP-XL: a tiny random checkpoint under the published names, through the real engine."""

import hashlib
import io
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from curation_assets.captions.alignment import alignment_networks, network_alignment
from curation_assets.settings import Settings, parse_settings
from resources.errors import EngineUnavailable
from resources.networks import AlignmentEngine, in_batches
from resources.videoclip_xl.tokenizer import ClipTokenizer, cleaned
from resources.videoclip_xl.towers import TextShape, VideoClipXl, VideoShape
from tests.checkpoints import IMAGENET_MEAN, IMAGENET_STD, save_clip
from tests.plain_videoclip_xl import (
    END,
    START,
    TINY_TEXT,
    TINY_VIDEO,
    plain_video,
    published_shapes,
    random_weights,
    transformers_picture,
    transformers_text,
)

CAPTION = "A red car drives along a coast road, seen from above."


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def file(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "VideoCLIP-XL-v2.bin"
    torch.save(weights, path)
    return path


def engine_of(file: Path, tokenizer: Path, **others: Any) -> AlignmentEngine:
    """As the settings make it; the MD5 is the file's own unless another is given."""
    md5 = hashlib.md5(file.read_bytes()).hexdigest() if file.is_file() else None
    section = {"weights": str(file), "weights_md5": md5, "tokenizer": str(tokenizer), "device": "cpu", **others}
    document = {"alignment": {"engines": ["videoclip_xl"], "videoclip_xl": section}}
    return alignment_networks(parse_settings(document, "test").alignment)["videoclip_xl"]


def pictures_of(seed: int, count: int = 8) -> list[np.ndarray]:
    """448 x 672 of blocks of 2 x 3 pixels, so that bilinear scaling to 224 x 224 gives each block's colour exactly."""
    colours = np.random.default_rng(seed).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
    return [colour.repeat(2, axis=0).repeat(3, axis=1) for colour in colours]


def features(engine: AlignmentEngine, *clips: tuple[list[np.ndarray], str]) -> list[tuple[np.ndarray, ...]]:
    """As a step has them: prepared by a copy in another process, run together."""
    worker = pickle.loads(pickle.dumps(engine))
    prepared = [(n, worker.prepare(pictures, caption)) for n, (pictures, caption) in enumerate(clips)]
    return [outcome for _, outcome in in_batches(prepared, engine.open())]


def normalised(pictures: list[np.ndarray]) -> Tensor:
    """(T, 3, 224, 224) of the blocks' colours, RGB."""
    colours = np.stack(pictures)[:, ::2, 1::3].astype(np.float64) / 255
    return torch.tensor((colours - IMAGENET_MEAN) / IMAGENET_STD, dtype=torch.float32).permute(0, 3, 1, 2)


def byte_ids(text: str) -> list[int]:
    """Ids of an ASCII text: from 0 for `!`, 256 higher for a byte that ends a word, between start and end."""
    words = re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower())
    letters = [[_letter(letter) for letter in word] for word in words]
    return [START, *(id_ for word in letters for id_ in (*word[:-1], 256 + word[-1])), END]


def _letter(letter: str) -> int:
    return ord(letter) - ord("!")


def difference(found: np.ndarray, truth: Tensor) -> float:
    return float(np.abs(found - functional.normalize(truth, dim=-1).numpy()).max())


@torch.inference_mode()
def test_the_video_tower_gives_what_its_published_forward_pass_gives(file, tokenizer, weights):
    clips = [(pictures_of(seed), CAPTION) for seed in range(2)]
    for (pictures, _), (video, _) in zip(clips, features(engine_of(file, tokenizer), *clips), strict=True):
        assert difference(video[0], plain_video(normalised(pictures), weights)) < 1e-5


@torch.inference_mode()
def test_pictures_are_shown_as_rgb(file, tokenizer, weights):
    """As ViCLIP was trained. The order counts: red and blue exchanged give another vector."""
    pictures = [np.full((448, 672, 3), (230, 60, 10), np.uint8)] * 8
    [(video, _)] = features(engine_of(file, tokenizer), (pictures, CAPTION))
    exchanged = plain_video(normalised([picture[:, :, ::-1] for picture in pictures]), weights)
    assert difference(video[0], exchanged) > 0.01


@torch.inference_mode()
def test_the_video_tower_of_one_frame_is_a_clip_vision_model():
    weights = random_weights(TINY_TEXT, TINY_VIDEO._replace(frames=1))
    pixels = normalised(pictures_of(2, count=3))
    truth = transformers_picture(weights)(pixel_values=pixels).image_embeds
    found = functional.normalize(VideoClipXl.of(weights).vision_model(pixels[:, :, None]))
    assert difference(found.numpy(), truth) < 1e-5


@torch.inference_mode()
def test_an_image_is_a_video_that_stands_still(file, tokenizer, weights):
    [picture] = pictures_of(3, count=1)
    [(video, _)] = features(engine_of(file, tokenizer), ([picture], CAPTION))
    assert difference(video[0], plain_video(normalised([picture] * 8), weights)) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize(
    "caption",
    ["", "a", "a cat", CAPTION, "x" * 244, "x " * 246, "word " * 10_000],
    ids=["empty", "letter", "short", "sentence", "248 tokens", "as many tokens", "10 000 words"],
)
def test_the_text_tower_gives_what_a_clip_text_model_with_stretched_positions_gives(caption, file, tokenizer, weights):
    [(_, text)] = features(engine_of(file, tokenizer), (pictures_of(0, count=1), caption))
    ids = byte_ids(caption)
    ids = ids if len(ids) <= 248 else [*ids[:247], END]
    truth = transformers_text(weights)(input_ids=torch.tensor([ids])).text_embeds[0]
    assert difference(text[0], truth) < 1e-5


@torch.inference_mode()
def test_a_row_holds_the_cosine_to_five_decimals(file, tokenizer, weights):
    engine = engine_of(file, tokenizer)
    pictures = pictures_of(4)
    [found] = features(engine, (pictures, CAPTION))
    row = network_alignment("v_0", CAPTION, "videoclip_xl", engine, found, engine.identity())
    video = plain_video(normalised(pictures), weights)
    text = transformers_text(weights)(input_ids=torch.tensor([byte_ids(CAPTION)])).text_embeds[0]
    assert row["alignment_score"] == pytest.approx(float(functional.cosine_similarity(video, text, 0)), abs=1.1e-5)
    assert row["alignment_score"] == round(row["alignment_score"], 5)
    assert (row["unit"], row["frame_scores"], row["sampling"]) == ("cosine", [], "8 uniform frames")
    assert row["model"] == "alibaba-pai/VideoCLIP-XL-v2"


def test_a_clips_features_are_its_own_whatever_runs_beside_it(file, tokenizer):
    clips = [(pictures_of(seed), f"{seed} {CAPTION}") for seed in range(2)]
    alone = [features(engine_of(file, tokenizer), clip)[0] for clip in clips]
    together = features(engine_of(file, tokenizer, batch_frames=16), *clips)
    for one, same in zip(alone, together, strict=True):
        for a, b in zip(one, same, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_easyanimates_names_for_the_towers_give_the_same_features(weights, file, tokenizer, tmp_path):
    renamed = tmp_path / "VideoCLIP-XL-v2.bin"
    names = {"text_model": "model", "vision_model": "viclip_model"}
    split = ((name.split(".", 1), weight) for name, weight in weights.items())
    torch.save({f"{names[tower]}.{rest}": weight for (tower, rest), weight in split}, renamed)
    clip = (pictures_of(5), CAPTION)
    [original], [same] = features(engine_of(file, tokenizer), clip), features(engine_of(renamed, tokenizer), clip)
    for a, b in zip(original, same, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_moves_features_a_little_and_is_another_revision(precision, file, tokenizer):
    clip = (pictures_of(6), CAPTION)
    full, half = engine_of(file, tokenizer), engine_of(file, tokenizer, precision=precision)
    for a, b in zip(features(full, clip)[0], features(half, clip)[0], strict=True):
        assert 0 < np.abs(a - b).max() < 0.05
    assert full.identity()["revision"] != half.identity()["revision"]


def test_a_full_size_network_has_the_published_names_and_shapes():
    with torch.device("meta"):
        network = VideoClipXl(TextShape(), VideoShape())
    found = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    assert found == published_shapes(TextShape(), VideoShape())
    # The published file has 1 711 974 168 bytes: all of these as fp32, and their names.
    assert 4 * sum(weight.numel() for weight in network.state_dict().values()) == 1_711_974_168 - 188_176


def test_a_text_is_cleaned_as_clips_own_code_cleans_it():
    assert cleaned("It’s a “big” cat &amp;amp; dog") == """It's a "big" cat & dog"""
    assert cleaned("ﬁre，ＡＢＣ １２３！ ½ 猫") == "fire,ABC 123! ½ 猫"


def test_ids_are_padded_with_zeros_and_keep_the_end_token(tokenizer):
    ids = ClipTokenizer("", "", str(tokenizer)).ids
    assert ids("hi", 8).tolist() == [*byte_ids("hi"), 0, 0, 0, 0]
    assert ids("hi there you", 6).tolist() == [*byte_ids("hi there")[:5], END]


class Payload:
    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return os.mkdir, ("run-by-a-pickle",)


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


BIAS = "text_model.ln_final.bias"
NOT_ITS_WEIGHTS: dict[str, Callable[[dict[str, Tensor]], bytes]] = {
    "cut short": lambda weights: saved(weights)[:100_000],
    "empty": lambda weights: b"",
    "a page": lambda weights: b"<html>404</html>",
    "a list": lambda weights: saved([1, 2]),
    "pickled code": lambda weights: saved({**weights, BIAS: Payload()}),
    "a bare pickle with code": lambda weights: pickle.dumps(Payload(), protocol=2),
    "another network": lambda weights: saved({"fc.weight": torch.zeros(2, 2)}),
    "a weight less": lambda weights: saved({name: weight for name, weight in weights.items() if name != BIAS}),
    "a weight more": lambda weights: saved({**weights, "text_model.more": torch.zeros(1)}),
    "another shape": lambda weights: saved({**weights, BIAS: torch.zeros(7)}),
    "larger pictures": lambda weights: saved(random_weights(TINY_TEXT, TINY_VIDEO._replace(side_px=336))),
    "fewer positions": lambda weights: saved(random_weights(TINY_TEXT._replace(positions=77), TINY_VIDEO)),
}


@pytest.mark.parametrize("kind", NOT_ITS_WEIGHTS)
def test_weights_that_are_not_videoclip_xls_are_one_clear_error(kind, weights, tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "VideoCLIP-XL-v2.bin"
    path.write_bytes(NOT_ITS_WEIGHTS[kind](weights))
    with pytest.raises(EngineUnavailable, match=r"alignment\.videoclip_xl\.weights: .*VideoCLIP-XL-v2\.bin") as refused:
        engine_of(path, tokenizer).open()
    assert len(str(refused.value).splitlines()) == 1
    assert not (tmp_path / "run-by-a-pickle").exists()


def test_other_weights_than_the_published_are_refused_unless_the_checksum_says_so(file, tokenizer):
    published = "cebda0bab14b677ec061a57e80791f35"
    assert Settings().alignment.videoclip_xl.weights_md5 == published
    with pytest.raises(EngineUnavailable, match=rf"alignment\.videoclip_xl\.weights: .*MD5 {published}"):
        engine_of(file, tokenizer, weights_md5=published).open()
    engine_of(file, tokenizer, weights_md5=None).open()


def test_a_missing_file_is_one_clear_error(file, tokenizer, tmp_path):
    engine = engine_of(tmp_path / "gone.bin", tokenizer)
    for ask in (engine.identity, engine.open):
        with pytest.raises(EngineUnavailable, match=r"alignment\.videoclip_xl\.weights: .*gone\.bin: no such file"):
            ask()


@pytest.mark.parametrize("kind", ["missing", "empty", "only a vocabulary", "broken", "of another model"])
def test_a_tokenizer_that_is_not_the_weights_is_one_clear_error(kind, file, tokenizer, tmp_path):
    folder = tmp_path / "tokenizer"
    if kind != "missing":
        folder.mkdir()
    if kind == "only a vocabulary":
        (folder / "vocab.json").write_text('{"a": 0}')
    if kind == "broken":
        (folder / "tokenizer.json").write_text("{nope")
    if kind == "of another model":
        (folder / "vocab.json").write_text('{"a</w>": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}')
        (folder / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(EngineUnavailable, match=r"alignment\.videoclip_xl\.tokenizer: .*hf download openai/clip"):
        engine_of(file, folder).open()


def test_the_published_model_is_named_without_a_file_of_it():
    engine = alignment_networks(parse_settings({"alignment": {"engines": ["videoclip_xl"]}}, "test").alignment)
    assert engine["videoclip_xl"].identity() == {
        "model": "alibaba-pai/VideoCLIP-XL-v2",
        "revision": "cebda0ba, tokenizer openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41",
    }


def test_a_rows_revision_names_weights_and_tokenizer(file, tokenizer, weights, tmp_path):
    other = tmp_path / "other.bin"
    torch.save({**weights, "vision_model.temp": torch.ones(())}, other)
    revisions = {
        engine_of(path, tokenizer, weights_md5=md5).identity()["revision"]
        for path, md5 in ((file, None), (other, None), (file, "cebda0bab14b677ec061a57e80791f35"))
    }
    assert len(revisions) == 3
    copy = shutil.copytree(tokenizer, tmp_path / "copy")
    same = engine_of(file, tokenizer).identity()
    assert engine_of(file, copy).identity() == same
    (copy / "tokenizer.json").write_text("{}")
    assert engine_of(file, copy).identity() != same
