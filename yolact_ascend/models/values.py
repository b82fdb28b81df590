"""What a model config is made of: frozen values, from which all else is derived."""

from __future__ import annotations

from dataclasses import dataclass, field

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, COCO_CLASSES

DETECTRON2, DETECTRON1 = "detectron2", "detectron1"  # the dialects of R-CNN
DIALECTS = (DETECTRON2, DETECTRON1)


FIT_MAX, FIT_WINDOW = "max", "window"  # how pictures are resized that are padded
FITS = (FIT_MAX, FIT_WINDOW)
CANVAS_MULTIPLE = 32  # px; the stride of the coarsest level that convolutions compute


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
    fit: str = FIT_MAX  # of pictures that are padded: by the two edges, or as large as height×width has room for

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
    licence: str = ""  # of the file, where its page states one


@dataclass(frozen=True)
class Rcnn:
    """What Faster and Mask R-CNN have beside the backbone and the FPN, whose levels are P2..P6.

    The names of Detectron2's configs are in brackets. `dialect` is "detectron2", or "detectron1": box sides count one
    pixel more, anchors are rounded to whole pixels, the background is class 0 and not the last. Weights of one dialect
    mean nothing in the other.
    """

    dialect: str = DETECTRON2
    stride_in_1x1: bool = True  # [RESNETS.STRIDE_IN_1X1] False: in the 3x3 convolution of a block
    groups: int = 1  # [RESNETS.NUM_GROUPS] of the 3x3 convolutions
    bottleneck_channels: int = 64  # of res2, twice as many in each next stage [NUM_GROUPS * WIDTH_PER_GROUP]
    res2_channels: int = 256  # of res2's output, twice as many in each next stage [RESNETS.RES2_OUT_CHANNELS]
    anchor_sizes_px: tuple[tuple[float, ...], ...] = ((32,), (64,), (128,), (256,), (512,))  # of each level P2..P6
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height : width
    rpn_candidates: int = 1000  # of a level, before NMS [RPN.PRE_NMS_TOPK_TEST]
    rpn_proposals: int = 1000  # of an image, after NMS [RPN.POST_NMS_TOPK_TEST]
    rpn_nms_iou: float = 0.7
    rpn_box_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)  # divisors of dx, dy, dw, dh
    box_pooler_size: int = 7
    mask_pooler_size: int = 14
    box_pooler_samples: int = 0  # along each side of a bin; 0: as many as the bin has cells
    mask_pooler_samples: int = 0
    pooler_is_aligned: bool = True  # [POOLER_TYPE ROIAlignV2] False: [ROIAlign], half a cell off
    box_layers: int = 2  # fully connected ones [ROI_BOX_HEAD.NUM_FC]
    box_channels: int = 1024
    mask_layers: int = 4  # 3x3 convolutions [ROI_MASK_HEAD.NUM_CONV]
    mask_channels: int = 256
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    score_threshold: float = 0.05
    nms_iou: float = 0.5
    max_detections: int = 100  # of an image
    class_agnostic_boxes: bool = False  # one box for all classes
    class_agnostic_masks: bool = False

    @property
    def anchors_per_cell(self) -> int:
        return len(self.anchor_sizes_px[0]) * len(self.aspect_ratios)


UPSTREAM_URL = "https://github.com/haotian-liu/yolact_edge"
YOLACT_URL = "https://github.com/dbolya/yolact"


@dataclass(frozen=True)
class ModelConfig:
    """One network variant: what `--config` names.

    `fpn_sources` index the backbone's stage outputs that feed P3..P5 (R-CNN: P2..P5). Of the yolact family are
    `anchors` and `proto_channels`, of the rcnn family is `rcnn`. The classes are those of the config's published
    weights: weights trained on other data bring their own (`classes.read_config`). `upstream_url` names the public
    code that has this config, None where there is none. `widths` are output channels of convolutions, by name, where a
    pruned network has others than its family (`models.widths`).`proto_dtype` is the type of the prototypes that leave
    the graph (`models.output_type`).
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
    rcnn: Rcnn | None = None
    widths: tuple[tuple[str, int], ...] = ()
    proto_dtype: str = "float32"

    @property
    def num_classes(self) -> int:
        """Foreground classes; the confidence layer has one more, class 0, for the background."""
        return len(self.class_names)
