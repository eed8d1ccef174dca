"""One vector a clip and engine, from the pass that gives the semantic score where both have the engine."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.incremental.work import Work
from curation_assets.scores.assets import score_assets
from curation_assets.scores.embedding import embedding_row
from curation_assets.settings import parse_settings
from curation_assets.tables import BOOKKEEPING, CLIP_EMBEDDINGS
from curation_assets.tools import Features, Tools
from resources.errors import InputError
from resources.files import Files
from resources.image_encoder import EfficientNetLite0
from resources.image_towers import unit_vectors
from resources.pictures import pack_pictures, unpack_pictures
from tests import plain_towers
from tests.checkpoints import save_clip, save_dinov2, save_siglip

SHOTS = {"c0": (77, 105), "c1": (106, 136), "c2": (137, 160), "c3": (161, 186), "c4": (190, 240)}
IMAGE = "0123456789abcdef-00000000-00000000"
TABLES = ("semantic_scores", "clip_embeddings")
TRUTHS = {
    "clip_b32": plain_towers.clip_images,
    "dinov2_small": plain_towers.dinov2_images,
    "siglip_so400m": plain_towers.siglip_images,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The sections' parts that name tiny networks."""
    root = tmp_path_factory.mktemp("models")
    makers = {"clip_b32": save_clip, "dinov2_small": save_dinov2, "siglip_so400m": save_siglip}
    return {engine: {"source": str(make(root / engine))} for engine, make in makers.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, bikes: Callable) -> Path:
    """Five clips of three shots, an image, and a clip whose frames are damaged; only read."""
    folder = tmp_path_factory.mktemp("home")
    for clip, span in SHOTS.items():
        (folder / f"{clip}.zip").write_bytes(pack_pictures(bikes(*span), 92))
    (folder / f"{IMAGE}.zip").write_bytes(pack_pictures(bikes(190, 240)[:1], 92))
    (folder / "broken.zip").write_bytes(b"no zip")
    return folder


