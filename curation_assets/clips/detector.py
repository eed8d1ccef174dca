"""What a cut detector is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from curation_assets.settings import Cuts
from resources.media import Frame, VideoSource


@dataclass
class Scored:
    """Timestamps and scores of neighbouring frames, and when the last frame decoded for them ends."""

    pts: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    end_pts: int = 0


@dataclass(frozen=True)
class Detector:
    """One pass over the pictures scores every frame; from the scores alone follow the cuts.

    So any stretch of a video can be scored by itself, given the frames around it that its scores depend on: `before`
    its first and `after` its last frame, where it begins at a multiple of `step` frames.
    """

    scores: Callable[[Iterator[Frame], int], Iterator[float]]
    """One score a frame. So many frames come first that aren't scored; without any the first frame begins the video."""
    cuts: Callable[[Scored, VideoSource, Cuts], list[int]]
    """The first frames of the shots after the first, given all frames of the video."""
    before: int = 0
    after: int = 0
    step: int = 1
