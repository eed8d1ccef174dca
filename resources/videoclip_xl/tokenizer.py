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

from resources.checkpoints import content_mark
from resources.errors import EngineUnavailable
from resources.packages import package_version
from resources.text import one_line

_PUBLISHED = "openai/clip-vit-large-patch14"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")
_FILES = ("vocab.json", "merges.txt")
_STRAIGHT = str.maketrans(dict.fromkeys("ʼ‘’‚‛", "'") | dict.fromkeys("“”„‟", '"'))
_WIDE_OR_LIGATURE = re.compile("[\uff01-\uffee\ufb00-\ufb06]")


@dataclass(frozen=True)
class ClipTokenizer:
    setting: str
    """the field that names it, for errors"""
    source: str
    """a folder with vocab.json and merges.txt or tokenizer.json, or a hub id, which may name a revision: id@commit"""

    def mark(self) -> str:
        """Names the content, without loading it. Raises EngineUnavailable where there is no such folder."""
        folder = self._folder
        return self.source if folder is None else content_mark(folder)

    def vocabulary(self) -> int:
        """Number of tokens. Raises EngineUnavailable where the tokenizer can't be loaded."""
        return len(self._load())

    def ids(self, text: str, length: int) -> NDArray[np.int64]:
        """`length` token ids: start, text, end, zeros. Of a text too long the end is cut, but for the end token."""
        ids = self._load()(cleaned(text), truncation=True, max_length=length)["input_ids"]
        return np.pad(np.asarray(ids, np.int64), (0, length - len(ids)))

    @property
    def _folder(self) -> Path | None:
        """The local folder; null where the source is a hub id."""
        folder = Path(self.source).expanduser()
        if folder.is_dir():
            return folder
        if _HUB_ID.fullmatch(self.source):
            return None
        raise self.unavailable("no such folder")

    def _load(self) -> Any:
        package_version("transformers")
        try:
            return _loaded(self._folder or self.source)
        except EngineUnavailable:
            raise
        except Exception as failure:  # files and hub have many errors
            raise self.unavailable(f"it can't be loaded ({type(failure).__name__}: {failure})") from None

    def unavailable(self, why: str) -> EngineUnavailable:
        remedy = f"get it by: hf download {_PUBLISHED} {' '.join(_FILES)} --local-dir FOLDER, and name the folder"
        return EngineUnavailable(f"{self.setting}: {self.source}: {one_line(why, 200)}; {remedy}")


@cache
def _loaded(source: Path | str) -> Any:
    from transformers import CLIPTokenizer

    if isinstance(source, str):
        from huggingface_hub import hf_hub_download

        hub_id, _, revision = source.partition("@")
        source, *_ = [Path(hf_hub_download(hub_id, name, revision=revision or None)).parent for name in _FILES]
    return CLIPTokenizer.from_pretrained(source, local_files_only=True)


def cleaned(text: str) -> str:
    """The text as OpenAI's CLIP sees it, short of what its tokenizer does itself (white space, case, composition).

    That code runs the text through ftfy and undoes HTML's escapes twice (https://github.com/openai/CLIP,
    clip/simple_tokenizer.py). Of what ftfy changes, this changes what occurs in a readable text: quotes become
    straight, full-width letters and marks narrow, ligatures letters.
    """
    unescaped = html.unescape(html.unescape(text)).translate(_STRAIGHT)
    return _WIDE_OR_LIGATURE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), unescaped)
