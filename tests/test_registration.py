"""Every file gets a row, a video its shard for good, and no outage is taken for a removal."""

import json
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.raw_videos.listing import content_id
from curation_assets.settings import Shards, Source
from curation_assets.shards import Registration, register
from curation_assets.tables import SOURCE_FILES
from resources.delta_store import DeltaStore

Row = dict[str, Any]
VIDEO_SUFFIXES = ["mp4", "webm", "mkv", "avi", "flv", "mov", "rmvb", "ts", "m4v", "mpg", "MP4", "Mov"]
IMAGE_SUFFIXES = ["png", "webp", "jpg", "jpeg", "bmp", "gif", "JPG"]


@dataclass
class Library:
    """A folder of videos as its owner sees it."""

    folder: Path
    store: DeltaStore
    limits: Shards = field(default_factory=Shards)
    others: dict[str, Source] = field(default_factory=dict)

    def add(self, name: str, content: str | None = None) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content or f"video {name}")
        return path

    def scan(self, **source: Any) -> Registration:
        named = {"path": str(self.folder), **source}
        return register({"films": Source(**named), **self.others}, self.limits, self.store, "run")

    def rows(self, source: str = "films") -> list[Row]:
        table = self.store.read(self.store.open(SOURCE_FILES.name, SOURCE_FILES.schema), list(SOURCE_FILES.schema))
        return table.filter(source=source).sort(SOURCE_FILES.key).to_dicts()

    def by_path(self) -> dict[str, Row]:
        """Rows of what is there now."""
        return {row["path"]: row for row in self.rows() if not row["missing"]}

    def shards(self) -> dict[str, str]:
        return {row["path"]: row["shard"] for row in self.rows()}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    folder = tmp_path / "films"
    folder.mkdir()
    return Library(folder, DeltaStore(str(tmp_path / "home")))


def test_every_video_and_image_suffix_is_found_and_nothing_else(library: Library) -> None:
    media_types = dict.fromkeys(VIDEO_SUFFIXES, "video") | dict.fromkeys(IMAGE_SUFFIXES, "image")
    for suffix in media_types:
        library.add(f"a.{suffix}")
    for name in ("notes.txt", "cover.psd", "mp4", "a.mp4.part"):
        library.add(name)

    assert library.scan().files == len(media_types)
    found = {row["path"]: row["media_type"] for row in library.rows()}
    assert found == {f"a.{suffix}": media_type for suffix, media_type in media_types.items()}

    library.limits = Shards(max_lost_share=1)
    library.scan(media_types=["image"])
    assert {row["path"] for row in library.by_path().values()} == {f"a.{suffix}" for suffix in IMAGE_SUFFIXES}


@pytest.mark.parametrize(("recursive", "found"), [(True, {"a.mp4", "x/b.mp4", "x/y/c.mp4"}), (False, {"a.mp4"})])
def test_folders_below_are_looked_into_where_asked(library: Library, recursive: bool, found: set[str]) -> None:
    for name in ("a.mp4", "x/b.mp4", "x/y/c.mp4"):
        library.add(name)

    library.scan(recursive=recursive)

    assert set(library.by_path()) == found


ODD_NAMES = [
    "a b.mp4",
    "o'k.mp4",
    'say "x".mp4',
    "Zürich.mp4",
    "日本/映画.mp4",
    "two\nlines.mp4",
    "<b>.mp4",
    "-rf.mp4",
    "%20.mp4",
]


def test_odd_names_are_kept_as_they_are(library: Library) -> None:
    paths = {name: library.add(name) for name in ODD_NAMES}

    library.scan()

    rows = library.by_path()
    assert set(rows) == set(ODD_NAMES)
    for name, path in paths.items():
        assert rows[name]["error"] is None
        assert rows[name]["source_uri"] == str(path)
        assert rows[name]["video_id"] == content_id(str(path))
        assert rows[name]["size_bytes"] == path.stat().st_size


def test_a_name_that_is_not_utf8_gets_a_row_with_the_remedy(library: Library) -> None:
    library.add("good.mp4")
    (library.folder / os.fsdecode(b"caf\xe9.mp4")).write_text("video")

    found = library.scan()

    rows = library.by_path()
    assert rows["caf\\xe9.mp4"]["error"] == "the file name is not UTF-8; rename the file"
    assert rows["caf\\xe9.mp4"]["error_kind"] == "input"
    assert rows["good.mp4"]["error"] is None
    assert found.failures == [("caf\\xe9.mp4", rows["caf\\xe9.mp4"]["error"])]


