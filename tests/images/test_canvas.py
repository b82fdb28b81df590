"""Pictures on the canvas of an R-CNN: sizes and pixels are Detectron2's or segmentoly's; a canvas is checked first."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.images.transforms import normalise_image, prepare_inputs
from yolact_ascend.models.canvas import read_canvas, show_canvas, with_canvas
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.inputs import FLOAT32
from yolact_ascend.models.resized_size import resized_size

CONFIG, OLDER = CONFIGS["mask_rcnn_R_50_FPN_3x"], CONFIGS["resnet50_fpn_mask_rcnn"]
YOLACT = CONFIGS["yolact_base_config"]
MAX = CONFIG.preprocessing
WINDOW = with_canvas(CONFIG, (800, 1344), "window").preprocessing


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((20000, 30), (1333, 2)),  # by hand from get_output_shape: 800/30·20000 = 533333.3; 1333/533333.3·800 = 1.9995
        ((30, 20000), (2, 1333)),
        ((1, 1), (800, 800)),
        ((4000, 3000), (1067, 800)),
    ],
)
def test_extreme_sizes_are_detectron2s(size, expected):
    assert resized_size(*size, MAX) == expected


def test_an_image_that_would_have_no_pixel_in_one_direction_is_refused():
    """Detectron2 asks Pillow for a width of 0, and fails."""
    with pytest.raises(DatasetError, match="An image of 7×20000 pixels becomes 0×1333 .* it is too long"):
        resized_size(20000, 7, MAX)


@pytest.mark.detectron2
def test_all_sizes_are_those_of_detectron2s_own_formula(detectron2):
    """Every size up to 640×640 in both directions, and many larger ones."""
    from detectron2.data.transforms import ResizeShortestEdge

    generator = np.random.default_rng(0)
    sizes = [(height, width) for height in range(1, 641) for width in range(1, 641)]
    sizes += [tuple(size) for size in generator.integers(1, 8000, (50_000, 2)).tolist()]
    wrong = []
    for size in sizes:
        expected = ResizeShortestEdge.get_output_shape(*size, 800, 1333)
        if 0 not in expected and resized_size(*size, MAX) != tuple(expected):
            wrong.append(size)
    assert not wrong


@pytest.mark.detectron2
def test_pixels_of_a_large_photograph_are_detectron2s(detectron2):
    """Field problem: OpenCV's resize is up to 26 levels from Pillow's where an image becomes smaller."""
    from detectron2.data.transforms import ResizeShortestEdge

    photograph = cv2.GaussianBlur(noise(3000, 4000), (0, 0), 2)
    expected = ResizeShortestEdge([800, 800], 1333).get_transform(photograph).apply_image(photograph)
    mean = np.array(MAX.mean_rgb[::-1], np.float32)
    found, size = prepare_inputs(photograph, CONFIG, FLOAT32)
    height, width = expected.shape[:2]
    assert size.tolist() == [height, width] and size.dtype == np.float32
    assert np.array_equal(found[:, :height, :width], (expected - mean).transpose(2, 0, 1))
    assert not found[:, height:].any() and not found[:, :, width:].any()


def test_a_large_photograph_is_resized_by_pillow():
    """To the level; OpenCV would be far from it."""
    photograph = noise(1500, 2000)
    found, (height, width) = prepare_inputs(photograph, CONFIG, FLOAT32)
    height, width = int(height), int(width)
    expected = np.asarray(Image.fromarray(photograph).resize((width, height), Image.Resampling.BILINEAR))
    mean = np.array(MAX.mean_rgb[::-1], np.float32)
    assert np.array_equal(found[:, :height, :width], (expected - mean).transpose(2, 0, 1))
    by_opencv = cv2.resize(photograph, (width, height)).astype(int)
    assert np.abs(by_opencv - expected).max() > 20


def test_one_picture_on_two_canvases_is_the_same_picture():
    """Only the zeros around it differ, so the network has to be told its size."""
    image = noise(48, 64)
    square, size = prepare_inputs(image, CONFIG, FLOAT32)
    landscape, other_size = prepare_inputs(image, with_canvas(CONFIG, (800, 1344), None), FLOAT32)
    assert size.tolist() == other_size.tolist() == [800, 1067]
    assert np.array_equal(square[:, :800], landscape) and not square[:, 800:].any()


@pytest.mark.parametrize(
    ("size", "by_window", "by_edges"),
    [
        # By hand from segmentoly's Resize.get_scale with window_size=(800, 1333) and max_size=(800, 1333).
        ((480, 640), (800, 1067), (800, 1067)),
        ((640, 480), (800, 600), (1067, 800)),  # a portrait: 800 / 640
        ((300, 500), (800, 1333), (800, 1333)),
        ((240, 640), (500, 1333), (500, 1333)),
    ],
)
def test_a_window_is_filled_whatever_the_orientation(size, by_window, by_edges):
    assert resized_size(*size, WINDOW) == by_window
    assert resized_size(*size, OLDER.preprocessing) == by_edges


@pytest.mark.parametrize("size", [(427, 640), (640, 427), (333, 500)])
def test_the_older_dialect_resizes_by_a_scale_as_detectron_does(size):
    """Given a scale, OpenCV samples at other places than given the size that follows from it."""
    image, preprocessing = noise(*size), OLDER.preprocessing
    scale = min(800 / min(size), 1333 / max(size))
    expected = cv2.resize(image.astype(np.float32), None, fx=scale, fy=scale)
    height, width = expected.shape[:2]
    assert resized_size(*size, preprocessing) == (height, width)
    found = normalise_image(image, preprocessing)[:, :height, :width]
    mean = np.array(preprocessing.mean_rgb[::-1], np.float32)
    assert np.array_equal(found, (expected - mean).transpose(2, 0, 1))


@pytest.mark.parametrize(("word", "sides"), [("1344", (1344, 1344)), ("800x1344", (800, 1344)), ("32", (32, 32))])
def test_a_canvas_is_height_and_width(word, sides):
    assert read_canvas(word) == sides and show_canvas(sides) == word


@pytest.mark.parametrize("word", ["", "0", "100", "800x", "x800", "800x1333", "-32", "1344x1344x3", "٣٢", "999968"])
def test_other_words_are_no_canvas(word):
    with pytest.raises(ValueError, match=r"SIZE or HEIGHTxWIDTH in pixels, multiples of 32 up to 8192"):
        read_canvas(word)


@pytest.mark.parametrize(
    ("config", "canvas", "fit", "said"),
    [
        (CONFIG, (640, 640), None, r"canvas=640 is too small.*800 px.*1333 px.*canvas=1344 .*canvas=800x1344.*window"),
        (CONFIG, (800, 1312), None, "canvas=800x1312 is too small"),
        (YOLACT, (800, 1344), None, "canvas=800x1344: yolact_base_config stretches images to 550×550 pixels"),
        (YOLACT, None, "window", "fit=window: yolact_base_config stretches"),
    ],
)
def test_a_canvas_that_cannot_be_is_refused(config, canvas, fit, said):
    with pytest.raises(UsageError, match=said):
        with_canvas(config, canvas, fit)


def test_a_window_may_be_of_any_size():
    small = with_canvas(CONFIG, (64, 96), "window").preprocessing
    assert resized_size(480, 640, small) == (64, 85)
    assert with_canvas(CONFIG, None, None) is CONFIG
    assert with_canvas(CONFIG, (1344, 1344), "max") == CONFIG
    assert replace(MAX, fit="window") != MAX
