"""The size of a picture inside the network's input: preprocessing resizes to it, detectors scale boxes back from it.

Source: facebookresearch/detectron2 @ 02b5c4e, data/transforms/augmentation_impl.py (ResizeShortestEdge).
"""

from __future__ import annotations

from yolact_ascend.errors import UsageError
from yolact_ascend.models.values import Preprocessing


def resized_size(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the height and width that an image has inside the network's input, before padding.

    Raises UsageError when it does not fit into the input.
    """
    if preprocessing.shortest_edge_px is None:
        return preprocessing.height_px, preprocessing.width_px
    scale = preprocessing.shortest_edge_px / min(height, width)
    sides = [preprocessing.shortest_edge_px if side == min(height, width) else scale * side for side in (height, width)]
    longest = preprocessing.longest_edge_px
    if longest is not None and max(sides) > longest:
        # In this order of operations: another one can round to another pixel.
        sides = [side * (longest / max(sides)) for side in sides]
    new_height, new_width = (int(side + 0.5) for side in sides)
    if new_height > preprocessing.height_px or new_width > preprocessing.width_px:
        raise UsageError(
            f"An image of {width}×{height} pixels becomes {new_width}×{new_height}, which is larger than the model's "
            f"input of {preprocessing.width_px}×{preprocessing.height_px}. Export the model with a larger input."
        )
    return new_height, new_width
