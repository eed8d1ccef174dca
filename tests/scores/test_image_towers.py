"""CLIP, DINOv2 and SigLIP give the features of their formulas, and say what is missing before any work."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from curation_assets.engines import missing
from resources.checkpoints import Checkpoint
from resources.errors import EngineUnavailable
from resources.image_towers import ImageTower, unit_vectors
from tests import plain_towers
from tests.checkpoints import save_clip, save_dinov2, save_siglip
from tests.http_server import serving

COMMIT = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
MAKERS = {"clip": save_clip, "dinov2": save_dinov2, "siglip": save_siglip}
TRUTHS = {
    "clip": plain_towers.clip_images,
    "dinov2": plain_towers.dinov2_images,
    "siglip": plain_towers.siglip_images,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: make(tmp_path_factory.mktemp(family)) for family, make in MAKERS.items()}


def tower(family: str, folder: Path | str, **options: object) -> ImageTower:
    return ImageTower(family, Checkpoint("semantic.clip_l14", "openai/published", str(folder), **options))


def encode(engine: ImageTower, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    (network,) = engine.open().networks
    return network(*engine.prepare(pictures))


@pytest.mark.parametrize("family", MAKERS)
def test_features_are_those_of_the_formula(folders: dict[str, Path], bikes: Callable, family: str) -> None:
    pictures = bikes(90, 170)
    found = encode(tower(family, folders[family]), pictures)
    truth = TRUTHS[family](folders[family], pictures).numpy()
    assert np.abs(unit_vectors(found) - unit_vectors(truth)).max() < 1e-5
    assert np.abs(found - truth).max() < 1e-4 * np.abs(truth).max()
    cosines = (unit_vectors(found)[:-1] * unit_vectors(found)[1:]).sum(1)
    assert cosines.min() < 0.99  # the pictures differ to the network, so that agreement means something


@pytest.mark.parametrize("family", MAKERS)
@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3), (31, 33), (576, 1024)])
def test_any_size_is_taken(folders: dict[str, Path], family: str, size: tuple[int, int]) -> None:
    engine = tower(family, folders[family])
    (prepared,) = engine.prepare([np.full((*size, 3), 90, np.uint8)])
    assert prepared.dtype == np.uint8
    assert prepared.shape[0] == 1
    assert (prepared == 90).mean() > 0.99 or min(size) < 32  # CLIP's crop of a narrow strip is padded


def test_half_precision_is_near_full_precision(folders: dict[str, Path], bikes: Callable) -> None:
    pictures = bikes(90, 170)[:2]
    full = unit_vectors(encode(tower("clip", folders["clip"]), pictures))
    half = unit_vectors(encode(tower("clip", folders["clip"], precision="bf16"), pictures))
    assert 0 < np.abs(full - half).max() < 0.05


def test_the_identity_follows_the_content_and_needs_no_torch(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["clip"], tmp_path / "clip")
    before = tower("clip", folder, revision="v1").identity()
    assert before == tower("clip", folders["clip"], revision="v1").identity()
    assert before["model"] == "openai/published"
    assert before["revision"].startswith("v1 ")
    assert tower("clip", folder, precision="bf16").identity()["revision"].endswith(" bf16")

    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert tower("clip", folder, revision="v1").identity()["revision"] != before["revision"]

    code = (
        "import sys; from resources.checkpoints import Checkpoint as C; "
        f"print(C('s', 'p', {str(folder)!r}).identity(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"


def test_a_hub_id_is_named_with_its_revision() -> None:
    engine = tower("clip", "openai/clip-vit-base-patch32", revision="3d74acf")
    assert engine.identity() == {"model": "openai/clip-vit-base-patch32", "revision": "3d74acf"}


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def drop_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def drop_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def drop_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def pickle_code(folder: Path) -> None:
    """Weights of the old kind whose loading would run code."""
    import pickle

    class Harm:
        def __reduce__(self) -> tuple:
            return (Path.touch, (folder / "harmed",))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harm(), 2))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (truncate, r"can't be loaded \(SafetensorError"),
        (drop_weights, "holds no weights"),
        (drop_config, "holds no config.json"),
        (drop_processor, r"can't be loaded \(OSError: Can't load image processor"),
        (drop_a_tensor, "lacks 1 weights of CLIPVisionModelWithProjection, e.g. visual_projection.weight"),
        (break_config, r"can't be loaded \(OSError"),
        (pickle_code, r"can't be loaded \("),
    ],
)
def test_a_faulty_folder_is_one_clear_error(
    folders: dict[str, Path], tmp_path: Path, fault: Callable[[Path], None], why: str
) -> None:
    folder = shutil.copytree(folders["clip"], tmp_path / "clip")
    fault(folder)
    with pytest.raises(EngineUnavailable, match=why) as raised:
        tower("clip", folder).open()
    assert str(raised.value).startswith("semantic.clip_l14.source: ")
    assert f"hf download openai/published --local-dir {folder}" in str(raised.value)
    assert not (folder / "harmed").exists()


def test_another_kind_of_model_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(EngineUnavailable, match=r"holds a model of type 'dinov2', not 'clip'; get it by"):
        tower("clip", folders["dinov2"]).open()


@pytest.mark.parametrize("source", ["/nowhere/clip", "./nowhere", "~/nowhere/clip"])
def test_a_missing_folder_is_named_before_anything_is_loaded(source: str) -> None:
    for call in (tower("clip", source).identity, tower("clip", source).open):
        with pytest.raises(EngineUnavailable, match=r"^semantic\.clip_l14\.source: .*holds no config\.json; get it by"):
            call()


def test_a_hub_id_without_network_says_what_to_download(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EngineUnavailable, match=r"hf download nobody/nothing --local-dir FOLDER, then semantic\.clip"):
        tower("clip", "nobody/nothing").open()


def test_a_hub_ids_weights_are_there_when_the_hubs_cache_holds_that_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--nobody--nothing" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert not missing(tower("clip", "nobody/nothing", revision=COMMIT).needs())
    [line] = missing(tower("clip", "nobody/nothing", revision="another").needs())
    assert re.search(r"^semantic\.clip_l14\.source: nobody/nothing can't be loaded .* hf download nobody/nothing", line)


@pytest.mark.parametrize(("known", "lacking"), [("nobody/nothing", 0), ("nobody/else", 1)])
def test_a_hub_ids_weights_can_be_had_when_the_hub_has_that_revision(
    known: str, lacking: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder served as the hub serves a model's files."""
    folder = tmp_path / known / "resolve" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with serving(partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as hub:
        address = f"{hub}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
        found = missing(tower("clip", "nobody/nothing", revision=COMMIT).needs())
    assert len(found) == lacking


def test_fp32_is_not_shortened_to_tf32(folders: dict[str, Path]) -> None:
    """Where torch's defaults, or other code, let a GPU do so; of the GPU itself a CPU can't tell."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    for backend in backends:
        backend.allow_tf32 = True
    tower("clip", folders["clip"], device="cpu").open()
    assert not any(backend.allow_tf32 for backend in backends)
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_device_that_is_not_there_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(EngineUnavailable, match=r"^semantic\.clip_l14\.device: cuda:31 can't be used; this torch sees"):
        tower("clip", folders["clip"], device="cuda:31").open()
    [line] = missing(tower("clip", folders["clip"], device="cuda:31").needs())
    assert line.startswith("semantic.clip_l14.device: cuda:31 can't be used; this torch sees cpu")


def test_a_missing_package_is_named(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    def distribution(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("resources.packages.distribution", distribution)
    with pytest.raises(EngineUnavailable, match="the package torch isn't installed; run `make setup`"):
        tower("clip", folders["clip"]).open()
