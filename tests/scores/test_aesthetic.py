"""Aesthetic predictors give the figures of their formula; a head that isn't the published one is refused."""

import hashlib
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch

from curation_assets.scores.aesthetic import aesthetic_networks, aesthetic_row
from curation_assets.settings import Aesthetic, parse_settings
from curation_assets.tables import AESTHETIC_SCORES, BOOKKEEPING
from resources.errors import EngineUnavailable
from tests import plain_towers
from tests.checkpoints import CLIP_EMBEDDING, SMALL, save_clip, save_head, save_siglip
from tests.http_server import serving

STEMS = {  # of the published files
    "siglip_v2_5": [f"scoring_head.{n}" for n in (0, 2, 4, 6, 8)],
    "laion_v2": [f"layers.{n}" for n in (0, 2, 4, 6, 7)],
}
MAKERS = {"siglip_v2_5": save_siglip, "laion_v2": save_clip}
WIDTHS = {"siglip_v2_5": SMALL["hidden_size"], "laion_v2": CLIP_EMBEDDING}
TRUTHS = {"siglip_v2_5": plain_towers.siglip_images, "laion_v2": plain_towers.clip_images}


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """By engine the settings of a tiny tower and its head."""
    made = {}
    for engine, make in MAKERS.items():
        folder = make(tmp_path_factory.mktemp(engine))
        head = save_head(tmp_path_factory.mktemp("heads") / "head.pth", WIDTHS[engine], STEMS[engine])
        made[engine] = {"source": str(folder), "head": str(head), "head_md5": md5(head)}
    return made


def settings(engine: str, model: dict[str, str | None], **options: str | None) -> Aesthetic:
    return parse_settings({"aesthetic": {"engines": [engine], engine: {**model, **options}}}, "x.yaml").aesthetic


@pytest.mark.parametrize("engine", MAKERS)
def test_figures_are_those_of_the_formula(models: dict, bikes: Callable, engine: str) -> None:
    model = models[engine]
    predictor = aesthetic_networks(settings(engine, model))[engine]
    pictures = bikes(90, 170)[:8:2]
    (network,) = predictor.open().networks
    row = aesthetic_row(network(*predictor.prepare(pictures)), engine, predictor.identity(), "")

    features = TRUTHS[engine](Path(model["source"]), pictures)
    truth = plain_towers.head_figures(Path(model["head"]), features).numpy()
    assert np.abs(row["frame_scores"] - truth).max() < 2e-5
    assert row["aesthetic_score"] == pytest.approx(truth.mean(), abs=2e-5)
    assert np.ptp(truth) > 0.01
    assert all(figure == round(figure, 5) for figure in (row["aesthetic_score"], *row["frame_scores"]))
    assert ["clip_id", *row, "crop_box"] == [name for name in AESTHETIC_SCORES.columns if name not in BOOKKEEPING]
    assert row["revision"].endswith(f", head {model['head_md5'][:8]}")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_head_of_ones_own_is_known_by_its_content(models: dict, tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    weights = torch.load(models["laion_v2"]["head"], weights_only=True)
    own = tmp_path / f"own{suffix}"
    revisions = []
    for _ in range(2):
        (save_file if suffix == ".safetensors" else torch.save)(weights, own)
        predictor = aesthetic_networks(settings("laion_v2", models["laion_v2"], head=str(own), head_md5=None))
        revisions.append(predictor["laion_v2"].identity()["revision"])
        predictor["laion_v2"].open()
        weights["layers.7.bias"] = weights["layers.7.bias"] + 1
    assert revisions[0] != revisions[1]


@pytest.fixture
def server(models: dict, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server with the LAION head under its published name, and the requests it got."""
    asked: list[str] = []
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "sac+logos.pth").write_bytes(Path(models["laion_v2"]["head"]).read_bytes())

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_request(self, *_: object) -> None:
            asked.append(self.path)

    with serving(Handler) as url:
        yield f"{url}/sac%2Blogos.pth", asked


def test_a_head_is_downloaded_once_when_its_engine_is_used(
    models: dict, server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = server
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    predictor = aesthetic_networks(settings("laion_v2", models["laion_v2"], head=url))["laion_v2"]
    predictor.identity()
    assert asked == []
    predictor.open()
    predictor.open()
    assert len(asked) == 1
    assert [file.name for file in (tmp_path / "cache" / "reelhouse").iterdir()] == ["sac+logos.pth"]

    (tmp_path / "cache" / "reelhouse" / "sac+logos.pth").write_bytes(b"half")
    predictor.open()
    assert len(asked) == 2


@pytest.mark.parametrize("path", ["sac%2Blogos.pth", "missing.pth"])
def test_a_download_that_is_not_the_published_file_is_refused(
    models: dict, server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = server[0].replace("sac%2Blogos.pth", path)
    other = settings("laion_v2", models["laion_v2"], head=url, head_md5="0" * 32)
    why = "404|can't be downloaded" if "missing" in path else f"doesn't have the MD5 {'0' * 32}"
    with pytest.raises(EngineUnavailable, match=rf"^aesthetic\.laion_v2\.head: http.*({why})"):
        aesthetic_networks(other)["laion_v2"].open()
    assert not [file for file in (tmp_path / "cache" / "reelhouse").iterdir() if file.name.startswith("tmp")]


def test_a_cache_that_cannot_be_written_is_one_clear_error(
    models: dict, server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    predictor = aesthetic_networks(settings("laion_v2", models["laion_v2"], head=server[0]))["laion_v2"]
    with pytest.raises(EngineUnavailable, match=r"^aesthetic\.laion_v2\.head: .*can't be downloaded .*directory"):
        predictor.open()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda file: None, "no such file"),
        (lambda file: file.write_bytes(b"no weights"), r"can't be loaded \("),
        (lambda file: torch.save({"other": torch.ones(1)}, file), r"its layers have widths \[16\], not \[16, 1024"),
        (lambda file: torch.save({"last.weight": torch.ones(1)}, file), "no sequence of linear layers"),
        (lambda file: torch.save([1, 2], file), "holds no weights by name"),
        (lambda file: save_head(file, 7, STEMS["laion_v2"]), r"its layers have widths"),
    ],
)
def test_a_file_that_is_no_head_is_one_clear_error(
    models: dict, tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    file = tmp_path / "head.pth"
    make(file)
    broken = settings("laion_v2", models["laion_v2"], head=str(file), head_md5=None)
    with pytest.raises(EngineUnavailable, match=rf"^aesthetic\.laion_v2\.head: {file}: .*{why}.*null in the settings"):
        aesthetic_networks(broken)["laion_v2"].open()


def test_a_local_file_with_another_checksum_is_refused(models: dict) -> None:
    other = settings("laion_v2", models["laion_v2"], head_md5="0" * 32)
    with pytest.raises(EngineUnavailable, match=r"doesn't have the MD5 0{32}"):
        aesthetic_networks(other)["laion_v2"].open()
