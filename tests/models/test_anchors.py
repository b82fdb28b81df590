"""Anchors, on cells few enough to check by eye."""

from __future__ import annotations

import numpy as np
from factories import SMALL_CONFIG

from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.cuts import level_sizes

ANCHORS = make_anchors(SMALL_CONFIG.anchors, 550)


def test_anchors_cover_all_levels_in_order():
    anchors = ANCHORS
    assert anchors.shape == (19248, 4) and anchors.dtype == np.float32
    assert not anchors.flags.writeable
    # first cell of P3: centre half a cell in, ratios 1, 1/2, 2 of 24 pixels, square
    np.testing.assert_allclose(anchors[0], [0.5 / 69, 0.5 / 69, 24 / 550, 24 / 550], rtol=1e-6)
    np.testing.assert_allclose(anchors[1, 2:], 24 / 550 * np.sqrt(0.5), rtol=1e-6)
    np.testing.assert_allclose(anchors[2, 2:], 24 / 550 * np.sqrt(2), rtol=1e-6)
    # x runs before y
    np.testing.assert_allclose(anchors[3, :2], [1.5 / 69, 0.5 / 69], rtol=1e-6)
    np.testing.assert_allclose(anchors[3 * 69, :2], [0.5 / 69, 1.5 / 69], rtol=1e-6)
    # last cell of P7
    np.testing.assert_allclose(anchors[-3], [4.5 / 5, 4.5 / 5, 384 / 550, 384 / 550], rtol=1e-6)


def test_levels_of_other_image_sizes():
    assert level_sizes(550) == (69, 35, 18, 9, 5)
    assert level_sizes(275) == (35, 18, 9, 5, 3)
    assert level_sizes(64) == (8, 4, 2, 1, 1)


def test_anchors_are_as_large_in_pixels_at_every_image_size():
    small, usual = make_anchors(SMALL_CONFIG.anchors, 275), ANCHORS
    assert len(small) == 3 * (35**2 + 18**2 + 9**2 + 5**2 + 3**2)
    np.testing.assert_allclose(np.unique(small[:, 2] * 275), np.unique(usual[:, 2] * 550), rtol=1e-5)
