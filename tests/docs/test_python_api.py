"""The Python API as a user meets it: docs/python.md runs, a typed script passes, and the import is light."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from factories import CHECKOUT

import yolact_ascend
from yolact_ascend.extras import is_installed
from yolact_ascend.files import PACKAGE
from yolact_ascend.models.host_part import heads_file

DOCUMENT = (CHECKOUT / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


def test_every_block_of_the_document_runs_in_its_order(tiny_onnx, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    shutil.copy(tiny_onnx, "results/yolact_edge.onnx")
    shutil.copy(heads_file(tiny_onnx), "results")
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    (tmp_path / "photographs").mkdir()
    for name in ("street.jpg", "photographs/a.jpg", "photographs/b.jpg"):
        cv2.imwrite(name, cv2.GaussianBlur(noise, (0, 0), 3))
    (tmp_path / "photographs" / "c.jpg").write_bytes(b"no picture")
    assert len(BLOCKS) >= 7
    names: dict = {}
    for block in BLOCKS[:4]:
        exec(compile(block, "docs/python.md", "exec"), names)
    (tmp_path / "photographs" / "c.jpg").unlink()
    for block in BLOCKS[4:]:
        if "Tracker" in block and not is_installed("trackers"):  # none for Python 3.9
            continue
        names["paths"] = names["paths"][:2]
        exec(compile(block, "docs/python.md", "exec"), names)
    said = capsys.readouterr()
    assert "pixels\n" in said.out and "a.jpg [" in said.out and "There is no model results/none.onnx" in said.out
    assert "c.jpg (10 bytes) cannot be decoded as an image" in said.err


def test_the_first_block_is_ten_lines_at_most():
    assert len(BLOCKS[0].splitlines()) <= 10


def test_the_import_is_light():
    """Ten milliseconds: numpy alone takes ten times as long."""
    code = "import sys, yolact_ascend; assert yolact_ascend.__version__; print(sorted(sys.modules))"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); {code}"]
    shown = subprocess.check_output(command, text=True)
    own = {name for name in re.findall(r"'([\w.]+)'", shown) if name.startswith("yolact_ascend")}
    assert own == {"yolact_ascend"} and "'numpy'" not in shown and "'typing'" in shown


def test_every_public_name_is_there():
    assert set(yolact_ascend._MODULES) <= set(dir(yolact_ascend))
    for name in yolact_ascend._MODULES:
        assert getattr(yolact_ascend, name) is not None
    with pytest.raises(AttributeError, match="module 'yolact_ascend' has no attribute 'nothing'"):
        _ = yolact_ascend.nothing


TYPED = """
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import yolact_ascend


def boxes(model: yolact_ascend.Model, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    return model(frame).boxes_xyxy_px


def count(path: str, pictures: list[yolact_ascend.Picture], files: list[Path]) -> int:
    total = 0
    try:
        with yolact_ascend.load(path, target="openvino", score_threshold=0.5) as model:
            one: yolact_ascend.Found = model(b"bytes")
            several: list[yolact_ascend.Found] = model(files)
            several += model(pictures)
            several += model([Image.new("RGB", (4, 4))])
            for found in model.stream(file for file in files):
                masks: NDArray[np.bool_] = found.masks
                names: list[str] = [each.class_name for each in found]
                drawn: NDArray[np.uint8] = found.draw()
                total += len(names) + int(masks.sum()) + drawn.size
            total += len(one.to_coco(image_id=7)) + sum(map(len, several))
    except yolact_ascend.YolactAscendError as error:
        print(error)
    return total
"""
WRONG = """
import yolact_ascend

model = yolact_ascend.load(7)
found: int = model("street.jpg")
model.strem([])
"""


# Errors of an installed package are its own business, so only the script's are shown. Packages that are in no signature
# of ours are left out, as they take a minute.
MYPY = """
[mypy]
strict = true
follow_imports = silent
[mypy-torch.*,onnx.*,onnxruntime.*,openvino.*,matplotlib.*,supervision.*,trackers.*,scipy.*,threadpoolctl.*,tqdm.*,tabulate.*]
follow_imports = skip
ignore_missing_imports = true
"""


@pytest.mark.needs("mypy")
def test_a_users_script_passes_mypy_strict_and_its_mistakes_are_found(tmp_path):
    for name, text in (("typed.py", TYPED), ("wrong.py", WRONG), ("mypy.ini", MYPY)):
        (tmp_path / name).write_text(text)
    assert (PACKAGE / "py.typed").is_file()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--cache-dir",
            CHECKOUT / ".mypy_cache" / "users_script",
            "typed.py",
            "wrong.py",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"MYPYPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"},
    )
    assert "typed.py" not in done.stdout, done.stdout + done.stderr
    lines = re.findall(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]", done.stdout)
    assert lines == [("4", "arg-type"), ("5", "assignment"), ("6", "attr-defined")], done.stdout
