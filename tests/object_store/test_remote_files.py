"""Files of a home on an object store: whole, listed in pages, and errors that name cause and remedy."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from resources.errors import TransientError
from resources.files import Files
from resources.object_store import filesystem, local_copy, open_object
from tests.object_store.faulty_proxy import Fault, Proxy

PATH = "frames/films-0000/clip.zip"


def test_what_was_written_is_read_listed_and_deleted(bucket: str) -> None:
    files = Files(f"{bucket}/home/")
    files.write(PATH, b"\0bytes\xff")
    files.write("frames/films-0000/deeper/other.zip", b"x")

    assert files.url(PATH) == f"{bucket}/home/{PATH}"
    assert files.read(PATH) == b"\0bytes\xff"
    assert files.size(PATH) == 7
    assert files.sizes("frames/films-0000") == {PATH: 7}
    assert files.listing("frames/films-0000") == [PATH]
    files.delete(PATH)
    files.delete(PATH)
    assert files.size(PATH) is None
    assert files.sizes("frames/films-0000") == {}
    with pytest.raises(FileNotFoundError, match=PATH):
        files.read(PATH)


def test_a_shard_is_listed_by_one_request_for_a_thousand_files(bucket: str, proxy: Proxy) -> None:
    files = Files(f"{bucket}/home")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: files.write(f"frames/films-0000/{n}.zip", b"x"), range(1005)))
    proxy.requests.clear()

    assert len(files.sizes("frames/films-0000")) == 1005
    assert [request.method for request in proxy.requests] == ["GET", "GET"]


def test_a_file_that_a_program_made_is_sent_once_it_is_whole(bucket: str, proxy: Proxy) -> None:
    files = Files(f"{bucket}/home")
    with suppress(RuntimeError), files.new_file("clips/a.mp4") as made:
        made.write_bytes(b"half")
        raise RuntimeError
    assert proxy.count("PUT", "clips/") == 0

    with files.new_file("clips/a.mp4") as made:
        made.write_bytes(b"whole")
    assert files.read("clips/a.mp4") == b"whole"
    assert proxy.count("PUT", "clips/") == 1
    assert not made.parent.exists()


@pytest.mark.parametrize("status", [500, 503])
def test_a_request_that_fails_for_a_moment_is_repeated(bucket: str, proxy: Proxy, status: int) -> None:
    files = Files(f"{bucket}/home")
    failing = iter([Fault(status=status), Fault(refuse=True)])
    proxy.fault = lambda method, path: next(failing, None)
    files.write(PATH, b"content")
    assert files.read(PATH) == b"content"


def test_an_answer_that_breaks_off_is_read_again(bucket: str, proxy: Proxy) -> None:
    content = bytes(range(256)) * 4096
    filesystem(bucket).pipe_file(f"{bucket}/film.mp4", content)
    cuts = iter([Fault(cut_after=100_000)])
    proxy.fault = lambda method, path: next(cuts, None) if method == "GET" else None
    with open_object(f"{bucket}/film.mp4") as file:
        assert file.read() == content


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(status=403), "access was denied .*check AWS_ACCESS_KEY_ID"),
        (Fault(status=503), "asks to slow down .*run again later or with fewer workers"),
        (Fault(refuse=True), "the connection to it failed|can't be reached"),
    ],
)
def test_a_lasting_failure_is_one_sentence_about_the_object(bucket: str, proxy: Proxy, fault: Fault, why: str) -> None:
    files = Files(f"{bucket}/home")
    proxy.fault = lambda method, path: fault
    with pytest.raises(TransientError, match=f"{bucket}/home/{PATH}: .*({why})"):
        files.read(PATH)


def test_a_bucket_that_is_not_there_is_no_empty_folder(bucket: str) -> None:
    with pytest.raises(TransientError, match=r"s3://not-there/home/frames: there is no such bucket .*create it"):
        Files("s3://not-there/home").sizes("frames")


def test_a_failure_in_the_middle_is_no_end_of_the_file(bucket: str, proxy: Proxy) -> None:
    filesystem(bucket).pipe_file(f"{bucket}/film.mp4", bytes(10_000_000))

    def read_past_a_failure() -> None:
        with open_object(f"{bucket}/film.mp4") as file:
            file.read(1000)
            proxy.fault = lambda method, path: Fault(status=500)
            file.seek(9_000_000)
            with suppress(TransientError):  # as a decoder, which takes it for the end of the file
                file.read(1000)

    with pytest.raises(TransientError, match="film"):
        read_past_a_failure()


def test_a_copy_serves_until_the_object_changes(bucket: str, proxy: Proxy) -> None:
    url = f"{bucket}/film.mp4"
    filesystem(bucket).pipe_file(url, b"first")
    proxy.requests.clear()
    assert local_copy(url).read_bytes() == local_copy(url).read_bytes() == b"first"
    assert proxy.count("GET", "film.mp4") == 1

    filesystem(bucket).pipe_file(url, b"other")
    copy = local_copy(url)
    assert copy.read_bytes() == b"other"
    assert " (deleted)" in str(Path(copy).readlink())