def test_links_may_point_inside_the_folder_but_not_leave_it(library: Library, tmp_path: Path) -> None:
    library.add("x/real.mp4")
    outside = tmp_path / "secret.mp4"
    outside.write_text("secret")
    (library.folder / "inside.mp4").symlink_to(library.folder / "x/real.mp4")
    (library.folder / "outside.mp4").symlink_to(outside)
    (library.folder / "up.mp4").symlink_to("../secret.mp4")

    library.scan()

    rows = library.by_path()
    assert rows["inside.mp4"]["video_id"] == rows["x/real.mp4"]["video_id"]
    for name in ("outside.mp4", "up.mp4"):
        assert rows[name]["error"].startswith("a link that leaves the source's folder; copy the file")
        assert rows[name]["video_id"] != content_id(str(outside))


def test_a_source_reached_through_a_link_is_the_folder_it_points_to(library: Library, tmp_path: Path) -> None:
    library.add("a.mp4")
    (tmp_path / "link").symlink_to(library.folder)

    library.scan(path=str(tmp_path / "link"))

    assert library.by_path()["a.mp4"]["error"] is None


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.symlink_to("nothing.mp4")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_fifo, "not a regular file; remove it from the source"),
        (_dangling, "No such file or directory; restore the file or correct its path"),
        (_loop, "Too many levels of symbolic links; restore the file or correct its path"),
    ],
)
def test_what_is_no_readable_file_gets_a_row_with_its_error(
    library: Library, make: Callable[[Path], None], why: str
) -> None:
    library.add("good.mp4")
    make(library.folder / "bad.mp4")

    first = library.scan()
    again = library.scan()

    bad = library.by_path()["bad.mp4"]
    assert (bad["error"], bad["error_kind"]) == (why, "input")
    assert bad["shard"] == library.by_path()["good.mp4"]["shard"]
    assert first.failures == again.failures == [("bad.mp4", why)]
    assert again.version == first.version


def test_a_file_that_breaks_off_while_it_is_read_gets_a_row_with_its_error(library: Library) -> None:
    library.add("a.mp4")
    listing = library.folder / "listing.csv"
    listing.write_text("video_path\na.mp4\n/proc/self/mem\n")

    found = library.scan(path=str(listing))

    assert library.by_path()["/proc/self/mem"]["error"] == "Input/output error; make the file readable"
    assert library.by_path()["a.mp4"]["error"] is None
    assert found.unreadable == 1


def test_a_file_that_became_readable_is_a_video_like_any_other(library: Library) -> None:
    library.add("good.mp4")
    _dangling(library.folder / "a.mp4")
    library.scan()

    (library.folder / "a.mp4").unlink()
    path = library.add("a.mp4")
    found = library.scan()

    assert library.by_path()["a.mp4"]["video_id"] == content_id(str(path))
    assert library.by_path()["a.mp4"]["error"] is None
    assert (found.source_errors, found.failures) == ([], [])


def test_a_folder_named_like_a_video_is_a_folder(library: Library) -> None:
    library.add("season.mp4/one.mp4")

    library.scan()

    assert set(library.by_path()) == {"season.mp4/one.mp4"}


LISTED: list[Mapping[str, Any]] = [
    {"video_path": "a.mp4", "title": "<b>A</b>", "year": "1999"},
    {"video_path": "x/b.mp4", "title": "B", "year": None},
]


