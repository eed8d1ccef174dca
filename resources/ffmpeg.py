"""The ffmpeg program: which one, and how it is run on untrusted files."""

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import IO

from resources.errors import EngineUnavailable, InputError, TransientError
from resources.spent import spent

_OLDEST_MAJOR_VERSION = 7
_FIRST_LINES = 3
_LAST_LINES = 2
_LINE_CHARACTERS = 300
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_SIGNS_OF_A_FULL_DISK = ("No space left on device", "File too large", "Disk quota exceeded")
_SIGNS_OF_NO_MEMORY = ("failed to map segment", "Cannot allocate memory", "malloc of size", "pthread_create() failed")


@dataclass(frozen=True)
class Limits:
    """What one run may use: wall-clock seconds, and bytes of address space."""

    timeout_s: float
    memory_bytes: int


@cache
def ffmpeg_program() -> str:
    """Path of the ffmpeg to run: the system's if it is recent and has x264, else the one in imageio-ffmpeg.

    Raises EngineUnavailable when there is neither.
    """
    system = shutil.which("ffmpeg")
    if system and _is_usable(system):
        return system
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as failure:
        raise EngineUnavailable(
            f"no ffmpeg program: none of version {_OLDEST_MAJOR_VERSION} or later with libx264 on PATH, "
            f"and imageio-ffmpeg has none ({failure}); install ffmpeg or imageio-ffmpeg"
        ) from None


def _is_usable(program: str) -> bool:
    try:
        about = subprocess.run(
            [program, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    release = re.match(r"ffmpeg version n?(\d+)\.", about)  # builds between releases carry no such number
    return "--enable-libx264" in about and (release is None or int(release[1]) >= _OLDEST_MAJOR_VERSION)


@spent("encoding")
def run_ffmpeg(arguments: Sequence[str], limits: Limits) -> None:
    """Run ffmpeg without a shell or stdin, within `limits`.

    It stays in the caller's process group, so whatever stops the caller's group stops it too.

    Raises TransientError when time, memory or disk ran out, InputError (with what ffmpeg said) for any other
    failure, EngineUnavailable when there is no ffmpeg.
    """
    command = [ffmpeg_program(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "FFREPORT"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**environment, "LC_ALL": "C"},
    ) as process:
        try:
            _limit_memory(process.pid, limits.memory_bytes)
            first: list[str] = []
            last: deque[str] = deque(maxlen=_LAST_LINES)
            assert process.stderr is not None
            reader = threading.Thread(target=_keep_lines, args=(process.stderr, first, last), daemon=True)
            reader.start()
            process.wait(limits.timeout_s)
            reader.join()
        except subprocess.TimeoutExpired:
            raise TransientError(f"ffmpeg took longer than {limits.timeout_s:g} s and was stopped") from None
        finally:
            process.kill()
    if process.returncode:
        raise _failure(process.returncode, " | ".join([*first, *last]))


def _limit_memory(pid: int, memory_bytes: int) -> None:
    with suppress(ProcessLookupError):  # it has ended
        _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
        limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))


def _keep_lines(stream: IO[bytes], first: list[str], last: deque[str]) -> None:
    """The first lines mostly hold the cause; a damaged source can write gigabytes after them."""
    while line := stream.readline(_LINE_CHARACTERS):
        if text := _ADDRESS.sub("", line.decode("utf-8", "replace")).strip():
            if len(first) < _FIRST_LINES:
                first.append(text)
            else:
                last.append(text)


def _failure(status: int, said: str) -> Exception:
    said = said or "it said nothing"
    # ffmpeg exits with the low byte of a negative errno.
    if status in (256 - errno.ENOSPC, -signal.SIGXFSZ) or any(sign in said for sign in _SIGNS_OF_A_FULL_DISK):
        return TransientError(f"ffmpeg ran out of disk space, free some ({said})")
    if status == 256 - errno.ENOMEM or any(sign in said for sign in _SIGNS_OF_NO_MEMORY):
        return TransientError(f"ffmpeg needed more memory than execution.item_memory_bytes allows ({said})")
    if status < 0:
        return TransientError(f"ffmpeg died by signal {-status}, perhaps out of memory ({said})")
    return InputError(f"ffmpeg failed with status {status} ({said})")
