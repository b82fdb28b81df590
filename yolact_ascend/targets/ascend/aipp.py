"""AIPP, Ascend's preprocessing inside a compiled model: it turns uint8 images into the network's input on the card."""

from __future__ import annotations

from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import Preprocessing


def aipp_config(preprocessing: Preprocessing) -> str:
    """Return the file for `atc --insert_op_conf`: uint8 [H,W,3] -> normalised, as our transforms do it.

    Means are in `min_chn`, since `mean_chn` takes whole numbers only. The card computes both in float16. Raises
    UsageError where the model pads its inputs: static AIPP resizes and pads nothing here.
    """
    if not preprocessing.is_stretched:
        raise UsageError("This model pads its inputs, which AIPP does not do here: leave out aipp=1.")
    is_rgb = preprocessing.channel_order == "RGB"
    means, stds = (values if is_rgb else values[::-1] for values in (preprocessing.mean_rgb, preprocessing.std_rgb))
    scale = 255 / preprocessing.pixel_max  # pixels stay 0..255 on the card
    lines = [
        "aipp_mode: static",
        "related_input_rank: 0",
        "input_format: RGB888_U8",
        f"src_image_size_w: {preprocessing.width_px}",
        f"src_image_size_h: {preprocessing.height_px}",
        "crop: false",
        "csc_switch: false",
        "rbuv_swap_switch: false",  # the inputs have the network's order of channels already
        *(f"min_chn_{channel}: {mean * scale:.6g}" for channel, mean in enumerate(means)),
        *(f"var_reci_chn_{channel}: {1 / (std * scale):.8f}" for channel, std in enumerate(stds)),
    ]
    return "\n".join(["aipp_op {", *(f"  {line}" for line in lines), "}"]) + "\n"
