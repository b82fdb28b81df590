"""Fixtures that several test modules use: data sets, weights, a checkout of upstream."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from factories import CHECKOUT, SMALL_CONFIG, random_state_dict, write_coco


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """Real COCO photographs: val2017/ and annotations/; a data set that the project does not contain."""
    folder = Path(os.environ.get("COCO_MINI_DIR", CHECKOUT.parent / "shared" / "coco_mini"))
    if not (folder / "annotations" / "instances_val2017.json").is_file():
        pytest.skip(f"no COCO photographs at {folder} (COCO_MINI_DIR)")
    return folder


@pytest.fixture(scope="session")
def upstream_dir(tmp_path_factory) -> Path:
    """A patched copy of the upstream checkout that YOLACT_EDGE_DIR names."""
    source = os.environ.get("YOLACT_EDGE_DIR")
    if not source:
        pytest.skip("no checkout of upstream: YOLACT_EDGE_DIR is not set")
    folder = tmp_path_factory.mktemp("upstream") / "yolact_edge"
    shutil.copytree(source, folder)
    subprocess.run(
        ["git", "-C", folder, "checkout", "--quiet", "--force", "HEAD", "--", "yolact_edge", "eval.py"], check=True
    )
    subprocess.run(["bash", CHECKOUT / "scripts" / "apply_patch.sh", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory) -> Path:
    """Random weights of the smallest config that detect something in nearly every image."""
    path = tmp_path_factory.mktemp("weights") / "yolact_edge_mobilenetv2_0_0.pth"
    torch.save(random_state_dict(SMALL_CONFIG), path)
    return path


@pytest.fixture
def small_coco(tmp_path) -> Path:
    """A COCO folder of four drawn images: three annotated (one only by a crowd), and 4 is not; see `write_coco`."""
    return write_coco(tmp_path / "coco")


@pytest.fixture
def annotation_file(small_coco) -> Path:
    return small_coco / "annotations" / "instances_val2017.json"
