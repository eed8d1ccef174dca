"""What can go wrong with one item, and what to do about it."""

from collections.abc import Callable


class InputError(Exception):
    """The item itself can't be used (corrupt, too large, no video stream). Trying again gives the same answer."""


class Unknown(InputError):
    """Nothing, or more than one thing, is called as somebody called it."""


class TransientError(Exception):
    """The machine or a server failed (disk, memory, time-out, connection). The next refresh tries again."""


class EngineUnavailable(Exception):
    """An engine can't start at all: weights or package missing, server down. Raised before any work is done."""


Need = Callable[[], object]
"""Looks, without loading it, for something that an engine needs. Raises EngineUnavailable where it isn't there."""
