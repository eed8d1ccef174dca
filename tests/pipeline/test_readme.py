"""What README.md and the pages in docs/ promise exists, and the queries run on a finished job."""

import argparse
import ast
import re
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

from curation_assets.cli import _parser
from curation_assets.settings import Settings, parse_settings
from curation_assets.tables import TABLES
from tests.pipeline.jobs import Job

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = "\n".join([README, *(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md")))])
DEMO_HOME = ".reelhouse-demo"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES, re.DOTALL)


QUERIES = [code for code in blocks("python") if "scan_delta" in code]


@pytest.mark.parametrize("code", QUERIES)
def test_queries_run_on_a_finished_home(code: str, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert DEMO_HOME in code
    exec(compile(code.replace(DEMO_HOME, str(job.home)), "README.md", "exec"), {})
    assert "clip_id" in capsys.readouterr().out


def test_all_python_is_python() -> None:
    assert QUERIES
    for code in blocks("python"):
        ast.parse(code)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_all_settings_are_valid(text: str) -> None:
    assert parse_settings(yaml.safe_load(text), "a page") != Settings()


@pytest.mark.parametrize(
    ("heading", "there_are"),
    [("| section | what it sets |", Settings.model_fields), ("| asset | one row is | made from |", TABLES)],
)
def test_its_tables_name_all_there_are(heading: str, there_are: Collection[str]) -> None:
    rows = README.partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])} == set(there_are)


def test_all_make_targets_and_variables_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:^    |`)make ([a-z0-9-]+)", PAGES, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for variable in set(re.findall(r"make \w+ ([A-Z_]+)=", PAGES)):
        assert re.search(rf"^{variable} \?=", makefile, re.MULTILINE), variable


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: command for action in found for name, command in action.choices.items()}


def test_its_commands_and_flags_exist() -> None:
    commands = subcommands(_parser())
    for command in set(re.findall(r"\.venv/bin/reelhouse (\w+)", PAGES)):
        assert command in commands, command
    parsers = [each for parser in commands.values() for each in (parser, *subcommands(parser).values())]
    flags = {flag for parser in parsers for flag in parser._option_string_actions}
    for flag in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)):
        assert flag in flags, flag


def test_all_files_exist() -> None:
    named = set(re.findall(r"(?:curation_assets|deployments|benchmarks|docs|tests)/[\w./-]+\.\w+", PAGES))
    elsewhere = {"curation_assets/scores/contrast.py", "tests/test.mp4"}  # made by the reader; of another package
    for file in named - elsewhere:
        assert (ROOT / file).exists(), file
