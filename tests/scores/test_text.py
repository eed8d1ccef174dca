import logging

import numpy as np
import pytest

from curation_assets.scores import text
from curation_assets.scores.sampling import StoredFrames
from curation_assets.scores.text import chosen_frames, found_in, union_share
from curation_assets.settings import Text
from curation_assets.tables import BOOKKEEPING, TEXT_SCORES
from resources.errors import EngineUnavailable
from resources.text_reader import RapidOcrReader, open_text_reader, text_reader_identity

cv2 = pytest.importorskip("cv2")
FONT = cv2.FONT_HERSHEY_SIMPLEX


def written(picture, text, origin, scale=1.5, colour=(255, 255, 255)):
    """The picture with `text` on it, and the area of the text's box in px."""
    (width, height), below = cv2.getTextSize(text, FONT, scale, 3)
    return cv2.putText(picture.copy(), text, origin, FONT, scale, colour, 3), width * (height + below)


@pytest.fixture
def grey():
    return [np.full((288, 512, 3), 110, np.uint8) for _ in range(9)]


def text_row(pictures, settings, reader):
    """The row of nine stored pictures."""
    positions = chosen_frames(settings)
    words = StoredFrames(None, "clip", "", positions).in_words(positions)
    return text.text_row([found_in(pictures[position], settings, reader) for position in positions], reader, words)


def box(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def test_a_row_has_the_columns_of_its_table(reader, grey):
    row = text_row(grey, Text(), reader)
    assert ["clip_id", *row, "crop_box"] == [c for c in TEXT_SCORES.columns if c not in BOOKKEEPING]
    assert row["text_score"] == 0.0
    assert row["texts"] == []


def test_the_score_is_the_share_of_the_frame_that_text_covers(reader, grey):
    grey[4], area = written(grey[4], "SUBTITLE", (120, 160))
    row = text_row(grey, Text(), reader)
    assert row["texts"] == ["SUBTITLE"]
    assert row["text_score"] == pytest.approx(area / (288 * 512), rel=0.25)


def test_textures_are_not_text(reader, noise):
    row = text_row(noise, Text(frames="all"), reader)
    assert row["frame_scores"] == [0.0] * 9


def test_text_off_the_middle_frame_is_found_when_all_are_read(reader, grey):
    grey[0], _ = written(grey[0], "OPENING", (130, 160))
    grey[8], _ = written(grey[8], "OPENING", (130, 160))
    middle = text_row(grey, Text(), reader)
    every = text_row(grey, Text(frames="all"), reader)
    chosen = text_row(grey, Text(frames=(8, 2)), reader)
    assert middle["text_score"] == 0.0
    assert middle["sampling"] == "stored frame 4 of 0..8"
    assert [score > 0 for score in every["frame_scores"]] == [True] + [False] * 7 + [True]
    assert every["text_score"] == pytest.approx(np.mean(every["frame_scores"]), abs=1e-5)
    assert every["texts"] == ["OPENING"]
    assert [score > 0 for score in chosen["frame_scores"]] == [True, False]


def test_texts_are_listed_in_reading_order(reader, grey):
    picture, _ = written(grey[4], "second", (100, 240))
    picture, _ = written(picture, "FIRST", (100, 80))
    row = text_row([*grey[:4], picture, *grey[5:]], Text(), reader)
    assert row["texts"] == ["FIRST", "second"]


def test_reading_a_picture_does_not_depend_on_what_was_read_before(reader, grey, noise):
    picture, _ = written(grey[4], "CAPTION", (130, 160))
    clip = [picture] * 9
    first = text_row(clip, Text(), reader)
    text_row(noise, Text(longest_side_px=320, min_confidence=0.9), reader)
    assert text_row(clip, Text(), reader) == first == text_row(clip, Text(), RapidOcrReader())


def test_boxes_are_in_pixels_of_the_picture(reader):
    picture, _ = written(np.full((720, 1280, 3), 40, np.uint8), "CORNER", (900, 650), 2.0)
    (found,) = reader.read(picture, longest_side_px=320, min_confidence=0.5)
    (width, height), _ = cv2.getTextSize("CORNER", FONT, 2.0, 3)
    left, top = found.polygon.min(axis=0)
    right, bottom = found.polygon.max(axis=0)
    assert (left, right) == pytest.approx((900, 900 + width), abs=16)
    assert (top, bottom) == pytest.approx((650 - height, 650), abs=20)
    assert 0.5 <= found.confidence <= 1


def test_texts_read_with_too_little_confidence_do_not_count(reader, grey):
    grey[4], _ = written(grey[4], "WORD", (130, 160))
    assert text_row(grey, Text(min_confidence=1.0), reader)["text_score"] == 0.0


def test_a_single_character_is_not_text_unless_asked_for(reader, grey):
    grey[4], _ = written(grey[4], "A", (230, 170), 3.0)
    assert text_row(grey, Text(), reader)["text_score"] == 0.0
    assert text_row(grey, Text(min_characters=1), reader)["texts"] == ["A"]


def test_overlapping_boxes_count_once_and_parts_outside_not_at_all():
    assert union_share([box(10, 10, 30, 20)], 100, 100) == pytest.approx(0.02)
    assert union_share([box(10, 10, 30, 20), box(10, 10, 30, 20)], 100, 100) == pytest.approx(0.02)
    assert union_share([box(10, 10, 30, 20), box(20, 10, 40, 20)], 100, 100) == pytest.approx(0.03)
    assert union_share([box(-50, -50, 10, 10)], 100, 100) == pytest.approx(0.01)
    assert union_share([box(-9, -9, 900, 900)], 100, 100) == 1.0
    assert union_share([box(200, 200, 300, 300), box(5, 5, 5, 50)], 100, 100) == 0.0
    assert union_share([], 100, 100) == 0.0


def test_slanted_boxes_count_with_their_own_area_in_either_direction():
    diamond = np.array([[50, 10], [90, 50], [50, 90], [10, 50]], np.float32)
    assert union_share([diamond], 100, 100) == pytest.approx(0.32, abs=0.01)
    assert union_share([diamond[::-1]], 100, 100) == union_share([diamond], 100, 100)


def test_control_characters_never_reach_the_table(grey):
    class Reader:
        engine = model = revision = "fixed"

        def read(self, picture, longest_side_px, min_confidence):
            from resources.text_reader import TextBox

            return [TextBox(box(0, 0, 9, 9), text, 1.0) for text in ("a\x1b[2Jb\n", "\u202e\u202e", " a[2Jb")]

    assert text_row(grey, Text(), Reader())["texts"] == ["a[2Jb"]


def test_no_frames_at_all_and_frames_that_are_never_stored_are_refused():
    for frames in ((), (9,)):
        with pytest.raises(ValueError, match="frames"):
            Text(frames=frames)


def test_the_reader_starts_without_network_and_silently(monkeypatch, capfd, caplog):
    import socket

    def refuse(*_args, **_kwargs):
        raise AssertionError("tried to open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with caplog.at_level(logging.DEBUG):
        assert RapidOcrReader().read(np.zeros((64, 64, 3), np.uint8), 640, 0.5) == []
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_is_named():
    for argument in ("package", "runtime_package"):
        with pytest.raises(EngineUnavailable, match=r"no-such-package.*make setup"):
            RapidOcrReader(**{argument: "no-such-package"})
    for call in (text_reader_identity, open_text_reader):
        with pytest.raises(EngineUnavailable, match=r"'easyocr'.*rapidocr"):
            call("easyocr")
