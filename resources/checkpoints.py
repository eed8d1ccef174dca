"""Model weights outside packages: where they are, which they are, and loading them without running pickled code."""

import hashlib
import os
import re
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit
from weakref import WeakValueDictionary

from resources.devices import at_precision, data_type, moved, open_device, require_device
from resources.errors import EngineUnavailable, Need
from resources.packages import package_version
from resources.text import one_line, without_login

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_READ_BY_LOADERS = {".json", ".txt", ".model", ".safetensors", ".bin", ".pt", ".pth"}
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth"}
_MARK_BLOCKS = 256
_MARK_BLOCK_BYTES = 4096
_SAID_CHARACTERS = 200
_IN_USE: WeakValueDictionary[tuple[str, ...], Any] = WeakValueDictionary()


def is_hub_id(source: str) -> bool:
    """Whether a source is no local folder but a model's name on the hub."""
    return _HUB_ID.fullmatch(source) is not None and not Path(source).expanduser().is_dir()


@dataclass(frozen=True)
class ModelFiles(ABC):
    """Files of a model in transformers' layout: in a local folder, or on the hub at a revision."""

    FIELD: ClassVar[str] = "source"
    FILES: ClassVar[tuple[str, ...]] = ()
    """what to download; empty: all there is"""
    SIGNS: ClassVar[tuple[str, ...]]
    """one of these is in the hub's cache where the files were downloaded"""

    setting: str
    """section of the settings, whose `FIELD` names them"""
    published: str
    """hub id of the published model, which stands for it in rows whatever folder it is read from"""
    source: str
    """a local folder, or a hub id"""
    revision: str = ""
    """the hub's commit or tag; of a folder any text"""

    @property
    def folder(self) -> Path | None:
        """The local folder; null where the source is a hub id."""
        return None if is_hub_id(self.source) else Path(self.source).expanduser()

    def identity(self) -> dict[str, str]:
        """`model` and `revision` of rows: the published name or hub id, the revision, a folder's content mark.

        Nothing is loaded. Raises EngineUnavailable where the folder lacks a file that loading needs.
        """
        if folder := self.folder:
            self._require_files(folder)
            return {"model": self.published, "revision": f"{self.revision} {content_mark(folder)}".lstrip()}
        return {"model": self.source, "revision": self.revision}

    def require(self) -> None:
        """Raises EngineUnavailable where the files are neither here nor to be had from the hub; gets none."""
        self._attempt(self._ask_the_hub if self.folder is None else lambda: None)

    def _ask_the_hub(self) -> None:
        package_version("transformers")
        from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

        cached = (try_to_load_from_cache(self.source, name, revision=self.revision) for name in self.SIGNS)
        if not any(isinstance(path, str) for path in cached):
            get_hf_file_metadata(hf_hub_url(self.source, "config.json", revision=self.revision))

    def _require_files(self, folder: Path) -> None:
        if lacking := self._lacking(folder):
            raise self.unavailable(f"{self.source} holds no {lacking}")

    @abstractmethod
    def _lacking(self, folder: Path) -> str | None:
        """Which files that loading needs are not in the folder."""

    def unavailable(self, why: str) -> EngineUnavailable:
        """The error that says why, and the command that gets the published files."""
        setting = f"{self.setting}.{self.FIELD}"
        model, place, then = self.published, self.source, ""
        if self.folder is None:
            model, place, then = self.source, "FOLDER", f", then {setting}: FOLDER"
        remedy = " ".join(("hf download", model, *self.FILES, "--local-dir", place))
        return EngineUnavailable(one_line(f"{setting}: {why}; get it by: {remedy}{then}"))

    def load_part(self, part_class: str) -> Any:
        """A tokenizer, image processor or configuration of the model, by its class in transformers."""
        part = getattr(_transformers(), part_class)
        return self._attempt(lambda: part.from_pretrained(**self.arguments()))

    def arguments(self) -> dict[str, Any]:
        """What transformers' `from_pretrained` is told; a folder is never looked for on the hub."""
        folder = self.folder
        if folder is None:
            return {"pretrained_model_name_or_path": self.source, "revision": self.revision}
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}

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


@dataclass(frozen=True)
class Checkpoint(ModelFiles):
    """A network, and how it is to run."""

    SIGNS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")

    precision: str = "fp32"
    device: str = "auto"
    batch_frames: int = 0

    def identity(self) -> dict[str, str]:
        known = super().identity()
        return {**known, "revision": at_precision(known["revision"], self.precision)}

    def needs(self) -> list[Need]:
        return [self.require, partial(require_device, self.device, self.setting)]

    def _lacking(self, folder: Path) -> str | None:
        if not (folder / "config.json").is_file():
            return "config.json"
        has_weights = any(path.suffix in _WEIGHTS for path in folder.iterdir())
        return None if has_weights else "weights (*.safetensors or pytorch_model.bin)"

    def load(self, network_class: str, kinds: Sequence[str]) -> Any:
        """The network of a class of transformers on its device, for inference; shared while somebody holds it.

        `kinds` are the `model_type`s of configurations that the class can be loaded from. Raises EngineUnavailable
        for a missing package or device, another kind of model, and weights that are missing, damaged or incomplete.
        """
        weights = (network_class, self.device, *self.identity().values())
        network = _IN_USE.get(weights)
        if network is None:
            network = _IN_USE[weights] = self._load(network_class, kinds)
        return network

    def _load(self, network_class: str, kinds: Sequence[str]) -> Any:
        library = _transformers()
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


def _transformers() -> Any:
    package_version("torch")
    package_version("transformers")
    import transformers

    logging: Any = transformers.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return transformers


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
        said = f"{self.setting}: {self.source}: {why}; {remedy} in the settings"
        return EngineUnavailable(one_line(without_login(said)))

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
        """In a folder of its own until it is whole, so that a broken download is never taken for the file."""
        import httpx

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                part = Path(folder) / path.name
                with (
                    part.open("wb") as file,
                    httpx.stream("GET", self.source, follow_redirects=True, timeout=60) as answer,
                ):
                    answer.raise_for_status()
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
                if self.source.endswith(".zip"):
                    with zipfile.ZipFile(part) as archive:
                        part.write_bytes(archive.read(path.name))
                os.replace(part, path)
        except (httpx.HTTPError, httpx.InvalidURL, zipfile.BadZipFile, KeyError, OSError) as failure:
            raise self.unavailable(f"it can't be downloaded ({type(failure).__name__}: {failure})") from None
