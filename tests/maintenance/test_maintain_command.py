"""`reelhouse maintain`."""

from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.commands import OK
from tests import toy_stages as toy


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> toy.Home:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    made = toy.Home(tmp_path)
    toy.put(made.store, toy.some_videos(2))
    made.refresh(made.computer(toy.frames()))
    made.files.write("frames/films-0000/unnamed.zip", bytes(1_500_000))
    return made


def test_it_says_what_it_deletes_and_a_dry_run_what_it_would(
    home: toy.Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["maintain", "--grace-hours", "0", "--dry-run"]) == OK
    assert "1 frames file, 1.5 MB, would be deleted" in capsys.readouterr().out
    assert home.files.size("frames/films-0000/unnamed.zip")

    assert main(["maintain", "--grace-hours", "0"]) == OK
    assert "1 frames file, 1.5 MB, were deleted" in capsys.readouterr().out
    assert home.files.size("frames/films-0000/unnamed.zip") is None


def test_the_first_one_says_why_it_left_what_it_left(home: toy.Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["maintain"]) == OK

    assert "left: this is the first maintenance" in capsys.readouterr().out


@pytest.mark.parametrize("hours", ["-1", "nan", "soon"])
def test_a_wrong_grace_is_refused(home: toy.Home, hours: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["maintain", "--grace-hours", hours])
