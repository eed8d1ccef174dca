"""Files under the home: written whole or not at all, never changed in place."""

import os
import uuid
from pathlib import Path

from upath import UPath


class Files:
    """Paths are relative to `root`, a local folder or an object store's URL."""

    def __init__(self, root: str) -> None:
        local = "://" not in root
        self.root = UPath(Path(root).absolute() if local else root)
        self.is_local = local

    def path(self, relative: str) -> UPath:
        return self.root / relative

    def local_path(self, relative: str) -> Path:
        """Where a program that knows only files can open or write it."""
        return Path(str(self.path(relative)))

    def size(self, relative: str) -> int | None:
        """Bytes, or None where there is no such file."""
        try:
            return int(self.path(relative).stat().st_size)
        except FileNotFoundError:
            return None

    def read(self, relative: str) -> bytes:
        return bytes(self.path(relative).read_bytes())

    def write(self, relative: str, data: bytes) -> None:
        """Write all of `data` or nothing: under another name, flushed to disk, then renamed."""
        target = self.path(relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self.is_local:
            target.write_bytes(data)
            return
        scratch = Path(str(target)).with_name(f".{target.name}.{os.getpid()}.{uuid.uuid4().hex}.partial")
        try:
            with scratch.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(str(target))
        except OSError as failure:
            raise OSError(failure.errno, failure.strerror, str(target)) from None
        finally:
            scratch.unlink(missing_ok=True)

    def listing(self, folder: str) -> list[str]:
        """Files directly in `folder`, as relative paths, sorted; unfinished ones left out."""
        place = self.path(folder)
        if not place.exists():
            return []
        return sorted(f"{folder}/{entry.name}" for entry in place.iterdir() if not entry.name.startswith("."))

    def delete(self, relative: str) -> None:
        self.path(relative).unlink(missing_ok=True)

    def delete_abandoned(self, folder: str) -> None:
        """Delete unfinished files in `folder` whose writer is no longer alive on this machine."""
        if not self.is_local or not self.path(folder).exists():
            return
        for entry in Path(str(self.path(folder))).glob(".*.partial"):
            if not Path("/proc", entry.name.split(".")[-3]).exists():
                entry.unlink(missing_ok=True)
