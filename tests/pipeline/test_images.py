"""Images beside videos of a shard: one scene and one clip from 0 to 0, scored, captioned and in the manifest."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curation_assets.commands.trace import _score
from curation_assets.filters import clip_filters
from curation_assets.home import open_home
from curation_assets.incremental.stage import NO_ENGINE
from curation_assets.inspection.lookup import find_item
from curation_assets.inspection.plan import make_plan
from curation_assets.inspection.trace import trace
from curation_assets.raw_videos.assets import raw_video_assets
from curation_assets.selection.assets import filter_settings
from curation_assets.selection.exclusions import Excluded, exclude
from curation_assets.settings import Settings, parse_settings
from curation_assets.upkeep.takedown import forget
from tests import images, videos
from tests.images import RGB, as_opened
from tests.pipeline.jobs import BARE_SETTINGS, SHARD, Job, Session, changed, copy_videos
from tests.pipeline.jobs import SETTINGS as ONE_SHOT_SETTINGS
from tests.stand_in_server import completion, stand_in_server

SETTINGS = changed(
    ONE_SHOT_SETTINGS,
    selection__technical__opencv__colour={"min": None},  # one of the images is grey
    shards__max_lost_share=1.0,
)
VIDEO = "street.mp4"
SMALL = "small.png"
NEVER_FOR_IMAGES = {"motion", "semantic", "frozen_share"}
AS_PNG = {"turned.jpeg", "mirrored.webp", "sixteen_bit.png", "alpha.webp"}
WHY = {
    "cut.jpg": "cut off or damaged",
    "text.png": "no image (png, jpeg, webp, bmp, gif); convert it, or take it out of the source",
    "empty.webp": "the file is empty; copy it again",
    "bomb.png": "it is 20000x20000, above raw_videos.max_pixels (67108864); raise the limit or take it out",
    "program.jpg": "no image",
}


@dataclass(frozen=True)
class Mixed:
    """`shows`: file -> what a person sees in it."""

    job: Job
    session: Session
    shows: dict[str, RGB]

    def rows(self, table: str) -> dict[str, dict[str, Any]]:
        """File -> its row, of tables with at most one a file."""
        path_of = dict(self.job.table("source_files").select("video_id", "path").iter_rows())
        return {path_of[(row.get("video_id") or row["clip_id"])[:16]]: row for row in self.job.table(table).to_dicts()}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    job = Job(tmp_path_factory.mktemp("mixed"))
    copy_videos(job.films, street=videos.street())
    makers = {**images.GOOD, SMALL: images.small_png}
    shows = {name: make(job.films / name) for name, make in makers.items()}
    for name, make in images.BAD.items():
        make(job.films / name)
    (job.films / "notes.txt").write_text("no source", encoding="utf-8")
    return Mixed(job, job.run(SETTINGS), shows)


@pytest.fixture
def copied(mixed: Mixed) -> Iterator[Job]:
    """The job, to change at will: the original comes back to its place, which the rows name, afterwards."""
    aside = mixed.job.root.with_name("aside")
    shutil.copytree(mixed.job.root, aside)
    yield mixed.job
    shutil.rmtree(mixed.job.root)
    aside.rename(mixed.job.root)


def refreshed(job: Job, settings: dict[str, Any], *assets: str) -> Session:
    """Only some assets brought up to date."""
    with job.session(settings) as session:
        assert session.register()
        assert session.refresh(assets)
    return session


def test_every_file_ends_as_a_row_and_no_step_fails(mixed: Mixed) -> None:
    counts = mixed.session.counts()
    assert mixed.session.outcome.step_failures == []
    good, bad = len(images.GOOD), len(images.BAD)
    expected = {
        "source_files": good + bad + 2, "raw_videos": good + 2, "scenes": good + 2, "clips": good + 2,
        "frames": good + 1, "text_scores": good + 1, "technical_scores": good + 1, "clip_selection": good + 1,
        "captions": good + 1, "alignment_scores": good + 1, "clip_files": good + 1, "training_manifest": good + 1,
        "motion_scores": 1, "semantic_scores": 1,
    }  # fmt: skip
    assert {name: counts[name].computed for name in expected} == expected
    assert counts["raw_videos"].failed == bad
    assert counts["scenes"].blocked == counts["clips"].blocked == bad
    for name in mixed.session.partitioned():
        found = counts[name]
        assert found.inputs == found.computed + found.reused + found.failed + found.blocked, name


@pytest.mark.parametrize("name", WHY)
def test_a_file_that_is_no_picture_is_one_error_row(mixed: Mixed, name: str) -> None:
    row = mixed.rows("raw_videos")[name]
    assert (row["media_type"], row["error_kind"]) == ("image", "input")
    assert row["error"].startswith(f"{mixed.job.films / name}: {WHY[name]}")
    assert name not in mixed.rows("training_manifest")


def test_an_image_is_one_scene_and_one_clip_from_0_to_0(mixed: Mixed) -> None:
    probed, scenes, clips, frames = (mixed.rows(table) for table in ("raw_videos", "scenes", "clips", "frames"))
    for name, picture in mixed.shows.items():
        height, width, _ = picture.shape
        found = probed[name]
        assert (found["width"], found["height"], found["frame_count"], found["duration_s"]) == (width, height, 1, 0)
        assert (scenes[name]["scene_index"], scenes[name]["start_s"], scenes[name]["end_s"]) == (0, 0, 0)
        assert clips[name]["clip_id"] == f"{found['video_id']}-00000000-00000000"
        too_small = "source too small: 100x100 = 10000 px is less than 57600 px"
        assert clips[name]["dropped"] == (too_small if name == SMALL else None)
        if name != SMALL:
            assert (frames[name]["frame_indices"], frames[name]["frame_times_s"]) == ([0], [0])
            assert (frames[name]["width"], frames[name]["height"]) == (width, height)
    assert probed["turned.jpeg"]["rotation_deg"] == 90
    assert (probed["turned.jpeg"]["coded_width"], probed["turned.jpeg"]["coded_height"]) == images.SIZE
    assert probed[VIDEO]["frame_count"] == 40
    assert len(frames[VIDEO]["frame_indices"]) == 9


def test_a_filter_that_compares_frames_is_not_for_images_and_all_others_are(mixed: Mixed) -> None:
    for name, row in mixed.rows("clip_selection").items():
        assert row["selected"], (name, row["reasons"])
        passed = {measure["filter"]: measure["passed"] for measure in row["measurements"]}
        none_for = set() if name == VIDEO else NEVER_FOR_IMAGES
        assert {filter_ for filter_, verdict in passed.items() if verdict is None} == none_for
        assert len(passed) == 10
    (technical,) = [row for name, row in mixed.rows("technical_scores").items() if name == "plain.png"]
    assert technical["frozen_share"] is None
    assert technical["technical_score"] == 1


def test_captions_speak_of_an_image(mixed: Mixed) -> None:
    for name, row in mixed.rows("captions").items():
        image = "image" in row["caption"].partition(" with ")[0]
        assert image == (name != VIDEO), row["caption"]
        assert ("-second" in row["caption"]) == ("motion" in row["caption"]) == (name == VIDEO)
    assert {len(row["frame_scores"]) for name, row in mixed.rows("alignment_scores").items() if name != VIDEO} == {1}


def test_a_trainer_sees_each_sample_as_it_was_judged(mixed: Mixed) -> None:
    """EasyAnimate's: `file_path` joined to its folder; an image opened by Pillow, a video decoded."""
    release = mixed.job.table("training_set").row(0, named=True)
    (exported,) = [path for path in release["exports"] if path.endswith("train.json")]
    entries = json.loads((mixed.job.home / exported).read_text(encoding="utf-8"))
    rows = {row["file_path"]: (name, row) for name, row in mixed.rows("training_manifest").items()}
    assert len(entries) == len(images.GOOD) + 1
    for entry in entries:
        name, row = rows[entry["file_path"]]
        file = Path(os.path.join(mixed.job.home, entry["file_path"]))
        if entry["type"] == "video":
            assert name == VIDEO
            with av.open(str(file)) as container:
                assert len(list(container.decode(video=0))) == row["frame_count"] == 40
            continue
        assert entry["type"] == "image"
        picture = as_opened(file)
        assert np.array_equal(picture, mixed.shows[name]), name
        assert (entry["width"], entry["height"]) == (picture.shape[1], picture.shape[0])
        assert (row["start_s"], row["end_s"], row["duration_s"], row["frame_count"]) == (0, 0, 0, 1)
        assert row["warnings"] == []
        assert {row[score] for score in ("motion_score", "semantic_score", "frames_per_s")} == {None}
        if name in AS_PNG:
            assert file.suffix == ".png"
        elif name != "several.jpg":  # of which the first is taken
            assert file.read_bytes() == (mixed.job.films / name).read_bytes()


