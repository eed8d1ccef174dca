"""Videos on an object store: listed by pages, told apart by ETag, read by ranges; what fails marks nothing."""

from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.raw_videos.listing import SourceError, list_source
from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import RawVideos, Shards, Source
from curation_assets.shards import Registration, register
from curation_assets.tables import SOURCE_FILES
from resources import object_store
from resources.delta_store import DeltaStore
from resources.errors import InputError, TransientError
from resources.media import VideoSource, read_frames
from resources.object_store import filesystem
from tests import videos
from tests.object_store.faulty_proxy import Fault, Proxy


def put(url: str, content: bytes) -> None:
    filesystem(url).pipe_file(url, content)


def scanned(bucket: str, home: Path) -> Registration:
    return register({"films": Source(path=f"{bucket}/films")}, Shards(), DeltaStore(str(home)), "run")


def table(home: Path) -> pl.DataFrame:
    store = DeltaStore(str(home))
    return store.read(store.open(SOURCE_FILES.name, SOURCE_FILES.schema), list(SOURCE_FILES.schema)).sort("path")


def test_a_folder_is_listed_by_one_request(bucket: str, proxy: Proxy) -> None:
    for name in ("b10.mp4", "b2.mp4", "deep/ä ?#1.MOV", "note.txt"):
        put(f"{bucket}/films/{name}", b"x")
    put(f"{bucket}/films-of-others/c.mp4", b"x")
    proxy.requests.clear()

    entries = list_source(Source(path=f"{bucket}/films/"))
    assert [entry.path for entry in entries] == ["b2.mp4", "b10.mp4", "deep/ä ?#1.MOV"]
    assert entries[2].source_uri == f"{bucket}/films/deep/ä ?#1.MOV"
    assert all(entry.size_bytes == 1 and entry.etag and entry.modified_ns for entry in entries)
    assert len(proxy.requests) == 1
    assert [e.path for e in list_source(Source(path=f"{bucket}/films", recursive=False))] == ["b2.mp4", "b10.mp4"]


def test_a_listing_names_objects_and_files(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "here.mp4").write_bytes(b"here")
    put(f"{bucket}/films/there.mp4", b"there")
    paths = ["there.mp4", f"{bucket}/films/there.mp4", str(tmp_path / "here.mp4"), "gone.mp4", "http://host/a.mp4"]
    put(f"{bucket}/films/list.csv", pl.DataFrame({"video_path": paths}).write_csv().encode())

    found = {entry.path: entry for entry in list_source(Source(path=f"{bucket}/films/list.csv"))}
    assert found["there.mp4"].source_uri == f"{bucket}/films/there.mp4"
    assert {path: found[path].size_bytes for path in paths} == dict(zip(paths, [5, 5, 4, None, None], strict=True))
    assert found["gone.mp4"].error == "no such object; restore it or correct its path"
    assert "only s3:// is read" in str(found["http://host/a.mp4"].error)


