"""Which frames of a clip are looked at: EasyAnimate's methods, and the nine that Reelhouse stores.

Deliberately different from the original: `random` repeats itself; keyframes are those of the source, which the caller
finds, where the original's clips were encoded first and had those of that encode; a clip that ends before
`keyframe+first`'s frame is refused, where the original's guard let one of exactly a second through.
"""

import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from resources.errors import InputError

Method = Literal[
    "stored",
    "mid",
    "uniform",
    "random",
    "stride",
    "first",
    "last",
    "keyframe",
    "keyframe+first",
    "keyframe+last",
    "image",
]
BY_KEYFRAME = frozenset({"keyframe", "keyframe+first", "keyframe+last"})
COUNTED = frozenset({"uniform", "random"})
STRIDED = frozenset({"random", "stride"})
OF_ONE_FRAME = frozenset({"mid", "first", "last", "image"})
STORED_FRAMES = 9


def require_sampling(method: Method, frames: int, stride: int | None) -> None:
    """Raises ValueError for a number of frames or a stride that the method can't be used with."""
    if frames < 1:
        raise ValueError(f"frames is {frames}; look at 1 or more")
    if frames > 1 and method not in COUNTED:
        raise ValueError(f"frames is {frames}, which is for {_either(COUNTED)}; {method} says itself how many")
    if stride is None and method in STRIDED:
        raise ValueError(f"{method} needs a stride")
    if stride is not None and method not in STRIDED:
        raise ValueError(f"stride is {stride}, which is for {_either(STRIDED)}; leave it out with {method}")
    if stride is not None and stride < 1:
        raise ValueError(f"stride is {stride}; it must be 1 or more")


def _either(methods: frozenset[str]) -> str:
    return " or ".join(sorted(methods))


def sampled_indices(
    method: Method,
    frame_count: int,
    *,
    frames: int = 1,
    stride: int | None = None,
    seed: str = "",
    frame_rate: Fraction = Fraction(0),
    keyframes: Sequence[int] = (0,),
) -> list[int]:
    """Indices, never falling, of the frames to look at in a clip of `frame_count`; short clips repeat some.

    `seed`: makes the choice of `random`, and nothing else does. `frame_rate`: average frames a second. `keyframes`:
    indices of the clip's keyframes, rising, the first of them 0, since a clip of its own begins with one. Whether a
    frame is chosen doesn't depend on the keyframes after it.

    Raises ValueError as `require_sampling`, InputError for a clip that the method doesn't suit.
    """
    require_sampling(method, frames, stride)
    last = frame_count - 1
    match method:
        case "stored":
            return [*(i * frame_count // 8 for i in range(8)), last]
        case "mid":
            return [frame_count // 2]
        case "uniform":
            return [i * frame_count // frames for i in range(frames)]
        case "random":
            span = min(last, (frames - 1) * (stride or 1))
            start = random.Random(seed).randrange(frame_count - span)
            return [start + i * span // max(1, frames - 1) for i in range(frames)]
        case "stride":
            return list(range(0, frame_count, stride or 1))
        case "first":
            return [0]
        case "last":
            return [last]
        case "keyframe":
            return list(keyframes)
        case "keyframe+first":
            return _with_frame_at_1_s(keyframes, frame_count, frame_rate)
        case "keyframe+last":
            return [*keyframes] if keyframes[-1] == last else [*keyframes, last]
        case "image":
            if frame_count > 1:
                raise InputError(f"the method 'image' is for image files, and this clip has {frame_count} frames")
            return [0]


def _with_frame_at_1_s(keyframes: Sequence[int], frame_count: int, frame_rate: Fraction) -> list[int]:
    """The keyframes, and second the frame after one second unless the second keyframe comes before it."""
    at_1_s = int(frame_rate)
    if at_1_s >= frame_count:
        raise InputError(
            f"keyframe+first looks at frame {at_1_s}, one second on, and the clip has {frame_count} frames; "
            "raise clips.min_duration_s, or take another method"
        )
    first, *others = keyframes
    return [first, *others] if others and others[0] <= frame_rate else [first, at_1_s, *others]


def stored_positions(method: Method, frames: int) -> tuple[int, ...] | None:
    """Positions among a clip's stored frames of the frames that the method looks at; None where clips may lack some."""
    match method:
        case "stored":
            return tuple(range(STORED_FRAMES))
        case "first":
            return (0,)
        case "mid":
            return (4,)
        case "last":
            return (8,)
        case "uniform" if 8 % frames == 0:
            return tuple(range(0, 8, 8 // frames))
    return None
