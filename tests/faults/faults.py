"""The faults, by kind. Each runs the job once, in another process, under the fault, and says what happened."""

import datetime
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.faults import small_job
from tests.faults.bench import Bench, Fault, Kind, Tried
from tests.faults.child import Strike, kill_this_process, start, start_in_steps
from tests.faults.job import Job
from tests.faults.moments import Moment
from tests.faults.store_faults import OF_STORE
from tests.pipeline.jobs import changed
from tests.stand_in_server import completion

MAX_DELAY_S = 0.3
DISK_BLOCK = 4096
HIDDEN = ".hidden"
Actual = datetime.datetime
HOUR_S = 3600
REQUEST_TIMEOUT_S = 1.0


def at_a_moment(bench: Bench, job: Job, random: Random, action: Callable[[], None]) -> str:
    """Run the job and do `action` in its process at a moment, or as often a while later, when workers are at it."""
    delay_s = random.choice([0.0, random.uniform(0, MAX_DELAY_S)])
    moment = Moment(random.randint(1, int(0.95 * bench.moments)), delay_s)  # runs differ by a few moments
    status = bench.run(job, Strike(moment, action))
    assert job.struck.exists(), f"{moment} never came: {job.said.read_text()}"
    return f"{moment} of {bench.moments}, exit status {status}"


def run_killed(bench: Bench, job: Job, random: Random) -> str:
    """The workers see that their parent is gone and end by themselves."""
    return at_a_moment(bench, job, random, kill_this_process)


def run_killed_with_its_workers(bench: Bench, job: Job, random: Random) -> str:
    return at_a_moment(bench, job, random, kill_everything)


def worker_killed(bench: Bench, job: Job, random: Random) -> str:
    return at_a_moment(bench, job, random, partial(kill_a_worker, random.random()))


def step_killed(bench: Bench, job: Job, random: Random) -> str:
    """Each step is a process of its own; the run sees that one of them died. Only the steps that decode are run."""
    nth = random.randint(2, 10)
    status = bench.ended(start_in_steps(job, nth))
    assert job.struck.exists(), f"no step was killed: {job.said.read_text()}"
    return f"moment {nth} of a step, exit status {status}"


def kill_everything() -> None:
    for worker in workers():
        os.killpg(worker, signal.SIGKILL)
    kill_this_process()


def kill_a_worker(which: float) -> None:
    if running := workers():
        os.killpg(running[int(which * len(running))], signal.SIGKILL)