@dataclass(frozen=True)
class NotingTools(Tools):
    """Notes of which clip and engine there were features."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    def features_in_batches(self, *given: Any) -> Iterator[Features]:
        yield from self._noted(super().features_in_batches(*given))

    def features_in_workers(self, *given: Any, **options: Any) -> Iterator[Features]:
        yield from self._noted(super().features_in_workers(*given, **options))

    def _noted(self, found: Iterator[Features]) -> Iterator[Features]:
        for unit, engine, features in found:
            self.seen.append((unit.unit, engine))
            yield unit, engine, features


def computed(home: Path, clips: list[str], workers: int = 2, **sections: Any) -> tuple[dict[str, Any], list[Any]]:
    """Table -> (clip, engine) -> row or failure, as the asset computes them; and which features that took."""
    settings = parse_settings({**sections, "execution": {"workers": workers}}, "x.yaml")
    asset = next(asset for asset in score_assets(settings) if asset.stages[0].table.name == TABLES[0])
    engines = {stage.table.name: tuple(stage.engines) for stage in asset.stages}

    def wanted(clip: str) -> Mapping[str, tuple[str, ...]]:
        return engines if clip != IMAGE else {TABLES[1]: engines[TABLES[1]]}

    work = [Work(clip, "s-0000", {"frames_path": f"{clip}.zip"}, wanted(clip), {}) for clip in clips]
    tools = NotingTools(settings, Files(str(home)))
    rows: dict[str, Any] = {table: {} for table in TABLES}
    for done in asset.compute(work, tools):
        outcome = done.outcome[0] if isinstance(done.outcome, list) else done.outcome
        rows[done.table][done.unit, done.engine] = outcome
    return rows, tools.seen


def vectors(rows: Mapping[tuple[str, str], Any], engine: str) -> dict[str, NDArray[np.float32]]:
    return {clip: np.array(row["embedding"]) for (clip, of), row in rows.items() if of == engine}


def same(one: Any, other: Any) -> bool:
    """Bit by bit, embeddings too."""
    return {key: repr({**row, "embedding": bytes(row.get("embedding", b""))}) for key, row in one.items()} == {
        key: repr({**row, "embedding": bytes(row.get("embedding", b""))}) for key, row in other.items()
    }


def test_a_row_has_the_columns_of_its_table_and_a_still_clip_length_1(encoder: EfficientNetLite0, bikes) -> None:
    still = encoder.encode(bikes(140, 140))
    row = embedding_row(still, "efficientnet_lite0", {"model": "m", "revision": "r"}, "stored frames")
    assert ["clip_id", *row, "crop_box"] == [name for name in CLIP_EMBEDDINGS.columns if name not in BOOKKEEPING]
    assert row["length"] == 1
    np.testing.assert_allclose(row["embedding"], still[0], atol=1e-7)
    moving = embedding_row(encoder.encode(bikes(90, 170)), "efficientnet_lite0", {}, "")
    assert np.linalg.norm(moving["embedding"]) == pytest.approx(1, abs=1e-6)
    assert 0.5 < moving["length"] < 0.95


def test_clips_of_a_shot_are_nearer_than_those_of_other_shots(home: Path) -> None:
    rows, _ = computed(home, [*SHOTS, IMAGE], embeddings={"engines": ["efficientnet_lite0"]})
    found = vectors(rows["clip_embeddings"], "efficientnet_lite0")
    shot_of = {"c0": 2, "c1": 2, "c2": 3, "c3": 3, "c4": 4, IMAGE: 4}
    cosines = {(a, b): found[a] @ found[b] for a in found for b in found if a < b}
    alike = [cosine for (a, b), cosine in cosines.items() if shot_of[a] == shot_of[b]]
    others = [cosine for (a, b), cosine in cosines.items() if shot_of[a] != shot_of[b]]
    assert len(alike) == 3
    assert min(alike) > max(others) + 0.05
    image = rows["clip_embeddings"][IMAGE, "efficientnet_lite0"]
    assert (image["sampling"], image["length"]) == ("the picture", 1)
    assert (IMAGE, "efficientnet_lite0") not in rows["semantic_scores"]


def test_an_engine_of_both_tables_looks_at_frames_once_and_changes_no_score(home: Path, models: dict[str, Any]) -> None:
    clips = ["c0", "c4", "broken"]
    of_both = {"engines": ["efficientnet_lite0", "clip_b32"], "clip_b32": models["clip_b32"]}
    both, seen = computed(home, clips, semantic=of_both, embeddings=of_both)
    assert sorted(seen) == sorted((clip, engine) for clip in clips for engine in of_both["engines"])
    alone, _ = computed(home, clips[:2], semantic=of_both)
    embedded, _ = computed(home, clips[:2], semantic={"engines": []}, embeddings=of_both)
    for table, apart in (("semantic_scores", alone), ("clip_embeddings", embedded)):
        failures = {clip for (clip, _), row in both[table].items() if isinstance(row, InputError)}
        assert failures == {"broken"}
        assert same({key: row for key, row in both[table].items() if key[0] != "broken"}, apart[table])


def test_other_weights_of_an_engine_are_another_pass(home: Path, models: dict[str, Any]) -> None:
    semantic = {"engines": ["clip_b32"], "clip_b32": models["clip_b32"]}
    embeddings = {"engines": ["clip_b32"], "clip_b32": {**models["clip_b32"], "precision": "bf16"}}
    rows, seen = computed(home, ["c0"], semantic=semantic, embeddings=embeddings)
    assert seen == [("c0", "clip_b32")] * 2
    revisions = [rows[table]["c0", "clip_b32"]["revision"] for table in TABLES]
    assert revisions[1] == f"{revisions[0]} bf16"


def test_networks_give_the_mean_of_their_formulas_vectors(home: Path, models: dict[str, Any]) -> None:
    rows, _ = computed(home, ["c0", "c4"], embeddings={"engines": list(TRUTHS), **models})
    for (clip, engine), row in rows["clip_embeddings"].items():
        pictures = unpack_pictures((home / f"{clip}.zip").read_bytes())
        truth = unit_vectors(TRUTHS[engine](Path(models[engine]["source"]), pictures).numpy()).mean(0)
        assert row["length"] == pytest.approx(np.linalg.norm(truth), abs=2e-5)
        np.testing.assert_allclose(row["embedding"], truth / np.linalg.norm(truth), atol=1e-5)
    assert len(rows["clip_embeddings"]) == 2 * 3


def test_a_vector_depends_on_its_clip_alone(home: Path, models: dict[str, Any]) -> None:
    engines = {"engines": ["efficientnet_lite0", "clip_b32"], "clip_b32": models["clip_b32"]}
    together, _ = computed(home, ["c0", "c2", "c4"], embeddings=engines)
    alone, _ = computed(home, ["c2"], workers=1, embeddings=engines)
    of_c2 = {key: row for key, row in together["clip_embeddings"].items() if key[0] == "c2"}
    assert same(of_c2, alone["clip_embeddings"])
    assert len(of_c2) == 2
