"""Model outputs and head weights that decode to a dataset's annotations: detections that mean something, untrained.

The head's weights are fixed wires: a cell's 256 features hold class logits, box offsets and mask coefficients of one
instance in plain sight, and the 3×3 convolutions pass their centre tap on. Any implementation of the head, ours or
upstream's, decodes them to the same boxes, classes and masks. Noise makes the result as imperfect as a network's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from factories import decode_mask
from pycocotools.coco import COCO

from yolact_ascend.detection.boxes import box_iou, encode_boxes
from yolact_ascend.images.coco import CocoDataset
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, ModelConfig
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.cuts import cut_outputs, image_size_px, proto_size
from yolact_ascend.targets.folder import output_bin

if TYPE_CHECKING:  # PyTorch takes seconds to import
    import torch

HEAD = "prediction_layers.0."
CLASSES = 80
# All of upstream's configs have this head.
CONFIG = CONFIGS[DEFAULT_CONFIG]
ANCHORS_PER_CELL = CONFIG.anchors.per_cell
FPN_CHANNELS, PROTO_CHANNELS = CONFIG.fpn_channels, CONFIG.proto_channels
PROTO_SIZE = proto_size(image_size_px(CONFIG))

# Where a cell's features lie; offsets and coefficients are signed, so each takes a channel for + and one for -,
# because a ReLU comes first.
CLASS_CHANNEL = 0
LOC_CHANNEL = CLASS_CHANNEL + CLASSES
COEFF_CHANNEL = LOC_CHANNEL + 2 * 4

BACKGROUND_LOGIT = 8.0
OTHER_LOGITS = 1.0  # every class of an occupied cell gets up to this: a tail of poor scores without ties
COEFF_GAIN = 20.0  # tanh(20) is 1 in float32
PROTO_LEVEL = 8.0  # prototype 0 everywhere; the others are this plus their mask's logit, so none is negative
MAX_MASKS = PROTO_CHANNELS - 1


@dataclass(frozen=True)
class Noise:
    """How the decoded detections differ from the annotations."""

    box_shift: float = 0.0  # standard deviation of a box's shift and scaling, in fractions of its size
    wrong_class: float = 0.0  # probability
    dropped: float = 0.0  # probability
    false_positives: float = 0.0  # on average, an image
    blank: float = 0.0  # probability that nothing at all is found in an image


EXACT = Noise()
NOISY = Noise(box_shift=0.06, wrong_class=0.1, dropped=0.15, false_positives=2.0, blank=0.05)


@dataclass(frozen=True)
class Instance:
    """What one cell says: class_id, score, box [4] xyxy_rel, and mask logits [138,138] (None: the whole box)."""

    class_id: int
    score: float
    box: np.ndarray
    mask: np.ndarray | None


def head_state() -> dict[str, torch.Tensor]:
    """Return the head's entries of an upstream state dict; only the first anchor of a cell ever detects anything."""
    import torch

    k = CLASSES + 1
    layers = {
        "upfeature.0": torch.eye(FPN_CHANNELS),
        "bbox_layer": torch.zeros(ANCHORS_PER_CELL * 4, FPN_CHANNELS),
        "conf_layer": torch.zeros(ANCHORS_PER_CELL * k, FPN_CHANNELS),
        "mask_layer": torch.zeros(ANCHORS_PER_CELL * PROTO_CHANNELS, FPN_CHANNELS),
    }
    for layer, first, count, gain in (
        ("bbox_layer", LOC_CHANNEL, 4, 1.0),
        ("mask_layer", COEFF_CHANNEL, PROTO_CHANNELS, COEFF_GAIN),
    ):
        for i in range(count):
            layers[layer][i, first + 2 * i] = gain
            layers[layer][i, first + 2 * i + 1] = -gain
    for class_id in range(CLASSES):
        layers["conf_layer"][1 + class_id, CLASS_CHANNEL + class_id] = 1.0
    state = {}
    for layer, wires in layers.items():
        weight = torch.zeros(*wires.shape, 3, 3)
        weight[:, :, 1, 1] = wires
        state[f"{HEAD}{layer}.weight"] = weight
        state[f"{HEAD}{layer}.bias"] = torch.zeros(len(wires))
    state[f"{HEAD}conf_layer.bias"][::k] = BACKGROUND_LOGIT
    return state


