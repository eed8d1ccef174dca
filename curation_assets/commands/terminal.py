"""What commands share: the terminal, and names made from paths."""

import hashlib
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.logging import RichHandler

from curation_assets.progress import TERMINAL
from resources.object_store import is_url
from resources.text import printable

PLAIN_WIDTH = 120


def terminal(aside: bool = False, console: Console | None = None) -> Console:
    """The terminal, which shows progress from now on: on standard output, or `aside` on standard error."""
    stream = sys.stderr if aside else sys.stdout
    shown = console or Console(stderr=aside, width=None if stream.isatty() else PLAIN_WIDTH)
    TERMINAL.handlers = [
        RichHandler(console=shown, show_path=False, show_level=False, markup=False, log_time_format="%H:%M:%S")
    ]
    TERMINAL.setLevel(logging.INFO)
    return shown


def print_json(document: Any) -> None:
    """One document on standard output, in ASCII, so that nothing in it can be an order to a terminal.

    Times are ISO 8601; a number that is none is null, as are infinite ones.
    """
    print(json.dumps(to_jsonable_python(document, inf_nan_mode="null"), indent=2, allow_nan=False))


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
