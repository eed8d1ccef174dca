"""What is wrong with an input, a disk or a server costs what it touches, says so, and is made good by the next run."""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest

from tests import videos
from tests.pipeline.jobs import (
    BARE_SETTINGS,
    SHARD,
    Job,
    Session,
    changed,
    copy_videos,
    reelhouse,
    write_settings,
)
from tests.stand_in_server import completion, stand_in_server

# Width, height and frames of the clip that comes out. The last row or column of odd sizes is cropped.
ENCODED = {
    "good.mp4": (320, 180, 40),
    "one_frame.mp4": (64, 48, 1),
    "no_duration.ts": (64, 48, 1),
    "odd_size.mp4": (62, 46, 20),
    "huge.mp4": (7680, 4320, 1),
    "ten_bit.mp4": (64, 48, 20),
    "hevc.mp4": (128, 96, 20),
    "anamorphic.mp4": (84, 48, 20),
    "rotated.mp4": (48, 64, 10),
    "variable_rate.mp4": (64, 48, 10),
    "late_start.ts": (64, 48, 50),
    "default_stream.mkv": (64, 48, 20),
    "larger_stream.mkv": (96, 72, 20),
    "no_timestamps.avi": (64, 48, 48),
    "damaged.mp4": (64, 48, 180),
}

# Table whose row says it, and words of cause and remedy.
REFUSED = {
    "empty.mp4": ("raw_videos", "the file is empty; copy it again"),
    "truncated.mp4": ("raw_videos", "its index (moov) is missing or unreadable; copy or record it again"),
    "text.mp4": ("raw_videos", "no video container (Invalid data found when processing input); convert it"),
    "playlist.mp4": ("raw_videos", "no video container (Invalid argument); convert it"),
    "audio.mp4": ("raw_videos", "holds only audio; take it out of the source"),
    "cover.mp4": ("raw_videos", "holds no video that can be decoded"),
    "undecodable.mp4": ("raw_videos", "none of its 20 frames can be decoded; copy or record it again"),
    "one_pixel.mkv": ("clip_files", "1x1 px is less than the 2x2 px that yuv420p needs; raise clips.min_source_area"),
    "dangling.mp4": ("source_files", "No such file or directory; restore the file or correct its path"),
    "outside.mp4": ("source_files", "a link that leaves the source's folder; copy the file into it"),
    "pipe.mp4": ("source_files", "not a regular file; remove it from the source"),
}
FILES = len(ENCODED) + len(REFUSED)


@dataclass(frozen=True)
class Mixed:
    job: Job
    session: Session
    path_of: dict[str, str]

    def rows(self, table: str, path: str) -> list[dict[str, Any]]:
        """The rows made from the file; a clip's row begins with its video."""
        return [
            row
            for row in self.job.table(table).to_dicts()
            if self.path_of[row.get("video_id") or row["clip_id"].partition("-")[0]] == path
        ]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    job = Job(tmp_path_factory.mktemp("mixed"))
    copy_videos(
        job.films, good=videos.street(), one_frame=videos.one_frame(), no_duration=videos.no_duration(),
        odd_size=videos.odd_size(), huge=videos.huge(), ten_bit=videos.ten_bit(), hevc=videos.hevc(),
        anamorphic=videos.anamorphic(), rotated=videos.rotated(90), variable_rate=videos.variable_frame_rate(),
        late_start=videos.late_start(), default_stream=videos.two_streams_default_second(),
        larger_stream=videos.two_streams_larger_second(), no_timestamps=videos.avi_h264(), damaged=videos.damaged(),
        empty=videos.empty(), truncated=videos.truncated(), text=videos.text_file(), playlist=videos.playlist(),
        audio=videos.audio_only(), cover=videos.cover_picture(), undecodable=videos.undecodable(),
        one_pixel=videos.one_pixel(),
    )  # fmt: skip
    (job.films / "dangling.mp4").symlink_to("absent.mp4")
    (job.films / "outside.mp4").symlink_to(videos.street())
    os.mkfifo(job.films / "pipe.mp4")
    session = job.run(BARE_SETTINGS)
    return Mixed(job, session, dict(job.table("source_files").select("video_id", "path").iter_rows()))


