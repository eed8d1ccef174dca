"""The pages that are made from the code say what the code says."""

import re
from functools import cache
from pathlib import Path

import pytest

from curation_assets.field_help import field_help
from curation_assets.settings import Settings
from curation_assets.tables import TABLES
from docs import make_references as made


@cache
def pages() -> dict[str, str]:
    """What each page should be, by its name."""
    return {page.name: text for page, text in made.pages(made.outputs_in(made.DOCS / "recipes.md")).items()}


@pytest.mark.parametrize("name", ["tables.md", "settings.md", "recipes.md"])
def test_a_page_is_up_to_date(name: str) -> None:
    assert Path(made.DOCS, name).read_text(encoding="utf-8") == pages()[name], "run: python -m docs.make_references"


def test_every_column_stands_under_its_table() -> None:
    for name, table in TABLES.items():
        section = pages()["tables.md"].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(table.stage_columns)


def test_every_setting_stands_there_or_in_a_part() -> None:
    sections, parts = pages()["settings.md"].split("\n## Parts\n")
    rows = dict(re.findall(r"^\| `([\w.]+)`\*? \| (?:[^|]|\\\|)* \| (\[\w+\])?", sections, re.MULTILINE))
    for field in field_help(Settings()):
        section, _, name = field.key.rpartition(".")
        if field.key not in rows:
            part = parts.partition(f"### {rows[section].strip('[]')}\n")[2].partition("\n### ")[0]
            assert f"| `{name}`" in part, field.key


def test_every_recipe_shows_what_it_prints() -> None:
    outputs = made.outputs_in(made.DOCS / "recipes.md")
    assert set(outputs) == {path.stem for path in made.EXAMPLES.glob("*.py")}
    assert all(output.strip() for output in outputs.values())
