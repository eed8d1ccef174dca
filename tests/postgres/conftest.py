"""A home of four shards and its instance on PostgreSQL, after runs of the shards at once; and one refreshed in turn."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._cli.api import ExecuteRunArgs
from dagster._core.definitions.reconstruct import ReconstructableRepository

from curation_assets.engines import CHAT
from curation_assets.orchestration.headless import HeadlessRun
from curation_assets.orchestration.stage_asset import SHARDS
from curation_assets.settings import load_settings
from tests import videos
from tests.faults.small_job import caption, four_shots
from tests.pipeline.jobs import BARE_SETTINGS, SOURCE, Job, changed, copy_videos, write_settings
from tests.postgres.server import PASSWORD, PASSWORD_VARIABLE, Postgres, postgres
from tests.stand_in_server import stand_in_server

DATABASE = "dagster"
DECODING = ("raw_videos", "scenes", "clips", "frames", "motion_scores")


class Chat:
    """Answers with captions; after `hold`, once it may `go_on`."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def hold(self) -> None:
        self.asked.clear()
        self.go_on.clear()

    def answer(self, body: dict[str, object]) -> tuple[int, bytes]:
        self.asked.set()
        assert self.go_on.wait(120)
        return caption(body)


@dataclass
class Launched:
    """A run in a process of its own, and what it printed."""

    run_id: str
    name: str
    command: Sequence[str]
    process: "subprocess.Popen[str]"
    said: str = ""

    def ended(self) -> int:
        """The exit status."""
        self.said, _ = self.process.communicate(timeout=180)
        return self.process.returncode


@dataclass
class Deployment:
    """A home, and the instance with its records on a PostgreSQL server."""

    job: Job
    server: Postgres
    instance: DagsterInstance
    chat: Chat
    launched: list[Launched] = field(default_factory=list)
    connections: Counter[str] = field(default_factory=Counter)

    @property
    def shards(self) -> Sequence[str]:
        return self.instance.get_dynamic_partitions(str(SHARDS.name))

    def runs(self) -> HeadlessRun:
        return HeadlessRun(load_settings(), str(self.job.home), self.instance)

    def launch(self, shard: str, assets: Collection[str]) -> Launched:
        """Starts what a run's pod would start."""
        repository = ReconstructableRepository.for_module("curation_assets.definitions", "defs")
        job = repository.get_reconstructable_job("refresh_shard")
        run = self.instance.create_run_for_job(
            job.get_definition(),
            asset_selection={dg.AssetKey(name) for name in assets},
            tags={"dagster/partition": shard},
            job_code_origin=job.get_python_origin(),
        )
        arguments = ExecuteRunArgs(run.job_code_origin, run.run_id, self.instance.get_ref(), True).get_command_args()
        command, name = [sys.executable, "-m", *arguments], f"run {len(self.launched)}"
        options = {"env": {**os.environ, "PGAPPNAME": name}, "text": True}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        self.launched.append(Launched(run.run_id, name, command, process))
        return self.launched[-1]

    def status(self, launched: Launched) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(launched.run_id)
        assert run is not None
        return run.status

    @contextmanager
    def counting_connections(self) -> Iterator[None]:
        """Into `connections`: by name of a run, the most connections that its process had at once."""
        over = threading.Event()

        def count() -> None:
            connection = self.server.connect("postgres")
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not over.wait(0.01):
                    cursor.execute("SELECT application_name FROM pg_stat_activity WHERE datname = %s", [DATABASE])
                    for name, number in Counter(name for (name,) in cursor.fetchall()).items():
                        self.connections[name] = max(self.connections[name], number)
            connection.close()

        thread = threading.Thread(target=count)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    copy_videos(folder, four_shots=four_shots(), two_shots=videos.two_shots(), street=videos.street())
    copy_videos(folder, pan=videos.pan(3, 25, (320, 180), 30))
    return folder


@pytest.fixture(scope="module")
def in_turn(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The films refreshed in this process, a shard after the other, without PostgreSQL: all that a test refreshes."""
    job = Job(tmp_path_factory.mktemp("in_turn"))
    with stand_in_server(caption) as server, job.session(settings(films, server.url)) as session:
        assert session.register(films)
        for shard in session.runs.shards():
            assert session.runs.shard(shard, DECODING)
        for shard in session.runs.shards()[:2]:
            assert session.runs.shard(shard, ["clip_selection", "captions"])
    return job


@pytest.fixture(scope="module")
def deployment(server: Postgres, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All shards were decoded by runs at once, the first shard by two of them."""
    job, chat = Job(tmp_path_factory.mktemp("deployment")), Chat()
    server.ask(f"CREATE DATABASE {DATABASE}")
    records = job.root / "dagster"
    records.mkdir()
    (records / "dagster.yaml").write_text(server.dagster_yaml(DATABASE))
    with pytest.MonkeyPatch.context() as environment, stand_in_server(chat.answer) as model:
        environment.setenv(PASSWORD_VARIABLE, PASSWORD)
        environment.setenv("DAGSTER_HOME", str(records))
        environment.setenv("CURATION_HOME", str(job.home))
        written = write_settings(job.root / "settings.yaml", settings(films, model.url))
        environment.setenv("CURATION_SETTINGS", str(written))
        with DagsterInstance.get() as instance:
            instance.event_log_storage.set_concurrency_slots(CHAT, 1)
            made = Deployment(job, server, instance, chat)
            assert made.runs().register({})
            with made.counting_connections():
                for shard in [*made.shards, made.shards[0]]:
                    made.launch(shard, DECODING)
                for launched in made.launched:
                    assert launched.ended() == 0, launched.said
            yield made
            for launched in made.launched:
                launched.process.kill()
                launched.process.communicate()


def settings(films: Path, chat_url: str) -> dict[str, object]:
    """A video a shard; films that were just written are taken."""
    return changed(
        BARE_SETTINGS,
        sources={SOURCE: {"path": str(films)}},
        shards={"videos_per_shard": 1, "settle_s": 0.0},
        captions={"engine": "chat", "chat": {"base_url": chat_url, "model": "stand-in"}},
        execution={"workers": 1},
    )
