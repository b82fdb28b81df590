"""What other programs read of an IR: `model_info` in its rt_info, by the names of OpenVINO's Model API.

Source: open-edge-platform/model_api, docs/source/guides/model-configuration.md and src/model_api/models/types.py (lists
are words separated by spaces, YES is true); openvinotoolkit/model_api, instance_segmentation.py (`Yolact` takes the
outputs of cut=boxes, and numbers classes as `conf` does, with the background as 0).
"""

from __future__ import annotations

from yolact_ascend.models.description import Description
from yolact_ascend.models.inputs import NOTHING, RESIZE

MODEL_INFO = "model_info"
WRAPPER_OF_CUT = {"boxes": "Yolact"}  # no wrapper takes the outputs of the other cuts
BACKGROUND = "background"


def model_info(description: Description, embed: str) -> dict[str, str]:
    """Return the entries for a model whose input is as `embed` makes it; images come as BGR, as OpenCV reads them."""
    config = description.config
    preprocessing = config.preprocessing
    labels = (BACKGROUND, *config.class_names)  # one for each column of `conf`
    entries = {"labels": " ".join("_".join(label.split()) or "_" for label in labels)}
    if description.cut in WRAPPER_OF_CUT:
        entries["model_type"] = WRAPPER_OF_CUT[description.cut]
    if preprocessing.channel_order == "RGB":
        entries["reverse_input_channels"] = "YES"
    if embed != RESIZE and preprocessing.is_stretched:
        entries["resize_type"] = "standard"
    if embed == NOTHING:
        unit = 255 / preprocessing.pixel_max  # Model API divides by one number only
        is_rgb = preprocessing.channel_order == "RGB"
        for key, values in (("mean_values", preprocessing.mean_rgb), ("scale_values", preprocessing.std_rgb)):
            entries[key] = " ".join(f"{unit * value:.10g}" for value in (values if is_rgb else values[::-1]))
    return entries
