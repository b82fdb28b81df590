"""The AIPP file: what the card does to uint8 inputs must be what our transform does to float32 ones."""

import dataclasses
import re

import numpy as np
import pytest

from yolact_ascend.errors import UsageError
from yolact_ascend.images.transforms import normalise_image, resize_image
from yolact_ascend.models.config import Preprocessing
from yolact_ascend.targets.ascend.aipp import aipp_config

USUAL = Preprocessing()
# Everything that may differ does. 0.485 of 255 is 123.675: two decimals do not hold it.
OTHER = Preprocessing(
    height_px=40, width_px=60, mean_rgb=(0.485, 0.456, 0.406), std_rgb=(0.229, 0.224, 0.225), pixel_max=1
)
BGR = dataclasses.replace(USUAL, channel_order="BGR")


def test_the_file_is_atcs_and_in_rgb():
    """Means and deviations are upstream's config.py, MEANS (103.94, 116.78, 123.68), STD (57.38, 57.12, 58.40), BGR."""
    assert aipp_config(USUAL).split("\n") == [
        "aipp_op {",
        "  aipp_mode: static",
        "  related_input_rank: 0",
        "  input_format: RGB888_U8",
        "  src_image_size_w: 550",
        "  src_image_size_h: 550",
        "  crop: false",
        "  csc_switch: false",
        "  rbuv_swap_switch: false",
        "  min_chn_0: 123.68",
        "  min_chn_1: 116.78",
        "  min_chn_2: 103.94",
        "  var_reci_chn_0: 0.01712329",
        "  var_reci_chn_1: 0.01750700",
        "  var_reci_chn_2: 0.01742768",
        "}",
        "",
    ]


@pytest.mark.parametrize("preprocessing", [USUAL, OTHER, BGR], ids=["usual", "0 to 1, another size", "BGR"])
def test_it_normalises_as_our_transform(preprocessing):
    """By the formula of the ATC guide: (in - mean_chn - min_chn) * var_reci_chn. An image of one colour: no resize."""
    size = (preprocessing.height_px, preprocessing.width_px)
    image = np.full((*size, 3), (10, 20, 200), np.uint8)
    text = aipp_config(preprocessing)
    assert re.findall(r"src_image_size_[hw]: (\d+)", text) == [str(size[1]), str(size[0])]
    values = {name: float(value) for name, value in re.findall(r"(\w+_chn_\d): (\S+)", text)}
    minimum, factor = (np.array([values[f"{name}_{c}"] for c in range(3)]) for name in ("min_chn", "var_reci_chn"))
    on_the_card = (resize_image(image, preprocessing) - minimum) * factor  # [h,w,3]
    # 8 decimals of a factor near 0.017 make 3e-7 of a value below 4
    assert np.abs(on_the_card.transpose(2, 0, 1) - normalise_image(image, preprocessing)).max() < 2e-6


def test_a_model_that_pads_its_inputs_is_refused():
    with pytest.raises(UsageError, match="pads its inputs, which AIPP does not do here: leave out aipp=1"):
        aipp_config(dataclasses.replace(USUAL, shortest_edge_px=800))
