"""CLIP similarity and CLIPScore of captions are those of their formulas."""

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

from curation_assets.captions.alignment import alignment_networks, network_alignment
from curation_assets.captions.assets import caption_assets
from curation_assets.incremental.work import Work
from curation_assets.settings import parse_settings
from curation_assets.tables import ALIGNMENT_SCORES
from curation_assets.tools import Tools
from resources.errors import EngineUnavailable
from resources.files import Files
from resources.pictures import pack_pictures, unpack_pictures
from tests import plain_towers
from tests.checkpoints import CLIP_TOKENS, save_clip, save_siglip

ENGINES = ("clip_similarity", "clip_score")
CAPTIONS = ["a red car", "Two Dogs run; one barks!", "snow " * 200, ""]
WORDS = {
    "a red car": ["a", "red", "car"],
    "Two Dogs run; one barks!": ["two", "dogs", "run", ";", "one", "barks", "!"],
    "snow " * 200: ["snow"] * 200,
    "": [],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


def networks(folder: Path) -> dict:
    document = {"alignment": {"engines": list(ENGINES), **{engine: {"source": str(folder)} for engine in ENGINES}}}
    return alignment_networks(parse_settings(document, "x.yaml").alignment)


def token_ids(caption: str) -> list[int]:
    """At most 77: the start, a token a byte, and the end, which stays when text is cut off."""
    tokens = [part for word in WORDS[caption] for part in (*word[:-1], f"{word[-1]}</w>")]
    return [CLIP_TOKENS.index(token) for token in ("<|startoftext|>", *tokens[:75], "<|endoftext|>")]


@pytest.mark.parametrize("name", ENGINES)
def test_scores_are_those_of_the_formula(folder: Path, name: str) -> None:
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(8)]
    engine = networks(folder)[name]
    opened = engine.open()
    images = plain_towers.clip_images(folder, pictures)
    images = images / images.norm(dim=1, keepdim=True)
    scores = set()
    for caption in CAPTIONS:
        prepared = engine.prepare(pictures, caption)
        features = tuple(run(array) for run, array in zip(opened.networks, prepared, strict=True))
        row = network_alignment("c1", caption, name, engine, features, engine.identity())

        text = plain_towers.clip_text(folder, token_ids(caption))[0]
        cosines = (images @ (text / text.norm())).numpy()
        truth = cosines if name == "clip_similarity" else 100 * np.maximum(cosines, 0)
        assert np.abs(row["frame_scores"] - truth).max() < (2e-5 if name == "clip_similarity" else 2e-4)
        assert row["alignment_score"] == pytest.approx(truth.mean(), abs=2e-4)
        assert [*row, "crop_box"] == list(ALIGNMENT_SCORES.stage_columns)
        scores.add(row["alignment_score"])
    assert len(scores) == len(CAPTIONS) or name == "clip_score"


def test_captions_of_all_lengths_go_through_together_as_alone(folder: Path) -> None:
    engine = networks(folder)["clip_similarity"]
    picture = [np.zeros((32, 32, 3), np.uint8)]
    tokens = [engine.prepare(picture, caption)[1] for caption in CAPTIONS]
    _, text = engine.open().networks
    together = text(np.concatenate(tokens))
    alone = np.concatenate([text(one) for one in tokens])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_checkpoint_without_text_tower_is_refused(tmp_path: Path) -> None:
    siglip = save_siglip(tmp_path)
    with pytest.raises(
        EngineUnavailable, match=r"^alignment\.clip_score\.source: .*get it by: hf download openai/clip"
    ):
        networks(siglip)["clip_score"].open()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("vocabulary", ["missing", "another"])
def test_words_that_are_not_the_weights_own_are_refused(
    folder: Path, tmp_path: Path, name: str, vocabulary: str
) -> None:
    """Of a folder without a vocabulary transformers makes a tokenizer of two tokens, and says nothing."""
    copy = Path(shutil.copytree(folder, tmp_path / "clip"))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (copy / file).unlink()
    if vocabulary == "another":
        CLIPTokenizer(vocab={token: n for n, token in enumerate(CLIP_TOKENS[6:])}, merges=[]).save_pretrained(copy)
    tokens = {"missing": 2, "another": len(CLIP_TOKENS) - 6}[vocabulary]
    with pytest.raises(EngineUnavailable) as refused:
        networks(copy)[name].open()
    assert str(refused.value) == (
        f"alignment.{name}.source: the tokenizer there has {tokens} tokens, where the weights have {len(CLIP_TOKENS)}; "
        f"get it by: hf download openai/clip-vit-large-patch14 --local-dir {copy}"
    )


def test_engines_of_the_same_weights_hold_them_once(folder: Path, tmp_path: Path) -> None:
    def loaded() -> int:
        gc.collect()
        towers = (CLIPVisionModelWithProjection, CLIPTextModelWithProjection)
        return sum(type(each) in towers for each in gc.get_objects())

    before = loaded()
    opened = [engine.open() for engine in networks(folder).values()]
    assert loaded() == before + 2
    other = networks(save_clip(tmp_path, hidden_size=64))["clip_score"].open()
    assert loaded() == before + 4
    del opened, other
    assert loaded() == before


def test_engines_of_a_shard_stand_side_by_side(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    engines = ["label_similarity", "clip_similarity"]
    for clip in ("a", "b", "c"):
        pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(9)]
        (tmp_path / f"{clip}.zip").write_bytes(pack_pictures(pictures, 92))
    document = {
        "alignment": {"engines": engines, "clip_similarity": {"source": str(folder), "batch_frames": 16}},
        "execution": {"workers": 2},
    }
    settings = parse_settings(document, "x.yaml")
    asset = next(asset for asset in caption_assets(settings) if asset.stages[0].table is ALIGNMENT_SCORES)
    work = [
        Work(clip, "", {"frames_path": f"{clip}.zip", "caption": caption}, {"alignment_scores": tuple(engines)}, {})
        for clip, caption in zip("abc", CAPTIONS, strict=False)
    ]
    found = {
        (done.unit, done.engine): done.outcome[0] for done in asset.compute(work, Tools(settings, Files(str(tmp_path))))
    }

    assert {(clip, engine) for clip in "abc" for engine in engines} == set(found)
    for (clip, engine), row in found.items():
        assert (row["engine"], row["caption"]) == (engine, CAPTIONS["abc".index(clip)])
        if engine == "clip_similarity":
            images = plain_towers.clip_images(
                folder, unpack_pictures((tmp_path / f"{clip}.zip").read_bytes(), range(8))
            )
            text = plain_towers.clip_text(folder, token_ids(row["caption"]))
            truth = torch.cosine_similarity(images, text).numpy()
            assert np.abs(row["frame_scores"] - truth).max() < 2e-5
