"""A drawn data set, a small model, and what `stream` finds in it, once for all tests of the room."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace

import pytest
from factories import TINY_CONFIG, write_coco

from yolact_ascend.cli.main import main


@pytest.fixture(scope="session")
def streamed(tiny_onnx, tmp_path_factory):
    """The data set's folder, the model, and the results files and scores of `stream`, in batches of two."""
    root = tmp_path_factory.mktemp("streamed")
    coco = write_coco(root / "coco", TINY_CONFIG)
    files = SimpleNamespace(box=root / "bbox.json", mask=root / "mask.json", scores=root / "scores.json")
    images, annotations = coco / "val2017", coco / "annotations" / "instances_val2017.json"
    words = [
        *("stream", f"--model={tiny_onnx}", f"--image_path={images}", f"--json_file={annotations}", "--bs=2"),
        *(f"--bbox_det_file={files.box}", f"--mask_det_file={files.mask}", f"--scores_file={files.scores}"),
        "--workers=1",
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(words) == 0
    return SimpleNamespace(
        images=images,
        annotations=annotations,
        model=tiny_onnx,
        **{name: p.read_bytes() for name, p in vars(files).items()},
    )
