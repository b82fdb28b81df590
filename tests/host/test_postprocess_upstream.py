"""From the model's outputs to detections: ours against upstream's own code, on real photographs.

Upstream keeps its config in globals and prints as it likes, so it runs in a process of its own: this file as a script.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import CHECKOUT, configs_of_upstreams, decode_mask, in_yolact_names, random_state_dict
from numpy.testing import assert_allclose

from yolact_ascend.detection.detections import Detections
from yolact_ascend.host.postprocess import detect_image
from yolact_ascend.images.coco import CocoImage, load_dataset
from yolact_ascend.models.config import get_config
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.upstreams import find_upstream, upstream_with
from yolact_ascend.targets.folder import output_bin
from yolact_ascend.timings import Timings

PHOTOGRAPHS = 24


@pytest.mark.parametrize("config", configs_of_upstreams())
def test_detections_equal_upstreams(config, checkout_with, coco_mini, tmp_path):
    checkout = checkout_with(config)
    weights = tmp_path / "weights.pth"
    state = random_state_dict(config)
    torch.save(in_yolact_names(state) if upstream_with(config).name == "yolact" else state, weights)
    images = _photographs(coco_mini)
    subprocess.run(
        [sys.executable, __file__, config.name, weights, coco_mini, tmp_path, checkout],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (checkout, CHECKOUT, CHECKOUT / "tests")))},
        cwd=tmp_path,
    )
    detector = load_detector(weights, config, "fpn")
    found, equal_pixels, pixels = 0, 0, 0
    for index, image in enumerate(images):
        theirs = np.load(tmp_path / f"{index}.npz")
        ours = detect_image(tmp_path, index, detector, image.height, image.width, Timings())
        order = match_detections(ours, theirs)
        masks = np.stack([decode_mask(rle) for rle in ours.masks])
        set_pixels = np.unpackbits(theirs["masks"], count=masks.size).reshape(masks.shape).astype(bool)[order]
        found += len(ours)
        equal_pixels += (masks == set_pixels).sum()
        pixels += masks.size
        assert set_pixels.any() and not set_pixels.all()
    found_in = f"{found} detections in {len(images)} photographs"
    print(f"parity: {config.name}: {found_in}; {pixels - equal_pixels} of {pixels} mask pixels differ")
    assert found >= 90 * len(images)
    assert equal_pixels >= 0.9999 * pixels


def match_detections(ours: Detections, theirs) -> list[int]:
    """Return where each of our detections stands among theirs: in the same place, but for scores as good as equal.

    The heads run on ONNX Runtime here and in PyTorch there, so that scores differ in the last bits, and so do boxes
    before they are cut to whole pixels.
    """
    assert_allclose(ours.scores, theirs["scores"], atol=1e-5)
    left = list(range(len(theirs["scores"])))
    order = []
    for class_id, box, score in zip(ours.class_ids, ours.boxes_xyxy_px, ours.scores):
        alike = [i for i in left if theirs["classes"][i] == class_id and abs(theirs["scores"][i] - score) <= 1e-5]
        best = min(alike, key=lambda i: np.abs(theirs["boxes"][i] - box).max(), default=None)
        assert best is not None and np.abs(theirs["boxes"][best] - box).max() <= 1, (class_id, box, score)
        order.append(best)
        left.remove(best)
    assert (theirs["boxes"][order] != ours.boxes_xyxy_px).any(axis=1).sum() <= 0.02 * len(order)
    moved = [(ours.scores[place], theirs["scores"][i]) for place, i in enumerate(order) if place != i]
    assert len(moved) <= 0.05 * len(order) and all(abs(a - b) <= 1e-6 for a, b in moved), moved
    return order


def _photographs(coco_folder: Path) -> tuple[CocoImage, ...]:
    annotation_file = coco_folder / "annotations" / "instances_val2017.json"
    return load_dataset(annotation_file, coco_folder / "val2017").select(limit=PHOTOGRAPHS)


def run_upstream(config_name: str, weights: str, coco_folder: Path, folder: Path, checkout: Path) -> None:
    """Write the output bins and upstream's detections of each photograph."""
    upstream = find_upstream(checkout)
    data = importlib.import_module(upstream.config_module)
    data.set_cfg(config_name)  # before anything else of upstream reads the global config
    data.cfg.num_classes = get_config(config_name).num_classes + 1
    data.cfg.mask_proto_debug = False  # its eval.py sets this from the command line
    package = upstream.network_module.rpartition("yolact")[0]
    postprocess = importlib.import_module(f"{package}layers.output_utils").postprocess

    from yolact_ascend.images.decode import decode_image
    from yolact_ascend.images.transforms import normalise_image

    network = importlib.import_module(upstream.network_module).Yolact(**dict(upstream.options))
    network.load_weights(weights)
    network.eval()
    network.detect.use_fast_nms = True
    with torch.no_grad():
        for index, image in enumerate(_photographs(coco_folder)):
            pixels = normalise_image(decode_image(image.path), get_config(config_name).preprocessing)
            levels, protos = getattr(network, upstream.cut)(torch.from_numpy(pixels)[None])
            for k, tensor in enumerate([*levels, protos]):
                tensor.contiguous().numpy().tofile(output_bin(folder, index, k))
            detections = getattr(network, upstream.rest)(levels, protos)
            if upstream.name == "yolact":  # its `predict` ends before the NMS
                detections = network.detect(detections, network)
            classes, scores, boxes, masks = postprocess(detections, image.width, image.height)
            np.savez(
                folder / f"{index}.npz",
                classes=classes.numpy(),
                scores=scores.numpy(),
                boxes=boxes.numpy(),
                masks=np.packbits(masks.numpy().astype(bool)),
            )


if __name__ == "__main__":
    _, name, weights_file, *folders = sys.argv
    run_upstream(name, weights_file, *map(Path, folders))
