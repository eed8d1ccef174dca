"""CRAFT finds the boxes that EasyOCR finds, and their area is the truth; weights that aren't CRAFT's are refused.

`craft_goldens.json` holds what EasyOCR itself made of the same weights, maps and pictures.
"""

import hashlib
import json
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation_assets.incremental.work import Work
from curation_assets.scores.assets import score_assets
from curation_assets.scores.text import area_share, detected_text_row, text_networks
from curation_assets.settings import Settings, Text, parse_settings
from curation_assets.tables import BOOKKEEPING, TEXT_SCORES
from curation_assets.tools import Tools
from resources.craft.boxes import LevelBox, TextBoxes, text_boxes
from resources.craft.detector import CraftDetector, found_text
from resources.errors import EngineUnavailable
from resources.files import Files
from resources.pictures import pack_pictures, unpack_pictures
from tests.http_server import serving
from tests.scores.craft_cases import BARS, Weights, bars, copying_weights, maps_of, noise, random_weights

GOLDENS = json.loads(Path(__file__).with_name("craft_goldens.json").read_text())
PUBLISHED_MD5 = "2f8227d2def4037cdb3b34389dcf9ec1"


def save(weights: Weights, file: Path) -> Path:
    torch.save({name: torch.from_numpy(values) for name, values in weights.items()}, file)
    return file


@pytest.fixture(scope="module")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with the published names and shapes, whose maps are a picture's red and blue."""
    return save(copying_weights(GOLDENS["shapes"]), tmp_path_factory.mktemp("craft") / "craft_mlt_25k.pth")


def settings(weights: Path | str, *engines: str, frames: Any = "middle", **craft: Any) -> Settings:
    section = {"weights": str(weights), "weights_md5": None, **craft}
    return parse_settings({"text": {"engines": engines or ["craft"], "frames": frames, "craft": section}}, "x.yaml")


def detector(weights: Path | str, **craft: Any) -> CraftDetector:
    return text_networks(settings(weights, **craft).text)["craft"]