def save_weights(path: Path, config: ModelConfig) -> Path:
    """Write weights with this head; the other layers are random."""
    import torch

    from yolact_ascend.models.yolact.network import YolactEdge

    torch.manual_seed(0)
    torch.save({**YolactEdge(config).state_dict(), **head_state()}, path)
    return path


def save_heads(path: Path, config: ModelConfig) -> None:
    """Write the ONNX of this head as the host runs it."""
    from yolact_ascend.models.detector import load_detector

    weights = save_weights(path.with_suffix(".pth"), config)
    path.write_bytes(load_detector(weights, config, "fpn").heads.model)


def write_outputs(
    folder: Path,
    dataset: CocoDataset,
    image_ids: Sequence[int],
    config: ModelConfig,
    noise: Noise = EXACT,
    seed: int = 0,
    cut: str = "fpn",
) -> None:
    """Write `<index>_<k>.bin` for each image, as the model would have given them for these annotations."""
    folder.mkdir(parents=True, exist_ok=True)
    coco = _quiet_coco(dataset)
    for index, image_id in enumerate(image_ids):
        rng = np.random.default_rng([seed, image_id])
        instances = perturb(annotated_instances(coco, image_id, config, rng), noise, rng)
        outputs = encode_outputs(instances, rng) if cut == "fpn" else encode_head_outputs(instances, rng)
        for k, tensor in enumerate(outputs):
            tensor.tofile(output_bin(folder, index, k))


def annotated_instances(coco: COCO, image_id: int, config: ModelConfig, rng: np.random.Generator) -> list[Instance]:
    """Return an image's annotations but the crowds, largest first, at most as many as there are prototypes."""
    image = coco.imgs[image_id]
    width, height = image["width"], image["height"]
    annotations = [a for a in coco.imgToAnns[image_id] if not a.get("iscrowd") and min(a["bbox"][2:]) >= 1]
    annotations.sort(key=lambda a: -a["bbox"][2] * a["bbox"][3])
    instances = []
    for annotation in annotations[:MAX_MASKS]:
        x, y, w, h = annotation["bbox"]
        box = np.array([x / width, y / height, (x + w) / width, (y + h) / height])
        pixels = decode_mask(coco.annToRLE(annotation)).astype(np.float32)
        cover = cv2.resize(pixels, (PROTO_SIZE, PROTO_SIZE), interpolation=cv2.INTER_AREA)
        cover = np.clip(cover, 1e-4, 1 - 1e-4)
        mask = np.clip(np.log(cover / (1 - cover)), -PROTO_LEVEL, PROTO_LEVEL).astype(np.float32)
        class_id = config.category_ids.index(annotation["category_id"])
        instances.append(Instance(class_id, rng.uniform(0.1, 0.95), box, mask))
    return instances


def perturb(instances: list[Instance], noise: Noise, rng: np.random.Generator) -> list[Instance]:
    """Return the instances a network of such `noise` would find."""
    if rng.random() < noise.blank:
        return []
    found = []
    for instance in instances:
        # All draws happen for every instance, so that one kind of noise does not change another's.
        lost, mistaken, other_class, shift = rng.random(), rng.random(), rng.integers(CLASSES), rng.normal(size=4)
        if lost < noise.dropped:
            continue
        size = np.tile(instance.box[2:] - instance.box[:2], 2)
        box = instance.box + noise.box_shift * np.clip(shift, -2, 2) * size
        class_id = int(other_class) if mistaken < noise.wrong_class else instance.class_id
        found.append(replace(instance, box=box, class_id=class_id))
    for _ in range(rng.poisson(noise.false_positives)):
        size = rng.uniform(0.05, 0.4, 2)
        top_left = rng.uniform(0, 1 - size)
        box = np.concatenate([top_left, top_left + size])
        found.append(Instance(int(rng.integers(CLASSES)), rng.uniform(0.1, 0.95), box, None))
    return found


def encode_outputs(instances: list[Instance], rng: np.random.Generator) -> list[np.ndarray]:
    """Return P3..P7 [256,h,w] and the prototypes [138,138,32] that decode to these instances."""
    features, protos = _encode(instances, rng)
    return [*_split_levels(features), protos]


