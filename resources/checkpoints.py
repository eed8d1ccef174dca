"""Model weights outside packages: where they are, which they are, and loading them without running pickled code."""

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from resources.devices import data_type, moved, open_device
from resources.errors import EngineUnavailable
from resources.packages import package_version
from resources.text import one_line

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_READ_BY_LOADERS = {".json", ".txt", ".model", ".safetensors", ".bin", ".pt", ".pth"}
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth"}
_MARK_BLOCKS = 256
_MARK_BLOCK_BYTES = 4096
_SAID_CHARACTERS = 200


@dataclass(frozen=True)
class Checkpoint:
    """A model in transformers' layout, and how it is to run. `setting` is the section of the settings it comes from."""

    setting: str
    published: str
    """hub id of the published weights, which stands for them in rows whatever folder they are read from"""
    source: str
    """a local folder, or a hub id"""
    revision: str = ""
    """the hub's commit or tag; of a folder any text"""
    precision: str = "fp32"
    device: str = "auto"
    batch_frames: int = 0

    @property
    def folder(self) -> Path | None:
        """The local folder; null where the source is a hub id."""
        path = Path(self.source).expanduser()
        return path if path.is_dir() or not _HUB_ID.fullmatch(self.source) else None

    def identity(self) -> dict[str, str]:
        """`model` and `revision` of rows: the published name or hub id, the revision, a folder's content mark.

        Nothing is loaded. Raises EngineUnavailable where the folder lacks a file that loading needs.
        """
        model, revision = self.source, self.revision or "main"
        if folder := self.folder:
            self._require_files(folder)
            model, revision = self.published, f"{self.revision} {content_mark(folder)}".lstrip()
        return {"model": model, "revision": revision if self.precision == "fp32" else f"{revision} {self.precision}"}

    def _require_files(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            raise self.unavailable(f"{self.source} holds no config.json")
        if not any(path.suffix in _WEIGHTS for path in folder.iterdir()):
            raise self.unavailable(f"{self.source} holds no weights (*.safetensors or pytorch_model.bin)")

    def unavailable(self, why: str) -> EngineUnavailable:
        """The error that says why, and the command that gets the published weights."""
        if self.folder is None:
            remedy = f"hf download {self.source} --local-dir FOLDER, then {self.setting}.source: FOLDER"
        else:
            remedy = f"hf download {self.published} --local-dir {self.source}"
        return EngineUnavailable(one_line(f"{self.setting}.source: {why}; get it by: {remedy}"))

    def load(self, network_class: str, kinds: Sequence[str]) -> Any:
        """The network of a class of transformers on its device, for inference.

        `kinds` are the `model_type`s of configurations that the class can be loaded from. Raises EngineUnavailable
        for a missing package or device, another kind of model, and weights that are missing, damaged or incomplete.
        """
        library = self._transformers()
        device = open_device(self.device, self.setting)
        found = self._attempt(lambda: library.PretrainedConfig.get_config_dict(**self.arguments()))[0]
        if found.get("model_type") not in kinds:
            raise self.unavailable(f"{self.source} holds a model of type {found.get('model_type')!r}, not {kinds[0]!r}")
        network, report = self._attempt(
            lambda: getattr(library, network_class).from_pretrained(
                **self.arguments(), dtype=data_type(self.precision), output_loading_info=True
            )
        )
        lacking = [*report["missing_keys"], *report["mismatched_keys"]]
        if lacking:
            raise self.unavailable(f"{self.source} lacks {len(lacking)} weights of {network_class}, e.g. {lacking[0]}")
        return moved(network.eval(), device, self.setting)

    def load_part(self, part_class: str) -> Any:
        """A tokenizer or image processor of the checkpoint, by its class in transformers."""
        part = getattr(self._transformers(), part_class)
        return self._attempt(lambda: part.from_pretrained(**self.arguments()))

    def arguments(self) -> dict[str, Any]:
        """What transformers' `from_pretrained` is told; a folder is never looked for on the hub."""
        folder = self.folder
        if folder is None:
            return {"pretrained_model_name_or_path": self.source, "revision": self.revision or "main"}
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}

    def _transformers(self) -> Any:
        package_version("torch")
        package_version("transformers")
        import transformers

        logging: Any = transformers.logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        return transformers

    def _attempt(self, load: Callable[[], Any]) -> Any:
        """What `load` returns; whatever the libraries raise about files is one kind of failure."""
        try:
            if self.folder is not None:
                self._require_files(self.folder)
            return load()
        except EngineUnavailable:
            raise
        except Exception as failure:
            said = one_line(str(failure), _SAID_CHARACTERS)
            raise self.unavailable(f"{self.source} can't be loaded ({type(failure).__name__}: {said})") from failure


