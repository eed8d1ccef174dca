from curation_assets.filters import Filter
from curation_assets.selection.decisions import Unscored
from curation_assets.selection.preview import ClipScores, preview
from curation_assets.settings import Bound

MOTION = Filter("motion", "motion_scores", "motion_score", "dis", Bound(min=1.0))
TEXT = Filter("text", "text_scores", "text_score", "rapidocr", Bound(max=0.02))
LOOSE_MOTION = Filter("motion", "motion_scores", "motion_score", "dis", Bound(min=0.2))
SEMANTIC = Filter("semantic", "semantic_scores", "semantic_score", "efficientnet_lite0", Bound(min=0.6))


def clip(name: str, motion: float | Unscored, text: float, extra: tuple[str, ...] = ()) -> ClipScores:
    return ClipScores(name, "v", {MOTION.key: motion, TEXT.key: text}, extra)


CLIPS = [
    clip("kept", 5.0, 0.0),
    clip("slow", 0.5, 0.0),
    clip("slow_with_text", 0.5, 0.5),
    clip("with_text", 5.0, 0.5),
    clip("unscored", Unscored("frames missing"), 0.0),
    clip("uncaptioned", 5.0, 0.0, ("caption: failed",)),
]


def test_the_funnel_separates_joint_from_marginal_loss():
    motion, text = preview(CLIPS, [MOTION, TEXT], [MOTION, TEXT]).funnel_now
    assert (motion.dropped, motion.dropped_alone, motion.not_scored, motion.remaining) == (3, 2, 1, 2)
    assert (text.dropped, text.dropped_alone, text.not_scored, text.remaining) == (2, 1, 0, 1)


def test_a_loosened_bound_shows_who_enters():
    change = preview(CLIPS, [MOTION, TEXT], [LOOSE_MOTION, TEXT])
    assert (change.clips, change.selected_now, change.selected_then) == (6, 1, 2)
    assert (change.enters, change.leaves) == (["slow"], [])


def test_a_tightened_bound_shows_who_leaves():
    change = preview(CLIPS, [LOOSE_MOTION, TEXT], [MOTION, TEXT])
    assert (change.enters, change.leaves) == ([], ["slow"])


def test_removing_a_filter_lets_its_marginal_loss_in():
    change = preview(CLIPS, [MOTION, TEXT], [TEXT])
    assert change.enters == ["slow", "unscored"]
    assert [row.name for row in change.funnel_then] == ["text"]


def test_an_engine_without_scores_drops_every_clip():
    change = preview(CLIPS, [MOTION], [MOTION, SEMANTIC])
    assert change.selected_then == 0
    assert change.funnel_then[1].not_scored == len(CLIPS)
