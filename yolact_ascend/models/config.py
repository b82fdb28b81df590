"""Model configs: a config is the whole network as a frozen value, and all else is derived from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import UsageError
from yolact_ascend.models.labels import (
    COCO_CATEGORY_IDS,
    COCO_CLASSES,
    DRAWN_CATEGORY_IDS,
    DRAWN_CLASSES,
    PASCAL_CATEGORY_IDS,
    PASCAL_CLASSES,
)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input; transforms, AIPP file and recipe of inputs derive from it.

    A picture is stretched to height×width, or, with `shortest_edge_px`, resized in proportion until its shorter edge
    has that length and its longer edge at most `longest_edge_px`, and padded with zeros (after normalisation) at the
    right and bottom. Then each pixel becomes (pixel / 255 · pixel_max - mean) / std. Means and deviations are listed
    as RGB, whatever the `channel_order` of the network's input.
    """

    height_px: int = 550
    width_px: int = 550
    mean_rgb: tuple[float, float, float] = (123.68, 116.78, 103.94)  # ImageNet's; upstream lists them as BGR
    std_rgb: tuple[float, float, float] = (58.40, 57.12, 57.38)
    pixel_max: float = 255.0  # pixels are 0..pixel_max when the mean is subtracted: 255 or 1
    channel_order: str = "RGB"  # or "BGR"
    interpolation: str = "cv2"  # bilinear as OpenCV's, or "pillow": Pillow's, on uint8
    shortest_edge_px: int | None = None  # None: stretch
    longest_edge_px: int | None = None

    @property
    def is_stretched(self) -> bool:
        return self.shortest_edge_px is None


@dataclass(frozen=True)
class Backbone:
    """A backbone: its kind, its block, and the numbers that tell variants apart.

    `stages` are blocks a stage for "resnet" and "darknet", and rows of expansion, channels, blocks, stride of the
    first block for "mobilenetv2" (paper, table 2), whose first and last convolution have `stem_channels` and
    `last_channels` (0: there is no last one).
    """

    kind: str
    block: str
    stages: tuple
    stem_channels: int = 64
    last_channels: int = 0
    imagenet_file: str = ""  # what upstream names its weights from ImageNet; empty: there are none


@dataclass(frozen=True)
class Anchors:
    """The anchors of each cell: one scale for each level P3..P7, and several aspect ratios (width : height)."""

    scales_px: tuple[float, ...] = (24, 48, 96, 192, 384)
    aspect_ratios: tuple[float, ...] = (1, 1 / 2, 2)
    is_square: bool = True  # upstream's use_square_anchors: the ratio changes the size, not the shape

    @property
    def per_cell(self) -> int:
        return len(self.aspect_ratios)


@dataclass(frozen=True)
class Source:
    """Where the weights of a config come from: name and URL of the published file, and what evidence says of it.

    Without a `file_name`, the URL is that of a page which links the file, or says that there is none.
    """

    file_name: str
    url: str
    is_shipped: bool = False  # the file comes with this repository, in `weights/`
    size_bytes: int | None = None
    sha384: str = ""  # hexadecimal digits
    is_published: bool = True


UPSTREAM_URL = "https://github.com/haotian-liu/yolact_edge"
YOLACT_URL = "https://github.com/dbolya/yolact"


@dataclass(frozen=True)
class ModelConfig:
    """One network variant: what `--config` names.

    `fpn_sources` index the backbone's stage outputs that feed P3..P5. The classes are those of the config's published
    weights: weights trained on other data bring their own (`classes.read_config`). `upstream_url` names the public
    code that has this config, None where there is none.
    """

    name: str
    backbone: Backbone
    fpn_sources: tuple[int, ...]
    family: str = "yolact"
    tasks: tuple[str, ...] = (BOX, MASK)
    class_names: tuple[str, ...] = COCO_CLASSES
    category_ids: tuple[int, ...] = COCO_CATEGORY_IDS
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    anchors: Anchors = field(default_factory=Anchors)
    fpn_channels: int = 256
    proto_channels: int = 32  # prototypes, and mask coefficients of each detection
    source: Source = field(default_factory=lambda: Source("", UPSTREAM_URL))
    upstream_url: str | None = UPSTREAM_URL

    @property
    def num_classes(self) -> int:
        """Foreground classes; the confidence layer has one more, class 0, for the background."""
        return len(self.class_names)


MOBILENETV2 = Backbone(
    "mobilenetv2",
    "inverted_residual",
    (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ),
    stem_channels=32,
    last_channels=1280,
    imagenet_file="mobilenet_v2-b0353104.pth",
)
# Half as wide and with less expansion; without the stages that the FPN does not read.
NARROW_MOBILENETV2 = Backbone(
    "mobilenetv2",
    "inverted_residual",
    (
        (1, 8, 1, 1),
        (4, 16, 2, 2),
        (4, 24, 3, 2),
        (4, 48, 4, 2),
        (4, 64, 3, 1),
        (4, 96, 3, 2),
    ),
    stem_channels=16,
)
RESNET50 = Backbone("resnet", "bottleneck", (3, 4, 6, 3), imagenet_file="resnet50-19c8e357.pth")
RESNET101 = Backbone("resnet", "bottleneck", (3, 4, 23, 3), imagenet_file="resnet101_reducedfc.pth")
DARKNET53 = Backbone("darknet", "darknet_block", (1, 2, 8, 8, 4), stem_channels=32, imagenet_file="darknet53.pth")


def yolact_source(variant: str, size_bytes: int | None = None, sha384: str = "") -> Source:
    """Return the file that dbolya/yolact's README (at 902073d) links for a variant trained on COCO."""
    name = f"yolact_{variant}_54_800000.pth"
    url = f"https://huggingface.co/dbolya/yolact-{variant}/resolve/main/{name}"
    return Source(name, url, size_bytes=size_bytes, sha384=sha384)


