"""The AIPP file: what the card does to uint8 inputs must be what our transform does to float32 ones."""

import re

import numpy as np

from yolact_ascend.images.transforms import normalise_image, resize_image
from yolact_ascend.targets.ascend.aipp import aipp_config


def test_the_file_is_atcs_and_in_rgb():
    """Means and deviations are upstream's config.py, MEANS (103.94, 116.78, 123.68), STD (57.38, 57.12, 58.40), BGR."""
    assert aipp_config().split("\n") == [
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


def test_it_normalises_as_our_transform():
    """By the formula of the ATC guide: (in - mean_chn - min_chn) * var_reci_chn. An image of one colour: no resize."""
    image = np.full((550, 550, 3), (10, 20, 200), np.uint8)
    values = {name: float(value) for name, value in re.findall(r"(\w+_chn_\d): (\S+)", aipp_config())}
    minimum, factor = (np.array([values[f"{name}_{c}"] for c in range(3)]) for name in ("min_chn", "var_reci_chn"))
    on_the_card = (resize_image(image) - minimum) * factor  # [550,550,3]
    # 8 decimals of a factor near 0.017 make 3e-7 of a value below 4
    assert np.abs(on_the_card.transpose(2, 0, 1) - normalise_image(image)).max() < 2e-6
