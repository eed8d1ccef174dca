"""`reelhouse run` in a terminal of its own: its live table, and what Ctrl-C leaves behind."""

from tests.commands.screen import run_in_terminal
from tests.pipeline.jobs import SOURCE, Job, command, environment

SIZE = (30, 100)
HEAD = "asset               state"


def arguments(job: Job) -> list[str]:
    return command("run", job.films, "--name", SOURCE, "--home", job.home, "--settings", job.root / "settings.yaml")


def test_one_table_is_kept_up_to_date_and_gone_in_the_end(job: Job) -> None:
    ended = run_in_terminal(arguments(job), environment(TERM="xterm-256color"), SIZE)
    assert ended.status == 0, ended.written
    frames = [frame for frame in ended.screen.frames if any(line.startswith(HEAD) for line in frame)]
    assert all(sum(line.startswith(HEAD) for line in frame) == 1 for frame in frames)
    of_shard = ["\n".join(frame) for frame in frames if any("shard 1 of 1" in line for line in frame)]
    assert "training_manifest   waiting" in of_shard[0]
    assert "training_manifest   done" in "\n".join(frames[-1])  # steps may end between two frames
    last = "\n".join(ended.screen.lines)
    assert "shard 1 of 1" not in last
    assert "clips are in the training manifest" in last
    assert not ended.screen.cursor_is_hidden
    kept = [log for log in (job.home / "dagster").rglob("*.out") if "compute_logs" in log.parts]
    assert kept
    assert not any("\x1b" in log.read_text() for log in kept), "Dagster's log of a step holds no table"


def test_ctrl_c_leaves_one_line(job: Job) -> None:
    ended = run_in_terminal(
        arguments(job),
        environment(TERM="xterm-256color"),
        SIZE,
        interrupt_at=lambda screen: any("shard 1 of 1" in line for line in screen.lines),
    )
    assert ended.status == 1, ended.written
    assert [line.rstrip() for line in ended.screen.lines if line.strip()] == [
        "reelhouse: interrupted; finished rows are kept, run the same command again to go on"
    ]
    assert not ended.screen.cursor_is_hidden
