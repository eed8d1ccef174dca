"""What the command says of wrong arguments and of what goes wrong: one line and what to do."""

import argparse
import os
import sqlite3
from pathlib import Path

import pytest
from polars.exceptions import PanicException

from curation_assets import cli
from curation_assets.commands.arguments import home_flags
from curation_assets.commands.problems import ended_by
from resources.errors import EngineUnavailable, Unknown

COMMANDS = cli._parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr,assignment]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit status, and the one line on standard error; standard output stays empty."""
    try:
        status = cli.main(arguments)
    except SystemExit as ended:
        status = int(str(ended.code))
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return status, line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["shard"], "reelhouse: no command shard; did you mean shards? See `reelhouse --help`"),
        (["xyz"], "reelhouse: no command xyz; see `reelhouse --help`"),
        (["release", "lst"], "reelhouse: no action lst; did you mean list? See `reelhouse release --help`"),
        (
            ["run", "films", "--retry-faild"],
            "reelhouse: unknown argument --retry-faild; did you mean --retry-failed? See `reelhouse run --help`",
        ),
        (["run"], "reelhouse: the following arguments are required: source; see `reelhouse run --help`"),
        (
            ["ui", "--port", "99999"],
            "reelhouse: argument --port: must be at most 65535; see `reelhouse ui --help`",
        ),
        (
            ["maintain", "--grace-hours", "soon"],
            "reelhouse: argument --grace-hours: must be a number of 0 or more; see `reelhouse maintain --help`",
        ),
    ],
)
def test_wrong_arguments(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, *arguments) == (2, line)


def test_without_arguments_the_commands_are_listed_by_what_people_want(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    listed = capsys.readouterr().out
    grouped = [name for names in cli.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
    places = [listed.index(f"\n{title}:\n") for title in cli.GROUPS]
    assert places == sorted(places)
    for name in grouped:
        assert f"\n  {name} " in listed


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == "reelhouse 0.1.0\n"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CURATION_HOME", "")  # put back afterwards
    monkeypatch.delenv("CURATION_SETTINGS", raising=False)
    monkeypatch.setenv("RUST_BACKTRACE", "0")
    return tmp_path / "nowhere"


LOOKING = ["shards", "failures", "failures --retry", "trace abcd", "exclude --list", "release list", "maintain"]


@pytest.mark.parametrize("command", LOOKING)
def test_a_missing_home_is_named_and_not_made(command: str, nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"reelhouse: {nowhere}: no home is there; name one with --home, or make it with `reelhouse run`"
    assert said(capsys, *command.split(), "--home", str(nowhere)) == (2, line)
    assert not nowhere.exists()


@pytest.mark.parametrize("command", [*LOOKING, "plan", "ui", "run ."])
def test_a_home_that_is_a_file(command: str, nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere.write_text("")
    line = f"reelhouse: CURATION_HOME: {nowhere} is a file; name a folder"
    assert said(capsys, *command.split(), "--home", str(nowhere)) == (2, line)


@pytest.mark.parametrize("debug", [False, True])
def test_only_debug_prints_a_trace(debug: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("\x1b[31ma\nb")

    with pytest.raises(ZeroDivisionError) as raised:
        fail()
    assert ended_by(raised.value, argparse.Namespace(debug=debug)) == 1
    *trace, line = capsys.readouterr().err.splitlines()
    assert line == "reelhouse: unexpected ZeroDivisionError: [31ma b; run again with --debug and report it"
    assert any("in fail" in traced for traced in trace) == debug
    assert debug or not trace


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (PermissionError(13, "Permission denied", "/data/x"), "/data/x: Permission denied; make room, give access"),
        (OSError(28, "No space left on device", "/data/x"), "/data/x: No space left on device; make room"),
        (MemoryError(), "unexpected MemoryError: ; run again with --debug"),
        (PanicException("assertion failed"), "unexpected PanicException: assertion failed"),
        (KeyboardInterrupt(), "interrupted; finished rows are kept"),
        (EngineUnavailable("nothing was begun, for want of:\nweights"), "nothing was begun, for want of:\nweights"),
    ],
)
def test_each_kind_of_problem_has_its_remedy(
    problem: BaseException, line: str, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ["CURATION_HOME"] = str(nowhere)
    assert ended_by(problem, argparse.Namespace(debug=False)) == 1
    assert capsys.readouterr().err.strip().startswith(f"reelhouse: {line}")


def test_a_name_of_nothing_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(Unknown("r9: no such release"), argparse.Namespace(debug=False)) == 2
    assert capsys.readouterr().err == "reelhouse: r9: no such release\n"


def test_home_and_settings_are_repeated_as_a_shell_reads_them() -> None:
    options = argparse.Namespace(home="my home", settings=None)
    assert home_flags(options) == " --home 'my home'"


def test_dagsters_records_that_are_locked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from sqlalchemy import create_engine, text

    database = tmp_path / "runs.db"
    with sqlite3.connect(database) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 0})
        with pytest.raises(Exception, match="locked") as locked, engine.begin() as connection:
            connection.execute(text("CREATE TABLE runs (id)"))
    assert ended_by(locked.value, argparse.Namespace(debug=False)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "Dagster's records of the home can't be read or written ((sqlite3.OperationalError) database is locked)" in line
    )
