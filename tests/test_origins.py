"""`reelhouse settings` says what is in force, and where each value comes from."""

import json
from pathlib import Path

import pytest
import yaml

from curation_assets.cli import main
from curation_assets.settings import Settings, load_settings

FILE = """\
sources:
  films: {path: "/films, [1]"}
motion:
  engines:
    - dis
    - farneback
selection:
  motion: {dis: {min: 2.0}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CURATION_SETTINGS", raising=False)
    (tmp_path / "mine.yaml").write_text(FILE)
    return tmp_path / "mine.yaml"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["settings", *arguments]) == 0
    return capsys.readouterr().out


def test_a_value_of_the_file_is_printed_with_its_line_the_others_as_defaults(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_SETTINGS", str(file))
    origins = [line.split("#")[1].strip() for line in printed(capsys).splitlines() if "#" in line]
    assert set(origins) == {"default", "mine.yaml:2", "mine.yaml:5", "mine.yaml:8"}
    assert origins.count("mine.yaml:8") == 1, "the other side of the bound is the default's"


def test_what_is_printed_are_the_settings_in_force_as_yaml(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--settings", str(file))
    assert yaml.safe_load(text) == load_settings(str(file)).model_dump(mode="json")
    assert json.loads(printed(capsys, "--settings", str(file), "--json")) == yaml.safe_load(text)


def test_only_what_a_file_sets(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = yaml.safe_load(printed(capsys, "--settings", str(file), "--changed"))
    assert changed == {
        "sources": {"films": {"path": "/films, [1]"}},
        "motion": {"engines": ["dis", "farneback"]},
        "selection": {"motion": {"dis": {"min": 2.0}}},
    }


def test_without_a_file_all_are_defaults(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.unlink()
    assert yaml.safe_load(printed(capsys, "--changed")) is None
    assert yaml.safe_load(printed(capsys)) == Settings().model_dump(mode="json")
