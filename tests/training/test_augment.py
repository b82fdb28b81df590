"""Windows, mirrors and colours of training images."""

import numpy as np
import pytest

from yolact_ascend.models.config import CONFIGS, Preprocessing
from yolact_ascend.training.augment import (
    Augmentation,
    Window,
    canvas_colour,
    cut_window,
    distort_colours,
    draw_window,
)

MEAN_BGR = (104, 117, 124)  # ImageNet's, in whole levels
NO_OBJECTS = np.zeros((0, 2))
PLAIN = Augmentation(expand_most=1, crop_least=1, photometric=False, mirror=False)
SEEDS = range(40)


def windows(augmentation, centres=NO_OBJECTS, view=1.0):
    return [draw_window(300, 400, centres, view, augmentation, np.random.default_rng(seed)) for seed in SEEDS]


def sides(window):
    return window.right - window.left, window.bottom - window.top


def test_nothing_is_cut_when_nothing_is_asked():
    assert set(windows(PLAIN)) == {(0, 0, 400, 300)}


def test_expansion_keeps_the_image_inside_and_is_limited():
    found = windows(Augmentation(expand_most=3, crop_least=1))
    assert all(w.left <= 0 and w.top <= 0 and w.right >= 400 and w.bottom >= 300 for w in found)
    widths = [sides(window)[0] for window in found]
    assert 10 < widths.count(400) < 30  # one in two
    assert 1000 < max(widths) <= 1200
    assert min(w.left for w in found) < -300  # the image lies anywhere on the canvas


def test_crops_lie_in_the_image_and_are_no_smaller_than_asked():
    found = windows(Augmentation(expand_most=1, crop_least=0.5))
    assert all(w.left >= 0 and w.top >= 0 and w.right <= 400 and w.bottom <= 300 for w in found)
    assert min(sides(w)[0] for w in found) < 250
    assert all(sides(w)[0] >= 200 and sides(w)[1] >= 150 for w in found)
    assert all(0.5 <= sides(w)[1] / sides(w)[0] <= 2 for w in found)


def test_a_crop_shows_the_centre_of_an_object():
    centre = np.array([[390.0, 290.0]])
    for window in windows(Augmentation(expand_most=1, crop_least=0.3), centre):
        assert window.left <= 390 < window.right and window.top <= 290 < window.bottom


def test_a_smaller_input_shows_a_smaller_piece_of_the_same_shape():
    found = windows(PLAIN, view=0.5)
    assert all(200 <= sides(w)[0] <= 400 and abs(sides(w)[1] * 4 - sides(w)[0] * 3) <= 4 for w in found)
    assert min(sides(w)[0] for w in found) < 220
    assert max(sides(w)[0] for w in found) > 380


def test_the_same_generator_draws_the_same_window():
    assert windows(Augmentation(), view=0.5) == windows(Augmentation(), view=0.5)


def test_beyond_the_edge_an_image_has_the_given_colour_and_a_mask_nothing():
    image = np.full((4, 4, 3), 200, dtype=np.uint8)
    cut = cut_window(image, Window(-4, 0, 4, 8), (8, 8), MEAN_BGR)
    assert (cut[:4, 4:] == 200).all()
    assert (cut[:, :4] == MEAN_BGR).all() and (cut[4:] == MEAN_BGR).all()
    mask = cut_window(np.full((4, 4), 255, dtype=np.uint8), Window(-4, 0, 4, 8), (8, 8))
    assert (mask[:4, 4:] == 255).all() and mask.sum() == 16 * 255


@pytest.mark.parametrize(
    "window",
    [Window(-4, 0, -1, 4), Window(-4, 0, 0, 4), Window(0, -4, 4, -1), Window(4, 0, 8, 4), Window(0, 5, 4, 9)],
    ids=["left", "left, touching", "above", "right, touching", "below"],
)
def test_a_window_beside_the_image_has_nothing_of_it(window):
    cut = cut_window(np.full((4, 4, 3), 200, dtype=np.uint8), window, (5, 5), MEAN_BGR)
    assert cut.dtype == np.uint8 and (cut == MEAN_BGR).all()
    assert cut.shape == (5, 5, 3)
    assert cut_window(np.full((4, 4), 255, dtype=np.uint8), window, (5, 5)).tolist() == [[0] * 5] * 5


@pytest.mark.parametrize("view", [1, 0.1])
def test_an_image_of_one_pixel_is_never_cut_away(view):
    for seed in SEEDS:
        window = draw_window(1, 1, NO_OBJECTS, view, Augmentation(), np.random.default_rng(seed))
        assert min(sides(window)) >= 1


def test_a_window_inside_is_those_pixels():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert cut_window(image, Window(1, 2, 3, 4), (2, 2)).tolist() == [[9, 10], [13, 14]]


def test_a_mask_is_averaged_when_it_shrinks():
    mask = np.zeros((4, 4), dtype=np.uint8)
    mask[:2, :3] = 255
    assert cut_window(mask, Window(0, 0, 4, 4), (2, 2)).tolist() == [[255, 128], [0, 0]]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_colours_stay_in_range_and_change(level):
    image = np.full((2, 2, 3), level, dtype=np.float32)
    found = [distort_colours(image, np.random.default_rng(seed)) for seed in SEEDS]
    assert all(pixels.dtype == np.float32 and pixels.min() >= 0 and pixels.max() <= 255 for pixels in found)
    assert len({float(pixels[0, 0, 0]) for pixels in found}) > 3
    assert (image == level).all()


def test_hue_and_saturation_change_colours_but_not_greys():
    grey = np.full((1, 1, 3), 100, dtype=np.float32)
    red = np.array([[[20, 20, 200]]], dtype=np.float32)
    for seed in SEEDS:
        assert np.ptp(distort_colours(grey, np.random.default_rng(seed))) < 1e-3
    ratios = {round(float(np.ptp(distort_colours(red, np.random.default_rng(seed)))), 1) for seed in SEEDS}
    assert len(ratios) > 10


@pytest.mark.parametrize(
    ("preprocessing", "colour"),
    [
        (Preprocessing(), [104, 117, 124]),
        (Preprocessing(mean_rgb=(0.2, 0.4, 0.6), std_rgb=(1, 1, 1), pixel_max=1), [153, 102, 51]),
        (CONFIGS["yolact_darknet53_config"].preprocessing, [104, 117, 124]),  # upstream: ImageNet's mean for all
    ],
    ids=["usual", "fractions", "without a mean"],
)
def test_the_canvas_around_an_image_has_the_mean(preprocessing, colour):
    assert canvas_colour(preprocessing) == colour
