"""What a vision-language model is sent, and what becomes of its answers. The server is a stand-in."""

import base64
import hashlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation_assets.captions.captioning import Captioner, caption_clips, caption_prompt
from curation_assets.captions.from_frames import read_frames
from curation_assets.settings import SettingsError, parse_settings
from curation_assets.tables import CAPTIONS
from resources.errors import InputError, TransientError
from resources.files import Files
from tests.stand_in_server import completion, stand_in_server

PROMPT = caption_prompt(None)
CAPTIONER = Captioner("stand-in", "r1", PROMPT, frame_count=8, temperature=0.0, max_tokens=512)
JPEGS = [b"\xff\xd8picture %d" % i for i in range(8)]
UNIT = {"clip_id": "c1", "frames_sha256": "f" * 64, "jpegs": JPEGS}


def pictures(body: dict[str, Any]) -> list[bytes]:
    parts = body["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


def test_frames_are_sent_numbered_before_the_instruction() -> None:
    with stand_in_server(lambda body: (200, completion(" A red\ncar. "))) as server:
        [(clip_id, row)] = caption_clips([UNIT], server.client(), CAPTIONER)
        [body] = server.received
    parts = body["messages"][0]["content"]
    assert [part["text"] for part in parts if part["type"] == "text"] == [
        *(f"Frame{i}: " for i in range(1, 9)),
        PROMPT,
    ]
    assert [part["type"] for part in parts] == ["text", "image_url"] * 8 + ["text"]
    assert pictures(body) == JPEGS
    assert (body["max_tokens"], body["temperature"], body["model"]) == (512, 0.0, "stand-in")
    assert isinstance(row, dict)
    assert list(row) == list(CAPTIONS.stage_columns)
    assert (clip_id, row["clip_id"], row["caption"], row["status"]) == ("c1", "c1", "A red car.", "ok")


def test_frames_are_sent_as_one_video_where_that_is_set() -> None:
    captioner = replace(CAPTIONER, send="video", frame_count=4)
    with stand_in_server(lambda body: (200, completion("A red car."))) as server:
        list(caption_clips([UNIT], server.client(), captioner))
        [body] = server.received
    video, text = body["messages"][0]["content"]
    form, _, frames = video["video_url"]["url"].partition(",")
    assert (video["type"], form) == ("video_url", "data:video/jpeg;base64")
    assert [base64.b64decode(frame) for frame in frames.split(",")] == JPEGS[::2]
    assert text == {"type": "text", "text": PROMPT}


def caption(captioner: Captioner, *answers: tuple[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row, and the requests, where the server gives these answers with these reasons for their end."""
    replies = iter(answers)
    with stand_in_server(lambda body: (200, completion(*next(replies)))) as server:
        [(_, row)] = caption_clips([UNIT], server.client(), captioner)
    assert isinstance(row, dict)
    return row, server.received


SHORT = replace(CAPTIONER, max_caption_tokens=20, max_attempts=3)
LONG = "A red car drives along a street. " * 4


def test_a_long_caption_is_asked_for_again_shorter() -> None:
    row, sent = caption(SHORT, (LONG, "stop"), (LONG, "length"), ("A red car.", "stop"))
    assert (row["caption"], row["status"], row["attempts"]) == ("A red car.", "ok", 3)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (3 * 7, 3 * 3)
    first, second, third = (body["messages"] for body in sent)
    assert second[0] == third[0] == first[0]
    assert [turn["role"] for turn in second] == ["user", "assistant", "user"]
    assert second[1]["content"] == LONG.strip()
    assert "at most 13 words" in second[2]["content"]


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([(LONG, "stop"), (LONG * 2, "length"), (LONG, "stop")], "long"),
        ([(LONG, "stop"), ("", "stop")], "long"),
        ([(LONG, "length"), (LONG, "length"), (LONG, "length")], "truncated"),
    ],
)
def test_a_caption_that_gets_no_shorter_is_kept_and_marked(answers: list[tuple[str, str]], status: str) -> None:
    row, sent = caption(SHORT, *answers)
    assert (row["caption"], row["status"], row["attempts"]) == (LONG.strip(), status, len(answers))
    assert len(sent) == len(answers)


def test_without_a_limit_a_caption_is_as_long_as_it_is() -> None:
    row, _ = caption(replace(CAPTIONER, max_attempts=3), (LONG, "stop"))
    assert (row["caption"], row["status"], row["attempts"]) == (LONG.strip(), "ok", 1)


def test_a_prompt_is_a_text_or_a_files_and_its_hash_is_in_the_row(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("What happens here?\n", encoding="utf-8")
    for given in (str(file), "What happens here?"):
        section = parse_settings({"captions": {"prompt": given}}, "x.yaml").captions
        row, sent = caption(replace(CAPTIONER, prompt=caption_prompt(section.prompt)), ("A car.", "stop"))
        assert sent[0]["messages"][0]["content"][-1]["text"] == "What happens here?"
        assert row["prompt_sha256"] == hashlib.sha256(b"What happens here?").hexdigest()
    with pytest.raises(SettingsError, match=r"x\.yaml: captions\.prompt: .*none\.txt can't be read"):
        parse_settings({"captions": {"prompt": "none.txt"}}, "x.yaml")


def test_fewer_frames_are_spread_over_the_clip() -> None:
    with stand_in_server(lambda body: (200, completion("A red car."))) as server:
        list(caption_clips([UNIT], server.client(), replace(CAPTIONER, frame_count=4)))
        assert pictures(server.received[0]) == JPEGS[::2]


@pytest.mark.parametrize(
    ("text", "finish_reason", "caption", "status"),
    [
        ("A red", "length", "A red", "truncated"),
        ("", "stop", None, "failed"),
        (" \n", "length", None, "failed"),
        (None, "stop", None, "failed"),
    ],
)
def test_an_answer_without_end_or_words_is_marked(
    text: str | None, finish_reason: str, caption: str | None, status: str
) -> None:
    with stand_in_server(lambda body: (200, completion(text, finish_reason))) as server:
        [(_, row)] = caption_clips([UNIT], server.client(), CAPTIONER)
    assert isinstance(row, dict)
    assert (row["caption"], row["status"], row["finish_reason"]) == (caption, status, finish_reason)


def test_a_refused_clip_does_not_touch_the_others() -> None:
    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        return (400, b'{"error": {"message": "bad picture"}}') if b"bad" in pictures(body) else (200, completion("Ok."))

    units = [{**UNIT, "clip_id": "bad", "jpegs": [b"bad"]}, {**UNIT, "clip_id": "good"}]
    with stand_in_server(answer) as server:
        results = dict(caption_clips(units, server.client(), CAPTIONER))
    assert isinstance(results["bad"], InputError)
    assert isinstance(results["good"], dict)


def test_captions_stay_with_their_clips_when_answers_come_out_of_order() -> None:
    last_comes_first = threading.Barrier(3)

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        number = int(pictures(body)[0].removeprefix(b"clip "))
        last_comes_first.wait(10)  # until all are asked
        time.sleep(0.1 * (3 - number))
        return 200, completion(f"What is in clip {number}.")

    units = [{"clip_id": f"c{n}", "frames_sha256": f"hash {n}", "jpegs": [b"clip %d" % n] * 8} for n in range(3)]
    with stand_in_server(answer) as server:
        results = list(caption_clips(units, server.client(concurrency=3), CAPTIONER))
        sent = {body["user"]: pictures(body)[0] for body in server.received}
    assert [clip_id for clip_id, _ in results] == ["c2", "c1", "c0"]
    for clip_id, row in results:
        assert isinstance(row, dict)
        number = clip_id.removeprefix("c")
        assert (row["clip_id"], row["caption"]) == (clip_id, f"What is in clip {number}.")
        assert sent[row["frames_sha256"]] == f"clip {number}".encode()


def test_other_frames_than_the_rows_are_never_described(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    files.write("frames/one.zip", b"the clip's own")
    sha256 = hashlib.sha256(b"the clip's own").hexdigest()
    assert read_frames(files, "frames/one.zip", sha256) == b"the clip's own"
    files.write("frames/one.zip", b"another clip's")
    with pytest.raises(TransientError, match="not the frames that the clip's row names"):
        read_frames(files, "frames/one.zip", sha256)
    with pytest.raises(TransientError, match="are gone"):
        read_frames(files, "frames/two.zip", sha256)
