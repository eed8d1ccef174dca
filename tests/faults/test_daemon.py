"""Runs launched through the daemon: killed, alone or with everything. Those launched next start and end well."""

import os
import signal
from random import Random

import pytest
from dagster import DagsterRunStatus

from curation_assets.run_launcher import run_process
from tests.faults.bench import Bench
from tests.faults.launched import kill_daemon, kill_everything, launch, reelhouse_ui, wait_for_end, wait_for_step

STEPS = ["scenes", "frames", "technical_scores", "text_scores", "captions", "clip_files"]


@pytest.mark.parametrize("seed", [0])
def test_a_launched_run_survives_all_of_them_in_turn(bench: Bench, seed: int) -> None:
    job = bench.job(f"daemon-{seed}", by_dagster=True)
    early, middle, late = sorted(Random(seed).sample(STEPS, 3), key=STEPS.index)
    assert job.register()
    with job.instance() as instance:
        with reelhouse_ui(job) as address:
            first = launch(address)
            wait_for_step(job, instance, first, early)
            process = run_process(instance, first)
            assert process
            os.kill(process, signal.SIGKILL)
            second = launch(address)
            wait_for_step(job, instance, second, middle)
            kill_everything(job)
        assert wait_for_end(instance, first) == DagsterRunStatus.FAILURE

        with reelhouse_ui(job) as address:
            third = launch(address)  # waits for the second, of which no process is left
            wait_for_step(job, instance, third, late)
            assert wait_for_end(instance, second) == DagsterRunStatus.FAILURE
            kill_daemon(job)

        with reelhouse_ui(job) as address:
            last = launch(address)
            assert wait_for_end(instance, last) == DagsterRunStatus.SUCCESS
            assert wait_for_end(instance, third)
    assert not bench.problems(job, job.run())
