"""How many tokens a text has: counted by a tokenizer's file, or estimated without one."""

import hashlib
import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from resources.errors import EngineUnavailable

FILE = "tokenizer.json"
_PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")
_FIRST_IDEOGRAPH = "\u2e80"  # from here on scripts without spaces, about a token a character


def token_counter(folder: str | None) -> Callable[[str], int]:
    """Counts the tokens of a text, end marker included, by the tokenizer in `folder`; None: estimates them.

    Raises EngineUnavailable when the folder holds no readable tokenizer.json.
    """
    return estimated_tokens if folder is None else _counter(str(Path(folder).absolute()))


@cache
def _counter(folder: str) -> Callable[[str], int]:
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(Path(folder) / FILE))
    except Exception as failure:  # what the library raises
        raise EngineUnavailable(
            f"{folder} holds no {FILE} that can be read ({failure}); name the folder of the trainer's tokenizer in "
            "training_set.trainer.tokenizer"
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text).ids)


def tokenizer_revision(folder: str) -> dict[str, str]:
    """Marks the tokenizer's file by what is in it. Raises EngineUnavailable."""
    try:
        data = (Path(folder) / FILE).read_bytes()
    except OSError as failure:
        raise EngineUnavailable(f"{folder}/{FILE} can't be read: {failure.strerror}") from None
    return {"model": FILE, "revision": hashlib.sha256(data).hexdigest()[:8]}


def estimated_tokens(text: str) -> int:
    """An estimate of the tokens of `text`; tokenizers differ by trainer and none need be installed.

    One for each digit, punctuation mark and ideograph; one for each nine letters begun of an English word, each
    three of a word with other letters; one for the end. For English prose within 15 % of BERT's
    WordPiece; a warning made from it means "about".
    """
    return 1 + sum(_piece_tokens(piece) for piece in _PIECE.findall(text))


def _piece_tokens(piece: str) -> int:
    if piece.isascii():
        return math.ceil(len(piece) / 9)
    return len(piece) if max(piece) >= _FIRST_IDEOGRAPH else math.ceil(len(piece) / 3)
