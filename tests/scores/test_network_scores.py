"""Network engines beside the embedded ones in one table, fed by real worker processes."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation_assets.incremental.work import Done, Work
from curation_assets.scores.assets import score_assets
from curation_assets.settings import parse_settings
from curation_assets.tools import Tools
from resources.errors import EngineUnavailable, InputError
from resources.files import Files
from resources.image_towers import unit_vectors
from resources.pictures import pack_pictures, unpack_pictures
from tests import plain_towers
from tests.checkpoints import CLIP_EMBEDDING, save_clip, save_dinov2, save_head

Row = dict[str, Any]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    save_clip(root / "clip")
    save_dinov2(root / "dinov2")
    save_head(root / "head.pth", CLIP_EMBEDDING, [f"layers.{n}" for n in (0, 2, 4, 6, 7)])
    return root


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, bikes: Callable) -> Path:
    """Five clips' stored frames, and one of damaged ones; only read."""
    folder = tmp_path_factory.mktemp("home")
    for number, span in enumerate([(0, 29), (31, 75), (77, 136), (90, 170), (190, 240)]):
        (folder / f"c{number}.zip").write_bytes(pack_pictures(bikes(*span), 92))
    (folder / "c5.zip").write_bytes(b"no zip")
    return folder


def scores(home: Path, table: str, document: Mapping[str, Any], shown: int = 6) -> dict[tuple[str, str], Any]:
    """(clip, engine) -> row or failure, as the asset computes them."""
    settings = parse_settings({**document, "execution": {"workers": 2}}, "x.yaml")
    asset = next(asset for asset in score_assets(settings) if asset.stages[0].table.name == table)
    engines = tuple(asset.stages[0].engines)
    work = [Work(f"c{n}", "s-0000", {"frames_path": f"c{n}.zip"}, {table: engines}, {}) for n in range(shown)]
    done: list[Done] = list(asset.compute(work, Tools(settings, Files(str(home)))))
    return {(one.unit, one.engine): one.outcome[0] if isinstance(one.outcome, list) else one.outcome for one in done}


def semantic(models: Path, **clip: Any) -> dict[str, Any]:
    return {
        "semantic": {
            "engines": ["efficientnet_lite0", "clip_b32", "dinov2_small"],
            "clip_b32": {"source": str(models / "clip"), **clip},
            "dinov2_small": {"source": str(models / "dinov2")},
        }
    }


def test_engines_stand_side_by_side_and_give_the_figures_of_their_formulas(models: Path, home: Path) -> None:
    found = scores(home, "semantic_scores", semantic(models))
    assert len(found) == 6 * 3
    truths = {"clip_b32": plain_towers.clip_images, "dinov2_small": plain_towers.dinov2_images}
    for (clip, engine), row in found.items():
        if clip == "c5":
            assert isinstance(row, InputError)
            continue
        assert row["engine"] == engine
        assert row["semantic_score"] == min(row["pair_scores"])
        if engine in truths:
            folder = models / ("clip" if engine == "clip_b32" else "dinov2")
            pictures = unpack_pictures((home / f"{clip}.zip").read_bytes())
            unit = unit_vectors(truths[engine](folder, pictures).numpy())
            assert np.abs(np.array(row["pair_scores"]) - (unit[1:] * unit[:-1]).sum(1)).max() < 1e-5
    assert found["c0", "clip_b32"]["model"] == "openai/clip-vit-base-patch32"


@pytest.fixture(scope="module")
def alone(models: Path, home: Path) -> dict[tuple[str, str], Row]:
    return scores(home, "semantic_scores", semantic(models), shown=5)


@pytest.mark.parametrize("batch_frames", [1, 5, 9, 20, 64])
def test_rows_do_not_depend_on_the_batch(
    models: Path, home: Path, alone: dict[tuple[str, str], Row], batch_frames: int
) -> None:
    together = scores(home, "semantic_scores", semantic(models, batch_frames=batch_frames), shown=5)
    for key, row in alone.items():
        for name, value in row.items():
            expected = pytest.approx(value, abs=1.1e-5) if isinstance(value, float | list) else value
            assert together[key][name] == expected


def test_four_frames_are_rated(models: Path, home: Path) -> None:
    document = {
        "aesthetic": {
            "engines": ["laion_v2"],
            "laion_v2": {"source": str(models / "clip"), "head": str(models / "head.pth"), "head_md5": None},
        }
    }
    row = scores(home, "aesthetic_scores", document)["c3", "laion_v2"]
    pictures = unpack_pictures((home / "c3.zip").read_bytes(), (0, 2, 4, 6))
    truth = plain_towers.head_figures(models / "head.pth", plain_towers.clip_images(models / "clip", pictures)).numpy()
    assert np.abs(row["frame_scores"] - truth).max() < 2e-5
    assert row["sampling"] == "stored frames 0, 2, 4, 6 of 0..8"


def test_no_engine_begins_when_one_of_them_cannot(models: Path, home: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(models / "dinov2", tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"")
    document = semantic(models)
    document["semantic"]["dinov2_small"] = {"source": str(folder)}
    with pytest.raises(EngineUnavailable, match=r"^semantic\.dinov2_small\.source: .*can't be loaded"):
        scores(home, "semantic_scores", document)


def test_only_engines_that_are_on_enter_a_stage(models: Path) -> None:
    def stages(document: Mapping[str, Any]) -> dict[str, Any]:
        found = score_assets(parse_settings(dict(document), "x.yaml"))
        return {s.table.name: (s.settings, s.engines) for asset in found for s in asset.stages}

    default = stages({})
    settings, engines = default["semantic_scores"]
    assert (settings, list(engines)) == ({}, ["efficientnet_lite0"])
    assert default["aesthetic_scores"] == ({}, {})
    off = semantic(models)
    off["semantic"]["engines"] = ["efficientnet_lite0"]
    assert stages(off) == default

    def of_clip(**clip: Any) -> Any:
        return stages(semantic(models, **clip))["semantic_scores"][1]["clip_b32"]

    assert of_clip() == of_clip(batch_frames=7, device="cpu")
    assert len({str(of_clip(**change)) for change in ({}, {"revision": "v2"}, {"precision": "bf16"})}) == 3