def test_every_file_is_accounted_for_and_no_step_fails(mixed: Mixed) -> None:
    assert mixed.session.outcome.step_failures == []
    counts = mixed.session.counts()
    assert counts["source_files"].inputs == counts["raw_videos"].inputs == counts["scenes"].inputs == FILES
    for asset in mixed.session.partitioned():
        found = counts[asset]
        assert found.inputs == found.computed + found.reused + found.failed + found.blocked, asset
    assert counts["training_manifest"].computed == len(ENCODED)


@pytest.mark.parametrize("path", ENCODED)
def test_unusual_video_becomes_a_clip_of_its_shown_size_and_frames(mixed: Mixed, path: str) -> None:
    (row,) = mixed.rows("training_manifest", path)
    with av.open(str(mixed.job.home / row["file_path"])) as container:
        pictures = [(frame.width, frame.height) for frame in container.decode(video=0)]
    width, height, frames = ENCODED[path]
    assert pictures == [(width, height)] * frames
    assert (row["width"], row["height"], row["frame_count"]) == (width, height, frames)


@pytest.mark.parametrize("path", REFUSED)
def test_unusable_file_has_one_row_that_says_why(mixed: Mixed, path: str) -> None:
    table, why = REFUSED[path]
    failed = {
        name: row["error"]
        for name in ("source_files", *mixed.session.partitioned())
        for row in mixed.rows(name, path)
        if row["error_kind"] in ("input", "transient")
    }
    assert set(failed) == {table}
    assert why in failed[table]
    if table != "source_files":  # where the row itself holds the path
        assert failed[table].startswith(f"{mixed.job.films / path}: ")
    assert mixed.rows("training_manifest", path) == []


def test_second_run_tries_no_bad_input_again(mixed: Mixed) -> None:
    before = {name: mixed.job.table(name) for name in mixed.session.partitioned()}
    again = mixed.job.run(BARE_SETTINGS)
    assert again.computed() == {}
    assert again.counts()["raw_videos"].failed == 7
    assert all(mixed.job.table(name).equals(rows) for name, rows in before.items())


def test_mended_files_and_only_they_are_computed(mixed: Mixed, tmp_path: Path) -> None:
    job = Job(tmp_path)
    shutil.copytree(mixed.job.home, job.home)
    shutil.copytree(mixed.job.films, job.films, symlinks=True, ignore=shutil.ignore_patterns("pipe.mp4"))
    shutil.copy(videos.plain(), job.films / "truncated.mp4")
    shutil.copy(videos.shots("mended.mp4", 10), job.films / "absent.mp4")
    computed = job.run(BARE_SETTINGS).computed()
    assert computed["source_files"] == 3, "truncated.mp4, absent.mp4 and the link to it"
    assert {computed[name] for name in ("raw_videos", "scenes", "frames", "captions", "clip_files")} == {2}
    assert job.table("training_manifest").height == len(ENCODED) + 2


def test_file_gone_after_registration(new_job: Job) -> None:
    copy_videos(new_job.films, street=videos.street(), plain=videos.plain())
    aside = new_job.root / "plain.mp4"
    with new_job.session(BARE_SETTINGS) as session:
        session.register()
        (new_job.films / "plain.mp4").rename(aside)
        session.refresh()
        rows = {row["path"]: row for row in new_job.table("raw_videos").to_dicts()}
        assert rows["plain.mp4"]["error_kind"] == "transient"
        assert (
            rows["plain.mp4"]["error"] == f"{new_job.films / 'plain.mp4'}: the file is gone; register the source again"
        )
        assert new_job.table("training_manifest").height == 1, "its neighbour is done"

        aside.rename(new_job.films / "plain.mp4")
        session.refresh()
        assert session.computed()["raw_videos"] == session.computed()["clip_files"] == 1
        assert new_job.table("training_manifest").height == 2


def without_roots_privilege() -> None:
    """Let file permissions bind root too in the program that is started next; others they bind anyway."""
    prctl = ctypes.CDLL(None).prctl
    drop_from_bounding_set, dac_override, dac_read_search = 24, 1, 2
    for capability in (dac_override, dac_read_search):
        prctl(drop_from_bounding_set, capability, 0, 0, 0)