def content_mark(path: Path) -> str:
    """Eight hex digits naming the content of a file, or of the files of a folder that loaders read.

    Of each file its name, its size, and up to 256 evenly spaced blocks of 4 KiB: all of a small file, and of a large
    one enough that other weights are seen without reading gigabytes.
    """
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.suffix in _READ_BY_LOADERS)
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            for start in range(0, size, max(_MARK_BLOCK_BYTES, size // _MARK_BLOCKS)):
                stream.seek(start)
                digest.update(stream.read(_MARK_BLOCK_BYTES))
    return digest.hexdigest()[:8]


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights: a local path, or a URL that it is downloaded from, once, to the user's cache folder.

    `setting` is the field that names it; `md5`, where given, is checked before the file is used. Of a URL that ends in
    .zip the file is the one in it with the zip's name and the suffix .pth, as EasyOCR publishes weights.
    """

    setting: str
    source: str
    md5: str | None
    published: str = ""
    """URL of the published file, which errors about a local one tell how to get"""

    def mark(self) -> str:
        """Eight hex digits naming the content, known before a download. Raises EngineUnavailable for no file."""
        return self.md5[:8] if self.md5 else content_mark(self._local())

    def path(self) -> Path:
        """The file, downloaded if need be and verified. Raises EngineUnavailable where that fails."""
        path = self._cached() if self._is_url else self._local()
        if self._is_url and not (path.is_file() and self._is_right(path)):
            self._download(path)
        if not self._is_right(path):
            raise self.unavailable(f"{path} doesn't have the MD5 {self.md5}")
        return path

    def load(self) -> dict[str, Any]:
        """Its tensors by name, on the CPU; pickled code is not run."""
        path = self.path()
        import torch
        from safetensors.torch import load_file

        try:
            if path.suffix == ".safetensors":
                return load_file(path)
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as failure:  # each format has its own errors
            said = one_line(str(failure), _SAID_CHARACTERS)
            raise self.unavailable(f"{path} can't be loaded ({type(failure).__name__}: {said})") from failure
        if not (isinstance(found, dict) and all(isinstance(value, torch.Tensor) for value in found.values())):
            raise self.unavailable(f"{path} holds no weights by name")
        return found

    def unavailable(self, why: str) -> EngineUnavailable:
        """The error that says why, and the command that gets the published file."""
        remedy = "name the right file, and its MD5 or null" if not self._is_url else "download it elsewhere and name it"
        if url := self.source if self._is_url else self.published:
            unpack = f" && unzip {url.rpartition('/')[2]}" if url.endswith(".zip") else ""
            remedy = f"get it by: curl -fLO {url}{unpack}; {remedy}"
        return EngineUnavailable(one_line(f"{self.setting}: {self.source}: {why}; {remedy} in the settings"))

    @property
    def _is_url(self) -> bool:
        return self.source.startswith(("https://", "http://"))

    def _local(self) -> Path:
        path = Path(self.source).expanduser()
        if not path.is_file():
            raise self.unavailable("no such file")
        return path

    def _cached(self) -> Path:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        name = unquote(urlsplit(self.source).path.rpartition("/")[2])
        return cache / "reelhouse" / (f"{name.removesuffix('.zip')}.pth" if name.endswith(".zip") else name)

    def _is_right(self, path: Path) -> bool:
        if self.md5 is None:
            return True
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == self.md5

    def _download(self, path: Path) -> None:
        """Under another name until it is whole, so that a broken download is never taken for the file."""
        import httpx

        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part,
                httpx.stream("GET", self.source, follow_redirects=True, timeout=60) as answer,
            ):
                answer.raise_for_status()
                for chunk in answer.iter_bytes():
                    part.write(chunk)
            if self.source.endswith(".zip"):
                with zipfile.ZipFile(part.name) as archive:
                    Path(part.name).write_bytes(archive.read(path.name))
            os.replace(part.name, path)
        except (httpx.HTTPError, zipfile.BadZipFile, KeyError) as failure:
            os.unlink(part.name)
            raise self.unavailable(f"it can't be downloaded ({type(failure).__name__}: {failure})") from None