def run(engine: CraftDetector, pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    arrays = engine.prepare(pictures)
    return tuple(network(array) for network, array in zip(engine.open().networks, arrays, strict=True))


def assert_boxes(found: TextBoxes, golden: dict[str, Any]) -> None:
    assert [list(box) for box in found.level] == golden["level"]
    np.testing.assert_array_equal(np.reshape(found.slanted, (-1, 4, 2)), np.reshape(golden["slanted"], (-1, 4, 2)))


def test_the_network_gives_the_maps_of_easyocrs(tmp_path: Path) -> None:
    weights = save(random_weights(GOLDENS["shapes"]), tmp_path / "random.pth")
    maps, sizes = run(detector(weights), [noise(0, 50, 70)])
    golden = np.array(GOLDENS["maps_of_random_weights"])
    assert maps.shape == (1, 2, 32, 48)
    assert np.abs(maps[0][:, ::3, ::5] - golden).max() < 1e-5 * np.abs(golden).max()
    assert sizes.tolist() == [[50, 70]]


@pytest.mark.parametrize(("goldens", "scale"), [("of_maps", 1.0), ("of_shrunk_maps", 0.37)])
@pytest.mark.parametrize("case", BARS)
def test_boxes_of_known_maps_are_easyocrs(case: str, goldens: str, scale: float) -> None:
    picture = bars(case)
    found = text_boxes(*maps_of(picture), scale)
    assert_boxes(found, GOLDENS[goldens][case])
    height, width = (round(side / scale) for side in picture.shape[:2])
    assert area_share(found, height, width, "sum") == pytest.approx(GOLDENS[goldens][case]["sum"], abs=1e-12)


def test_boxes_of_noise_are_easyocrs() -> None:
    for seed, golden in enumerate(GOLDENS["of_noise"]):
        assert_boxes(text_boxes(*maps_of(noise(seed)), 1.0), golden)


def test_a_picture_gives_easyocrs_boxes_from_the_file_to_the_row(copying: Path) -> None:
    picture = bars("small", 110, 150)
    features = run(detector(copying), [picture])
    ((boxes, height, width),) = found_text(*features)
    assert_boxes(boxes, GOLDENS["of_picture"])
    assert (len(boxes.level), len(boxes.slanted), height, width) == (1, 1, 110, 150)
    made_by = detector(copying).identity()
    row = detected_text_row(features, settings(copying, area="sum").text, "craft", made_by, "the picture")
    assert row["text_score"] == round(GOLDENS["of_picture"]["sum"], 5)
    assert ["clip_id", *row, "crop_box"] == [name for name in TEXT_SCORES.columns if name not in BOOKKEEPING]
    assert (row["model"], row["texts"], row["sampling"]) == ("CRAFT craft_mlt_25k", [], "the picture")


def grown(length: float, thickness: float, degrees: float = 0) -> tuple[float, float]:
    """Sides in px of a bar's box before its margin, of its size in the maps, from the published algorithm: the bar is
    widened by a square of 2 sqrt(thickness) px, then the middles of its outermost pixels are joined."""
    growth = int(2 * math.sqrt(thickness))
    turned = abs(math.cos(math.radians(degrees))) + abs(math.sin(math.radians(degrees)))
    return 2 * (length - 1 + growth * turned), 2 * (thickness - 1 + growth * turned)


@pytest.mark.parametrize(("length", "thickness"), [(100, 16), (60, 9), (150, 36)])
def test_the_area_of_a_level_bar_is_exact(length: int, thickness: int) -> None:
    text = np.zeros((180, 320), np.float32)
    text[90 : 90 + thickness, 80 : 80 + length] = 0.9
    found = text_boxes(text, np.zeros_like(text), 1.0)
    width, height = grown(length, thickness)
    margin = int(0.1 * height)
    truth = (width + 2 * margin) * (height + 2 * margin) / (360 * 640)
    assert area_share(found, 360, 640, "union") == area_share(found, 360, 640, "sum") == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize("degrees", [30, -30, 45, 60])
def test_slanted_text_counts_with_its_own_area_and_in_the_originals_sum_not_at_all(degrees: int) -> None:
    y, x = np.mgrid[-90:90, -160:160]
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    bar = (abs(cosine * x + sine * y) <= 50) & (abs(cosine * y - sine * x) <= 10)
    found = text_boxes(bar * np.float32(0.9), np.zeros_like(bar, np.float32), 1.0)
    (corners,) = found.slanted
    xs, ys = corners.T
    shoelace = abs(xs @ np.roll(ys, 1) - ys @ np.roll(xs, 1)) / 2
    length, thickness = grown(101, 21, degrees)
    margin = int(0.144 * thickness)
    assert length * thickness < shoelace < (length + 3 * margin) * (thickness + 3 * margin)
    assert area_share(found, 360, 640, "union") == pytest.approx(shoelace / (360 * 640), rel=0.005)
    assert area_share(found, 360, 640, "sum") == 0.0


def test_overlaps_count_once_in_the_union_and_twice_in_the_sum() -> None:
    boxes = TextBoxes([LevelBox(10, 10, 60, 30), LevelBox(40, 20, 90, 40), LevelBox(-20, 90, 10, 130)], [])
    assert area_share(boxes, 100, 200, "union") == (50 * 20 * 2 - 20 * 10 + 10 * 10) / 20_000
    assert area_share(boxes, 100, 200, "sum") == (50 * 20 * 2 + 30 * 40) / 20_000
    everywhere = TextBoxes([LevelBox(-5, -5, 205, 105)] * 2, [])
    assert area_share(everywhere, 100, 200, "union") == 1.0
    assert area_share(everywhere, 100, 200, "sum") == 2 * 210 * 110 / 20_000


def test_large_pictures_are_shrunk_and_their_boxes_are_in_their_own_pixels() -> None:
    wide = np.zeros((30, 5120, 3), np.uint8)
    wide[:, 2560:] = 255
    canvases, sizes = CraftDetector("text.craft", None).prepare([wide])  # type: ignore[arg-type]  # no weights needed
    assert (canvases.shape, sizes.tolist()) == ((1, 32, 2560, 3), [[30, 5120]])
    assert canvases[0, :15, 1281:].min() == 255
    assert canvases[0, :15, :1279].max() == canvases[0, 15:].max() == 0
    maps = np.zeros((1, 2, 16, 1280), np.float32)
    maps[0, 0, :8, 600:700] = 1
    ((boxes, *_),) = found_text(maps, sizes)
    assert [box.left for box in boxes.level] == [(600 - 2) * 4 - 4]


def test_engines_stand_side_by_side_whatever_the_pictures_sizes(copying: Path, tmp_path: Path) -> None:
    for clip, (width, count) in enumerate([(90, 9), (120, 9), (90, 1)]):
        (tmp_path / f"c{clip}.zip").write_bytes(pack_pictures([bars("tiny", 60, width)] * count, 100))
    given = settings(copying, "rapidocr", "craft", frames=[4, 8], batch_frames=8)
    asset = next(asset for asset in score_assets(given) if asset.stages[0].table is TEXT_SCORES)
    assert asset.stages[0].engines["craft"]["area"] == "union"
    names = ["c0", "c1", "c2-00000000-00000000"]  # the last is of an image
    work = [
        Work(name, "s-0000", {"frames_path": f"{name[:2]}.zip"}, {"text_scores": ("rapidocr", "craft")}, {})
        for name in names
    ]
    outcomes = asset.compute(work, Tools(given, Files(str(tmp_path))))
    rows = {(done.unit, done.engine): done.outcome[0] for done in outcomes}
    assert len(rows) == 6
    narrow, wide, image = (rows[name, "craft"] for name in names)
    (stored,) = unpack_pictures((tmp_path / "c0.zip").read_bytes(), [4])
    (box,) = text_boxes(*maps_of(stored), 1.0).level
    assert narrow["text_score"] == round(box.width * box.height / (60 * 90), 5)
    assert narrow["frame_scores"] == [narrow["text_score"]] * 2
    assert narrow["sampling"] == "stored frames 4, 8 of 0..8"
    assert wide["text_score"] == pytest.approx(narrow["text_score"] * 90 / 120, abs=2e-5)
    assert (image["frame_scores"], image["sampling"]) == (narrow["frame_scores"][:1], "the picture")
    assert all(rows[name, "rapidocr"]["engine"] == "rapidocr" for name in names)


def test_only_what_changes_a_figure_is_in_the_stage(copying: Path) -> None:
    def declared(given: Settings) -> str:
        (stage,) = [asset.stages[0] for asset in score_assets(given) if asset.stages[0].table is TEXT_SCORES]
        return stage.declaration

    assert declared(settings(copying, "rapidocr", area="sum")) == declared(Settings())
    default = declared(settings(copying))
    assert default == declared(settings(copying, device="cpu", batch_frames=3))
    changes: list[dict[str, Any]] = [{"area": "sum"}, {"precision": "bf16"}, {"weights_md5": PUBLISHED_MD5}]
    assert len({default, *(declared(settings(copying, **change)) for change in changes)}) == 4


class _Trap:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def _pickled_code(file: Path) -> None:
    with file.open("wb") as stream:
        pickle.dump({"module.weight": _Trap(file.with_name("trap"))}, stream, protocol=2)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda file: None, "no such file"),
        (lambda file: file.write_bytes(file.with_name("whole.pth").read_bytes()[:1_000_000]), r"can't be loaded \("),
        (_pickled_code, r"can't be loaded \("),
        (lambda file: torch.save({"module.basenet.slice1.0.weight": torch.ones(1)}, file), r"it holds no CRAFT \("),
    ],
    ids=["missing", "truncated", "code", "other weights"],
)
def test_a_file_that_is_not_crafts_is_one_clear_error(
    copying: Path, tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    (tmp_path / "whole.pth").symlink_to(copying)
    file = tmp_path / "craft.pth"
    make(file)
    command = r"get it by: curl -fLO https://github\.com/\S+/craft_mlt_25k\.zip && unzip craft_mlt_25k\.zip"
    with pytest.raises(EngineUnavailable, match=rf"^text\.craft\.weights: {file}: .*{why}.*{command}"):
        detector(file).open()
    assert not (tmp_path / "trap").exists()


def test_weights_are_compared_with_the_published_checksum(copying: Path) -> None:
    default = Settings().text.craft
    assert (default.weights_md5, Text(engines=("craft",)).craft.weights[-18:]) == (PUBLISHED_MD5, "/craft_mlt_25k.zip")
    with pytest.raises(EngineUnavailable, match=rf"^text\.craft\.weights: .*doesn't have the MD5 {PUBLISHED_MD5}"):
        detector(copying, weights_md5=PUBLISHED_MD5).open()


def test_a_device_that_is_not_there_is_named(copying: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"^text\.craft\.device: cuda:63 can't be used"):
        detector(copying, device="cuda:63").open()


def test_a_missing_torch_is_named(copying: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_torch(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("resources.packages.distribution", without_torch)
    with pytest.raises(EngineUnavailable, match=r"package torch isn't installed; run `make setup`"):
        detector(copying).open()


@pytest.fixture
def server(copying: Path, tmp_path: Path) -> Iterator[str]:
    """A web server with the weights as EasyOCR publishes them, in a zip, and a zip of something else."""
    folder = tmp_path / "served"
    folder.mkdir()
    with zipfile.ZipFile(folder / "craft_mlt_25k.zip", "w") as archive:
        archive.write(copying, "craft_mlt_25k.pth")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with serving(partial(SimpleHTTPRequestHandler, directory=str(folder))) as url:
        yield url


def test_the_published_zip_is_downloaded_and_its_weights_checked(
    copying: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    md5 = hashlib.md5(copying.read_bytes()).hexdigest()
    engine = detector(f"{server}/craft_mlt_25k.zip", weights_md5=md5)
    assert engine.identity()["revision"] == md5[:8]
    assert engine.weights.path().read_bytes() == copying.read_bytes()
    with pytest.raises(EngineUnavailable, match=r"other\.zip: it can't be downloaded .*no item named 'other\.pth'"):
        detector(f"{server}/other.zip", weights_md5=md5).weights.path()
    assert [file.name for file in (tmp_path / "cache" / "reelhouse").iterdir()] == ["craft_mlt_25k.pth"]
