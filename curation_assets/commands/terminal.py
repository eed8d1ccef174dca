"""What commands share: the terminal, and names made from paths."""

import hashlib
import logging
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from resources.object_store import is_url
from resources.text import printable


def terminal() -> Console:
    """The terminal, which shows progress from now on."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    progress = logging.getLogger("reelhouse")
    progress.addHandler(
        RichHandler(console=console, show_path=False, show_level=False, markup=False, log_time_format="%H:%M:%S")
    )
    progress.setLevel(logging.INFO)
    return console


def say(console: Console, text: str) -> None:
    """A line as it stands, whatever is in it, without breaks that a script would have to undo."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def source_name(source: str, column: str = "") -> str:
    """A name for a source on the command line: its last part, and 4 hex digits of its path and column."""
    path = whole_path(source)
    slug = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")[:40] or "source"
    return f"{slug}-{hashlib.sha256((path + column).encode('utf-8', 'surrogateescape')).hexdigest()[:4]}"


def whole_path(place: str) -> str:
    """An absolute path, or the URL as it is."""
    return place if is_url(place) else str(Path(place).absolute())
