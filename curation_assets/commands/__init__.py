"""The commands, one a module: `run(options)` does it and returns how it ended."""

import sys

OK, FAILED, WRONG_USE = 0, 1, 2


def wrong_use(message: str) -> int:
    """Say what was wrong with the arguments."""
    print(f"reelhouse: {message}", file=sys.stderr)
    return WRONG_USE
