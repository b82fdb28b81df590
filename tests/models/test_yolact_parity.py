"""Our networks for YOLACT's configs, and what is detected from them, against dbolya/yolact's own code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import CHECKOUT, as_published_by_yolact, decode_mask, random_state_dict
from upstreams import match_detections
from yolact_upstream import PHOTOGRAPHS, photographs

from yolact_ascend.host.postprocess import detect_image
from yolact_ascend.models.config import YOLACT_CONFIGS
from yolact_ascend.models.detector import load_detector
from yolact_ascend.timings import Timings

COMMIT = "57b8f2d95e62e2e649b382f516ab41f949b57239"


@pytest.fixture(scope="session")
def plain_yolact_dir(tmp_path_factory) -> Path:
    """A copy of the checkout that YOLACT_DIR names, as it was before any patch."""
    source = os.environ.get("YOLACT_DIR")
    if not source:
        pytest.skip("no checkout of dbolya/yolact: YOLACT_DIR is not set")
    folder = tmp_path_factory.mktemp("upstream") / "yolact"
    shutil.copytree(source, folder)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", "--force", COMMIT, "--", "."], check=True)
    return folder


@pytest.mark.yolact
@pytest.mark.parametrize("config", YOLACT_CONFIGS, ids=lambda config: config.name)
def test_outputs_and_detections_equal_yolacts(config, plain_yolact_dir, coco_mini, tmp_path):
    """The networks do the same operations in the same order: no bit differs. For detections see `match_detections`."""
    weights = tmp_path / "weights.pth"
    torch.save(as_published_by_yolact(random_state_dict(config)), weights)
    script = Path(__file__).with_name("yolact_upstream.py")
    subprocess.run(
        [sys.executable, script, config.name, plain_yolact_dir, weights, coco_mini, tmp_path],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "tests")))},
        cwd=tmp_path,
    )
    found = json.loads((tmp_path / "differences.json").read_text())
    largest = {kind: max(values.values()) for kind, values in found.items()}
    print(f"parity: {config.name}: loc, conf, coeffs, protos and anchors differ by {largest['photograph']} at most")
    print(f"parity: {config.name}: the outputs of the cut boxes differ by {largest['decoded']} at most")
    print(f"parity: {config.name}: the input of a photograph differs by {largest['pixels']} at most")
    assert largest == dict.fromkeys(("noise", "photograph", "decoded", "pixels"), 0.0)
    assert len(found["noise"]) == len(found["photograph"]) == 5
    detections, differing, pixels = compare_detections(config, weights, coco_mini, tmp_path)
    found_in = f"{detections} detections in {PHOTOGRAPHS} photographs"
    print(f"parity: {config.name}: {found_in}; {differing} of {pixels} mask pixels differ")
    assert detections >= 90 * PHOTOGRAPHS
    assert differing <= 1e-4 * pixels


def compare_detections(config, weights, coco_folder, folder) -> tuple[int, int, int]:
    """Return how many detections there are, and how many pixels of their masks differ, of how many."""
    detector = load_detector(weights, config, "heads")
    found, differing, pixels = 0, 0, 0
    for index, image in enumerate(photographs(coco_folder)):
        theirs = np.load(folder / f"{index}.npz")
        ours = detect_image(folder, index, detector, image.height, image.width, Timings())
        order = match_detections(ours, theirs)
        masks = np.stack([decode_mask(rle) for rle in ours.masks])
        set_pixels = np.unpackbits(theirs["masks"], count=masks.size).reshape(masks.shape).astype(bool)[order]
        assert set_pixels.any() and not set_pixels.all()
        found += len(ours)
        differing += int((masks != set_pixels).sum())
        pixels += masks.size
    return found, differing, pixels