def _write_listing(path: Path, rows: list[Mapping[str, Any]]) -> None:
    write = {".csv": "write_csv", ".jsonl": "write_ndjson", ".parquet": "write_parquet"}[path.suffix]
    getattr(pl.DataFrame(rows), write)(path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_listing_names_videos_and_its_other_columns_are_kept(library: Library, suffix: str) -> None:
    for name in ("a.mp4", "x/b.mp4", "unlisted.mp4"):
        library.add(name)
    listing = library.folder / f"listing.{suffix}"
    _write_listing(listing, LISTED)

    library.scan(path=str(listing))

    rows = library.by_path()
    assert {path: json.loads(row["listing"]) for path, row in rows.items()} == {
        "a.mp4": {"title": "<b>A</b>", "year": "1999"},
        "x/b.mp4": {"title": "B", "year": None},
    }
    assert rows["a.mp4"]["video_id"] == content_id(str(library.folder / "a.mp4"))


def test_a_listing_may_lie_apart_and_name_its_path_column(library: Library, tmp_path: Path) -> None:
    elsewhere = library.add("a.mp4")
    listing = tmp_path / "listing.csv"
    _write_listing(listing, [{"file": "a.mp4"}, {"file": str(elsewhere)}, {"file": "a.mp4"}])

    library.scan(path=str(listing), path_column="file", folder=str(library.folder))

    assert {path: row["source_uri"] for path, row in library.by_path().items()} == {
        "a.mp4": str(elsewhere),
        str(elsewhere): str(elsewhere),
    }


def test_a_listing_with_a_byte_order_mark_is_read(library: Library) -> None:
    library.add("a.mp4")
    listing = library.folder / "listing.csv"
    listing.write_text("video_path,title\na.mp4,A\n", encoding="utf-8-sig")

    assert library.scan(path=str(listing)).source_errors == []
    assert set(library.by_path()) == {"a.mp4"}


def test_rows_of_a_listing_without_a_usable_file_get_their_error(library: Library) -> None:
    library.add("a.mp4")
    listing = library.folder / "listing.csv"
    listing.write_text("video_path,title\na.mp4,A\ngone.mp4,B\n,C\n")

    library.scan(path=str(listing))

    assert {path: row["error"] for path, row in library.by_path().items()} == {
        "a.mp4": None,
        "gone.mp4": "No such file or directory; restore the file or correct its path",
        "row 3": "row 3 of listing.csv has no path; fill it in",
    }


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("x.csv", "file,title\na.mp4,A\n", r"x\.csv: no column 'video_path' \(it has file, title\); set path_column"),
        ("x.csv", "", r"x\.csv: can't be read as csv: "),
        ("x.jsonl", "{broken", r"x\.jsonl: can't be read as jsonl: "),
        ("x.parquet", "no parquet", r"x\.parquet: can't be read as parquet: "),
        ("x.txt", "a.mp4", r"x\.txt: neither a folder nor a listing; name a folder of videos or a \.csv"),
    ],
)
def test_a_listing_that_cannot_be_read_says_why(library: Library, name: str, content: str, why: str) -> None:
    (library.folder / name).write_text(content)

    (error,) = library.scan(path=str(library.folder / name)).source_errors

    assert error.startswith("source films: ")
    assert re.search(why, error)
    assert library.rows() == []


def test_equal_files_are_one_video_with_two_paths_in_one_shard(library: Library) -> None:
    library.limits = Shards(videos_per_shard=1)
    library.add("a.mp4", "same")
    library.add("b.mp4", "other")
    library.add("c.mp4", "same")

    library.scan()

    rows = library.by_path()
    assert rows["a.mp4"]["video_id"] == rows["c.mp4"]["video_id"]
    assert rows["a.mp4"]["shard"] == rows["c.mp4"]["shard"] != rows["b.mp4"]["shard"]


def test_a_renamed_video_keeps_its_id_and_shard(library: Library) -> None:
    library.limits = Shards(videos_per_shard=1)
    library.add("a.mp4")
    library.add("b.mp4")
    library.scan()
    before = library.by_path()

    (library.folder / "b.mp4").rename(library.folder / "renamed.mp4")
    found = library.scan()

    after = library.by_path()
    assert set(after) == {"a.mp4", "renamed.mp4"}
    assert [after["renamed.mp4"][name] for name in ("video_id", "shard")] == [
        before["b.mp4"][name] for name in ("video_id", "shard")
    ]
    assert (found.added, found.vanished, found.shards) == (1, 1, ["films-0000", "films-0001"])


def test_a_replaced_file_is_a_new_video_and_the_old_one_is_marked(library: Library) -> None:
    library.add("a.mp4", "old")
    library.scan()
    old = library.by_path()["a.mp4"]

    library.add("a.mp4", "longer new")
    library.scan()

    new = library.by_path()["a.mp4"]
    assert new["video_id"] == content_id(str(library.folder / "a.mp4")) != old["video_id"]
    (marked,) = [row for row in library.rows() if row["missing"]]
    assert marked["video_id"] == old["video_id"]
    assert marked["missing_since"] is not None


