"""CLIP's tokenizer, fed with texts cleaned as OpenAI's code cleans them."""

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import ModelFiles

_STRAIGHT = str.maketrans(dict.fromkeys("ʼ‘’‚‛", "'") | dict.fromkeys("“”„‟", '"'))
_WIDE_OR_LIGATURE = re.compile("[\uff01-\uffee\ufb00-\ufb06]")


@dataclass(frozen=True)
class ClipTokenizer(ModelFiles):
    FIELD = "tokenizer"
    FILES = ("vocab.json", "merges.txt")
    SIGNS = FILES

    def vocabulary(self) -> int:
        """Number of tokens. Raises EngineUnavailable where the tokenizer can't be loaded."""
        return len(_loaded(self))

    def ids(self, text: str, length: int) -> NDArray[np.int64]:
        """`length` token ids: start, text, end, zeros. Of a text too long the end is cut, but for the end token."""
        ids = _loaded(self)(cleaned(text), truncation=True, max_length=length)["input_ids"]
        return np.pad(np.asarray(ids, np.int64), (0, length - len(ids)))

    def _lacking(self, folder: Path) -> str | None:
        is_there = [(folder / name).is_file() for name in ("tokenizer.json", *self.FILES)]
        return None if is_there[0] or all(is_there[1:]) else "tokenizer.json, nor vocab.json and merges.txt"


@cache
def _loaded(tokenizer: ClipTokenizer) -> Any:
    return tokenizer.load_part("CLIPTokenizer")


def cleaned(text: str) -> str:
    """The text as OpenAI's CLIP sees it, short of what its tokenizer does itself (white space, case, composition).

    That code runs the text through ftfy and undoes HTML's escapes twice (https://github.com/openai/CLIP,
    clip/simple_tokenizer.py). Of what ftfy changes, this changes what occurs in a readable text: quotes become
    straight, full-width letters and marks narrow, ligatures letters.
    """
    unescaped = html.unescape(html.unescape(text)).translate(_STRAIGHT)
    return _WIDE_OR_LIGATURE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), unescaped)