def test_a_second_refresh_computes_nothing_and_a_plan_says_so(mixed: Mixed) -> None:
    plan = make_plan(parse_settings(SETTINGS, "the test's settings"), str(mixed.job.home), {})
    assert {line.asset: str(line.figure("units")) for line in plan.lines} == {line.asset: "0" for line in plan.lines}
    assert mixed.job.run(SETTINGS).computed() == {}


def test_rows_of_videos_stand_that_are_older_than_images() -> None:
    (stage,) = raw_video_assets(Settings())[0].stages
    video = {"video_id": "00112233445566aa"}
    assert stage.fingerprint(video | {"as_image": None}, NO_ENGINE) == stage.fingerprint(video, NO_ENGINE)
    assert stage.fingerprint(video | {"as_image": True}, NO_ENGINE) != stage.fingerprint(video, NO_ENGINE)
    bounds = [filter_["bound"] for filter_ in filter_settings(clip_filters(Settings()))["filters"]]
    assert all(bound.keys() == {"min", "max"} for bound in bounds)


def test_a_renamed_image_is_the_same_and_one_under_a_videos_name_is_read_as_one_again(copied: Job) -> None:
    (copied.films / "plain.png").rename(copied.films / "renamed.png")
    (copied.films / "bitmap.bmp").rename(copied.films / "bitmap.mp4")
    session = copied.run(SETTINGS)
    assert session.counts()["raw_videos"].failed == len(images.BAD) + 1, "what is named .mp4 is no video"
    assert session.computed().keys() == {"source_files", "training_manifest", "training_set"}
    (copied.films / "bitmap.mp4").rename(copied.films / "bitmap.bmp")
    assert refreshed(copied, SETTINGS, "raw_videos").computed()["raw_videos"] == 1


