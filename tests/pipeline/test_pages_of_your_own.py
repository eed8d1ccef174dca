"""The pages that add a score and an engine: what they say is done to a copy of the product, which then runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.pipeline.jobs import SETTINGS, SOURCE, Job, changed, command, environment, write_settings

ROOT = Path(__file__).parents[2]
SCORE, ENGINE = (ROOT / "docs" / f"{name}-of-your-own.md" for name in ("a-score", "an-engine"))


def said(page: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """What a page says: new files with their code, and changes of a file, each with the lines around it."""
    text = page.read_text(encoding="utf-8")
    files = dict(re.findall(r"`([\w/.]+\.py)`[^`]*\n\n```python\n(.*?)```", text, re.DOTALL))
    diff = "".join(re.findall(r"```diff\n(.*?)```", text, re.DOTALL))
    changes = re.findall(r"^--- (\S+)\n(.*?)(?=^--- |\Z)", diff, re.DOTALL | re.MULTILINE)
    return files, [(file, hunk) for file, hunks in changes for hunk in hunks.split("@@\n")]


def changed_files(page: Path) -> set[str]:
    files, hunks = said(page)
    return {*files, *(file for file, _ in hunks)}


def do(page: Path, tree: Path) -> None:
    """Make the files and changes of a page in a copy of the product."""
    files, hunks = said(page)
    for file, code in files.items():
        (tree / file).write_text(code, encoding="utf-8")
    for file, hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        before, after = ("".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
        code = f"\n{(tree / file).read_text(encoding='utf-8')}"
        assert code.count(f"\n{before}") == 1, (file, before)
        (tree / file).write_text(code.replace(f"\n{before}", f"\n{after}")[1:], encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product with both pages done."""
    root = tmp_path_factory.mktemp("product")
    for folder in ("curation_assets", "resources"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").mkdir()
    for file in ("pyproject.toml", "tests/stage_versions.py"):
        shutil.copy(ROOT / file, root / file)
    for page in (SCORE, ENGINE):
        do(page, root)
    return root


def test_they_compute_their_own_rows_and_no_others(tree: Path, job: Job) -> None:
    before = job.versions()
    settings = changed(SETTINGS, semantic__engines=["efficientnet_lite0", "colour_histogram"])
    file = write_settings(job.root / "settings.yaml", settings)
    run = command("run", job.films, "--name", SOURCE, "--home", job.home, "--settings", file)
    run += ["--until", "clip_selection"]
    variables = environment(PYTHONPATH=str(tree))
    ran = subprocess.run(run, cwd=tree, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr

    clips = job.table("frames")["clip_id"].to_list()
    contrast = pl.read_delta(str(job.home / "tables" / "contrast_scores"))
    assert sorted(contrast["clip_id"]) == clips
    assert contrast["contrast_score"].is_between(0, 0.5).all()
    semantic = job.table("semantic_scores")
    assert semantic.filter(engine="colour_histogram")["clip_id"].to_list() == clips
    assert semantic["error"].null_count() == 2 * len(clips)
    assert semantic.filter(engine="colour_histogram")["semantic_score"].is_between(0, 1).all()
    measured = job.table("clip_selection").explode("measurements").unnest("measurements")
    for name, engine in (("contrast", "rms"), ("semantic", "colour_histogram")):
        assert measured.filter(filter=name, engine=engine)["passed"].null_count() == 0
    grown = {"contrast_scores", "semantic_scores", "clip_selection"}
    assert {name for name, version in job.versions().items() if version != before.get(name)} == grown


def test_they_keep_the_import_contracts_and_the_style(tree: Path) -> None:
    here = Path(sys.executable).parent
    made = {file for page in (SCORE, ENGINE) for file in changed_files(page) if file.endswith(".py")}
    for lint in ([here / "lint-imports", "--no-cache"], [here / "ruff", "check", *made]):
        variables = environment(PYTHONPATH=str(tree))
        ran = subprocess.run(lint, cwd=tree, env=variables, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", [SCORE, ENGINE], ids=lambda page: page.stem)
def test_they_count_their_lines(page: Path) -> None:
    files, hunks = said(page)
    added = [line for _, hunk in hunks for line in hunk.splitlines() if line.startswith("+")]
    lines = len(added) + sum(code.count("\n") for code in files.values())
    assert f"{lines} lines in {len(changed_files(page))} files" in page.read_text(encoding="utf-8")
