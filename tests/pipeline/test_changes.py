"""Every change of the table makes the product do exactly its work, and a plan foretells it.

Work is counted in what worker processes and the stand-in server are given. That nothing else opens a video is shown
by taking the films away after registration: what then needs one fails. The refreshes run without Dagster's jobs.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets import definitions
from curation_assets.plan import Figure, Plan, make_plan
from curation_assets.refresh import Compute, Context, Report, refresh
from curation_assets.settings import Source, parse_settings
from curation_assets.shards import register
from curation_assets.stage_asset import SHARDS, StageAsset
from curation_assets.tools import Tools
from resources.calls import Call
from resources.files import Files
from resources.workers import WorkerPool
from tests.pipeline.changes import CHANGES, SAMPLES, VIDEOS, Change
from tests.pipeline.conftest import Finished
from tests.pipeline.jobs import SOURCE, Job
from tests.stand_in_server import StandInServer, completion, stand_in_server

FIGURES = ("video_decodes", "clip_decodes", "encodes", "calls")
COUNTED_AS = {"detect_scenes": "video_decodes", "encode_and_store": "encodes", "probe_video": "probes"}


@dataclass
class Did:
    """What a registration and the refreshes after it did."""

    refused: list[str]
    computed: Counter[str]
    reused: Counter[str]
    failed: Counter[str]
    figures: Counter[str]


def source(job: Job) -> dict[str, Source]:
    return {SOURCE: Source(path=str(job.films))}


def foretell(job: Job, settings: Mapping[str, Any]) -> Plan:
    return make_plan(parse_settings(dict(settings), "the test's"), str(job.home), source(job), SOURCE)


def refresh_all(job: Job, settings: Mapping[str, Any], needs: Iterable[str], figures: Counter[str]) -> Did:
    """Register the films, take all away but the ones needed, refresh every asset and put the films back."""
    parsed = parse_settings(dict(settings), "the test's")
    found = register(source(job), parsed.shards, job.store, "run")
    did = Did(found.source_errors, +Counter(source_files=found.hashed), Counter(), Counter(), figures)
    if found.source_errors:
        return did
    aside = job.root / "aside"
    job.films.rename(aside)
    job.films.mkdir()
    for name in needs:
        shutil.copy2(aside / name, job.films / name)
    files = Files(str(job.home))
    for shard in found.shards:
        for asset in definitions.all_assets(parsed):  # as a change may have patched it
            if isinstance(asset, StageAsset) and asset.definition.partitions_def == SHARDS:
                compute = computing(asset, Tools(parsed, files))
                context = Context(job.store, files, "run", parsed.execution.batch_units)
                for report in refresh(asset.stages, shard, compute, context):
                    add_up(did, report)
    shutil.rmtree(job.films)
    aside.rename(job.films)
    did.computed = +did.computed
    return did


def computing(asset: StageAsset, tools: Tools) -> Compute:
    return lambda work: asset.compute(work, tools)


def add_up(did: Did, report: Report) -> None:
    assert report.inputs == report.computed + report.reused + report.failed + report.blocked
    did.computed[report.table] += report.computed
    did.reused[report.table] += report.reused
    did.failed[report.table] += report.failed + report.blocked


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what worker processes are given; they work as always."""
    given: Counter[str] = Counter()
    real = WorkerPool.map

    def counting(pool: WorkerPool, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        def counted() -> Iterator[Any]:
            for item in items:
                name = item.function.__name__ if isinstance(item, Call) else type(item).__name__
                given["clip_decodes" if name == "ClipTask" else COUNTED_AS.get(name, "calls")] += 1
                yield item

        return real(pool, function, counted())

    monkeypatch.setattr(WorkerPool, "map", counting)
    return given


@pytest.fixture(scope="module")
def server() -> Iterator[StandInServer]:
    with stand_in_server(lambda _: (200, completion("A street with people."))) as running:
        yield running


@pytest.fixture(scope="module")
def chat_job(finished: Finished, server: StandInServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished job after captions by the server; lies elsewhere, to be copied to the job's place."""
    job = Job(finished.place)
    shutil.rmtree(finished.place, ignore_errors=True)
    shutil.copytree(finished.template, finished.place)
    refresh_all(job, Change("chat", chat=True).settings_at(server.url), (), Counter())
    kept = tmp_path_factory.mktemp("chat") / "job"
    shutil.move(finished.place, kept)
    return kept


@pytest.fixture
def start(job: Job, request: pytest.FixtureRequest) -> Callable[[Change], Job]:
    """The job as it was before a change."""

    def at(change: Change) -> Job:
        if change.chat_before:
            template = request.getfixturevalue("chat_job")
            shutil.rmtree(job.root, ignore_errors=True)
            shutil.copytree(template, job.root)
        return job

    return at


def bytes_of(home: Path) -> dict[str, str]:
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in sorted(home.rglob("*")) if path.is_file()}


def assert_foretold(figure: Figure, did: int, what: str) -> None:
    """Exact, or within bounds; where a figure is an estimate, at least that there would be something."""
    if figure.is_exact:
        assert did == figure.low, what
    elif not figure.about:
        assert figure.low <= did <= figure.high, what
    else:
        assert figure.high > 0, what


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name.replace(" ", "-"))
def test_change(
    change: Change,
    start: Callable[[Change], Job],
    server: StandInServer,
    figures: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = start(change)
    if change.earlier:
        change.earlier.films(job)
        refresh_all(job, change.earlier.settings_at(server.url), (), Counter())
    change.films(job)
    change.patch(monkeypatch)
    settings = change.settings_at(server.url)
    before, paid_calls = bytes_of(job.home), len(server.received)

    foretold = foretell(job, settings)
    assert bytes_of(job.home) == before, "a plan changes nothing"
    figures.clear()
    did = refresh_all(job, settings, change.needs, figures)
    did.figures["calls"] += len(server.received) - paid_calls

    assert +did.failed == Counter()
    assert bool(did.refused) == bool(foretold.problems) == change.is_refused
    assert dict(did.computed) == dict(change.computed)
    assert {name: did.figures[name] for name in FIGURES} == {name: getattr(change, name) for name in FIGURES}
    assert job.table("training_manifest").height == change.samples
    if change.is_refused:
        assert bytes_of(job.home) == before, "nothing is marked as gone"

    for line in foretold.lines:
        if line.asset != "training_set":
            assert_foretold(line.figure("units"), change.computed.get(line.asset, 0), line.asset)
            if not change.is_refused:
                assert line.figure("units").is_exact or not change.is_exact, line.asset
    if change.why:
        asset, text = change.why
        assert any(text in reason for reason in foretold.line(asset).reasons)
    for name in FIGURES:
        assert_foretold(foretold.figure(name), getattr(change, name), name)


def test_taking_the_films_away_shows_what_opens_them(job: Job) -> None:
    """The check that the other tests rely on: a refresh that needs a video does fail without it."""
    settings = Change("cuts", settings={"cuts__content_threshold": 26.0}).settings_at("")
    assert refresh_all(job, settings, (), Counter()).failed["scenes"] == VIDEOS


def test_results_of_paid_stages_outlive_a_decision_and_serve_it_again(job: Job) -> None:
    samples = job.table("training_manifest")
    paid = {name: job.table(name) for name in ("captions", "rewritten_captions", "alignment_scores", "clip_files")}
    tight = Change("tight", settings={"selection__motion": {"dis": {"min": 5.0}}})
    refresh_all(job, tight.settings_at(""), (), Counter())
    kept = job.table("training_manifest")
    assert kept["motion_score"].to_list() == samples.filter(pl.col("motion_score") >= 5.0)["motion_score"].to_list()
    assert 0 < kept.height < SAMPLES
    for name, rows in paid.items():
        assert job.table(name).equals(rows), name

    refresh_all(job, Change("as before").settings_at(""), (), Counter())
    data = [name for name in samples.columns if name not in ("run_id", "computed_at")]
    assert job.table("training_manifest").select(data).equals(samples.select(data))


def test_renamed_and_moved_videos_are_the_same_videos_under_another_name(job: Job) -> None:
    by_name = {change.name: change for change in CHANGES}
    videos_before = job.table("raw_videos").select("video_id", "frame_count")
    by_name["video renamed"].films(job)
    by_name["video moved"].films(job)
    allowed = Change("both", settings={"shards__max_lost_share": 0.9})
    assert refresh_all(job, allowed.settings_at(""), (), Counter()).computed == {
        "source_files": 2,
        "training_manifest": SAMPLES,
    }
    assert job.table("raw_videos").select("video_id", "frame_count").equals(videos_before)
    assert dict(job.table("training_manifest")["source_uri"].value_counts().iter_rows()) == {
        str(job.films / "Fahrräder [1] $HOME.mp4"): 5,
        str(job.films / "more" / "two_shots.mp4"): 2,
    }


def test_a_replaced_video_is_marked_missing_and_leaves_the_manifest(job: Job) -> None:
    replaced = next(change for change in CHANGES if change.name == "video replaced")
    replaced.films(job)
    refresh_all(job, replaced.settings_at(""), replaced.needs, Counter())
    files = job.table("source_files").filter(path="two_shots.mp4").sort("missing")
    assert files["missing"].to_list() == [False, True]
    manifest = job.table("training_manifest").filter(pl.col("source_uri").str.ends_with("two_shots.mp4"))
    assert manifest["video_id"].to_list() == [files["video_id"][0]]
