"""The demo's sample videos are what `samples.json` says: frames, cuts, origin, licence."""

import json
from dataclasses import replace
from pathlib import Path

import av
import pytest

from curation_assets.settings import load_settings
from deployments.demo import sample_videos
from deployments.demo.films import FILMS, FOOTAGE, REALS, Film
from deployments.demo.sample_videos import compose, copy_real, filter_graph, make_sample_videos

CHEAP = ("composed_quick_cuts.mp4", "composed_still.mp4")


def film(name: str) -> Film:
    return next(film for film in FILMS if film.name == name)


def frame_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return sorted(frame.time for frame in container.decode(video=0) if frame.time is not None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.mark.parametrize("name", CHEAP)
def test_a_film_has_its_frames_and_is_cut_where_the_truth_says(name: str, folder: Path) -> None:
    from scenedetect import ContentDetector, detect

    sample = compose(film(name), folder, {})

    times = frame_times(folder / name)
    assert len(times) == sample.frame_count
    assert times == pytest.approx([k / sample.frames_per_s for k in range(sample.frame_count)])
    scenes = detect(str(folder / name), ContentDetector(27, min_scene_len=15))
    assert [start.frame_num for start, _ in scenes] == [0, *sample.cuts]


def test_the_same_recipe_makes_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    first, second = compose(film(CHEAP[0]), folder, {}), compose(film(CHEAP[0]), tmp_path, {})

    assert first == second
    assert (folder / CHEAP[0]).read_bytes() == (tmp_path / CHEAP[0]).read_bytes()


def test_only_what_is_missing_or_made_otherwise_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_videos, "REALS", REALS[:1])
    monkeypatch.setattr(sample_videos, "FILMS", (film(CHEAP[0]),))
    made = make_sample_videos(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
    recorded = json.loads((tmp_path / "samples.json").read_text(encoding="utf-8"))

    assert [entry["file"] for entry in recorded] == [sample.file for sample in made] == sorted(before)
    assert make_sample_videos(tmp_path) == made
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")} == before

    shorter = replace(film(CHEAP[0]), name="composed_other.mp4", shots=film(CHEAP[0]).shots[:2])
    monkeypatch.setattr(sample_videos, "FILMS", (shorter,))
    make_sample_videos(tmp_path)
    assert {path.name for path in tmp_path.glob("*.mp4")} == {"bikes.mp4", "composed_other.mp4"}


def test_real_footage_is_copied_untouched_and_counted_right(folder: Path) -> None:
    for real in REALS:
        sample = copy_real(real, folder, {})
        _, origin = sample_videos.locate(real.footage)

        assert (folder / real.name).read_bytes() == origin.read_bytes()
        assert len(frame_times(folder / real.name)) == sample.frame_count


def test_every_sample_says_where_it_is_from_and_under_which_licence(folder: Path) -> None:
    samples = [copy_real(real, folder, {}) for real in REALS] + [compose(film(CHEAP[0]), folder, {})]

    for sample in samples:
        assert (sample.kind == "composed") == sample.file.startswith("composed_")
        assert sample.made_from
        for source in sample.made_from:
            assert all([source.package, source.version, source.file, source.licence])
    assert all(film.name.startswith("composed_") for film in FILMS)
    assert all(shot.footage in FOOTAGE for film in FILMS for shot in film.plain_shots)


def test_no_sample_uses_what_the_thresholds_were_calibrated_on() -> None:
    graphs = [filter_graph(film, list(FOOTAGE)) for film in FILMS]

    for calibrated_on in ("carphone", "world.mp4"):
        assert not any(calibrated_on in footage.file for footage in FOOTAGE.values())
    for generator in ("mandelbrot", "testsrc", "life=", "gradients"):
        assert not any(generator in graph for graph in graphs)
    # An excerpt of world.mp4, so it must not get as far as a score.
    globe = next(real for real in REALS if real.footage == "globe")
    assert {expected for _, expected in globe.scenes} == {"source too small"}
    assert not any(shot.footage == "globe" for film in FILMS for shot in film.plain_shots)


def test_the_demo_shows_ten_selected_clips_and_all_kinds_of_reasons() -> None:
    expected = [outcome for real in REALS for _, outcome in real.scenes]
    expected += [shot.expected for film in FILMS for shot in film.shots]

    assert expected.count("selected") >= 10
    assert {
        *("too short", "source too small", "motion", "frozen_share", "semantic", "text"),
        *("border_share", "black_share", "colour", "sharpness"),
    } <= set(expected)
    assert (
        120
        <= sum(film.frame_count / film.frames_per_s for film in FILMS)
        + sum(real.scenes[-1][0] / real.frames_per_s for real in REALS)
        <= 200
    )


def test_the_demo_settings_are_valid_and_admit_every_film() -> None:
    settings = load_settings(str(Path(sample_videos.__file__).with_name("curation.yaml")))

    assert min(film.width * film.height for film in FILMS) >= settings.clips.min_source_area_px > 480 * 270
    assert settings.selection == load_settings("/dev/null").selection
