"""Indices of the sampling methods against EasyAnimate's rules, written out here once more."""

from fractions import Fraction
from math import floor
from typing import Any

import pytest

from resources.errors import InputError
from resources.sampling import Method, sampled_indices, stored_positions

LENGTHS = [*range(1, 40), 75, 90, 99, 100, 240, 299, 300, 601]
NTSC = Fraction(30000, 1001)


def test_uniform_starts_at_the_beginning_and_never_reaches_the_end() -> None:
    assert sampled_indices("uniform", 5, frames=8) == [0, 0, 1, 1, 2, 3, 3, 4]  # the original's, run
    for count in LENGTHS:
        for frames in range(1, 20):
            truth = [floor(Fraction(i * count, frames)) for i in range(frames)]
            assert sampled_indices("uniform", count, frames=frames) == truth


@pytest.mark.parametrize("count", LENGTHS)
def test_methods_of_one_frame_and_of_a_step(count: int) -> None:
    assert sampled_indices("mid", count) == [floor(Fraction(count, 2))]
    assert sampled_indices("first", count) == [0]
    assert sampled_indices("last", count) == [count - 1]
    for stride in (1, 2, 7, 1000):
        assert sampled_indices("stride", count, stride=stride) == [i for i in range(count) if i % stride == 0]


@pytest.mark.parametrize("count", LENGTHS)
def test_random_spreads_frames_over_a_window_that_starts_anywhere(count: int) -> None:
    for frames, stride in [(1, 1), (1, 9), (2, 5), (4, 1), (8, 3), (5, 400)]:
        window = min(count, (frames - 1) * stride + 1)
        starts = set()
        for seed in range(60):
            found = sampled_indices("random", count, frames=frames, stride=stride, seed=f"{seed} clip")
            assert found == sampled_indices("random", count, frames=frames, stride=stride, seed=f"{seed} clip")
            gaps = max(1, frames - 1)
            assert found == [found[0] + floor(Fraction(i * (window - 1), gaps)) for i in range(frames)]
            starts.add(found[0])
        assert 0 <= min(starts) <= max(starts) <= count - window
        assert len(starts) > min(30, count - window) // 2  # 60 draws of n are about 60 of many, nearly all of few


def test_the_choice_of_random_stays() -> None:
    assert sampled_indices("random", 300, frames=4, stride=10, seed="0 abc") == [257, 267, 277, 287]


@pytest.mark.parametrize(
    ("method", "keyframes", "count", "rate", "truth"),
    [
        ("keyframe", [0], 90, Fraction(30), [0]),
        ("keyframe", [0, 12, 50], 90, Fraction(30), [0, 12, 50]),
        ("keyframe+first", [0], 90, Fraction(30), [0, 30]),
        ("keyframe+first", [0, 12], 90, Fraction(30), [0, 12]),  # the second keyframe comes within a second
        ("keyframe+first", [0, 30], 90, Fraction(30), [0, 30]),  # at exactly a second
        ("keyframe+first", [0, 31, 60], 90, Fraction(30), [0, 30, 31, 60]),
        ("keyframe+first", [0, 30], 90, NTSC, [0, 29, 30]),  # 30 frames last 1.001 s
        ("keyframe+first", [0], 31, Fraction(30), [0, 30]),
        ("keyframe+last", [0], 90, Fraction(30), [0, 89]),
        ("keyframe+last", [0, 40, 89], 90, Fraction(30), [0, 40, 89]),
        ("keyframe+last", [0], 1, Fraction(30), [0]),
        ("keyframe+last", [0, 1, 2], 3, Fraction(30), [0, 1, 2]),
    ],
)
def test_keyframes_alone_or_with_one_frame_more(
    method: Method, keyframes: list[int], count: int, rate: Fraction, truth: list[int]
) -> None:
    assert sampled_indices(method, count, frame_rate=rate, keyframes=keyframes) == truth


@pytest.mark.parametrize("method", ["keyframe", "keyframe+first", "keyframe+last"])
def test_whether_a_frame_is_chosen_does_not_depend_on_keyframes_after_it(method: Method) -> None:
    keyframes = [0, 9, 24, 25, 26, 40, 59]
    whole = sampled_indices(method, 60, frame_rate=Fraction(25), keyframes=keyframes)
    for seen in range(60):
        known = [index for index in keyframes if index <= seen]
        so_far = sampled_indices(method, 60, frame_rate=Fraction(25), keyframes=known)
        assert [i for i in so_far if i <= seen] == [i for i in whole if i <= seen]


@pytest.mark.parametrize("count", [1, 29, 30])
def test_a_clip_that_ends_before_the_frame_at_a_second_is_refused(count: int) -> None:
    """One of exactly a second too, for which the original's guard is one frame late."""
    with pytest.raises(InputError, match=rf"looks at frame 30, one second on, and the clip has {count} frames; raise"):
        sampled_indices("keyframe+first", count, frame_rate=Fraction(30))


def test_an_image_is_its_one_picture_and_a_video_is_none() -> None:
    assert sampled_indices("image", 1) == [0]
    with pytest.raises(InputError, match="'image' is for image files, and this clip has 75 frames"):
        sampled_indices("image", 75)


@pytest.mark.parametrize(
    ("method", "options", "why"),
    [
        ("uniform", {"frames": 0}, "frames is 0; look at 1 or more"),
        ("mid", {"frames": 2}, "frames is 2, which is for random or uniform; mid says itself how many"),
        ("uniform", {"frames": 4, "stride": 2}, "stride is 2, which is for random or stride; leave it out"),
        ("keyframe", {"stride": 1}, "stride is 1, which is for random or stride; leave it out with keyframe"),
        ("stride", {"stride": 0}, "stride is 0; it must be 1 or more"),
        ("stride", {}, "stride needs a stride"),
        ("random", {"frames": 4}, "random needs a stride"),
    ],
)
def test_what_a_method_cannot_be_used_with_is_one_error(method: Method, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        sampled_indices(method, 100, **options)


@pytest.mark.parametrize("count", LENGTHS)
def test_stored_frames_stand_for_what_they_are_said_to(count: int) -> None:
    stored = sampled_indices("stored", count)
    assert stored == [floor(Fraction(i * count, 8)) for i in range(8)] + [count - 1]
    plain: list[tuple[Method, int]] = [("stored", 1), ("mid", 1), ("first", 1), ("last", 1)]
    for method, frames in [*plain, *(("uniform", frames) for frames in (1, 2, 4, 8))]:
        positions = stored_positions(method, frames)
        assert positions is not None
        assert [stored[position] for position in positions] == sampled_indices(method, count, frames=frames)


def test_nothing_else_is_always_among_the_stored_frames() -> None:
    assert all(stored_positions("uniform", frames) is None for frames in (3, 5, 6, 7, 9, 16))
    others: list[Method] = ["random", "stride", "keyframe", "keyframe+first", "keyframe+last", "image"]
    assert all(stored_positions(method, 1) is None for method in others)
