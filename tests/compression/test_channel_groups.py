"""How many channels of each group are kept, on groups small enough to count by hand."""

import numpy as np
import pytest

from yolact_ascend.compression.channel_groups import ChannelGroup, choose_widths

MACS = {"a": 100, "b": 1000, "c": 1000, "d": 100}  # a -> 8 channels -> b -> 8 channels -> c -> 4 channels -> d


def group(root, importance, **powers):
    return ChannelGroup(root, np.array(importance, dtype=float), powers)


CHAIN = (
    group("a", [1] * 8, a=1, b=1),
    group("b", [1] * 8, b=1, c=1),
    group("c", [0.5, 1.5, 0.5, 1.5], c=1, d=1),
)


@pytest.mark.parametrize(
    ("share", "most_cut", "expected"),
    [
        pytest.param(0.0, 0.5, {"a": 8, "b": 8, "c": 4}, id="nothing asked for"),
        # Two of 8 channels between b and c save 500 at a loss of 2; two of 4 between c and d 550 at a loss of 1.
        pytest.param(0.2, 0.5, {"a": 8, "b": 8, "c": 2}, id="the most for what is lost"),
        pytest.param(0.2, 0.25, {"a": 8, "b": 6, "c": 4}, id="no group is cut by more than it may"),
        pytest.param(1.0, 0.5, {"a": 4, "b": 4, "c": 2}, id="more than there is"),
    ],
)
def test_the_groups_that_save_most_for_what_they_lose_are_narrowed_first(share, most_cut, expected):
    widths, saved = choose_widths(CHAIN, MACS, share, 2, 2, most_cut)
    assert widths == expected
    inputs, hidden, last = widths["a"] / 8, widths["b"] / 8, widths["c"] / 4
    left = 100 * inputs + 1000 * inputs * hidden + 1000 * hidden * last + 100 * last
    assert saved == pytest.approx(1 - left / sum(MACS.values()))


def test_a_layer_that_reads_and_writes_the_same_channels_shrinks_by_the_square():
    widths, saved = choose_widths([group("a", [1] * 8, a=2)], {"a": 100}, 0.5, 4, 4, 0.5)
    assert (widths, saved) == ({"a": 4}, 0.75)


def test_widths_are_multiples_and_no_narrower_than_the_least():
    """Torch-Pruning's own rounding makes 16 of 24 channels, which is too narrow for a quantised layer on a card."""
    groups = [group("a", [1] * 24, a=1), group("b", [1] * 100, b=1)]
    widths, _ = choose_widths(groups, {"a": 50, "b": 50}, 1.0, 16, 32, 0.5)
    assert widths == {"a": 24, "b": 64}


def test_the_least_important_channels_go():
    assert CHAIN[2].least_important(2) == [0, 2]
    assert CHAIN[2].least_important(0) == []
    assert CHAIN[2].loss(2) == 1.0


def test_without_groups_nothing_is_saved():
    assert choose_widths([], MACS, 0.5, 2, 2, 0.5) == ({}, 0.0)
