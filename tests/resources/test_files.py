"""A file of the home is there whole or not at all."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resources.files import Files

PATH = "frames/shard-0000/clip.zip"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path))


@contextmanager
def no_file_larger_than(size_bytes: int) -> Iterator[None]:
    """As on a full disk: a write stops in the middle of the data."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def on_disk(files: Files) -> list[str]:
    return sorted(entry.name for entry in files.local_path("frames/shard-0000").iterdir())


def test_what_was_written_is_read_back(files: Files) -> None:
    files.write(PATH, b"\0bytes\xff")

    assert files.read(PATH) == b"\0bytes\xff"
    assert files.size(PATH) == 7
    assert files.local_path(PATH).read_bytes() == b"\0bytes\xff"


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(files: Files) -> None:
    files.write(PATH, b"old")

    with no_file_larger_than(10_000), pytest.raises(OSError, match="File too large"):
        files.write(PATH, b"n" * 50_000)

    assert files.read(PATH) == b"old"
    assert on_disk(files) == ["clip.zip"]


def test_a_first_write_that_fails_leaves_no_file(files: Files) -> None:
    with no_file_larger_than(10_000), pytest.raises(OSError, match="File too large"):
        files.write(PATH, b"n" * 50_000)

    assert files.size(PATH) is None
    assert on_disk(files) == []


KILLED_WRITER = """
import os, signal, sys
from resources.files import Files

os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
Files(sys.argv[1]).write(sys.argv[2], b"new" * 100_000)
"""


def test_a_writer_killed_in_the_middle_leaves_the_old_content_and_is_not_listed(files: Files) -> None:
    files.write(PATH, b"old")

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(files.root), PATH], env=environment)

    assert ended.returncode == -signal.SIGKILL
    assert len(on_disk(files)) == 2  # the unfinished file is there, under another name
    assert files.read(PATH) == b"old"
    assert files.listing("frames/shard-0000") == [PATH]


def test_a_listing_names_the_files_that_are_whole(files: Files) -> None:
    for name in ("b.parquet", "a.parquet"):
        files.write(f"staging/scenes/{name}", b"x")
    files.local_path("staging/scenes/.c.parquet.1234.partial").write_bytes(b"unfinished")

    assert files.listing("staging/scenes") == ["staging/scenes/a.parquet", "staging/scenes/b.parquet"]
    assert files.listing("staging/nothing") == []


def test_deleting_what_is_not_there_is_no_error(files: Files) -> None:
    files.write(PATH, b"x")

    files.delete(PATH)
    files.delete(PATH)

    assert files.size(PATH) is None