def test_a_file_of_the_same_size_is_hashed_again_when_its_time_changed(library: Library) -> None:
    path = library.add("a.mp4", "one")
    library.scan()

    path.write_text("two")
    os.utime(path, ns=(1, 1_600_000_000_000_000_000))
    library.scan()

    assert library.by_path()["a.mp4"]["video_id"] == content_id(str(path))


def test_a_removed_file_is_marked_and_is_itself_again_when_it_comes_back(library: Library) -> None:
    path = library.add("a.mp4")
    for number in range(3):
        library.add(f"b{number}.mp4")
    library.scan()
    before = library.by_path()["a.mp4"]

    path.unlink()
    assert library.scan().vanished == 1
    assert "a.mp4" not in library.by_path()

    library.add("a.mp4")
    library.scan()
    after = library.by_path()["a.mp4"]
    assert {k: v for k, v in after.items() if k != "modified_at"} == {
        k: v for k, v in before.items() if k != "modified_at"
    }


def test_shards_fill_up_and_known_videos_stay_in_theirs(library: Library) -> None:
    library.limits = Shards(videos_per_shard=2)
    for number in range(5):
        library.add(f"clip{number}.mp4")
    first = library.scan()
    before = library.shards()

    for number in range(5, 8):
        library.add(f"clip{number}.mp4")
    (library.folder / "clip0.mp4").unlink()
    second = library.scan()
    after = library.shards()

    assert list(before.values()) == ["films-0000"] * 2 + ["films-0001"] * 2 + ["films-0002"]
    assert {path: after[path] for path in before} == before
    assert [after[f"clip{n}.mp4"] for n in (5, 6, 7)] == ["films-0002", "films-0003", "films-0003"]
    assert first.touched == ["films-0000", "films-0001", "films-0002"]
    assert second.touched == ["films-0002", "films-0003"]
    assert second.shards == [f"films-{n:04d}" for n in range(4)]


def test_another_shard_size_applies_to_new_videos_only(library: Library) -> None:
    library.limits = Shards(videos_per_shard=3)
    for number in range(4):
        library.add(f"clip{number}.mp4")
    library.scan()
    before = library.shards()

    library.limits = Shards(videos_per_shard=1)
    library.add("clip4.mp4")
    library.scan()

    assert library.shards() == {**before, "clip4.mp4": "films-0002"}


def test_videos_are_put_into_shards_in_natural_order(library: Library) -> None:
    library.limits = Shards(videos_per_shard=2)
    for number in (1, 2, 10, 11):
        library.add(f"clip{number}.mp4")

    library.scan()

    shards = library.shards()
    assert shards["clip1.mp4"] == shards["clip2.mp4"] == "films-0000"
    assert shards["clip10.mp4"] == shards["clip11.mp4"] == "films-0001"


def test_an_unchanged_library_hashes_nothing_and_writes_no_version(library: Library) -> None:
    for number in range(3):
        library.add(f"clip{number}.mp4")
    first = library.scan()

    second = library.scan()

    assert (first.hashed, first.added) == (3, 3)
    assert (second.hashed, second.added, second.vanished) == (0, 0, 0)
    assert second.version == first.version
    assert second.data_version == first.data_version


def test_a_new_video_rewrites_its_shard_alone(library: Library) -> None:
    library.limits = Shards(videos_per_shard=2)
    for number in range(5):
        library.add(f"{number}.mp4")
    library.scan()
    before = set(library.store.snapshot(SOURCE_FILES.name).file_uris())

    library.add("5.mp4")
    library.scan()

    after = set(library.store.snapshot(SOURCE_FILES.name).file_uris())
    assert [len(before), len(after), len(after - before)] == [3, 3, 1]
    assert library.shards()["5.mp4"] == "films-0002"


def test_a_changed_column_of_the_listing_is_taken_over_without_hashing(library: Library) -> None:
    library.add("a.mp4")
    listing = library.folder / "listing.csv"
    listing.write_text("video_path,title\na.mp4,A\n")
    library.scan(path=str(listing))

    listing.write_text("video_path,title\na.mp4,B\n")
    found = library.scan(path=str(listing))

    assert found.hashed == 0
    assert json.loads(library.by_path()["a.mp4"]["listing"]) == {"title": "B"}


