"""Runs of a job in processes of their own, which a fault can strike at a moment."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import dagster as dg
import yaml

from curation_assets.definitions import build_definitions
from curation_assets.settings import home_path, load_settings
from tests.faults.job import Job
from tests.faults.moments import Moment, announcing
from tests.pipeline.jobs import SHARD
from tests.processes import MARK

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.faults.child", "openai"])


def start(job: Job, strike: "Strike | None" = None) -> BaseProcess:
    """The job in a process of its own; `strike` says what happens in it and when."""
    process = _processes.Process(target=_run, args=(job, strike))
    process.start()
    return process


@dataclass(frozen=True)
class Strike:
    """What happens inside a run, and at which moment of it."""

    moment: Moment
    action: Callable[[], None]

    def within(self, job: Job) -> Callable[[int], None]:
        def strike() -> None:
            job.struck.touch()
            self.action()

        return self.moment.reached(strike)


def _run(job: Job, strike: Strike | None) -> None:
    _prepare(job)
    count = announcing(job.note, strike.within(job) if strike else None)
    job.run()
    job.moments.write_text(str(count()))


def _prepare(job: Job) -> None:
    os.environ |= {MARK: job.mark, **job.environment}
    said = os.open(job.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


DECODING = ("raw_videos", "scenes", "clips", "frames", "motion_scores")
KILL_AT = "REELHOUSE_TEST_KILL_AT"
STRUCK = "REELHOUSE_TEST_STRUCK"


def start_in_steps(job: Job, nth: int) -> BaseProcess:
    """The steps that decode, each in a process; the first that reaches its `nth` moment is killed there."""
    process = _processes.Process(target=_run_in_steps, args=(job, nth))
    process.start()
    return process


def _run_in_steps(job: Job, nth: int) -> None:
    _prepare(job)
    settings = job.folder / "settings.yaml"
    settings.write_text(yaml.safe_dump(dict(job.settings)))
    os.environ |= {
        "CURATION_HOME": job.home,
        "CURATION_SETTINGS": str(settings),
        "CURATION_EXECUTOR": "multiprocess",
        STRUCK: str(job.struck),
    }
    job.register()
    os.environ[KILL_AT] = str(nth)
    execution = {"config": {"start_method": {"forkserver": {"preload_modules": [__name__]}}}}
    with job.instance() as instance:
        dg.execute_job(
            dg.reconstructable(job_of_steps),
            instance,
            run_config={"execution": execution},
            tags={"dagster/partition": SHARD},
            asset_selection=[dg.AssetKey(name) for name in DECODING],
        )


def job_of_steps() -> dg.JobDefinition:
    """The job as each step's process loads it."""
    struck = Path(os.environ[STRUCK])

    def kill_one() -> None:
        with suppress(FileExistsError):
            struck.touch(exist_ok=False)
            kill_this_process()

    announcing(lambda step: None, Moment(int(os.environ[KILL_AT])).reached(kill_one))
    return build_definitions(load_settings(), home_path()).resolve_job_def("refresh_shard")
