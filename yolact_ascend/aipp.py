"""AIPP: the part of a compiled model that turns uint8 images into the network's input on the card."""

from __future__ import annotations

from yolact_ascend.config import IMAGE_SIZE, MEAN_RGB, STD_RGB


def aipp_config() -> str:
    """Return the file for `atc --insert_op_conf`: uint8 RGB [550,550,3] -> (value - mean) / std, as our transforms.

    Means are in `min_chn`, since `mean_chn` takes whole numbers only. The card computes both in float16.
    """
    lines = [
        "aipp_mode: static",
        "related_input_rank: 0",
        "input_format: RGB888_U8",
        f"src_image_size_w: {IMAGE_SIZE}",
        f"src_image_size_h: {IMAGE_SIZE}",
        "crop: false",
        "csc_switch: false",
        "rbuv_swap_switch: false",  # the inputs are RGB already
        *(f"min_chn_{channel}: {mean:.2f}" for channel, mean in enumerate(MEAN_RGB)),
        *(f"var_reci_chn_{channel}: {1 / std:.8f}" for channel, std in enumerate(STD_RGB)),
    ]
    return "\n".join(["aipp_op {", *(f"  {line}" for line in lines), "}"]) + "\n"
