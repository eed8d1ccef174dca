"""S3-compatible storage through fsspec: one client a thread, errors in one sentence, objects as files.

Credentials, region and endpoint come from the usual AWS_* variables, here and in the libraries that read tables.
"""

import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec

from resources.errors import EngineUnavailable, InputError, TransientError
from resources.spent import spent

# Reads in large pieces: a request costs as much time as a megabyte or more.
READ_BYTES = 4 << 20

# The client repeats what fails before an answer; s3fs on top also answers that break off. Both wait longer each time.
_ATTEMPTS = 3
_REPEATS = 3
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "use_listings_cache": False,  # others write, too
        "config_kwargs": {
            "connect_timeout": 5,
            "read_timeout": 30,
            "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
        },
    }
}

# What a client's message says -> cause and remedy. The first that matches.
_CAUSES = (
    (r"NoSuchBucket", "there is no such bucket", "create it, or correct its name"),
    (
        r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|Forbidden|PermissionError|credentials",
        "access was denied",
        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and the bucket's policy",
    ),
    (r"SlowDown|\b503\b|\b429\b", "the store asks to slow down", "run again later or with fewer workers"),
    (
        r"refused|resolve|dns error|Name or service|Could not connect|EndpointConnectionError|URL scheme",
        "the store can't be reached",
        "check AWS_ENDPOINT_URL, AWS_ALLOW_HTTP for an http:// address, and that the store is up",
    ),
    (r"FileExpired|PreconditionFailed|\b412\b", "it changed while it was read", "register the source again"),
)
_OTHERWISE = ("the store or the connection to it failed", "run again; finished rows are kept")
_BEFORE_IT_IS_LOCKED_S = 60.0
_NOISE = re.compile(r"\x1b\[[0-9;]*m|<\?xml[^>]*>|<(RequestId|HostId)>[^<]*</\1>")
_MESSAGE_CHARACTERS = 300


def is_url(place: str) -> bool:
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", place) is not None


def refusal(url: str) -> str | None:
    """Why a URL is not used: it isn't S3's, or holds what may be a secret and would end up in tables."""
    scheme, _, rest = url.partition("://")
    if scheme != "s3":
        return f"of URLs only s3:// is read, not {scheme}://; copy the files"
    if "@" in rest.partition("/")[0]:
        return "a user or password in a URL; credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return None


def filesystem(url: str) -> fsspec.AbstractFileSystem:
    """The client for a URL. Raises EngineUnavailable where its package is missing."""
    protocol = url.partition("://")[0].lower()
    try:
        client = fsspec.filesystem(protocol, **_OPTIONS.get(protocol, {}))
    except (ImportError, ValueError) as failure:
        raise EngineUnavailable(f"{url}: {protocol}:// needs a package: {failure}; install reelhouse[s3]") from None
    client.retries = _REPEATS
    return client


def unavailable(place: str, failure: BaseException) -> TransientError:
    """The sentence for an error of any client: what, why, what to do."""
    causes: list[str] = []
    cause: BaseException | None = failure
    while cause is not None and len(causes) < 4:
        causes.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__
    said = " ".join(_NOISE.sub(" ", str(failure)).split()) or type(failure).__name__
    everything = " ".join(causes)
    why, remedy = next((found[1:] for found in _CAUSES if re.search(found[0], everything, re.IGNORECASE)), _OTHERWISE)
    if len(said) > _MESSAGE_CHARACTERS:
        said = f"...{said[-_MESSAGE_CHARACTERS:]}"  # the first cause stands at the end
    return TransientError(f"{place}: {why} ({said}); {remedy}")


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turns what the client raises into TransientError, but for FileNotFoundError: no such object, in a bucket."""
    try:
        yield
    except (InputError, TransientError, EngineUnavailable):
        raise
    except Exception as failure:  # the client's, botocore's, aiohttp's
        if isinstance(failure, FileNotFoundError) and "NoSuchBucket" not in str(_response(failure)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from None
        raise unavailable(url, failure) from None


def _response(failure: BaseException) -> Any:
    return getattr(failure.__cause__, "response", None)


def objects(folder: str, recursive: bool = True) -> dict[str, dict[str, Any]]:
    """URL -> client's description (`size`, `ETag`, `LastModified`) of what lies below `folder`; paged requests."""
    client = filesystem(folder)
    with reaching(folder):
        found = client.find(folder, detail=True, maxdepth=None if recursive else 1)
    scheme = folder.partition("://")[0]
    return {f"{scheme}://{name.lstrip('/')}": about for name, about in found.items()}


def object_size(url: str) -> int:
    """Bytes. Raises FileNotFoundError, TransientError."""
    with reaching(url):
        return int(filesystem(url).size(url))


def read_bytes(place: str) -> bytes:
    """The content of a file or an object. Raises OSError, TransientError."""
    if not is_url(place):
        return Path(place).read_bytes()
    with reaching(place):
        return bytes(filesystem(place).cat_file(place))


class ObjectFile:
    """An object as a file for reading.

    Remembers a failure, since a decoder takes a read that failed for the end of the file.
    """

    def __init__(self, file: Any, url: str) -> None:
        self._file = file
        self._url = url
        self.name = url
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            with reaching(self._url):
                return bytes(self._file.read(size))
        except Exception as failure:
            self.failure = failure
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


@contextmanager
def open_object(url: str) -> Iterator[ObjectFile]:
    """Read an object by ranges, each of one version of it: one that is replaced meanwhile is an error.

    Raises FileNotFoundError, and TransientError at the latest when the block ends.
    """
    with reaching(url):
        opened = filesystem(url).open(url, "rb", block_size=READ_BYTES, cache_type="readahead")
    with opened:
        file = ObjectFile(opened, url)
        try:
            yield file
        except Exception:
            if file.failure is None:
                raise
        if file.failure is not None:
            raise file.failure


_copy: tuple[str, IO[bytes]] | None = None


@spent("reading")
def local_copy(url: str) -> Path:
    """Path of a copy on this machine's disk, for programs that read only files.

    A process keeps the newest copy alone, so the clips of a video, which come one after another, share one. It has no
    name in any folder and is gone with the process. Raises FileNotFoundError, TransientError.
    """
    global _copy
    client = filesystem(url)
    with reaching(url):
        about = client.info(url)
    version = f"{url} {about.get('ETag')} {about['size']}"
    if _copy is None or _copy[0] != version:
        if _copy is not None:
            _copy[1].close()
            _copy = None
        file = tempfile.TemporaryFile()  # noqa: SIM115 - stays open as long as the copy is wanted
        try:
            with reaching(url), _room_for(url):
                client.get_file(url, _path(file))
            if os.fstat(file.fileno()).st_size != about["size"]:
                raise TransientError(f"{url}: it changed while it was copied; register the source again")
        except BaseException:
            file.close()
            raise
        _copy = version, file
    return Path(_path(_copy[1]))


@contextmanager
def _room_for(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        folder = tempfile.gettempdir()
        raise TransientError(f"{url}: no room for a copy in {folder}; make room there, or set TMPDIR") from None


def _path(file: IO[bytes]) -> str:
    return f"/proc/{os.getpid()}/fd/{file.fileno()}"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder on this machine's disk that is deleted at the end; those of killed processes go now."""
    for left in Path(tempfile.gettempdir()).glob(f"reelhouse-{os.getuid()}-*"):
        with suppress(OSError):
            if left.stat().st_mtime < time.time() - _BEFORE_IT_IS_LOCKED_S:
                with _locked(left):  # refused while its process lives
                    shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f"reelhouse-{os.getuid()}-") as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
