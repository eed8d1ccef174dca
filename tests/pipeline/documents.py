"""README and the pages in docs/, and what stands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh.md")
FIRST_HOUR = "docs/first-hour.md"  # whose commands docs/make_first_hour.py ran
PAGES: dict[str, str] = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in (*(ROOT / name for name in READMES), *sorted((ROOT / "docs").glob("*.md")))
    if not page.name.endswith(".template.md")
}
EVERYTHING = "\n".join(PAGES.values())


def blocks(language: str, text: str = EVERYTHING) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """What isn't in a fenced block."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """The arguments of each `reelhouse` that stands in a block."""
    return re.findall(r"^(?:    |\$ )?\.venv/bin/reelhouse (.*)$", text, re.MULTILINE)