def test_unreadable_file(new_job: Job) -> None:
    copy_videos(new_job.films, street=videos.street(), plain=videos.plain())
    (new_job.films / "plain.mp4").chmod(0)
    settings = write_settings(new_job.root / "settings.yaml", BARE_SETTINGS)
    arguments = ("run", new_job.films, "--home", new_job.home, "--settings", settings, "--until", "raw_videos")
    done = reelhouse(*arguments, preexec_fn=without_roots_privilege)
    assert done.returncode == 1, done.stderr
    assert "source_files  plain.mp4: Permission denied; make the file readable" in done.stdout
    rows = {row["path"]: row["error"] for row in new_job.table("raw_videos").to_dicts()}
    assert rows == {"street.mp4": None, "plain.mp4": "Permission denied; make the file readable"}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """`folder` on a disk of its own; what is on it is gone afterwards."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a full disk needs leave to mount one: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("folder", "size", "said"),
    [
        ("staging", "4k", "raw_videos films-0000: "),
        ("frames", "8k", "frames: machine_failures_within_limit: this check failed"),
        ("tables", "100k", "films-0000: table "),
        ("exports", "4k", "training_set: "),
    ],
)
def test_full_disk(new_job: Job, folder: str, size: str, said: str) -> None:
    copy_videos(new_job.films, street=videos.street(), plain=videos.plain())
    disk = new_job.home / folder
    with small_disk(disk, size):
        with new_job.session(BARE_SETTINGS) as session:
            assert session.register()
            assert not (session.refresh() and session.release())
        rows = [row for _, _, found in session.outcome.materialized for row in found.get("failures", ())]
        first = session.outcome.step_failures[0]
        assert said in first
        told = [first, *(row["error"] for row in rows if isinstance(row, dict))]
        assert "\n" not in first
        if folder == "frames":
            told = [row["error"] for row in new_job.table("frames").to_dicts()]
        assert all("No space left on device" in text and "make room" in text for text in told)

        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        again = new_job.run(BARE_SETTINGS)
        assert again.outcome.step_failures == []
        assert new_job.table("training_manifest").height == 2
        assert not list(new_job.home.rglob("*.partial"))


def by_chat(url: str) -> dict[str, Any]:
    chat = {"base_url": url, "model": "stand-in", "request_timeout_s": 1.0, "concurrency": 1}
    return changed(BARE_SETTINGS, captions={"engine": "chat", "chat": chat})


@pytest.fixture
def seven_clips(new_job: Job) -> Job:
    copy_videos(new_job.films, seven=videos.shots("seven.mp4", *[20] * 7))
    return new_job


def test_chat_server_down_at_start(seven_clips: Job) -> None:
    job = seven_clips
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        first = job.run(by_chat(url))
    assert first.outcome.step_failures == [
        f"captions {SHARD}: no server answers at {url}; start it or change captions.chat.base_url",
        "training_set: there is no sample to release, of 1 videos (captions missing 7, sample_selection missing 7); "
        "no release was made",
    ]
    assert job.table("clip_selection")["selected"].to_list() == [True] * 7, "what needs no server is done"

    with stand_in_server(lambda _: (200, completion("A street."))) as server:
        again = job.run(by_chat(server.url))
        assert again.outcome.step_failures == []
        assert len(server.received) == 7
    assert (
        {name for name, count in again.computed().items() if count == 7}
        == set(again.computed())
        == {"captions", "rewritten_captions", "sample_selection", "clip_files", "training_manifest", "training_set"}
    )
    assert set(job.table("training_manifest")["text"]) == {"A street."}


def test_chat_server_dying_midway(seven_clips: Job) -> None:
    job = seven_clips
    answered = threading.Semaphore(5)

    def answer(_: dict[str, Any]) -> tuple[int, bytes]:
        if answered.acquire(blocking=False):
            return 200, completion("A street.")
        return 503, b'{"error": {"message": "shutting down"}}'

    with stand_in_server(answer) as server:
        first = job.run(by_chat(server.url))
    assert (first.counts()["captions"].computed, first.counts()["captions"].failed) == (5, 2)
    failed = [row for row in job.table("captions").to_dicts() if row["error"]]
    assert {row["error_kind"] for row in failed} == {"transient"}
    assert all(server.url in row["error"] for row in failed)
    assert job.table("training_manifest").height == 5

    with stand_in_server(lambda _: (200, completion("A street."))) as server:
        again = job.run(by_chat(server.url))
        assert len(server.received) == 2
    assert {again.computed()[name] for name in ("captions", "clip_files", "training_manifest")} == {2}
    assert job.table("training_manifest").height == 7
