"""The commands, one a module: `run(options)` does it and returns how it ended."""

import sys

from resources.text import printable

OK, FAILED, WRONG_USE = 0, 1, 2


def wrong_use(message: str) -> int:
    """Say what was wrong with the arguments."""
    return _said(message, WRONG_USE)


def failed(message: str) -> int:
    """Say why the command could not do what it was asked."""
    return _said(message, FAILED)


def _said(message: str, ending: int) -> int:
    print("reelhouse:", "\n".join(printable(line) for line in message.splitlines()), file=sys.stderr)
    return ending
