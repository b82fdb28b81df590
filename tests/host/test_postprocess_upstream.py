"""From the model's outputs to detections: ours against upstream's own code, on real photographs.

Upstream keeps its config in globals and prints as it likes, so it runs in a process of its own: this file as a script.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import CHECKOUT, decode_mask, random_state_dict
from upstreams import match_detections

from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.host.postprocess import detect_image
from yolact_ascend.images.coco import CocoImage, load_dataset
from yolact_ascend.models.config import CONFIGS, get_config
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.values import UPSTREAM_URL
from yolact_ascend.models.yolact.cuts import image_size_px
from yolact_ascend.targets.folder import output_bin
from yolact_ascend.timings import Timings

PHOTOGRAPHS = 24
STANDARD = 2  # of these with standard NMS, too, which takes seconds: random weights find something everywhere
YOLACT_EDGE_CONFIGS = [name for name, config in CONFIGS.items() if config.upstream_url == UPSTREAM_URL]


@pytest.mark.upstream
@pytest.mark.parametrize("config_name", YOLACT_EDGE_CONFIGS)
def test_detections_equal_upstreams(config_name, upstream_dir, coco_mini, tmp_path):
    config = get_config(config_name)
    weights = tmp_path / "weights.pth"
    torch.save(random_state_dict(config), weights)
    images = _photographs(coco_mini)
    subprocess.run(
        [sys.executable, __file__, config_name, weights, coco_mini, tmp_path],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "tests", upstream_dir)))},
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
    print(f"parity: {config_name}: {found_in}; {pixels - equal_pixels} of {pixels} mask pixels differ")
    assert found >= 90 * len(images)
    assert equal_pixels >= 0.9999 * pixels
    in_turn = dataclasses.replace(detector, settings=DetectionSettings(standard_nms_px=image_size_px(config)))
    for index, image in enumerate(images[:STANDARD]):
        ours = detect_image(tmp_path, index, in_turn, image.height, image.width, Timings())
        match_detections(ours, np.load(tmp_path / f"{index}_standard.npz"))


def _photographs(coco_folder: Path) -> tuple[CocoImage, ...]:
    annotation_file = coco_folder / "annotations" / "instances_val2017.json"
    return load_dataset(annotation_file, coco_folder / "val2017").select(limit=PHOTOGRAPHS)


def run_upstream(config_name: str, weights: str, coco_folder: Path, folder: Path) -> None:
    """Write the output bins and upstream's detections of each photograph."""
    from yolact_edge.data import cfg, set_cfg

    set_cfg(config_name)  # before anything else of upstream reads the global config
    cfg.mask_proto_debug = False  # its eval.py sets this from the command line

    from yolact_edge.layers.output_utils import postprocess
    from yolact_edge.yolact import Yolact

    from yolact_ascend.images.decode import decode_image
    from yolact_ascend.images.transforms import normalise_image

    network = Yolact(training=False)
    network.load_weights(weights)
    network.eval()
    with torch.no_grad():
        for index, image in enumerate(_photographs(coco_folder)):
            levels, protos = network(
                torch.from_numpy(normalise_image(decode_image(image.path), get_config(config_name).preprocessing))[None]
            )
            for k, tensor in enumerate([*levels, protos]):
                tensor.contiguous().numpy().tofile(output_bin(folder, index, k))
            for is_fast, name in ((True, f"{index}.npz"), (False, f"{index}_standard.npz")):
                if not is_fast and index >= STANDARD:
                    continue
                network.detect.use_fast_nms = is_fast
                detections = network.postprocess(levels, protos)
                classes, scores, boxes, masks = postprocess(detections, image.width, image.height)
                np.savez(
                    folder / name,
                    classes=classes.numpy(),
                    scores=scores.numpy(),
                    boxes=boxes.numpy(),
                    masks=np.packbits(masks.numpy().astype(bool)),
                )


if __name__ == "__main__":
    _, name, weights_file, coco, output = sys.argv
    run_upstream(name, weights_file, Path(coco), Path(output))
