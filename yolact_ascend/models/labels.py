"""Lists of classes, each with the category ids that its data set gives them."""

from typing import Any

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip

# COCO's category_id of each class above: 1..90 with ten gaps.
COCO_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})

# Pascal VOC's classes, as dbolya/yolact @ 57b8f2d, data/config.py, names and numbers them.
PASCAL_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
PASCAL_CATEGORY_IDS = tuple(range(1, 1 + len(PASCAL_CLASSES)))

LEAST_ID, MOST_ID = -(2**63), 2**63 - 1  # of a class or an image: numpy and COCO's tools in C++ hold ids in 64 bits

# The classes of the data set that `draw` makes. Their ids are none of COCO's, so that neither passes for the other.
DRAWN_CLASSES = ("ball", "crate", "star", "leaf", "ring", "gear", "capsule", "cross")
DRAWN_CATEGORY_IDS = tuple(range(101, 101 + len(DRAWN_CLASSES)))


def is_class_name(value: Any) -> bool:
    """Whether a value of a file is a text that can be written: JSON may have halves of letters, and UTF-8 has none."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
