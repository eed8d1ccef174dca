"""File names, listing rows and names of sources from outside, from the first scan to the exports and the terminal."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from curation_assets.orchestration.stage_asset import SHARDS, require_name
from curation_assets.raw_videos.listing import SourceError, list_source
from curation_assets.settings import Source
from curation_assets.tables import RAW_VIDEOS
from curation_assets.views.metadata import failures, preview
from tests import videos
from tests.conftest import Command
from tests.pipeline.jobs import BARE_SETTINGS, SHARD, Job, changed, reelhouse, write_settings
from tests.security.hostile import FILE_NAMES, FORMULAS, INSTRUCTION, LONG, MARKUP, QUOTES, TERMINAL, TRAVERSAL
from tests.stand_in_server import completion, stand_in_server

SETTINGS: dict[str, Any] = changed(
    BARE_SETTINGS, captions={"engine": "chat", "chat": {"model": "stand-in"}}, alignment={"engine": "off"}
)
CAPTION = f"{FORMULAS[0]} {MARKUP} {QUOTES} {TERMINAL} \ud83d"


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, str, list[dict[str, Any]]]:
    """A finished run over hostile names, tags and captions: the job, what was printed, what the server was sent."""
    job = Job(tmp_path_factory.mktemp("hostile"))
    job.films.mkdir()
    for number, name in enumerate(FILE_NAMES):
        tagged = ("-metadata", f"title={MARKUP}", "-metadata", f"comment={INSTRUCTION}")
        numbered = ("-f", "lavfi", "-i", f"testsrc2=size=64x48:rate=10:duration=0.{number + 3},hue=h={30 * number}")
        shutil.copy(videos.ffmpeg(f"hostile-{number}.mp4", *numbered, *tagged), job.films / name)
    (job.films / f"broken {TERMINAL}{MARKUP.replace('/', '_')}.mp4").write_bytes(b"no video")
    with stand_in_server(lambda body: (200, completion(CAPTION))) as server:
        settings = changed(SETTINGS, captions__chat__base_url=server.url)
        file = write_settings(job.root / "settings.yaml", settings)
        run = reelhouse("run", job.films, "--home", job.home, "--name", "films", "--settings", file, cwd=job.root)
        return job, run.stdout + run.stderr, server.received


def test_every_hostile_name_reaches_the_manifest_as_it_is(hostile_run: tuple[Job, str, Any]) -> None:
    job, said, _ = hostile_run
    samples = job.table("training_manifest")
    assert sorted(Path(uri).name for uri in samples["source_uri"]) == sorted(FILE_NAMES), said
    assert samples["file_path"].str.contains(r"^clips/films-0000/[0-9a-f]{16}-\d{8}-\d{8}-[0-9a-f]{8}\.mp4$").all()


def test_nothing_appears_outside_the_home(hostile_run: tuple[Job, str, Any]) -> None:
    job, _, _ = hostile_run
    assert {path.name for path in job.root.iterdir()} == {"films", "home", "settings.yaml"}
    assert len(list(job.films.iterdir())) == len(FILE_NAMES) + 1


def test_the_terminal_gets_no_control_character(hostile_run: tuple[Job, str, Any]) -> None:
    _, said, _ = hostile_run
    assert "broken" in said
    assert "no video container" in said
    assert [c for c in said if not c.isprintable() and c != "\n"] == []
    assert "[bold red]x[/bold red]" in said  # shown as it stands, not obeyed


def test_errors_are_one_line_without_control_characters(hostile_run: tuple[Job, str, Any]) -> None:
    job, _, _ = hostile_run
    [error] = job.table("raw_videos")["error"].drop_nulls().to_list()
    assert error.isprintable()
    assert "broken" in error


def test_no_file_name_or_tag_reaches_a_model(hostile_run: tuple[Job, str, list[dict[str, Any]]]) -> None:
    _, _, sent = hostile_run
    assert len(sent) == len(FILE_NAMES)
    words = [part["text"] for body in sent for part in body["messages"][0]["content"] if part["type"] == "text"]
    assert not any(text in said for said in words for text in (INSTRUCTION, "script", "films", ".mp4"))


def test_captions_are_text_wherever_they_go(hostile_run: tuple[Job, str, Any]) -> None:
    job, _, _ = hostile_run
    captions = job.table("captions")["caption"].to_list()
    assert all(caption.startswith(FORMULAS[0]) and "[2J" in caption and "\x1b" not in caption for caption in captions)
    [release] = (job.home / "exports").iterdir()
    assert json.loads((release / "train.json").read_text())[0]["text"] == captions[0]
    cells = pl.read_csv(release / "train.csv", infer_schema=False)
    assert all(cell.startswith("'=") for cell in cells["text"])


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_the_csv_is_a_formula(formula: str) -> None:
    from curation_assets.training_set.exports import _csv

    written = io.BytesIO()
    _csv(pl.DataFrame({"text": [formula], "source": [formula]}), written)
    rows = pl.read_csv(written.getvalue(), infer_schema=False)
    assert rows.to_dicts() == [{"text": f"'{formula}", "source": f"'{formula}"}]


def test_listing_rows_that_can_be_no_path_are_errors_of_their_own(tmp_path: Path) -> None:
    shutil.copy(videos.plain(), tmp_path / "good.mp4")
    paths = ["good.mp4", "a\0b.mp4", LONG, TRAVERSAL, QUOTES, TERMINAL, "", "~/x.mp4", "$HOME/x.mp4", "/dev/zero"]
    rows = [{"video_path": path, "note": MARKUP, "=1+1": LONG[:1000]} for path in paths]
    listing = tmp_path / "listing.jsonl"
    listing.write_text("".join(json.dumps(row) + "\n" for row in rows))
    entries = list_source(Source(path=str(listing)))
    assert len(entries) == len(paths)
    good = [entry for entry in entries if entry.error is None]
    assert [entry.path for entry in good if entry.path != TRAVERSAL] == ["good.mp4"]  # the listing names what it names
    assert all(len(entry.path) < 300 and len(entry.error or "") < 300 for entry in entries)
    assert all("; " in entry.error for entry in entries if entry.error)
    assert len({entry.path for entry in entries}) == len(paths)


def test_a_link_in_a_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "films" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    [entry] = list_source(Source(path=str(tmp_path / "films")))
    assert "a link that leaves the source's folder" in str(entry.error)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("huge-column.csv", f"{LONG}\nx\n".encode()),
        ("no-csv.csv", b"\x00\xff\xfe" * 1000),
        ("quote.csv", b'video_path\n"' + b"y" * 10_000_000),
        ("no-json.jsonl", LONG.encode()),
        ("deep.jsonl", b"[" * 100_000),
        ("no.parquet", b"PAR1" + bytes(1000)),
    ],
)
def test_a_listing_that_is_none_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    listing = tmp_path / name
    listing.write_bytes(content)
    with pytest.raises(SourceError) as refused:
        list_source(Source(path=str(listing)))
    assert len(str(refused.value)) < 700
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", [TRAVERSAL, QUOTES, MARKUP, "", "A", ".", "a/b", "a b", LONG[:200], "a\n"])
def test_names_of_sources_and_partitions_are_checked_wherever_people_type_them(name: str) -> None:
    with pytest.raises(dg.Failure, match="no name for a source"):
        require_name(name)


@pytest.mark.parametrize("name", [TRAVERSAL, ""])
def test_a_wrong_name_is_wrong_use_of_the_command(tmp_path: Path, name: str, command: Command) -> None:
    status, _, why = command("run", tmp_path, "--home", tmp_path / "home", "--name", name)
    assert status == 2
    assert "use at most 48" in why


def test_the_names_that_registration_makes_pass() -> None:
    assert [require_name(name) for name in ("films-0000", f"{'a' * 48}-12345", "a_b-1f2c")]


def test_a_partition_added_in_the_ui_cannot_lead_out_of_the_home(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with job.session(SETTINGS | {"captions": {}}) as session:
        session.runs.instance.add_dynamic_partitions(str(SHARDS.name), [f"../../{SHARD}"])
        assert not session.runs.shard(f"../../{SHARD}", ["raw_videos", "frames"])
        [failure] = session.outcome.step_failures
        registered = session.runs.register({"name": "../x", "path": str(tmp_path)})
    assert "no name for a source, a shard" in failure
    assert not registered
    assert not (tmp_path / "home").exists()


def test_metadata_for_the_ui_is_bounded() -> None:
    table = failures([(LONG, LONG), (TERMINAL, MARKUP)])
    assert len(str(table)) < 3000
    rows = pl.DataFrame({**dict.fromkeys(RAW_VIDEOS.schema), "video_id": "v", "path": LONG, "listing": LONG})
    shown = preview(rows.cast(RAW_VIDEOS.schema).lazy(), RAW_VIDEOS)
    assert len(str(shown)) < 20_000


def test_a_name_that_is_not_utf_8_is_an_error_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "films") + b"/caf\xe9.mp4")).write_bytes(b"x")
    [entry] = list_source(Source(path=str(tmp_path / "films")))
    assert entry.path == r"caf\xe9.mp4"
    assert "not UTF-8" in str(entry.error)
