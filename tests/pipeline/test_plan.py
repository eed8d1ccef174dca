"""`reelhouse plan` says what a run would do, before the first run and after, and changes nothing."""

import pytest

from curation_assets.inspection.plan import Figure, Line, Tally, make_plan
from curation_assets.settings import Source, parse_settings
from tests import videos
from tests.conftest import Command
from tests.pipeline.jobs import SETTINGS, SOURCE, Job, changed, copy_videos, write_settings


def test_before_the_first_run_the_files_are_counted_and_the_clips_are_left_open(new_job: Job, command: Command) -> None:
    copy_videos(new_job.films, bikes=videos.bikes(), two_shots=videos.two_shots())
    size = sum(path.stat().st_size for path in new_job.films.iterdir())
    settings = write_settings(new_job.root / "settings.yaml", SETTINGS)
    status, said, why = command("plan", new_job.films, "--home", new_job.home, "--settings", settings)
    assert status == 0, why
    assert f"{size / 1e6:.1f} MB have to be hashed" in said
    assert "Nothing was changed." in said
    assert not new_job.home.exists()

    plan = make_plan(parse_settings(SETTINGS, "x"), str(new_job.home), {SOURCE: Source(path=str(new_job.films))})
    assert [plan.line(name).figure("units") for name in ("source_files", "raw_videos", "scenes")] == [Figure(2, 2)] * 3
    assert plan.figure("video_decodes") == Figure(2, 2)
    assert plan.line("captions").figure("calls") == Figure(0, 0, clipless=2)
    assert str(plan.figure("encodes")) == "clips of 2"
    assert "scenes" in plan.untimed
    assert not new_job.home.exists()


def test_without_a_source_it_plans_what_is_registered(job: Job, command: Command) -> None:
    settings = write_settings(job.root / "tight.yaml", changed(SETTINGS, selection__motion={"dis": {"min": 5.0}}))
    status, said, why = command("plan", "--home", job.home, "--settings", settings)
    assert status == 0, why
    assert "clip_selection: 8 settings: filters.motion dis.bound.min 0.95 -> 5.0" in said
    row = next(line for line in said.splitlines() if line.strip().startswith("clip_selection "))
    assert row.split()[1] == "8"
    assert float(row.split()[2]) > 0, "timed by the home's own commits"


def test_until_leaves_the_rest_out(job: Job) -> None:
    settings = parse_settings(changed(SETTINGS, clips__min_duration_s=0.9), "x")
    plan = make_plan(settings, str(job.home), {}, until="frames")
    assert [line.asset for line in plan.lines] == ["source_files", "raw_videos", "scenes", "clips", "frames"]
    with pytest.raises(ValueError, match="no such asset; choose one of raw_videos"):
        make_plan(settings, str(job.home), {}, until="nonsense")


def test_a_source_that_cant_be_read_is_a_problem_and_no_work(job: Job, command: Command) -> None:
    plan = make_plan(
        parse_settings(SETTINGS, "x"), str(job.home), {SOURCE: Source(path=str(job.root / "gone"))}, SOURCE
    )
    assert "no such folder" in plan.problems[0]
    assert plan.shards == []
    assert plan.figure("units") == Figure(0, 0)
    status, _, _ = command("plan", job.root / "gone", "--home", job.home)
    assert status == 2


def test_names_from_outside_reach_the_terminal_without_control_characters(new_job: Job, command: Command) -> None:
    listing = new_job.root / "list.csv"
    listing.write_text("wrong\nx\n")
    status, said, _ = command("plan", listing, "--home", new_job.home, "--path-column", "\x1b[31mred")
    assert status == 1
    assert "no column" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(3, 3), "3"),
        (Figure(0, 8), "0 .. 8"),
        (Figure(2, 2, about=True), "about 2"),
        (Figure(0, 0, about=True), "0"),
        (Figure(4, 4, clipless=3), "4 + clips of 3"),
    ],
)
def test_figures_say_how_sure_they_are(figure: Figure, text: str) -> None:
    assert str(figure) == text


def test_time_is_units_by_the_homes_own_rate_or_not_told() -> None:
    line = Line("captions", "captions", Tally(units=2), Tally(units=5), seconds_per_unit=1.5)
    assert line.seconds == (3.0, 7.5)
    assert Line("captions", "captions", Tally(units=2), Tally(units=2)).seconds is None
    assert Line("captions", "captions", Tally(), Tally()).seconds == (0.0, 0.0)