def encode_head_outputs(instances: list[Instance], rng: np.random.Generator) -> list[np.ndarray]:
    """Return what the head of `head_state` makes of `encode_outputs`, loc, conf, coeffs, and the prototypes."""
    features, protos = _encode(instances, rng)
    first = slice(None, None, ANCHORS_PER_CELL)  # the anchors that detect anything
    anchors = len(features) * ANCHORS_PER_CELL
    loc = np.zeros((anchors, 4), dtype=np.float32)
    conf = np.zeros((anchors, CLASSES + 1), dtype=np.float32)
    coeffs = np.zeros((anchors, PROTO_CHANNELS), dtype=np.float32)
    conf[:, 0] = BACKGROUND_LOGIT
    conf[first, 1:] = features[:, CLASS_CHANNEL : CLASS_CHANNEL + CLASSES]
    for values, channel, gain in ((loc, LOC_CHANNEL, 1.0), (coeffs, COEFF_CHANNEL, COEFF_GAIN)):
        signed = features[:, channel : channel + 2 * values.shape[1]]
        values[first] = gain * (signed[:, ::2] - signed[:, 1::2])
    return [loc, conf, np.tanh(coeffs), protos]


def _encode(instances: list[Instance], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the features [cells,256] of all levels and the prototypes."""
    cells = make_anchors(CONFIG.anchors, image_size_px(CONFIG))[
        ::ANCHORS_PER_CELL
    ]  # [cells,4]; the first anchor of each
    features = np.zeros((len(cells), FPN_CHANNELS), dtype=np.float32)
    protos = np.full((PROTO_SIZE, PROTO_SIZE, PROTO_CHANNELS), PROTO_LEVEL, dtype=np.float32)
    half = cells[:, 2:] / 2
    corners = np.concatenate([cells[:, :2] - half, cells[:, :2] + half], axis=1)
    free = np.ones(len(cells), dtype=bool)
    masks = 0
    for instance in instances:
        cell = np.argmax(np.where(free, box_iou(corners, instance.box[None].astype(np.float32))[:, 0], -1))
        free[cell] = False
        coefficients = np.zeros(PROTO_CHANNELS)
        if instance.mask is None:
            coefficients[0] = 1
        else:
            masks += 1
            protos[:, :, masks] = PROTO_LEVEL + instance.mask
            coefficients[[0, masks]] = -1, 1
        loc = encode_boxes(instance.box[None], cells[cell : cell + 1])[0]
        features[cell] = _cell_features(instance, loc, coefficients, rng)
    return features, protos


def _cell_features(
    instance: Instance, loc: np.ndarray, coefficients: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    features = np.zeros(FPN_CHANNELS, dtype=np.float32)
    features[CLASS_CHANNEL : CLASS_CHANNEL + CLASSES] = rng.uniform(0, OTHER_LOGITS, CLASSES)
    odds = instance.score / (1 - instance.score)
    features[CLASS_CHANNEL + instance.class_id] = np.log(odds * (np.exp(BACKGROUND_LOGIT) + CLASSES))
    for first, values in ((LOC_CHANNEL, loc), (COEFF_CHANNEL, coefficients)):
        signed = np.stack([np.maximum(values, 0), np.maximum(-values, 0)], axis=1)  # [values,2]
        features[first : first + signed.size] = signed.ravel()
    return features


def _split_levels(features: np.ndarray) -> list[np.ndarray]:
    """Turn features [cells,256] of all levels into one array [256,h,w] a level."""
    levels, start = [], 0
    for spec in cut_outputs(CONFIG, "fpn")[:-1]:
        channels, h, w = spec.shape
        levels.append(np.ascontiguousarray(features[start : start + h * w].T.reshape(channels, h, w)))
        start += h * w
    return levels


def _quiet_coco(dataset: CocoDataset) -> COCO:
    coco = COCO()
    coco.imgs = {image["id"]: image for image in dataset.annotations["images"]}
    coco.imgToAnns = {image_id: [] for image_id in coco.imgs}
    for annotation in dataset.annotations["annotations"]:
        coco.imgToAnns[annotation["image_id"]].append(annotation)
    return coco
