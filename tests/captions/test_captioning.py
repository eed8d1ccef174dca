"""What a vision-language model is sent, and what becomes of its answers. The server is a stand-in."""

import base64
import hashlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation_assets.captions.captioning import Captioner, caption_clips
from curation_assets.captions.from_frames import read_frames
from curation_assets.settings import CAPTION_PROMPT
from curation_assets.tables import CAPTIONS
from resources.errors import InputError, TransientError
from resources.files import Files
from tests.stand_in_server import completion, stand_in_server

CAPTIONER = Captioner("stand-in", "r1", CAPTION_PROMPT, frame_count=8, temperature=0.0, max_tokens=512)
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
        CAPTION_PROMPT,
    ]
    assert [part["type"] for part in parts] == ["text", "image_url"] * 8 + ["text"]
    assert pictures(body) == JPEGS
    assert (body["max_tokens"], body["temperature"], body["model"]) == (512, 0.0, "stand-in")
    assert isinstance(row, dict)
    assert list(row) == list(CAPTIONS.stage_columns)
    assert (clip_id, row["clip_id"], row["caption"], row["status"]) == ("c1", "c1", "A red car.", "ok")


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
