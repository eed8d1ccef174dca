"""`reelhouse settings` says what is in force, and where each value comes from."""

import io
import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from curation_assets.cli import main
from curation_assets.commands.summary import print_departures
from curation_assets.definitions import all_assets
from curation_assets.settings import Settings, SettingsError, load_settings
from curation_assets.training_set.release import settings_text
from resources.checkpoints import WeightsFile
from resources.errors import EngineUnavailable

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


def test_fields_of_requests_are_printed_with_their_lines(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("captions:\n  chat:\n    extra_body:\n      top_k: 5\n      kwargs: {thinking: no}\n")
    lines = printed(capsys, "--settings", str(file), "--changed").splitlines()
    assert [line.split("#")[1].strip() for line in lines if "#" in line] == ["mine.yaml:4", "mine.yaml:5"]
    assert yaml.safe_load("\n".join(lines))["captions"]["chat"] == {
        "extra_body": {"top_k": 5, "kwargs": {"thinking": False}}
    }


URLS = """captions: {engine: chat, chat: {base_url: "http://me:LOGIN@host/v1", model: m}}
rewriting: {chat: {base_url: "https://LOGIN@host:8000/v1"}}
beautifying: {chat: {base_url: "http://me:a@LOGIN@host"}}
aesthetic: {engines: [laion_v2], laion_v2: {head: "https://me:LOGIN@host/a.pth", head_md5: null}}
text: {engines: [craft], craft: {weights: "https://me:LOGIN@host/b.zip", weights_md5: null}}
alignment: {engines: [videoclip_xl], videoclip_xl: {weights: "https://me:LOGIN@host/c.bin", weights_md5: null}}
"""


def test_a_login_in_a_url_is_shown_and_stored_nowhere(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(URLS)
    settings = load_settings(str(file))
    departures = Console(file=io.StringIO())
    print_departures(departures, settings)
    with pytest.raises(EngineUnavailable) as unavailable:
        WeightsFile("aesthetic.laion_v2.head", settings.aesthetic.laion_v2.head, None).mark()
    texts = [
        printed(capsys, "--settings", str(file)),
        printed(capsys, "--settings", str(file), "--json"),
        settings_text(settings),
        departures.file.getvalue(),
        str(unavailable.value),
        *(stage.declaration for asset in all_assets(settings) for stage in getattr(asset, "stages", [])),
    ]
    assert not [text for text in texts if "LOGIN" in text]
    assert all("host/a.pth" in text for text in texts[:5])
    for parsed in (yaml.safe_load(texts[0]), json.loads(texts[1])):
        assert parsed["captions"]["chat"]["base_url"] == "http://host/v1"
    assert settings.captions.chat.base_url == "http://me:LOGIN@host/v1"


@pytest.mark.parametrize(
    "mistaken",
    [
        'captions: {base_url: "http://me:LOGIN@host/v1"}',
        'captions: {chat: "http://me:LOGIN@host/v1"}',
        "captions: {chat: base_url: http://me:LOGIN@host/v1}",
    ],
)
def test_a_login_in_the_wrong_place_is_not_in_the_error(file: Path, mistaken: str) -> None:
    file.write_text(mistaken)
    with pytest.raises(SettingsError) as refused:
        load_settings(str(file))
    assert "mine.yaml" in str(refused.value)
    assert "LOGIN" not in str(refused.value)
