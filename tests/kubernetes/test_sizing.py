"""What SIZING.md says is what was recorded."""

from benchmarks.sizing import SIZING, sizing


def test_every_figure_is_the_recorded_one_times_its_count() -> None:
    assert SIZING.read_text(encoding="utf-8") == sizing(), "run `python -m benchmarks.sizing`"
