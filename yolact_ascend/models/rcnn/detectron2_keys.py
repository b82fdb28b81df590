"""The keys of a Detectron2 config file: which are read, which must have one value, and which do not matter here.

Keys and defaults: facebookresearch/detectron2 @ 02b5c4e2, detectron2/config/defaults.py; the values of `BASES`:
configs/ of the same commit.
"""

from __future__ import annotations

from typing import Any

# What becomes part of our config, with Detectron2's default.
READ: dict[str, Any] = {
    "MODEL.MASK_ON": False,
    "MODEL.PIXEL_MEAN": (103.53, 116.28, 123.675),
    "MODEL.PIXEL_STD": (1.0, 1.0, 1.0),
    "MODEL.FPN.OUT_CHANNELS": 256,
    "MODEL.ANCHOR_GENERATOR.SIZES": ((32, 64, 128, 256, 512),),
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": ((0.5, 1.0, 2.0),),
    "MODEL.RPN.BBOX_REG_WEIGHTS": (1.0, 1.0, 1.0, 1.0),
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.NMS_THRESH": 0.7,
    "MODEL.ROI_HEADS.NUM_CLASSES": 80,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.5,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 0,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 1024,
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": False,
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 0,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 256,
    "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": False,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 64,
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "INPUT.FORMAT": "BGR",
    "DATASETS.TRAIN": (),  # names the classes
    "TEST.DETECTIONS_PER_IMAGE": 100,
}
STAGES = ("res2", "res3", "res4", "res5")
LEVELS = ("p2", "p3", "p4", "p5", "p6")
# What changes the network or its results, with Detectron2's default and the values that this family has.
FIXED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "VERSION": (2, (2,)),
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN", ("GeneralizedRCNN",)),
    "MODEL.LOAD_PROPOSALS": (False, (False,)),
    "MODEL.KEYPOINT_ON": (False, (False,)),
    "MODEL.BACKBONE.NAME": ("build_resnet_backbone", ("build_resnet_fpn_backbone",)),
    "MODEL.RESNETS.OUT_FEATURES": (("res4",), (STAGES,)),
    "MODEL.RESNETS.NORM": ("FrozenBN", ("FrozenBN", "BN")),
    "MODEL.RESNETS.RES5_DILATION": (1, (1,)),
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": ((False,) * 4, ((False,) * 4,)),
    "MODEL.FPN.IN_FEATURES": ((), (STAGES,)),
    "MODEL.FPN.NORM": ("", ("",)),
    "MODEL.FPN.FUSE_TYPE": ("sum", ("sum",)),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN", ("RPN",)),
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": (0, (0,)),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator", ("DefaultAnchorGenerator",)),
    "MODEL.ANCHOR_GENERATOR.OFFSET": (0.0, (0.0,)),
    "MODEL.RPN.HEAD_NAME": ("StandardRPNHead", ("StandardRPNHead",)),
    "MODEL.RPN.IN_FEATURES": (("res4",), (LEVELS,)),
    "MODEL.RPN.CONV_DIMS": ((-1,), ((-1,),)),
    "MODEL.ROI_HEADS.NAME": ("Res5ROIHeads", ("StandardROIHeads",)),
    "MODEL.ROI_HEADS.IN_FEATURES": (("res4",), (LEVELS[:-1],)),
    "MODEL.ROI_BOX_HEAD.NAME": ("", ("FastRCNNConvFCHead",)),
    "MODEL.ROI_BOX_HEAD.NUM_CONV": (0, (0,)),
    "MODEL.ROI_BOX_HEAD.NORM": ("", ("",)),
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False, (False,)),
    "MODEL.ROI_MASK_HEAD.NAME": ("MaskRCNNConvUpsampleHead", ("MaskRCNNConvUpsampleHead",)),
    "MODEL.ROI_MASK_HEAD.NORM": ("", ("",)),
}
# What does not matter without masks.
MASK_PREFIX = "MODEL.ROI_MASK_HEAD."
# What changes neither the network nor its results, and why. A name that ends with "." is that of a whole section.
TRAINING, ELSEWHERE, MACHINE = "only training uses it", "of parts that are refused by their own key", "of the machine"
IGNORED: dict[str, str] = {
    **dict.fromkeys(("SOLVER.", "DATALOADER.", "TEST.PRECISE_BN.", "INPUT.CROP."), TRAINING),
    **dict.fromkeys(
        (
            *("MODEL.WEIGHTS", "MODEL.BACKBONE.FREEZE_AT"),
            *("MODEL.RPN.BOUNDARY_THRESH", "MODEL.RPN.IOU_THRESHOLDS", "MODEL.RPN.IOU_LABELS", "MODEL.RPN.LOSS_WEIGHT"),
            *("MODEL.RPN.BATCH_SIZE_PER_IMAGE", "MODEL.RPN.POSITIVE_FRACTION", "MODEL.RPN.SMOOTH_L1_BETA"),
            *("MODEL.RPN.BBOX_REG_LOSS_TYPE", "MODEL.RPN.BBOX_REG_LOSS_WEIGHT"),
            *("MODEL.RPN.PRE_NMS_TOPK_TRAIN", "MODEL.RPN.POST_NMS_TOPK_TRAIN"),
            *("MODEL.ROI_HEADS.IOU_THRESHOLDS", "MODEL.ROI_HEADS.IOU_LABELS", "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE"),
            *("MODEL.ROI_HEADS.POSITIVE_FRACTION", "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT"),
            *("MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT"),
            *("MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES"),
            *("MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT_POWER"),
            "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES",
            *("INPUT.MIN_SIZE_TRAIN", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "INPUT.MAX_SIZE_TRAIN"),
            *("INPUT.RANDOM_FLIP", "INPUT.MASK_FORMAT", "VIS_PERIOD", "SEED", "GLOBAL.HACK"),
            *("DATASETS.PROPOSAL_FILES_TRAIN", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN"),
        ),
        TRAINING,
    ),
    **dict.fromkeys(
        (
            *("MODEL.ROI_BOX_CASCADE_HEAD.", "MODEL.ROI_KEYPOINT_HEAD.", "MODEL.SEM_SEG_HEAD.", "MODEL.PANOPTIC_FPN."),
            *("MODEL.RETINANET.", "MODEL.ANCHOR_GENERATOR.ANGLES", "MODEL.ROI_BOX_HEAD.CONV_DIM"),
            *("MODEL.RESNETS.DEFORM_MODULATED", "MODEL.RESNETS.DEFORM_NUM_GROUPS", "TEST.KEYPOINT_OKS_SIGMAS"),
            *("DATASETS.PROPOSAL_FILES_TEST", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST"),
        ),
        ELSEWHERE,
    ),
    **dict.fromkeys(
        (
            *("MODEL.DEVICE", "OUTPUT_DIR", "CUDNN_BENCHMARK", "FLOAT32_PRECISION"),
            # Detectron2's own scripts read these, its model does not: test-time augmentation is another program.
            *("DATASETS.TEST", "TEST.EXPECTED_RESULTS", "TEST.EVAL_PERIOD", "TEST.AUG."),
        ),
        MACHINE,
    ),
}
SECTIONS = frozenset(
    key.rpartition(".")[0] for table in (READ, FIXED, IGNORED) for key in table if not key.endswith(".")
) | {key[:-1] for key in IGNORED if key.endswith(".")}

_FPN: dict[str, Any] = {
    "MODEL": {
        "META_ARCHITECTURE": "GeneralizedRCNN",
        "BACKBONE": {"NAME": "build_resnet_fpn_backbone"},
        "RESNETS": {"OUT_FEATURES": list(STAGES)},
        "FPN": {"IN_FEATURES": list(STAGES)},
        "ANCHOR_GENERATOR": {"SIZES": [[32], [64], [128], [256], [512]], "ASPECT_RATIOS": [[0.5, 1.0, 2.0]]},
        "RPN": {"IN_FEATURES": list(LEVELS), "PRE_NMS_TOPK_TEST": 1000, "POST_NMS_TOPK_TEST": 1000},
        "ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": list(LEVELS[:-1])},
        "ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "NUM_FC": 2, "POOLER_RESOLUTION": 7},
        "ROI_MASK_HEAD": {"NAME": "MaskRCNNConvUpsampleHead", "NUM_CONV": 4, "POOLER_RESOLUTION": 14},
    },
    "DATASETS": {"TRAIN": ["coco_2017_train"], "TEST": ["coco_2017_val"]},
    "VERSION": 2,
}
_ON_FPN = {"_BASE_": "../Base-RCNN-FPN.yaml"}


def _zoo(depth: int, has_masks: bool) -> dict[str, Any]:
    return {**_ON_FPN, "MODEL": {"MASK_ON": has_masks, "RESNETS": {"DEPTH": depth}}}


# Detectron2's own files, for a `_BASE_` that is not there: what they say beside training.
BASES: dict[str, dict[str, Any]] = {
    "Base-RCNN-FPN.yaml": _FPN,
    "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml": _zoo(50, False),
    "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml": _zoo(50, False),
    "COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml": _zoo(101, False),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml": _zoo(50, True),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml": _zoo(50, True),
    "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml": _zoo(101, True),
}
