"""The configs of the R-CNN family: those of Detectron2's zoo, and segmentoly's, whose weights are Detectron's.

Sources: facebookresearch/detectron2 @ 02b5c4e2, configs/ and MODEL_ZOO.md; openvinotoolkit/training_extensions @
1c4634d, pytorch_toolkit/instance_segmentation; facebookresearch/Detectron @ 04155a0, MODEL_ZOO.md.
"""

from __future__ import annotations

from dataclasses import replace

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.models.labels import DRAWN_CATEGORY_IDS, DRAWN_CLASSES
from yolact_ascend.models.values import DETECTRON1, Backbone, ModelConfig, Preprocessing, Rcnn, Source

RESNET50 = Backbone("resnet", "bottleneck", (3, 4, 6, 3))
RESNET101 = Backbone("resnet", "bottleneck", (3, 4, 23, 3))
LEVELS = (0, 1, 2, 3)  # P2..P5 come from res2..res5
CANVAS_PX = 1344  # the longest edge, 1333, rounded up to a multiple of P6's and of P5's stride, 32
# Pixels are BGR 0..255 with their mean subtracted. Edges: Detectron2's INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST.
DETECTRON2_PIXELS = Preprocessing(
    height_px=CANVAS_PX,
    width_px=CANVAS_PX,
    mean_rgb=(123.675, 116.28, 103.53),
    std_rgb=(1.0, 1.0, 1.0),
    channel_order="BGR",
    interpolation="pillow",
    shortest_edge_px=800,
    longest_edge_px=1333,
)
DETECTRON1_PIXELS = replace(DETECTRON2_PIXELS, mean_rgb=(122.7717, 115.9465, 102.9801), interpolation="cv2")
DETECTRON1_RCNN = Rcnn(dialect=DETECTRON1, box_pooler_samples=2, mask_pooler_samples=2, pooler_is_aligned=False)
LICENCE = "CC BY-SA 3.0"  # of all weights of both model zoos: their MODEL_ZOO.md


def zoo_config(folder: str, name: str, backbone: Backbone, tasks: tuple[str, ...], file: str) -> ModelConfig:
    """Return a config of Detectron2's zoo; `file` is the id of its model and the name of its weights."""
    url = f"https://dl.fbaipublicfiles.com/detectron2/{folder}/{name}/{file}"
    return ModelConfig(
        name,
        backbone,
        LEVELS,
        family="rcnn",
        tasks=tasks,
        preprocessing=DETECTRON2_PIXELS,
        source=Source(f"{name}_{file.rpartition('/')[2]}", url, licence=LICENCE),
        upstream_url=None,
        rcnn=Rcnn(),
    )


def segmentoly_config(name: str, backbone: Backbone, weights: str, training: str) -> ModelConfig:
    """Return a config of segmentoly; `training` is what Detectron's zoo calls the run that made its weights."""
    url = (
        f"https://dl.fbaipublicfiles.com/detectron/{training}/output/train/"
        "coco_2014_train%3Acoco_2014_valminusminival/generalized_rcnn/model_final.pkl"
    )
    return ModelConfig(
        name,
        backbone,
        LEVELS,
        family="rcnn",
        preprocessing=DETECTRON1_PIXELS,
        source=Source(weights, url, licence=LICENCE),
        upstream_url=None,
        rcnn=DETECTRON1_RCNN,
    )


YAML = ".yaml"
COCO_DETECTION, COCO_SEGMENTATION = "COCO-Detection", "COCO-InstanceSegmentation"
ZOO_CONFIGS = (
    zoo_config(COCO_DETECTION, "faster_rcnn_R_50_FPN_1x", RESNET50, (BOX,), "137257794/model_final_b275ba.pkl"),
    zoo_config(COCO_DETECTION, "faster_rcnn_R_50_FPN_3x", RESNET50, (BOX,), "137849458/model_final_280758.pkl"),
    zoo_config(COCO_SEGMENTATION, "mask_rcnn_R_50_FPN_3x", RESNET50, (BOX, MASK), "137849600/model_final_f10217.pkl"),
    zoo_config(COCO_SEGMENTATION, "mask_rcnn_R_101_FPN_3x", RESNET101, (BOX, MASK), "138205316/model_final_a3ec72.pkl"),
)
# Narrow enough for weights of 4 MB, and for a training on two cores; Detectron2 builds the same (docs/training.md).
RCNN_DEMO_CONFIG = ModelConfig(
    "mask_rcnn_demo_config",
    Backbone("resnet", "bottleneck", (3, 4, 6, 3), stem_channels=16),
    LEVELS,
    family="rcnn",
    class_names=DRAWN_CLASSES,
    category_ids=DRAWN_CATEGORY_IDS,
    fpn_channels=48,
    preprocessing=replace(
        DETECTRON2_PIXELS,
        height_px=256,
        width_px=256,
        std_rgb=(58.395, 57.12, 57.375),
        shortest_edge_px=256,
        longest_edge_px=256,
    ),
    source=Source("mask_rcnn_demo.pth", "weights/mask_rcnn_demo.pth", is_shipped=True),
    upstream_url=None,
    rcnn=Rcnn(
        stride_in_1x1=False,
        bottleneck_channels=8,
        res2_channels=32,
        anchor_sizes_px=((12,), (24,), (48,), (96,), (192,)),
        rpn_candidates=250,
        rpn_proposals=125,
        box_channels=128,
        mask_layers=2,
        mask_channels=48,
    ),
)
RCNN_CONFIGS = (
    *ZOO_CONFIGS,
    RCNN_DEMO_CONFIG,
    segmentoly_config(
        "resnet50_fpn_mask_rcnn",
        RESNET50,
        "mask_rcnn_resnet50_fpn_2x.pkl",
        "35859007/12_2017_baselines/e2e_mask_rcnn_R-50-FPN_2x.yaml.01_49_07.By8nQcCH",
    ),
    segmentoly_config(
        "resnet101_fpn_mask_rcnn",
        RESNET101,
        "mask_rcnn_resnet101_fpn_2x.pkl",
        "35861858/12_2017_baselines/e2e_mask_rcnn_R-101-FPN_2x.yaml.02_32_51.SgT4y1cO",
    ),
)


def without_zoo(word: str) -> str:
    """Return the name of a config that is written as in Detectron2's zoo, FOLDER/NAME or FOLDER/NAME.yaml.

    A word that is not of the zoo, or has another config's folder, comes back as it is.
    """
    folder, _, name = word.rpartition("/")
    name = name[: -len(YAML)] if name.endswith(YAML) else name
    found = (config.name for config in ZOO_CONFIGS if config.name == name and folder in ("", _folder_of(config)))
    return next(found, word)


def _folder_of(config: ModelConfig) -> str:
    return COCO_SEGMENTATION if MASK in config.tasks else COCO_DETECTION