def workers() -> list[int]:
    """Ids of this process's worker processes."""
    children: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended
            children += map(int, (task / "children").read_text().split())
    return sorted(pid for pid in children if b"resources.worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes())


def disk_full(bench: Bench, job: Job, random: Random) -> str:
    """The home's disk holds a part of what is needed; there is room for the refresh."""
    needed = sum(DISK_BLOCK * -(-path.stat().st_size // DISK_BLOCK) for path in bench.home.rglob("*"))
    size = int(needed * random.uniform(0.05, 1.0))
    with small_disk(Path(job.home), size) as is_real:
        if is_real:
            status = bench.run(job)
        else:
            largest = max(path.stat().st_size for path in bench.home.rglob("*"))
            size = int(largest * random.uniform(0.05, 1.0))
            status = bench.run(job, Strike(Moment(1), partial(limit_file_size, size)))
    return f"{size} bytes {'on the disk' if is_real else 'a file'}, exit status {status}"


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[bool]:
    """A file system of its own at `folder`; what was written there stays. False where mounting isn't allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "small_disk", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield False
        return
    kept = folder.with_name("kept")
    try:
        yield True
    finally:
        subprocess.run(["cp", "-a", str(folder), str(kept)], check=True)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()
    kept.rename(folder)


def limit_file_size(size_bytes: int) -> None:
    """The nearest to a full disk that needs no rights: no file of this process or its workers grows further."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def source_file_gone(bench: Bench, job: Job, random: Random) -> str:
    """A source video vanishes, or a link to nothing takes its place; before the refresh it is there again."""
    film = random.choice(sorted(Path(job.films).iterdir()))
    hidden = film.with_name(film.name + HIDDEN)
    try:
        happened = at_a_moment(bench, job, random, partial(hide, film, hidden, random.choice([True, False])))
    finally:
        if hidden.exists():
            hidden.replace(film)
    return f"{film.name}, {happened}"


def hide(film: Path, hidden: Path, leave_link: bool) -> None:
    film.rename(hidden)
    if leave_link:
        film.symlink_to("nowhere")


def stored_file_damaged(bench: Bench, job: Job, random: Random) -> str:
    """A file of the home is deleted, cut off or replaced by a link to nothing."""
    damage = random.choice([delete, truncate, break_link])
    happened = at_a_moment(bench, job, random, partial(damage_a_file, Path(job.home), random.random(), damage))
    return f"{damage.__name__}, {happened}"


def damage_a_file(home: Path, which: float, damage: Callable[[Path], None]) -> None:
    folders = [home / name for name in ("frames", "clips", "exports", "staging")]
    if files := sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        damage(files[int(which * len(files))])


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def break_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def chat_server(answer: Callable[[dict[str, Any], Random], tuple[int, bytes] | None]) -> Fault:
    """A server that gives some requests the wrong `answer`, by chance."""

    def fault(bench: Bench, job: Job, random: Random) -> str:
        share = random.choice([0.2, 0.5, 1.0])

        def reply(body: dict[str, Any]) -> tuple[int, bytes] | None:
            return answer(body, random) if random.random() < share else small_job.caption(body)

        bench.replies.current = reply
        status = bench.run(impatient(job))
        return f"{share:.0%} of the requests, exit status {status}"

    return fault


def impatient(job: Job) -> Job:
    """A request's time is short; with retries in it, so that a bad server takes no longer than a slow one."""
    settings = changed(job.settings, captions__chat__request_timeout_s=REQUEST_TIMEOUT_S)
    return replace(job, settings=settings)


def hangs_up(body: dict[str, Any], random: Random) -> None:
    return None


def answers_late(body: dict[str, Any], random: Random) -> tuple[int, bytes]:
    time.sleep(REQUEST_TIMEOUT_S * random.uniform(0.5, 1.5))
    return small_job.caption(body)


def garbles(body: dict[str, Any], random: Random) -> tuple[int, bytes]:
    _, whole = small_job.caption(body)
    cut = whole[: random.randrange(len(whole))]
    return 200, random.choice([cut, b"", b"\xff" * 100, b"<html>busy</html>", b"null", b"[]", b'{"choices": []}'])


def fails(body: dict[str, Any], random: Random) -> tuple[int, bytes]:
    status = random.choice([408, 429, 500, 502, 503])
    return status, random.choice([b'{"error": {"message": "overloaded"}}', b"<html>overloaded</html>", b""])


def says_nothing(body: dict[str, Any], random: Random) -> tuple[int, bytes]:
    return 200, completion(random.choice(["", None, " \n"]))


def chat_server_gone(bench: Bench, job: Job, random: Random) -> str:
    settings = small_job.settings_with("http://127.0.0.1:9/v1")
    return f"exit status {bench.run(replace(job, settings=settings))}"


def two_runs_at_once(bench: Bench, job: Job, random: Random) -> str:
    apart_s = random.choice([0.0, random.uniform(0, 2)])
    first = start(job)
    time.sleep(apart_s)
    second = start(job)
    return f"{apart_s:.2f} s apart, exit status {bench.ended(first)} and {bench.ended(second)}"


def clock_moved(bench: Bench, job: Job, random: Random) -> str:
    """The clock jumps during the run, and with it the times of files that are there."""
    hours = random.choice([-1, 1]) * random.choice([1, 24, 24 * 365 * 3])
    folders = [Path(job.home), Path(job.films)][: random.choice([2, 1])]
    happened = at_a_moment(bench, job, random, partial(move_clock, hours * HOUR_S, folders))
    return f"{hours} h, {happened}"


def move_clock(seconds: float, folders: list[Path]) -> None:
    """Python's clocks in this process; what is written in Rust keeps the right time."""
    actual_time = time.time

    class AnyDatetime(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, Actual)

    class Moved(Actual, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Actual:  # type: ignore[override]
            return Actual.now(tz) + datetime.timedelta(seconds=seconds)

    datetime.datetime = Moved  # type: ignore[misc]
    time.time = lambda: actual_time() + seconds
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        with suppress(FileNotFoundError):
            status = path.stat()
            os.utime(path, (status.st_atime + seconds, status.st_mtime + seconds))


OF_CHAT = (
    Kind("chat server hangs up", chat_server(hangs_up)),
    Kind("chat server late", chat_server(answers_late)),
    Kind("chat server garbles", chat_server(garbles)),
    Kind("chat server fails", chat_server(fails)),
    Kind("chat server says nothing", chat_server(says_nothing), retry_failed=True),
    Kind("chat server gone", chat_server_gone),
)
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("run killed", run_killed),
        Kind("run and workers killed", run_killed_with_its_workers),
        Kind("worker killed", worker_killed),
        Kind("step killed", step_killed),
        Kind("disk full", disk_full),
        Kind("source file gone", source_file_gone),
        Kind("stored file damaged", stored_file_damaged),
        Kind("two runs at once", two_runs_at_once),
        Kind("clock moved", clock_moved),
        *OF_CHAT,
        *OF_STORE,
    )
}


def survived(bench: Bench, kind: str, seed: int, way: str = "stages") -> Tried:
    """Try a fault on the job, run stage after stage or by Dagster, and assert that it was survived."""
    tried = bench.attempt(KINDS[kind], seed, by_dagster=way == "Dagster")
    assert not tried.problems, tried
    return tried
