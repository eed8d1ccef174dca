"""The terminal, and what is printed to it."""

import json
import logging
import sys
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.logging import RichHandler

from curation_assets.progress import TERMINAL
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
