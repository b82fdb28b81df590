"""Model configs, class lists and the constants of detection, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from yolact_ascend.errors import UsageError

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

# The classes of the data set that `draw` makes. Their ids are none of COCO's, so that neither passes for the other.
DRAWN_CLASSES = ("ball", "crate", "star", "leaf", "ring", "gear", "capsule", "cross")
DRAWN_CATEGORY_IDS = tuple(range(101, 101 + len(DRAWN_CLASSES)))

# Means and standard deviations of ImageNet's pixels (0..255) in RGB order; upstream lists them in BGR.
MEAN_RGB = (123.68, 116.78, 103.94)
STD_RGB = (58.40, 57.12, 57.38)

# Where the graph on the device ends and the host begins: before the prediction heads, or after them.
CUTS = ("fpn", "heads")
DEFAULT_CUT = "fpn"

IMAGE_SIZE = 550  # pixels; height and width of the network's input
FPN_SIZES = (69, 35, 18, 9, 5)  # cells; height and width of P3..P7 at 550 pixels
FPN_STRIDES = (8, 16, 32, 64, 128)  # pixels a cell; a rest of a cell counts as one
FPN_CHANNELS = 256
PROTO_SIZE = 138  # cells; height and width of the prototype grid at 550 pixels
PROTO_CHANNELS = 32  # prototypes, and mask coefficients of each detection

ANCHOR_SCALES_PX = (24, 48, 96, 192, 384)  # one a level, P3..P7
ANCHOR_ASPECT_RATIOS = (1, 1 / 2, 2)
ANCHORS_PER_CELL = len(ANCHOR_ASPECT_RATIOS)
NUM_ANCHORS = ANCHORS_PER_CELL * sum(size * size for size in FPN_SIZES)  # of the whole image

# MobileNetV2's inverted residuals: expansion, channels, blocks, stride of the first (paper, table 2).
MOBILENETV2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Half as wide and with less expansion; without the stages that the FPN does not read.
NARROW_MOBILENETV2_STAGES = (
    (1, 8, 1, 1),
    (4, 16, 2, 2),
    (4, 24, 3, 2),
    (4, 48, 4, 2),
    (4, 64, 3, 1),
    (4, 96, 3, 2),
)
MOBILENETV2_STEM_CHANNELS = 32
MOBILENETV2_LAST_CHANNELS = 1280


@dataclass(frozen=True)
class ModelConfig:
    """One network variant: what `--config` names.

    `backbone_stages` are blocks a stage for "resnet", rows of `MOBILENETV2_STAGES` for "mobilenetv2", whose first and
    last convolution have `stem_channels` and `last_channels` (0: there is no last one); `fpn_sources` index the
    backbone's stage outputs that feed P3..P5. The classes are those of the config's published weights: weights
    trained on other data bring their own (`classes.read_config`).
    """

    name: str
    backbone: str
    backbone_stages: tuple
    fpn_sources: tuple[int, int, int]
    class_names: tuple[str, ...] = COCO_CLASSES
    category_ids: tuple[int, ...] = COCO_CATEGORY_IDS
    stem_channels: int = MOBILENETV2_STEM_CHANNELS
    last_channels: int = MOBILENETV2_LAST_CHANNELS
    fpn_channels: int = FPN_CHANNELS
    proto_channels: int = PROTO_CHANNELS

    @property
    def num_classes(self) -> int:
        """Foreground classes; the confidence layer has one more, class 0, for the background."""
        return len(self.class_names)


CONFIGS = {
    config.name: config
    for config in (
        ModelConfig("yolact_edge_resnet50_config", "resnet", (3, 4, 6, 3), (1, 2, 3)),
        ModelConfig("yolact_edge_config", "resnet", (3, 4, 23, 3), (1, 2, 3)),
        ModelConfig("yolact_edge_mobilenetv2_config", "mobilenetv2", MOBILENETV2_STAGES, (3, 4, 6)),
        ModelConfig(
            "yolact_edge_demo_config",
            "mobilenetv2",
            NARROW_MOBILENETV2_STAGES,
            (3, 5, 6),
            DRAWN_CLASSES,
            DRAWN_CATEGORY_IDS,
            stem_channels=16,
            last_channels=0,
            fpn_channels=64,
            proto_channels=24,
        ),
    )
}
DEFAULT_CONFIG = "yolact_edge_resnet50_config"
DEMO_CONFIG = "yolact_edge_demo_config"  # the one that upstream does not have; its weights come with this repository
DEFAULT_WEIGHTS = "yolact_edge_resnet50_54_800000.pth"
UPSTREAM_URL = "https://github.com/haotian-liu/yolact_edge"
OFFICIAL_WEIGHTS_URL = (
    "https://ascend-repo-modelzoo.obs.cn-east-2.myhuaweicloud.com/model/1_PyTorch_PTH/YOLACTEDGE/PTH/"
    "yolact_edge_resnet50_54_800000.pth"
)


@dataclass(frozen=True)
class DetectionSettings:
    """Thresholds between the network's outputs and a list of detections (upstream's `Detect` and config)."""

    score_threshold: float = 0.05  # on the best class of an anchor, after softmax
    nms_iou_threshold: float = 0.5
    top_k_per_class: int = 200  # candidates that enter Fast NMS
    max_detections: int = 100  # an image
    mask_threshold: float = 0.5


EVALUATION_SETTINGS = DetectionSettings()


def get_config(name: str) -> ModelConfig:
    """Return the config of that name; raises UsageError that lists the names there are."""
    if name not in CONFIGS:
        raise UsageError(f"There is no config '{name}'. Choose one of: {', '.join(CONFIGS)}.")
    return CONFIGS[name]


def require_upstreams(name: str) -> None:
    """Raise UsageError when upstream's code does not have the config of that name."""
    if name == DEMO_CONFIG:
        raise UsageError(
            f"Upstream does not have {name}, which is this repository's own. Leave upstream= (--upstream) out, or "
            "choose another config."
        )