def test_encoder_settings_change_no_sample_of_an_image(copied: Job) -> None:
    before = {row["clip_id"]: row for row in copied.table("training_manifest").to_dicts()}
    session = refreshed(copied, changed(SETTINGS, clip_files__crf=30), "clip_files", "training_manifest")
    assert session.computed()["training_manifest"] == 1, "the video's"
    for row in copied.table("training_manifest").to_dicts():
        if row["type"] == "image":
            assert row == before[row["clip_id"]]


def test_a_filter_can_be_for_one_media_type(copied: Job) -> None:
    too_sharp = {"technical": {"opencv": {"sharpness": {"min": 1e9, "media_types": ["image"]}}}}
    decided = ("clip_selection", "sample_selection", "training_manifest")
    refreshed(copied, changed(SETTINGS, selection=too_sharp), *decided)
    selected = dict(copied.table("clip_selection").select("clip_id", "selected").iter_rows())
    assert {clip_id for clip_id, is_in in selected.items() if is_in} == {
        clip_id for clip_id in selected if not clip_id.endswith("-00000000-00000000")
    }
    assert copied.table("training_manifest")["type"].to_list() == ["video"]


def test_trace_exclude_and_forget_know_images(copied: Job) -> None:
    home = open_home(str(copied.home))
    sample = next(
        row for row in copied.table("training_manifest").to_dicts() if row["source_uri"].endswith("plain.png")
    )
    item = find_item(home.store, Path(sample["file_path"]).name)
    assert item.id == sample["clip_id"]
    story = trace(home, item)
    assert story.outcome == "in the training manifest"
    assert story.failures == []
    assert all(size is not None for size in story.files.values())
    told = {score["filter"]: _score(score) for score in story.scores}
    assert {name for name, text in told.items() if "not applied to its media type" in text} == NEVER_FOR_IMAGES
    assert "passes" in told["sharpness"]

    exclude(home.store, Excluded("clip", item.id, item.video_id, SHARD), "a logo", None)
    refreshed(copied, SETTINGS, "clip_selection", "sample_selection", "training_manifest")
    assert sample["clip_id"] not in copied.table("training_manifest")["clip_id"]

    forget(home, find_item(home.store, item.video_id), "on request", None)
    assert not (copied.home / sample["file_path"]).exists()
    assert not list(copied.home.rglob(f"{item.video_id}*"))
    assert copied.run(SETTINGS).computed().keys() <= {"source_files", "training_set"}
    assert item.video_id not in copied.table("raw_videos")["video_id"]


def test_a_chat_engine_is_shown_one_picture_and_asked_about_an_image(new_job: Job) -> None:
    copy_videos(new_job.films, street=videos.street())
    images.plain_png(new_job.films / "plain.png")
    with stand_in_server(lambda _: (200, completion("Tiles of many colours."))) as server:
        chat = {"engine": "chat", "chat": {"base_url": server.url, "model": "stand-in"}}
        new_job.run(changed(BARE_SETTINGS, captions=chat))
        turns = [request["messages"][0]["content"] for request in server.received]
        asked = {len(content): content for content in turns}
        assert set(asked) == {2, 17}, "a picture, or eight with their numbers, and the instruction"
        picture, instruction = asked[2]
        assert picture["type"] == "image_url"
        assert instruction["text"] == "Describe this image in detail. Don't repeat."
        assert asked[17][-1]["text"] == "Describe this video in detail. Don't repeat."

        other = {**chat, "image_prompt": "What is this a picture of?"}
        again = refreshed(new_job, changed(BARE_SETTINGS, captions=other), "captions")
        assert again.computed()["captions"] == 1, "the image's"
        assert server.received[-1]["messages"][0]["content"][1]["text"] == "What is this a picture of?"
