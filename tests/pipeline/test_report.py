"""`release_report` and `reelhouse report`: the page of a real release in a real browser, and what becomes of it."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from curation_assets.filters import clip_filters
from curation_assets.home import open_home
from curation_assets.inspection.lookup import find_item
from curation_assets.report import gallery
from curation_assets.report.page import made_report
from curation_assets.settings import Maintenance, parse_settings
from curation_assets.upkeep.maintenance import maintain
from curation_assets.upkeep.releases import Release, find_release, report_path
from curation_assets.upkeep.takedown import forget
from resources.files import Files
from tests.conftest import Command
from tests.pipeline.conftest import Finished
from tests.pipeline.jobs import SETTINGS, Job, changed
from tests.report.report_page import ReportPage
from tests.ui.skips import needs_chromium

HOSTILE = "</script><script>failures.push('ran')</script><img src=x onerror=\"failures.push('ran')\">"
TURNED = "\u202eשלום עולם zebra"
LONG = "word " * 200_000


def report_of(job: Job) -> Path:
    return job.home / report_path(find_release(job.store, "latest")["release"])


def rewrite_captions(job: Job, *texts: str) -> list[str]:
    """Give the first samples these captions, as a model could; returns their clips."""
    clips = job.table("training_manifest")["clip_id"].to_list()[: len(texts)]
    new = dict(zip(clips, texts, strict=True))
    for name, column in (("rewritten_captions", "caption"), ("training_manifest", "text")):
        job.edit(name, **{column: pl.col("clip_id").replace_strict(new, default=pl.col(column))})
    return clips


def as_it_is_now(job: Job) -> Release:
    """The newest release as if it had been made of the tables as they are."""
    release = find_release(job.store, "latest")
    versions = job.versions()
    pins = [{**pin, "version": versions[pin["table"]]} for pin in release["table_versions"]]
    return {**release, "table_versions": pins}


def selected_by_polars(job: Job, **bounds: tuple[float | None, float | None]) -> int:
    """Clips that pass every filter of the job, some with other bounds, from the score tables alone."""
    passing = job.table("clips").filter(pl.col("dropped").is_null()).select("clip_id")
    for each in clip_filters(parse_settings(SETTINGS, "the test's settings")):
        low, high = bounds.get(each.name, (each.bound.min, each.bound.max))
        score, inf = pl.col(each.column), float("inf")
        within = score.is_finite() & score.is_between(-inf if low is None else low, inf if high is None else high)
        scores = job.table(each.table).filter(within & (pl.col("engine") == each.engine))
        passing = passing.join(scores, on="clip_id", how="semi")
    return passing.height


@pytest.fixture(scope="module")
def browser() -> Iterator[ReportPage]:
    with ReportPage(1400, 1000) as page:
        yield page


@pytest.fixture
def page(browser: ReportPage, job: Job) -> ReportPage:
    browser.scheme("light")
    browser.show(report_of(job))
    return browser


def test_every_release_has_its_page_and_its_bytes_are_those_of_any_day(finished: Finished, job: Job) -> None:
    html = report_of(job).read_bytes()
    assert f"Open the report:    {report_of(job)}\n" in finished.command.stdout
    assert made_report(job.store, Files(str(job.home)), find_release(job.store, "latest")) == html
    written_at = report_of(job).stat().st_mtime_ns
    with job.session(SETTINGS) as session:
        assert session.release()
        assert session.metadata("release_report")["size_bytes"] == len(html)
        assert report_of(job).stat().st_mtime_ns == written_at, "one made of the same is kept"
        report_of(job).write_bytes(html[: len(html) // 2])
        assert session.release()
    assert report_of(job).read_bytes() == html
    assert str(finished.place) not in html.decode(), "nothing tells where the home lies"


@needs_chromium
def test_it_opens_alone_and_shows_foreign_text_as_text(browser: ReportPage, job: Job, tmp_path: Path) -> None:
    hostile, turned, long = rewrite_captions(job, HOSTILE, TURNED, LONG)
    file = tmp_path / "report.html"
    file.write_bytes(made_report(job.store, Files(str(job.home)), as_it_is_now(job)))
    assert file.stat().st_size < 3e6
    browser.show(file)
    for clip, words in ((hostile, "onerror"), (turned, "zebra"), (long, "word word word")):
        browser.search(words)
        browser.wait_for(f"clips.ids[listed[0]] === {json.dumps(clip)}")
        browser.found("1 clip shown")
    browser.search("onerror")
    browser.wait_for("document.querySelector('.card .caption').textContent.startsWith('</script>')")
    browser.evaluate("document.querySelector('.card').focus()")
    browser.press("Enter", "Enter", 13)
    assert HOSTILE in browser.text_of("#clip")
    browser.press("Escape", "Escape", 27)
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert browser.complaints() == []
    assert {url.partition(":")[0] for url in browser.requests()} <= {"file", "data"}
    assert [url for url in browser.requests() if url.startswith("file")] == [file.as_uri()]


@needs_chromium
def test_a_script_that_is_not_the_page_s_own_does_not_run_and_nothing_is_fetched(page: ReportPage) -> None:
    foreign = "Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'})"
    page.evaluate(f"document.head.append({foreign})")
    assert page.evaluate("window.ran") is None
    assert page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')") == "refused"
    assert len(page.evaluate("failures")) == 2
    assert not any(url.startswith("http") for url in page.requests())


@needs_chromium
def test_a_threshold_moved_by_keys_slider_or_hand_counts_what_polars_counts(page: ReportPage, job: Job) -> None:
    total = selected_by_polars(job, **{each.name: (None, None) for each in clip_filters(parse_settings(SETTINGS, ""))})
    live = "document.getElementById('live').textContent.startsWith('%d of %d clips selected')"
    number = "[data-measure='sharpness/opencv'] input[type=number]"

    def bound() -> float:
        return float(page.evaluate(f'document.querySelector("{number}").value'))

    page.wait_for(live % (selected_by_polars(job), total))
    assert selected_by_polars(job) == int(job.table("clip_selection")["selected"].sum()) > 0

    scores = job.table("technical_scores")["sharpness"].sort()
    middle = scores[len(scores) // 2]
    page.evaluate(f'document.querySelector("{number}").focus(); document.querySelector("{number}").select()')
    page.type(str(middle))
    by_keys = selected_by_polars(job, sharpness=(middle, None))
    assert by_keys < selected_by_polars(job)
    page.wait_for(live % (by_keys, total))
    assert f"--set selection.technical.opencv.sharpness.min={middle}" in page.text_of("#command")
    page.wait_for(f"document.getElementById('status').textContent.startsWith('{by_keys} of')")

    page.drag("[data-measure='sharpness/opencv'] .line.min", 0.1)
    assert 0 < bound() != middle
    page.wait_for(live % (selected_by_polars(job, sharpness=(bound(), None)), total))

    page.evaluate("document.querySelector(\"[data-measure='sharpness/opencv'] input[type=range]\").focus()")
    dragged = bound()
    for _ in range(20):
        page.press("ArrowRight", "ArrowRight", 39)
    assert bound() > dragged
    page.wait_for(live % (selected_by_polars(job, sharpness=(bound(), None)), total))

    page.click("Reset thresholds", "button")
    page.wait_for(live % (selected_by_polars(job), total))
    assert page.complaints() == []


@needs_chromium
def test_clips_are_searched_and_filtered(page: ReportPage, job: Job) -> None:
    decisions = job.table("clip_selection")
    page.found(f"{decisions.height} clips shown")
    dropped = decisions.filter(~pl.col("selected"))
    page.choose("state", "dropped")
    page.wait_for(f"listed.length === {dropped.height}")
    assert page.evaluate("listed.map(i => clips.ids[i]).sort()") == sorted(dropped["clip_id"])
    for row in dropped.to_dicts():
        assert row["reasons"][0].partition(":")[0] in page.text_of("#cards")
    page.choose("state", "all clips")
    page.search("BIKES.mp4")
    bikes = job.table("raw_videos").filter(path="bikes.mp4")["video_id"][0]
    page.wait_for(f"listed.length === {decisions.filter(video_id=bikes).height}")
    page.search("")
    page.choose("order", "sharpness (opencv): lowest first")
    scored = job.table("technical_scores").sort("sharpness", "clip_id")["clip_id"].to_list()
    page.wait_for(f"clips.ids[listed[0]] === {json.dumps(scored[0])}")
    assert page.evaluate("listed.map(i => clips.ids[i])") == scored


@needs_chromium
def test_it_is_readable_in_light_and_dark_and_by_who_can_not_see_it(page: ReportPage) -> None:
    contrast = """(() => {
      const light = color => {
        const parts = color.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
          .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const ground = light(getComputedStyle(document.body).backgroundColor);
      return ['h1', '.hint', '#made', '.why', 'th', 'nav a'].map(name => {
        const [a, b] = [light(getComputedStyle(document.querySelector(name)).color), ground].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
      });
    })()"""
    grounds = set()
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        assert min(page.evaluate(contrast)) >= 4.5, f"{scheme}: WCAG 2.2, 1.4.3"
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    nameless = """[...document.querySelectorAll('input, select, button, section, table')].filter(e =>
      !e.labels?.length && !e.ariaLabel && !e.getAttribute('aria-labelledby') && !e.innerText && !e.caption).length"""
    assert page.evaluate(nameless) == 0
    assert page.evaluate("document.querySelectorAll('.plot:not([aria-hidden])').length") == 0, "their tables tell it"


@needs_chromium
def test_of_very_many_clips_it_shows_a_sample_and_says_so(
    browser: ReportPage, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MAX_CLIPS", 4)
    monkeypatch.setattr(gallery, "PICTURE_BYTES", 1)
    file = tmp_path / "report.html"
    file.write_bytes(made_report(job.store, Files(str(job.home)), find_release(job.store, "latest")))
    browser.show(file)
    assert "of 4 clips chosen at random" in browser.text_of("#sampled")
    assert "0 clips of 4 have a picture" in browser.text_of("#pictures")
    clips, selected = job.table("clip_selection").height, int(job.table("clip_selection")["selected"].sum())
    assert browser.text_of("#live").startswith(f"{selected} of {clips} clips selected"), "as released: exact"
    browser.evaluate("setBound(measures[0], 'min', 0)")
    browser.wait_for("document.getElementById('live').textContent.startsWith('≈')")
    rows = "[...document.getElementById('funnel-table').rows].map(row => [...row.cells].map(cell => cell.innerText))"
    [cutting] = [cells for cells in browser.evaluate(rows) if cells[0] == "clips after cutting"]
    assert cutting[2] == str(clips), "exact whatever moves"
    assert browser.complaints() == []


def test_it_stays_with_its_release(job: Job) -> None:
    stray = job.home / report_path("r9999-00000000")
    stray.parent.mkdir()
    stray.write_bytes(report_of(job).read_bytes())
    home = open_home(str(job.home))
    maintain(home.store, home.files, Maintenance(unreferenced_grace_hours=0), dt.datetime.now(dt.UTC))
    assert report_of(job).exists()
    assert not stray.exists()


def test_a_video_taken_down_takes_the_page_with_it_and_the_next_one_leaves_it_out(job: Job, command: Command) -> None:
    home, before = open_home(str(job.home)), report_of(job).read_text()
    video = find_item(home.store, "bikes.mp4")
    assert video.id in before
    assert "bikes.mp4" in before
    forget(home, video, None, None)
    assert not report_of(job).exists()
    status, said, why = command("report", "--home", job.home)
    assert status == 0, why
    assert str(report_of(job)) in said
    after = report_of(job).read_text()
    assert video.id not in after
    assert "bikes.mp4" not in after


def test_the_command_makes_that_of_any_release_wherever_it_is_wanted(
    job: Job, tmp_path: Path, command: Command
) -> None:
    first = find_release(job.store, "latest")["release"]
    with job.session(changed(SETTINGS, training_set__trainer__frame_count=50)) as session:
        assert session.register()
        assert session.refresh(["training_manifest"])
        assert session.release()
    assert find_release(job.store, "latest")["release"] != first
    status, _, why = command("report", first, "--to", tmp_path / "first.html", "--home", job.home)
    assert status == 0, why
    assert (tmp_path / "first.html").read_bytes() == (job.home / report_path(first)).read_bytes()
    assert f'"before":"{first}"' in report_of(job).read_text()
    assert "training_set.trainer.frame_count" in report_of(job).read_text()
    status, _, why = command("report", "r0009", "--home", job.home)
    assert status == 2
    assert "no such release" in why
