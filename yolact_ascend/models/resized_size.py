"""The size of a picture inside the network's input: preprocessing resizes to it, detectors scale boxes back from it.

Source: facebookresearch/detectron2 @ 02b5c4e, data/transforms/augmentation_impl.py (ResizeShortestEdge), and
openvinotoolkit/training_extensions @ 375d7fd, pytorch_toolkit/instance_segmentation/segmentoly/data/transforms.py.
"""

from __future__ import annotations

from yolact_ascend.errors import DatasetError
from yolact_ascend.models.values import CANVAS_MULTIPLE, FIT_WINDOW, Preprocessing


def resized_size(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the height and width that an image has inside the network's input, before padding.

    Raises DatasetError when it does not fit onto the canvas, or would have a side of no pixel.
    """
    if preprocessing.is_stretched:
        return preprocessing.height_px, preprocessing.width_px
    if preprocessing.fit == FIT_WINDOW or preprocessing.interpolation == "cv2":
        # As OpenCV rounds the sides where it is given a scale: halves to the even number.
        scale = resize_scale(height, width, preprocessing)
        new_height, new_width = round(height * scale), round(width * scale)
    else:
        new_height, new_width = _shortest_edge_size(height, width, preprocessing)
    canvas = f"{preprocessing.width_px}×{preprocessing.height_px}"
    if not new_height or not new_width:
        raise DatasetError(
            f"An image of {width}×{height} pixels becomes {new_width}×{new_height} on the model's input of {canvas}: "
            "it is too long. Cut it into parts."
        )
    if new_height > preprocessing.height_px or new_width > preprocessing.width_px:
        sides = max(new_height, preprocessing.height_px), max(new_width, preprocessing.width_px)
        needed = "x".join(str(-(-side // CANVAS_MULTIPLE) * CANVAS_MULTIPLE) for side in sides)
        raise DatasetError(
            f"An image of {width}×{height} pixels becomes {new_width}×{new_height}, which does not fit onto the "
            f"model's input of {canvas}. Export the model with a canvas of {needed} (height x width) or more, or with "
            "fit=window."
        )
    return new_height, new_width


def resize_scale(height: int, width: int, preprocessing: Preprocessing) -> float:
    """Return the factor by which segmentoly resizes an image, by its fit_max or its fit_window."""
    shortest, longest = _edges(preprocessing)
    if preprocessing.fit == FIT_WINDOW:
        window = min(preprocessing.height_px, longest), min(preprocessing.width_px, longest)
        return min(window[0] / height, window[1] / width)
    return min(shortest / min(height, width), longest / max(height, width))


def _shortest_edge_size(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the size that Detectron2's ResizeShortestEdge gives an image."""
    shortest, longest = _edges(preprocessing)
    scale = shortest / min(height, width)
    sides = [shortest if side == min(height, width) else scale * side for side in (height, width)]
    if max(sides) > longest:
        # In this order of operations: another one can round to another pixel.
        scale = longest / max(sides)
        sides = [side * scale for side in sides]
    new_height, new_width = (int(side + 0.5) for side in sides)
    return new_height, new_width


def _edges(preprocessing: Preprocessing) -> tuple[int, int]:
    assert preprocessing.shortest_edge_px is not None and preprocessing.longest_edge_px is not None
    return preprocessing.shortest_edge_px, preprocessing.longest_edge_px