def _remove(path: Path) -> None:
    path.unlink()


def _make_unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.mp4")


@pytest.mark.parametrize("lose", [_remove, _make_unreadable])
def test_losing_many_files_at_once_is_an_error_that_marks_nothing(
    library: Library, lose: Callable[[Path], None]
) -> None:
    paths = [library.add(f"clip{number}.mp4") for number in range(20)]
    first = library.scan()

    for path in paths[:3]:
        lose(path)
    found = library.scan()

    (error,) = found.source_errors
    assert error.startswith("source films: 3 of 20 files are gone or unreadable, for example 'clip0.mp4'; nothing")
    assert "shards.max_lost_share to 0.15" in error
    assert found.version == first.version
    assert len(library.by_path()) == 20

    library.limits = Shards(max_lost_share=0.15)
    assert library.scan().source_errors == []
    assert sum(row["missing"] for row in library.rows()) == 3


def test_a_listing_whose_disk_is_not_mounted_marks_nothing(library: Library, tmp_path: Path) -> None:
    for number in range(4):
        library.add(f"clip{number}.mp4")
    listing = tmp_path / "listing.csv"
    _write_listing(listing, [{"video_path": f"clip{number}.mp4"} for number in range(4)])
    library.scan(path=str(listing), folder=str(library.folder))

    library.folder.rename(tmp_path / "unmounted")
    found = library.scan(path=str(listing), folder=str(library.folder))

    assert found.source_errors[0].startswith("source films: 4 of 4 files are gone or unreadable")
    assert not any(row["missing"] for row in library.rows())


def test_one_or_ten_percent_may_go(library: Library) -> None:
    paths = [library.add(f"clip{number}.mp4") for number in range(20)]
    library.scan()
    for path in paths[:2]:
        path.unlink()

    found = library.scan()

    assert (found.source_errors, found.vanished) == ([], 2)


def test_an_unreachable_source_is_an_error_and_the_others_still_register(library: Library, tmp_path: Path) -> None:
    library.add("a.mp4")
    library.scan()
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.mp4").write_text("b")
    library.others = {"other": Source(path=str(other))}

    library.folder.rename(tmp_path / "unmounted")
    found = library.scan()

    assert found.source_errors == [
        f"source films: {library.folder}: no such folder or listing; check the path and that it is mounted"
    ]
    assert [row["missing"] for row in library.rows()] == [False]
    assert [row["path"] for row in library.rows("other")] == ["b.mp4"]
    assert found.shards == ["films-0000", "other-0000"]


def test_an_emptied_folder_is_an_outage(library: Library) -> None:
    paths = [library.add(f"clip{number}.mp4") for number in range(2)]
    library.scan()
    for path in paths:
        path.unlink()

    assert "2 of 2 files are gone" in library.scan().source_errors[0]
    assert len(library.by_path()) == 2


def test_a_video_of_two_sources_stays_in_the_shard_it_had(library: Library, tmp_path: Path) -> None:
    library.add("a.mp4", "same")
    library.scan()
    other = tmp_path / "other"
    other.mkdir()
    (other / "copy.mp4").write_text("same")
    (other / "own.mp4").write_text("own")
    library.others = {"other": Source(path=str(other))}

    library.scan()

    assert {row["path"]: row["shard"] for row in library.rows("other")} == {
        "copy.mp4": "films-0000",
        "own.mp4": "other-0000",
    }


def test_registrations_at_the_same_time_lose_and_double_nothing(library: Library, tmp_path: Path) -> None:
    sources = {}
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.mp4").write_text(f"{name} {number}")
        sources[name] = Source(path=str(tmp_path / name))

    def scan(names: tuple[str, ...]) -> Registration:
        return register({name: sources[name] for name in names}, library.limits, library.store, "run")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(scan, [("one",), ("two",), ("one", "three"), ("one",)]))

    for name in sources:
        assert [row["path"] for row in library.rows(name)] == [f"{number}.mp4" for number in range(4)]
        assert {row["shard"] for row in library.rows(name)} == {f"{name}-0000"}