# YOLACT's own configs; its image network is YolactEdge's. Source: dbolya/yolact @ 57b8f2d, data/config.py.
YOLACT_CONFIGS = (
    ModelConfig(
        "yolact_base_config", RESNET101, fpn_sources=(1, 2, 3), source=yolact_source("base"), upstream_url=YOLACT_URL
    ),
    ModelConfig(
        "yolact_resnet50_config",
        RESNET50,
        fpn_sources=(1, 2, 3),
        source=yolact_source(
            "resnet50",
            size_bytes=127_300_392,
            # Open Model Zoo @ 7ef5b91f7, models/public/yolact-resnet50-fpn-pytorch/model.yml
            sha384="7ef5b5367fd30871c77814500bbecbaf32f0a9e5721bba0a1cc4479e78e4d6ed25363ebfe6982b94189a11da1e45cf78",
        ),
        upstream_url=YOLACT_URL,
    ),
    ModelConfig(
        "yolact_darknet53_config",
        DARKNET53,
        fpn_sources=(2, 3, 4),
        preprocessing=Preprocessing(mean_rgb=(0.0, 0.0, 0.0), std_rgb=(1.0, 1.0, 1.0), pixel_max=1.0),
        source=yolact_source("darknet53"),
        upstream_url=YOLACT_URL,
    ),
    ModelConfig(
        "yolact_im400_config",
        RESNET101,
        fpn_sources=(1, 2, 3),
        preprocessing=Preprocessing(height_px=400, width_px=400),
        anchors=Anchors(scales_px=(17, 34, 69, 139, 279)),
        source=Source("", YOLACT_URL, is_published=False),
        upstream_url=YOLACT_URL,
    ),
    ModelConfig(
        "yolact_im700_config",
        RESNET101,
        fpn_sources=(1, 2, 3),
        preprocessing=Preprocessing(height_px=700, width_px=700),
        anchors=Anchors(scales_px=(30, 61, 122, 244, 488)),
        source=yolact_source("im700"),
        upstream_url=YOLACT_URL,
    ),
    ModelConfig(
        "yolact_resnet50_pascal_config",
        RESNET50,
        fpn_sources=(1, 2, 3),
        class_names=PASCAL_CLASSES,
        category_ids=PASCAL_CATEGORY_IDS,
        anchors=Anchors(scales_px=(32, 64, 128, 256, 512), is_square=False),
        source=Source("", YOLACT_URL),
        upstream_url=YOLACT_URL,
    ),
)
CONFIGS = {
    config.name: config
    for config in (
        ModelConfig(
            "yolact_edge_resnet50_config",
            RESNET50,
            fpn_sources=(1, 2, 3),
            source=Source(
                "yolact_edge_resnet50_54_800000.pth",
                "https://ascend-repo-modelzoo.obs.cn-east-2.myhuaweicloud.com/model/1_PyTorch_PTH/YOLACTEDGE/PTH/"
                "yolact_edge_resnet50_54_800000.pth",
            ),
        ),
        ModelConfig("yolact_edge_config", RESNET101, fpn_sources=(1, 2, 3)),
        ModelConfig("yolact_edge_mobilenetv2_config", MOBILENETV2, fpn_sources=(3, 4, 6)),
        *YOLACT_CONFIGS,
        ModelConfig(
            "yolact_edge_demo_config",
            NARROW_MOBILENETV2,
            fpn_sources=(3, 5, 6),
            class_names=DRAWN_CLASSES,
            category_ids=DRAWN_CATEGORY_IDS,
            fpn_channels=64,
            proto_channels=24,
            source=Source("yolact_edge_demo.pth", "weights/yolact_edge_demo.pth", is_shipped=True),
            upstream_url=None,
        ),
    )
}
# Configs of upstream that cannot run here, and what can in their place.
YOLACT_PLUS_CONFIGS = {
    "yolact_plus_base_config": "yolact_base_config",
    "yolact_plus_resnet50_config": "yolact_resnet50_config",
}
DEFAULT_CONFIG = "yolact_edge_resnet50_config"
DEMO_CONFIG = "yolact_edge_demo_config"
DEFAULT_WEIGHTS = CONFIGS[DEFAULT_CONFIG].source.file_name


def get_config(name: str) -> ModelConfig:
    """Return the config of that name; raises UsageError that lists the known names."""
    if name in YOLACT_PLUS_CONFIGS:
        raise UsageError(
            f"{name} is YOLACT++, whose deformable convolutions ONNX opset 11 does not have: use "
            f"{YOLACT_PLUS_CONFIGS[name]} and its weights instead."
        )
    if name not in CONFIGS:
        raise UsageError(f"Unknown config '{name}'. Choose one of: {', '.join(CONFIGS)}.")
    return CONFIGS[name]


def with_classes(config: ModelConfig, class_names: tuple[str, ...], category_ids: tuple[int, ...]) -> ModelConfig:
    """Return the config with other classes."""
    return dataclasses.replace(config, class_names=class_names, category_ids=category_ids)


def is_alike(first: ModelConfig, second: ModelConfig) -> bool:
    """Whether weights of one config mean the same in the other, but for their classes."""
    parts = ("family", "backbone", "fpn_sources", "preprocessing", "anchors", "fpn_channels", "proto_channels")
    return all(getattr(first, part) == getattr(second, part) for part in parts)


def require_upstream(config: ModelConfig) -> None:
    """Raise UsageError when no public upstream code has this config."""
    if config.upstream_url is None:
        raise UsageError(
            f"{config.name} is this repository's own: upstream does not have it. Leave out upstream= (--upstream), or "
            "choose another config."
        )
