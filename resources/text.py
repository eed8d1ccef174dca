"""Text from outside, made fit to be stored, logged and shown."""

import re

MESSAGE_CHARACTERS = 1000

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # also what turns text around
_LOGIN = re.compile(r"(?<=://)[^/\s]*@")


def one_line(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """One line of at most `limit` characters, without control characters, which a terminal or a log would obey."""
    line = _CONTROLS.sub(" ", in_unicode(text[: 4 * limit])).strip()
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def without_controls(text: str) -> str:
    """The words on one line, however many."""
    return " ".join(_CONTROLS.sub(" ", in_unicode(text)).split())


def printable(text: str) -> str:
    """Every character that does not print as a question mark, so that none goes unseen; a file name could use them."""
    return "".join(c if c.isprintable() else "?" for c in text)


def without_login(text: str) -> str:
    """A URL, or a text with URLs, without user and password, to be shown."""
    return _LOGIN.sub("", text)


def in_unicode(text: str) -> str:
    """Half characters (lone surrogates), which no table can hold, as question marks."""
    return text.encode("utf-8", "replace").decode()
