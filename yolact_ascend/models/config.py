"""The configs there are: a config is the whole network as a value (`values`), and all else is derived from it."""

from __future__ import annotations

import dataclasses
from typing import Any

from yolact_ascend.errors import UsageError
from yolact_ascend.models.labels import (
    DRAWN_CATEGORY_IDS,
    DRAWN_CLASSES,
    PASCAL_CATEGORY_IDS,
    PASCAL_CLASSES,
)
from yolact_ascend.models.rcnn.configs import RCNN_CONFIGS, without_zoo
from yolact_ascend.models.rcnn.yaml_config import is_config_file, read_config_file
from yolact_ascend.models.rcnn.yaml_file import find_file
from yolact_ascend.models.values import (
    YOLACT_URL,
    Anchors,
    Backbone,
    ModelConfig,
    Preprocessing,
    Source,
)

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
        *RCNN_CONFIGS,
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


def get_config(word: str) -> ModelConfig:
    """Return the config of that name, also as Detectron2's zoo writes it, or of a Detectron2 config file of the user.

    Raises UsageError that lists the known names, or names what a config file says that cannot be built.
    """
    file = find_file(word) if is_config_file(word) else None
    if file is not None:
        return read_config_file(file)
    name = without_zoo(word)
    if name in YOLACT_PLUS_CONFIGS:
        raise UsageError(
            f"{name} is YOLACT++, whose deformable convolutions ONNX opset 11 does not have: use "
            f"{YOLACT_PLUS_CONFIGS[name]} and its weights instead."
        )
    if name not in CONFIGS:
        what = f"There is no config file {word}" if is_config_file(word) else f"Unknown config '{word}'"
        raise UsageError(
            f"{what}. Choose one of: {', '.join(CONFIGS)}; or pass a Detectron2 config file: FILE.yaml (docs/rcnn.md)."
        )
    return CONFIGS[name]


def describe_preprocessing(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the value's fields; `fit` only where it is not the usual one, as it was before there was one."""
    fields = dataclasses.asdict(preprocessing)
    if preprocessing.fit == Preprocessing.fit:
        del fields["fit"]
    return fields


def with_classes(config: ModelConfig, class_names: tuple[str, ...], category_ids: tuple[int, ...]) -> ModelConfig:
    """Return the config with other classes."""
    return dataclasses.replace(config, class_names=class_names, category_ids=category_ids)


def is_alike(first: ModelConfig, second: ModelConfig) -> bool:
    """Whether weights of one config mean the same in the other, but for their classes."""
    parts = ("family", "backbone", "fpn_sources", "preprocessing", "anchors", "fpn_channels", "proto_channels", "rcnn")
    return all(getattr(first, part) == getattr(second, part) for part in (*parts, "widths"))


def listed_name(config: ModelConfig) -> str | None:
    """Return the name of the listed config that a config is, or that it was pruned from; None: of none."""
    if config.name in CONFIGS:
        return config.name
    plain = dataclasses.replace(config, widths=())
    return next((name for name, listed in CONFIGS.items() if is_alike(plain, listed)), None)


def require_upstream(config: ModelConfig) -> None:
    """Raise UsageError when no public upstream code has this config."""
    if config.rcnn is not None:
        raise UsageError(
            f"{config.name} is exported from this repository's network only, from no upstream checkout. Leave out "
            "upstream= (--upstream)."
        )
    if config.upstream_url is None:
        raise UsageError(
            f"{config.name} is this repository's own: upstream does not have it. Leave out upstream= (--upstream), or "
            "choose another config."
        )
