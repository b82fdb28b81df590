"""A user's own Detectron2 config file as one of our configs: built exactly, or refused by the key that stands against.

Source of what the keys mean: facebookresearch/detectron2 @ 02b5c4e2, detectron2/config/defaults.py,
modeling/backbone/resnet.py (build_resnet_backbone), modeling/anchor_generator.py, modeling/roi_heads/roi_heads.py,
data/dataset_mapper.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, COCO_CLASSES, PASCAL_CATEGORY_IDS, PASCAL_CLASSES
from yolact_ascend.models.rcnn.configs import LEVELS, RCNN_CONFIGS
from yolact_ascend.models.rcnn.yaml_file import read_keys
from yolact_ascend.models.rcnn.yaml_values import Values
from yolact_ascend.models.values import CANVAS_MULTIPLE, Backbone, ModelConfig, Preprocessing, Rcnn, Source

SUFFIXES = (".yaml", ".yml")
DIGITS = 8  # of the hash in a config's name
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BASIC, BOTTLENECK = "basic", "bottleneck"  # blocks
BASIC_DEPTHS = (18, 34)  # two 3x3 convolutions in a block
POOLERS = {"ROIAlignV2": True, "ROIAlign": False}  # name -> is aligned
MOST_LAYERS = 64  # of a head
MOST_CLASSES = 20_000
# Names of classes, by how Detectron2 names the data sets that have them: data/datasets/builtin.py.
CLASSES_OF_DATA = {
    "coco_20": (COCO_CLASSES, COCO_CATEGORY_IDS),
    "voc_20": (PASCAL_CLASSES, PASCAL_CATEGORY_IDS),
}


def is_config_file(word: str) -> bool:
    """Tell whether a word names a config file, by its suffix."""
    return word.lower().endswith(SUFFIXES)


def read_config_file(path: Path) -> ModelConfig:
    """Return the config of a Detectron2 config file and of those that it is based on.

    Its name is that of the file and a hash of all values, so that two files of one name are two configs. A file that is
    named as one of our configs and says the same is that config. Raises UsageError that names file and key for what
    cannot be built or is not known.
    """
    config = make_config(path.stem, Values(path, read_keys(path)))
    listed = next((other for other in RCNN_CONFIGS if other.name == path.stem), None)
    if listed is not None and dataclasses.replace(config, source=listed.source) == listed:
        return listed
    return dataclasses.replace(config, name=f"{path.stem}-{_hash(config)}")


def _hash(config: ModelConfig) -> str:
    values = dataclasses.asdict(config)
    del values["source"], values["name"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:DIGITS]


def make_config(name: str, values: Values) -> ModelConfig:
    """Return the config that these values say; raises UsageError for what cannot be built."""
    has_masks = values.flag("MODEL.MASK_ON")
    depth = values.one("MODEL.RESNETS.DEPTH", lambda value: value in BLOCKS, " or ".join(map(str, BLOCKS)))
    block = BASIC if depth in BASIC_DEPTHS else BOTTLENECK
    names, ids = _classes(values)
    return ModelConfig(
        name,
        Backbone("resnet", block, BLOCKS[depth], stem_channels=values.whole("MODEL.RESNETS.STEM_OUT_CHANNELS")),
        LEVELS,
        family="rcnn",
        tasks=(BOX, MASK) if has_masks else (BOX,),
        class_names=names,
        category_ids=ids,
        preprocessing=_preprocessing(values),
        fpn_channels=values.whole("MODEL.FPN.OUT_CHANNELS"),
        source=Source("", ""),
        upstream_url=None,
        rcnn=_rcnn(values, has_masks, block == BASIC),
    )


def _rcnn(values: Values, has_masks: bool, is_basic: bool) -> Rcnn:
    ratios = values.per_level("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS")
    if len(set(ratios)) > 1:
        values.refuse("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "the same ratios on each level")
    groups, width = values.whole("MODEL.RESNETS.NUM_GROUPS"), values.whole("MODEL.RESNETS.WIDTH_PER_GROUP")
    rcnn = Rcnn(
        stride_in_1x1=values.flag("MODEL.RESNETS.STRIDE_IN_1X1"),
        groups=groups,
        bottleneck_channels=groups * width,
        res2_channels=values.whole("MODEL.RESNETS.RES2_OUT_CHANNELS"),
        anchor_sizes_px=values.per_level("MODEL.ANCHOR_GENERATOR.SIZES"),
        aspect_ratios=ratios[0],
        rpn_candidates=values.whole("MODEL.RPN.PRE_NMS_TOPK_TEST"),
        rpn_proposals=values.whole("MODEL.RPN.POST_NMS_TOPK_TEST"),
        rpn_nms_iou=values.share("MODEL.RPN.NMS_THRESH"),
        rpn_box_weights=values.divisors("MODEL.RPN.BBOX_REG_WEIGHTS"),
        box_pooler_size=values.whole("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"),
        box_pooler_samples=values.whole("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 0),
        pooler_is_aligned=_is_aligned(values, "MODEL.ROI_BOX_HEAD.POOLER_TYPE"),
        box_layers=values.whole("MODEL.ROI_BOX_HEAD.NUM_FC", 1, MOST_LAYERS),
        box_channels=values.whole("MODEL.ROI_BOX_HEAD.FC_DIM"),
        box_weights=values.divisors("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"),
        score_threshold=values.share("MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        nms_iou=values.share("MODEL.ROI_HEADS.NMS_THRESH_TEST"),
        max_detections=values.whole("TEST.DETECTIONS_PER_IMAGE"),
        class_agnostic_boxes=values.flag("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
    )
    if is_basic:
        rcnn = _basic(values, rcnn)
    return _with_masks(values, rcnn) if has_masks else rcnn


def _basic(values: Values, rcnn: Rcnn) -> Rcnn:
    """Return the values of a network of basic blocks, for which Detectron2 does not read what only a bottleneck has."""
    for key, needed in (("MODEL.RESNETS.RES2_OUT_CHANNELS", 64), ("MODEL.RESNETS.NUM_GROUPS", 1)):
        if values.whole(key) != needed:
            values.refuse(key, f"{needed} for depths {' and '.join(map(str, BASIC_DEPTHS))}, as in Detectron2")
    return dataclasses.replace(rcnn, bottleneck_channels=Rcnn.bottleneck_channels, stride_in_1x1=Rcnn.stride_in_1x1)


def _with_masks(values: Values, rcnn: Rcnn) -> Rcnn:
    if _is_aligned(values, "MODEL.ROI_MASK_HEAD.POOLER_TYPE") != rcnn.pooler_is_aligned:
        values.refuse("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "the pooling of the box head")
    return dataclasses.replace(
        rcnn,
        mask_pooler_size=values.whole("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION"),
        mask_pooler_samples=values.whole("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 0),
        mask_layers=values.whole("MODEL.ROI_MASK_HEAD.NUM_CONV", 0, MOST_LAYERS),
        mask_channels=values.whole("MODEL.ROI_MASK_HEAD.CONV_DIM"),
        class_agnostic_masks=values.flag("MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK"),
    )


def _is_aligned(values: Values, key: str) -> bool:
    return POOLERS[values.one(key, lambda value: value in POOLERS, " or ".join(POOLERS))]


def _preprocessing(values: Values) -> Preprocessing:
    order = values.one("INPUT.FORMAT", lambda value: value in ("BGR", "RGB"), "BGR or RGB")
    mean, std = _rgb(values, "MODEL.PIXEL_MEAN", order), _rgb(values, "MODEL.PIXEL_STD", order, are_positive=True)
    longest = values.whole("INPUT.MAX_SIZE_TEST")
    canvas = -(-longest // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
    return Preprocessing(
        height_px=canvas,
        width_px=canvas,
        mean_rgb=mean,
        std_rgb=std,
        channel_order=order,
        interpolation="pillow",
        shortest_edge_px=values.whole("INPUT.MIN_SIZE_TEST"),
        longest_edge_px=longest,
    )


def _rgb(values: Values, key: str, order: str, are_positive: bool = False) -> tuple[float, float, float]:
    first, green, last = values.numbers(key, 3, are_positive)
    return (first, green, last) if order == "RGB" else (last, green, first)


def _classes(values: Values) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return names and ids of the classes: those of the data set that is named, else numbers."""
    count = values.whole("MODEL.ROI_HEADS.NUM_CLASSES", 1, MOST_CLASSES)
    data = values.one("DATASETS.TRAIN", lambda value: isinstance(value, tuple), "a list of names")
    for prefix, (names, ids) in CLASSES_OF_DATA.items():
        if data and all(str(each).startswith(prefix) for each in data) and len(names) == count:
            return names, ids
    numbers = tuple(range(1, count + 1))
    return tuple(f"class {number}" for number in numbers), numbers