def test_a_replaced_object_is_hashed_again_and_an_unchanged_one_is_not_read(
    bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    put(f"{bucket}/films/a.mp4", b"first")
    put(f"{bucket}/films/b.mp4", b"same")
    assert (scanned(bucket, tmp_path).added, scanned(bucket, tmp_path).hashed) == (2, 0)

    put(f"{bucket}/films/a.mp4", b"other")  # of the same size, within the same second
    proxy.requests.clear()
    again = scanned(bucket, tmp_path)
    assert (again.hashed, again.added, again.vanished) == (1, 1, 1)
    assert proxy.count("GET", "b.mp4") == 0


@pytest.mark.parametrize(
    ("source", "fault", "why"),
    [
        ("s3://not-there/films", None, "there is no such bucket"),
        ("{bucket}/nothing", None, "no object lies below it"),
        ("{bucket}/films/a.mp4", None, "an object, neither a folder nor a listing"),
        ("{bucket}/films", Fault(status=403), "access was denied"),
        ("{bucket}/films", Fault(refuse=True), "the connection to it failed|can't be reached"),
        ("s3://user:pass-word@{bucket}/films", None, "credentials belong into AWS_ACCESS_KEY_ID"),
        ("gs://bucket/films", None, "only s3:// is read"),
    ],
)
def test_a_listing_that_fails_marks_nothing(
    bucket: str, proxy: Proxy, tmp_path: Path, source: str, fault: Fault | None, why: str
) -> None:
    put(f"{bucket}/films/a.mp4", b"a")
    scanned(bucket, tmp_path)
    before = table(tmp_path)
    if fault:
        proxy.fault = lambda method, path: fault
    place = source.format(bucket=bucket if source.startswith("{") else bucket.removeprefix("s3://"))
    with pytest.raises(SourceError, match=why) as failure:
        list_source(Source(path=place))
    assert "pass-word" not in str(failure.value)
    report = register({"films": Source(path=place)}, Shards(), DeltaStore(str(tmp_path)), "run")
    assert report.source_errors
    assert table(tmp_path).equals(before)


def test_a_new_content_that_cannot_be_read_now_leaves_the_old_one(bucket: str, proxy: Proxy, tmp_path: Path) -> None:
    put(f"{bucket}/films/a.mp4", b"first")
    for name in "bcd":
        put(f"{bucket}/films/{name}.mp4", name.encode())
    scanned(bucket, tmp_path)
    put(f"{bucket}/films/a.mp4", b"second")

    proxy.fault = lambda method, path: Fault(status=500) if method == "GET" and path.endswith("a.mp4") else None
    scanned(bucket, tmp_path)
    rows = table(tmp_path).filter(path="a.mp4").sort("error", nulls_last=True)
    assert rows.get_column("error_kind").to_list() == ["transient", None]
    assert rows.get_column("missing").to_list() == [False, False]

    proxy.fault = None
    scanned(bucket, tmp_path)
    there = table(tmp_path).filter(pl.col("path") == "a.mp4", ~pl.col("missing"))
    assert there.get_column("error").to_list() == [None]
    assert there.get_column("size_bytes").to_list() == [6]


@pytest.mark.parametrize("make", [videos.plain, videos.raw_h264, videos.avi_h264, videos.late_start, videos.hevc])
def test_an_object_is_probed_and_decoded_as_a_file_is(bucket: str, make) -> None:
    local = str(make())
    url = f"{bucket}/films/{make().name}"
    put(url, make().read_bytes())
    there, here = probe_video(url, RawVideos()), probe_video(local, RawVideos())
    assert there == here

    def source(uri: str) -> VideoSource:
        return VideoSource.from_row({**there, "source_uri": uri})

    whole = [[(frame.pts, frame.rgb()) for frame in read_frames(source(uri))][::7] for uri in (url, local)]
    start, end = whole[0][1][0], whole[0][2][0]
    span = [[(frame.pts, frame.rgb()) for frame in read_frames(source(uri), start, end)] for uri in (url, local)]
    for there_read, here_read in (whole, span):
        assert [pts for pts, _ in there_read] == [pts for pts, _ in here_read]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(there_read, here_read, strict=True))


@pytest.mark.parametrize(
    ("make", "error", "why"),
    [
        (videos.empty, InputError, "the file is empty"),
        (videos.text_file, InputError, "no video container"),
        (videos.truncated, InputError, "cut off or damaged"),
        (None, TransientError, "the file is gone"),
    ],
)
def test_what_is_wrong_with_an_object_is_said_as_of_a_file(bucket: str, make, error: type[Exception], why: str) -> None:
    url = f"{bucket}/films/film.mp4"
    if make:
        put(url, make().read_bytes())
    with pytest.raises(error, match=f"{url}: {why}"):
        probe_video(url, RawVideos())


def test_a_store_that_fails_in_the_middle_is_no_shorter_video(
    bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "READ_BYTES", 50_000)
    url = f"{bucket}/films/bikes.mp4"
    put(url, videos.bikes().read_bytes())
    reads = count()
    proxy.fault = lambda method, path: Fault(status=500) if method == "GET" and next(reads) >= 5 else None
    with pytest.raises(TransientError, match=url):
        probe_video(url, RawVideos())
