"""Writes docs/first-hour.md: `python -m docs.make_first_hour`, in the repository's root.

Clones the working tree, also what isn't committed, into an empty folder, runs there what stands after each `$` and in
each Python block of first-hour.template.md, and puts in what was printed and how long each section took. What README
shows of it is renewed too.
"""

import datetime as dt
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import machine
from tests.ui.webserver import running

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("first-hour.md")
TEMPLATE = PAGE.with_suffix(".template.md")
BLOCK = re.compile(
    r"(?:<!-- first (?P<lines>\d+) lines -->\n)?```(?P<language>console|python)\n(?P<code>.*?)```\n", re.DOTALL
)
COLUMNS = "110"

# Lines of progress, and what says more of this machine's configuration than of the product.
LEFT_OUT = re.compile(r"(\d\d:\d\d:\d\d| {8}) \w+ [\w-]+: \d+/\d+|WARNING: Location|.*\r")
COLOUR = re.compile(r"\x1b\[\d*m")


class Newcomer:
    """A shell in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self._start = self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CURATION_", "DAGSTER_"))}
        self._environment = {**kept, "COLUMNS": COLUMNS, "POLARS_TABLE_WIDTH": COLUMNS}

    def says(self, command: str) -> list[str]:
        """The lines that a command prints."""
        if command.startswith("cd "):
            self._folder /= command.removeprefix("cd ")
            return []
        if command.startswith("git clone "):
            clone_working_tree(self._folder / command.split()[-1])
            return []
        if command.endswith(" &"):
            return self._serves(*command.removesuffix(" &").split())
        options = {"cwd": self._folder, "env": self._environment, "stdin": subprocess.DEVNULL}
        done = subprocess.run(
            ["bash", "-c", command], **options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return list(self._tidy(done.stdout))

    def _serves(self, program: str, *arguments: str) -> list[str]:
        """The line that says where a server answers; it is ended then."""
        log = self._start / "server.log"
        with running([str(self._folder / program), *arguments], log, {}, self._folder):
            found = re.search(r"Serving .* on http://127.0.0.1:", log.read_text())
        return [f"{found[0]}3000"] if found else []

    def _tidy(self, printed: str) -> Iterator[str]:
        for line in COLOUR.sub("", printed).replace(str(self._start), "~").split("\n")[:-1]:
            if not LEFT_OUT.match(line):
                yield line.rstrip()


def clone_working_tree(place: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", ROOT, place], check=True)
    changed = ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"]
    for file in subprocess.run(changed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")[:-1]:
        (place / file).unlink(missing_ok=True)
        if (ROOT / file).exists():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, place / file)


def with_outputs(section: str, newcomer: Newcomer) -> str:
    def shown(block: re.Match[str]) -> str:
        code, most = block["code"], int(block["lines"] or 10_000)

        def output(command: str) -> list[str]:
            lines = newcomer.says(command)
            return lines if len(lines) <= most else [*lines[:most], "..."]

        if block["language"] == "python":
            printed = output(f".venv/bin/python - <<'END'\n{code}END")
            return "\n".join((f"```python\n{code}```\n", "```text", *printed, "```\n"))
        lines = [line for command in code.splitlines() for line in (command, *output(command.removeprefix("$ ")))]
        return "\n".join(("```console", *lines, "```\n"))

    return BLOCK.sub(shown, section)


def show_in_readmes(page: str) -> None:
    """Both show the beginning of what `preview` printed."""
    [printed] = re.findall(r"^\$ \.venv/bin/reelhouse preview .*\n(?:.*\n){22}", page, re.MULTILINE)
    for readme in (ROOT / "README.md", ROOT / "README.zh.md"):
        text = readme.read_text(encoding="utf-8")
        shown = re.compile(r"^\$ \.venv/bin/reelhouse preview .*?(?=^\.\.\.$)", re.MULTILINE | re.DOTALL)
        readme.write_text(shown.sub(lambda _: printed, text), encoding="utf-8")


def main() -> None:
    head, *sections = re.split(r"(?m)^(?=## )", TEMPLATE.read_text(encoding="utf-8"))
    times = ["| step | its commands took |", "|---|---|"]
    with tempfile.TemporaryDirectory(prefix="first-hour-") as folder:
        newcomer = Newcomer(Path(folder))
        for place, section in enumerate(sections):
            started = time.monotonic()
            sections[place] = with_outputs(section, newcomer)
            times.append(f"| {section.partition(chr(10))[0][3:]} | {time.monotonic() - started:.0f} s |")
    on = f"On {machine()}, {dt.datetime.now(dt.UTC):%Y-%m-%d}."
    head = head.replace("@@machine@@", on).replace("@@times@@", "\n".join(times))
    page = "".join((head, *sections))
    PAGE.write_text(page, encoding="utf-8")
    show_in_readmes(page)


if __name__ == "__main__":
    main()
