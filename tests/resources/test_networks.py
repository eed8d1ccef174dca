"""Batches hold whole clips up to a size, shrink when memory runs out, and never change whose features are whose."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from resources.errors import InputError, TransientError
from resources.networks import Arrays, OpenNetworks, in_batches
from resources.spent import Spent


class Recorded:
    """Stands for a network on a GPU: a sample's features are twice the sample. With more than `room` samples at once
    it raises what torch raises when a GPU's memory is full; that a real GPU does so, and frees what the failed pass
    took, is not shown here."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.batches: list[int] = []

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        if len(samples) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(samples))
        return 2 * samples.astype(np.float32)


def clips(*sizes: int) -> Iterator[tuple[str, Arrays]]:
    """Clips named by their place, whose samples hold the place."""
    return ((f"c{place}", (np.full((size, 3), place, np.uint8),)) for place, size in enumerate(sizes))


def run(network: Recorded, batch: int, *sizes: int) -> dict[str, Arrays | Exception]:
    return dict(in_batches(clips(*sizes), OpenNetworks((network,), batch)))


@pytest.mark.parametrize(
    ("batch", "sizes", "batches"),
    [
        (32, (9, 9, 9, 9, 9), [27, 18]),
        (8, (4, 4, 4), [8, 4]),
        (4, (9, 9), [4, 4, 1, 4, 4, 1]),  # a clip larger than a batch is cut
        (1, (2, 1), [1, 1, 1]),
        (64, (1,), [1]),
        (64, (), []),
    ],
)
def test_whole_clips_share_a_batch(batch: int, sizes: tuple[int, ...], batches: list[int]) -> None:
    network = Recorded()
    found = run(network, batch, *sizes)
    assert network.batches == batches
    assert list(found) == [f"c{place}" for place in range(len(sizes))]
    for place, size in enumerate(sizes):
        np.testing.assert_array_equal(found[f"c{place}"][0], np.full((size, 3), 2.0 * place))


@pytest.mark.parametrize("room", [1, 2, 5, 13, 31])
def test_out_of_memory_halves_the_batch_for_good(room: int) -> None:
    network = Recorded(room)
    sizes = (9, 9, 9, 9, 9, 9, 9)
    found = run(network, 32, *sizes)
    assert max(network.batches) <= room
    assert sum(network.batches) == sum(sizes)
    assert max(network.batches) > room // 2  # no smaller than need be
    for place, size in enumerate(sizes):
        np.testing.assert_array_equal(found[f"c{place}"][0], np.full((size, 3), 2.0 * place))


def test_a_sample_that_never_fits_is_tried_again_another_time() -> None:
    found = run(Recorded(room=0), 4, 2, 2)
    assert len(found) == 2
    for outcome in found.values():
        assert isinstance(outcome, TransientError)
        assert "no memory for a single sample" in str(outcome)


def test_what_could_not_be_prepared_costs_itself_only() -> None:
    broken = InputError("broken")
    prepared = [("a", (np.ones((2, 1)),)), ("b", broken), ("c", (np.ones((1, 1)),))]
    found = dict(in_batches(prepared, OpenNetworks((Recorded(),), 8)))
    assert found["b"] is broken
    assert [len(found[name][0]) for name in "ac"] == [2, 1]


def test_features_that_are_no_numbers_fail_their_clip() -> None:
    prepared = [("a", (np.array([[1.0]]),)), ("b", (np.array([[np.inf]]),))]
    found = dict(in_batches(prepared, OpenNetworks((Recorded(),), 8)))
    assert isinstance(found["b"], InputError)
    assert "use bf16 or fp32" in str(found["b"])
    assert found["a"][0][0, 0] == 2


def test_each_network_runs_over_its_own_array() -> None:
    pictures, text = Recorded(), Recorded()
    prepared = [(f"c{n}", (np.full((8, 2), n), np.full((1, 5), 10 + n))) for n in range(5)]
    found = dict(in_batches(prepared, OpenNetworks((pictures, text), 16)))
    assert (pictures.batches, text.batches) == ([16, 16, 8], [2, 2, 1])
    for n in range(5):
        assert found[f"c{n}"][0].shape == (8, 2)
        np.testing.assert_array_equal(found[f"c{n}"][1], np.full((1, 5), 20.0 + 2 * n))


def test_no_more_is_taken_ahead_than_a_batch_holds() -> None:
    taken = []

    def feed() -> Iterator[tuple[str, Arrays]]:
        for name, arrays in clips(*[4] * 10):
            taken.append(name)
            yield name, arrays

    for done, _ in enumerate(in_batches(feed(), OpenNetworks((Recorded(),), 8))):
        assert len(taken) <= done + 3


def test_pictures_of_other_sizes_are_not_stacked() -> None:
    network = Recorded()
    widths = [4, 4, 6, 6, 6, 4]
    prepared = [(place, (np.full((1, 2, width), place, np.uint8),)) for place, width in enumerate(widths)]
    found = dict(in_batches(iter(prepared), OpenNetworks((network,), 8)))
    assert network.batches == [2, 3, 1]
    for place, width in enumerate(widths):
        np.testing.assert_array_equal(found[place][0], np.full((1, 2, width), 2.0 * place))


def test_forward_passes_count_as_the_models_time_alone() -> None:
    def network(samples: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        return samples

    spent, started = Spent(), time.perf_counter()
    with spent.collected():
        for _ in in_batches(clips(2, 2), OpenNetworks((network,), 2)):
            time.sleep(0.05)

    assert 2 * 0.05 <= spent.seconds["model"] <= time.perf_counter() - started - 2 * 0.05
