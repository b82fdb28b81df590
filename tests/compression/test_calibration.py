"""Which images ranges are measured on, and the bad ones, which engines calibrate on without an error."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from factories import TINY_CONFIG, tiny_rcnn
from graphs import PLAIN_CONFIG, SIZE, write_inputs

from yolact_ascend.compression.calibration import (
    choose_images,
    find_candidates,
    find_same,
    read_feeds,
    warn_of_choice,
)
from yolact_ascend.errors import DatasetError

WHITE = np.full((3, SIZE, SIZE), 255, np.float32)


def test_a_sorted_folder_is_not_cut_to_its_first_images(tmp_path):
    """Ultralytics' calibration keeps the first 300 and drops the rest (ultralytics/ultralytics#25470)."""
    files = [tmp_path / f"{index:03d}.jpg" for index in range(400)]
    bright = set(files[300:])
    chosen = choose_images(files, 300, seed=0)
    assert len(chosen.images) == 300 and 50 < len(bright & set(chosen.images)) < 100
    assert chosen.describe() == "300 of 400 images, drawn with seed 0"
    assert choose_images(files[::-1], 300, seed=0) == chosen != choose_images(files, 300, seed=1)


def test_no_images_is_an_error_and_few_are_warned_of(tmp_path):
    with pytest.raises(DatasetError, match="no images to calibrate on"):
        choose_images([], 50, 0)
    one = choose_images(write_inputs(tmp_path / "one", 1), 50, 0)
    assert ["1 image only" in warning for warning in warn_of_choice(one, ())] == [True]
    many = choose_images(write_inputs(tmp_path / "many", 8), 50, 0)
    assert warn_of_choice(many, ()) == []


def test_scored_images_are_found_by_content_whatever_their_name(tmp_path):
    files = write_inputs(tmp_path / "train", 9)
    copy, other = tmp_path / "copy.jpg", tmp_path / "other.jpg"
    copy.write_bytes(files[3].read_bytes())
    other.write_bytes(bytes(reversed(files[3].read_bytes())))  # of the same size
    assert find_same(files, [copy, other]) == [files[3]]
    (warning,) = warn_of_choice(choose_images(files, 9, 0), [copy, other])
    assert warning.startswith("1 of 9 calibration images are among the scored ones (3.bin is the first)")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(
            lambda values: values.__setitem__((0, 0, 0), 1e4), "values from 0 to 1e+04", id="one pixel of 1e4"
        ),
        pytest.param(lambda values: values.__setitem__((1, 2, 3), np.inf), "not finite", id="one infinite"),
        pytest.param(lambda values: values.fill(np.nan), "not finite", id="all NaN"),
    ],
)
def test_a_poisoned_input_is_named(tmp_path, spoil, words):
    """One such image costs up to 50 dB, and no engine says so (microsoft/onnxruntime#23749)."""
    files = write_inputs(tmp_path / "inputs", 3)
    values = np.zeros_like(WHITE)
    spoil(values)
    files[1].write_bytes(values.tobytes())
    with pytest.raises(DatasetError) as raised:
        list(read_feeds(files, PLAIN_CONFIG, "test"))
    assert str(files[1]) in str(raised.value) and words in str(raised.value)


def test_a_jpeg_that_is_cut_short_is_named(tmp_path):
    """Its lower half would be grey, without an error (ultralytics#25150)."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    files = [tmp_path / "whole.jpg", tmp_path / "half.jpg"]
    for file, size in zip(files, (len(data), len(data) // 2)):
        file.write_bytes(data[:size])
    feeds = read_feeds(files, PLAIN_CONFIG, "test")
    next(feeds)
    with pytest.raises(DatasetError, match=r"half\.jpg is cut short: the end of the JPEG is missing"):
        next(feeds)


def test_inputs_that_were_not_normalised_are_refused_and_white_ones_are_not(tmp_path):
    file = tmp_path / "0.bin"
    small = replace(TINY_CONFIG.preprocessing, height_px=SIZE, width_px=SIZE)
    normalised = replace(TINY_CONFIG, preprocessing=small)
    file.write_bytes(WHITE.tobytes())
    with pytest.raises(DatasetError, match="or not normalised"):
        list(read_feeds([file], normalised, "test"))
    white = [(255 - mean) / std for mean, std in zip(small.mean_rgb, small.std_rgb)]
    file.write_bytes((np.ones_like(WHITE) * np.array(white, np.float32)[:, None, None]).tobytes())
    (feed,) = read_feeds([file], normalised, "test")
    assert feed["image"].shape == (1, 3, SIZE, SIZE)


def test_an_input_of_another_size_is_named(tmp_path):
    (file,) = write_inputs(tmp_path / "inputs", 1)
    with pytest.raises(DatasetError, match="is no input.*Run `preprocess`"):
        list(read_feeds([file], TINY_CONFIG, "test"))


def test_inputs_of_models_with_two_inputs_are_refused(tmp_path):
    files = write_inputs(tmp_path / "inputs", 1)
    assert find_candidates(files[0].parent, PLAIN_CONFIG) == files
    with pytest.raises(DatasetError, match="takes more than one"):
        find_candidates(files[0].parent, tiny_rcnn())
