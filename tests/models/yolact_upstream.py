"""Runs dbolya/yolact in a process of its own, beside our network: it keeps its config in globals.

    yolact_upstream.py CONFIG CHECKOUT WEIGHTS COCO_FOLDER OUTPUT_FOLDER

Writes how far our network is from it on random pixels and a photograph (`differences.json`), and for each photograph
the head's outputs (`<index>_<k>.bin`, as of the cut `heads`) and upstream's detections (`<index>.npz`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from upstreams import import_yolact

from yolact_ascend.images.coco import CocoImage, load_dataset
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import normalise_image
from yolact_ascend.models.config import ModelConfig, get_config
from yolact_ascend.models.weights import load_network
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.network import WithBoxes, WithHeads
from yolact_ascend.targets.folder import output_bin

PHOTOGRAPHS = 24
NAMES = {"loc": "loc", "conf": "conf", "coeffs": "mask", "protos": "proto", "anchors": "priors"}  # ours: theirs


def photographs(coco_folder: Path) -> tuple[CocoImage, ...]:
    annotation_file = coco_folder / "annotations" / "instances_val2017.json"
    return load_dataset(annotation_file, coco_folder / "val2017").select(limit=PHOTOGRAPHS)


class Upstream:
    """Upstream's network, with what it computes before and behind its detection."""

    def __init__(self, config_name: str, weights: Path) -> None:
        from data import cfg, set_cfg

        set_cfg(config_name)  # before anything else of upstream reads the global config
        cfg.mask_proto_debug = False  # its eval.py sets this from the command line
        cfg.rescore_bbox = cfg.rescore_mask = False
        from yolact import Yolact

        self.network = Yolact()
        self.network.load_weights(str(weights))
        self.network.eval()
        self._detect, self.network.detect = self.network.detect, self._keep
        self._detect.use_fast_nms = True
        self._heads: list[dict[str, torch.Tensor]] = []
        for layer in self.network.prediction_layers:
            layer.register_forward_hook(lambda _, __, outputs: self._heads.append(dict(outputs)))

    def _keep(self, outputs: dict[str, torch.Tensor], _: object) -> dict[str, torch.Tensor]:
        return outputs

    def run(self, images: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the outputs before softmax, and those that its detection takes."""
        self._heads.clear()
        outputs = self.network(images)
        raw = {kind: torch.cat([head[kind] for head in self._heads], -2) for kind in ("loc", "conf", "mask", "priors")}
        return {**raw, "proto": outputs["proto"]}, outputs

    def detect(self, outputs: dict[str, torch.Tensor], image: CocoImage) -> dict[str, np.ndarray]:
        from layers.output_utils import postprocess

        classes, scores, boxes, masks = postprocess(
            self._detect(outputs, self.network), image.width, image.height, score_threshold=0
        )
        packed = np.packbits(masks.numpy().astype(bool))
        return {"classes": classes.numpy(), "scores": scores.numpy(), "boxes": boxes.numpy(), "masks": packed}


def differences(
    config: ModelConfig, ours: torch.nn.Module, upstream: Upstream, images: torch.Tensor
) -> dict[str, float]:
    """Return the largest difference of each output."""
    found = dict(zip(("loc", "conf", "coeffs", "protos"), ours(images)))
    anchors = make_anchors(config.anchors, config.preprocessing.height_px)
    found["anchors"] = torch.from_numpy(anchors.copy())
    expected, _ = upstream.run(images)
    return {name: float((found[name] - expected[theirs]).abs().max()) for name, theirs in NAMES.items()}


def decoded_differences(
    config: ModelConfig, network: torch.nn.Module, upstream: Upstream, images: torch.Tensor
) -> dict[str, float]:
    """Return the largest difference of each output of the cut `boxes` from what upstream makes before its detection."""
    from layers.box_utils import decode

    _, expected = upstream.run(images)
    boxes = decode(expected["loc"][0], expected["priors"])[None]
    theirs = {"conf": expected["conf"], "boxes": boxes, "mask": expected["mask"], "proto": expected["proto"]}
    ours = WithBoxes(network, config).eval()(images)
    return {name: float((found - theirs[name]).abs().max()) for name, found in zip(theirs, ours)}


def pixel_difference(image_bgr: np.ndarray, config: ModelConfig) -> float:
    """Return how far our input is from that of upstream's evaluation."""
    from utils.augmentations import BaseTransform

    no_objects = np.zeros((0, 1, 1)), np.zeros((0, 4)), {"labels": np.zeros(0), "num_crowds": 0}
    theirs = BaseTransform()(image_bgr.astype(np.float32), *no_objects)[0].transpose(2, 0, 1)
    return float(np.abs(normalise_image(image_bgr, config.preprocessing) - theirs).max())


def main(config_name: str, checkout: Path, weights: Path, coco_folder: Path, folder: Path) -> None:
    config = get_config(config_name)
    import_yolact(checkout)
    upstream, network = Upstream(config_name, weights), load_network(weights, config)
    ours = WithHeads(network).eval()
    size, images = config.preprocessing.height_px, photographs(coco_folder)
    with torch.no_grad():
        first = decode_image(images[0].path)
        pixels = torch.from_numpy(normalise_image(first, config.preprocessing))[None]
        found = {
            "noise": differences(config, ours, upstream, torch.randn(1, 3, size, size)),
            "photograph": differences(config, ours, upstream, pixels),
            "decoded": decoded_differences(config, network, upstream, pixels),
            "pixels": {"image": pixel_difference(first, config)},
        }
        (folder / "differences.json").write_text(json.dumps(found))
        for index, image in enumerate(images):
            pixels = torch.from_numpy(normalise_image(decode_image(image.path), config.preprocessing))[None]
            raw, outputs = upstream.run(pixels)
            for k, name in enumerate(("loc", "conf", "mask", "proto")):
                raw[name].contiguous().numpy().tofile(output_bin(folder, index, k))
            np.savez(folder / f"{index}.npz", **upstream.detect(outputs, image))


if __name__ == "__main__":
    main(sys.argv[1], *(Path(word) for word in sys.argv[2:]))
