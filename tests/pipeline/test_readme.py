"""What README and the pages in docs/ promise exists, and the queries run on a finished job."""

import argparse
import ast
import re
from collections import Counter
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from curation_assets.cli import _parser
from curation_assets.settings import Settings, parse_settings
from curation_assets.tables import TABLES
from tests.pipeline.documents import EVERYTHING, PAGES, READMES, ROOT, blocks, prose
from tests.pipeline.jobs import Job

DEMO_HOME = ".reelhouse-demo"
QUERIES = [code for code in dict.fromkeys(blocks("python")) if DEMO_HOME in code]
OF_COMMANDS = (*READMES, *(f"docs/{name}.md" for name in ("commands", "operations", "changing-settings")))


@pytest.mark.parametrize("code", QUERIES)
def test_queries_run_on_a_finished_home(code: str, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code.replace(DEMO_HOME, str(job.home)), "a page", "exec"), {})
    assert "clip_id" in capsys.readouterr().out


def test_all_python_is_python() -> None:
    assert QUERIES
    for code in blocks("python"):
        ast.parse(code)


@pytest.mark.parametrize("text", dict.fromkeys(blocks("yaml")))
def test_all_settings_are_valid(text: str) -> None:
    assert parse_settings(yaml.safe_load(text), "a page") != Settings()


@pytest.mark.parametrize(
    ("page", "heading", "there_are"),
    [
        ("docs/changing-settings.md", "| section | what it sets |", Settings.model_fields),
        ("docs/tables.md", "| table | one row is |", TABLES),
    ],
)
def test_tables_name_all_there_are(page: str, heading: str, there_are: Collection[str]) -> None:
    rows = PAGES[page].partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
    assert {name for row in rows for name in re.findall(r"[`[](\w+)[`\]]", row.split("|")[1])} == set(there_are)


def test_no_table_says_anything_twice() -> None:
    for page, text in PAGES.items():
        for table in re.findall(r"(?:^\|.*\n)+", prose(text), re.MULTILINE):
            first_cells = Counter(cell for row in table.splitlines() if (cell := row.split("|")[1].strip()))
            assert max(first_cells.values()) == 1, (page, first_cells.most_common(1))


def test_all_make_targets_and_variables_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:^(?:    |\$ )|`)make ([a-z0-9-]+)", EVERYTHING, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for variable in set(re.findall(r"make \w+ ([A-Z_]+)=", EVERYTHING)):
        assert re.search(rf"^{variable} \?=", makefile, re.MULTILINE), variable


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: command for action in found for name, command in action.choices.items()}


REELHOUSE = _parser()
COMMANDS = subcommands(REELHOUSE)
PARSERS = [REELHOUSE, *(each for parser in COMMANDS.values() for each in (parser, *subcommands(parser).values()))]
FLAGS = {flag for parser in PARSERS for flag in parser._option_string_actions} - {"-h", "--help"}


def test_commands_and_flags_exist() -> None:
    for command in set(re.findall(r"(?:\.venv/bin/|`)reelhouse ([a-z]+)", EVERYTHING)):
        assert command in COMMANDS, command
    for page in OF_COMMANDS:
        for flag in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGES[page])):
            assert flag in {*FLAGS, "--help"}, (page, flag)


def test_every_command_and_flag_is_told_of() -> None:
    told = PAGES["docs/commands.md"]
    assert {command for command in COMMANDS if f"reelhouse {command}" not in told} == set()
    assert {flag for flag in FLAGS if not re.search(rf"{flag}(?![\w-])", told)} == set()


def test_all_files_and_modules_exist() -> None:
    folders = "curation_assets|deployments|benchmarks|docs|examples|resources|tests"
    named = set(re.findall(rf"(?:{folders})/[\w./-]+\.\w+", EVERYTHING))
    made_by_reader = {"curation_assets/scores/contrast.py", "resources/colour_histogram.py"}
    elsewhere = {*made_by_reader, "tests/test.mp4"}  # of another package
    for file in named - elsewhere:
        assert (ROOT / file).exists(), file
    for module in set(re.findall(r"python -m ((?:tests|docs|benchmarks|deployments)[\w.]*)", EVERYTHING)):
        assert find_spec(module), module


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKING = [
    *PAGES,
    *(str(page.relative_to(ROOT)) for name in ("deployments", "benchmarks") for page in (ROOT / name).rglob("*.md")),
]


@pytest.mark.parametrize("name", LINKING)
def test_no_link_is_dead(name: str) -> None:
    page = ROOT / name
    text = prose(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_both_readmes_have_the_same_code_links_tables_and_figures() -> None:
    def shape(text: str) -> list[list[str]]:
        text = re.sub(r" +# .*$", "", text.replace("README.zh.md", "README.md"), flags=re.MULTILINE)
        return [
            re.findall(r"^    .+$", text, re.MULTILINE),
            re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE),
            re.findall(r"^#+ |^!?\[|^\|", text, re.MULTILINE),
            re.findall(r"\]\(([^)]+)\)", text),
            sorted(re.findall(r"`([^`\n]+)`", prose(text))),
            sorted(re.findall(r"(?<![\w.])\d+(?:[.,]\d+)*", prose(text))),
        ]

    assert shape(PAGES["README.md"]) == shape(PAGES["README.zh.md"])


def test_each_page_says_first_what_it_answers() -> None:
    for page in (page for page in PAGES if page not in READMES and "<!-- made by" not in PAGES[page]):
        title, question = PAGES[page].split("\n\n", 2)[:2]
        assert title.startswith("# "), page
        assert "?" in question, page


def test_messages_that_are_looked_up_are_said() -> None:
    said = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "curation_assets").rglob("*.py"))
    for quoted in re.findall(r'^\| "([^"]+)" \|', PAGES["docs/operations.md"], re.MULTILINE):
        for part in quoted.split("..."):
            assert part.strip() in re.sub(r'"\n\s+f?"', "", said), quoted
