"""Compiled run lengths against pixels: pycocotools' encoding of each pixel by the formula of the full-frame way."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess

import numpy as np
import pytest
from factories import decode_mask
from pycocotools import mask as coco_mask

from yolact_ascend.detection import run_lengths
from yolact_ascend.detection.masks import upsampling
from yolact_ascend.detection.run_lengths import (
    SOURCE,
    compile_command,
    encode_pixels,
    encode_upsampled,
    library_of,
    load_library,
)
from yolact_ascend.errors import ToolError

MACHINES = ("x86_64", "aarch64")


@pytest.fixture(autouse=True)
def forget():
    """Tests that load another library leave none to the next."""
    yield
    load_library.cache_clear()


def counts_of(mask: np.ndarray) -> str:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


PIXELS = [
    # pixels as rows of the crop, (left, top), (height, width), runs column by column
    pytest.param([""], (0, 0), (2, 3), [6], id="empty"),
    pytest.param(["00", "00"], (0, 0), (2, 3), [6], id="nothing set"),
    pytest.param(["1"], (1, 0), (2, 3), [2, 1, 3], id="one pixel"),
    pytest.param(["1"], (0, 0), (2, 3), [0, 1, 5], id="first pixel"),
    pytest.param(["1"], (2, 1), (2, 3), [5, 1], id="last pixel"),
    pytest.param(["111", "111"], (0, 0), (2, 3), [0, 6], id="all"),
    pytest.param(["11", "11"], (1, 0), (2, 3), [2, 4], id="columns join"),
    pytest.param(["01", "11"], (0, 0), (2, 2), [1, 3], id="the bottom of a column joins the next one's top"),
    pytest.param(["101", "000", "111"], (0, 0), (3, 3), [0, 1, 1, 1, 2, 2, 1, 1], id="holes"),
    pytest.param(["11", "00"], (0, 0), (2, 2), [0, 1, 1, 1, 1], id="runs end in one column, start in the next"),
]


@pytest.mark.parametrize(("rows", "corner", "size", "expected"), PIXELS)
def test_pixels(rows, corner, size, expected):
    crop = np.array([[pixel == "1" for pixel in row] for row in rows], dtype=bool)
    left, top = corner
    full = np.zeros(size, dtype=bool)
    full[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    packed = coco_mask.frPyObjects({"size": list(size), "counts": expected}, *size)
    assert encode_pixels(crop.T, left, top, *size) == {"size": list(size), "counts": packed["counts"].decode()}
    assert packed["counts"].decode() == counts_of(full)


def test_random_pixels_are_encoded_as_by_pycocotools(monkeypatch):
    monkeypatch.setattr(run_lengths, "CHARACTERS", 3)  # more is needed, and gotten
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(1, 90, 2).tolist()
        top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
        crop = rng.random((rng.integers(0, height - top + 1), rng.integers(0, width - left + 1))) < rng.random() ** 3
        full = np.zeros((height, width), dtype=bool)
        full[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        rle = encode_pixels(crop.T, left, top, height, width)
        assert rle["counts"] == counts_of(full), full
        np.testing.assert_array_equal(decode_mask(rle), full)


def smooth(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Values around 0.5, some of them on it, beside it by less than rounding, or by no more than `CERTAIN` is."""
    values = np.clip(rng.normal(0.5, 0.3, (h, w)).astype(np.float32), 0, 1)
    near = rng.random((h, w)) < 0.3
    values[near] = rng.choice(np.array([0.5, 0.5 + 6e-8, 0.5 - 3e-8, 0.50005, 0.4999, 0, 1], np.float32), near.sum())
    return values


def pixel_by_pixel(cells: np.ndarray, extent, rows, columns, height: int, width: int, threshold: float) -> np.ndarray:
    """The mask [H,W]: each pixel of the extent between rows of cells first, then between columns, in float32."""
    first_column, first_row, _, _, left, top, right, bottom = extent
    y, x = np.arange(top, bottom), np.arange(left, right)
    lower, low = (axis.start.searchsorted(n, side="right") - 1 for axis, n in ((rows, y), (columns, x)))
    down, across = rows.share[y, None], columns.share[x]
    by_row = cells[lower - first_row] * (1 - down) + cells[lower - first_row + 1] * down
    values = by_row[:, low - first_column] * (1 - across) + by_row[:, low - first_column + 1] * across
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = values > threshold
    return mask


@pytest.mark.parametrize("threshold", [0.5, 0.1])
@pytest.mark.parametrize(
    "size", [(40, 57), (300, 31), (9, 8), (5, 4), (1, 1), (2, 90)], ids=lambda size: "x".join(map(str, size))
)
def test_upsampled_masks_have_each_pixel_of_the_formula(size, threshold):
    rng = np.random.default_rng(0)
    rows, columns = upsampling(9, size[0]), upsampling(8, size[1])
    grids, extents = [], []
    for number in range(40):
        grid = smooth(rng, 11, 10)  # 9×8 cells within a border
        (top, bottom), (left, right) = (sorted(rng.integers(0, cells + 1, 2)) for cells in (9, 8))
        grids.append(grid[top : bottom + 2, left : right + 2])
        reach = [columns.start[left], rows.start[top], columns.start[right + 1], rows.start[bottom + 1]]
        if number % 2:  # cut to some pixels of these
            reach[:2] = [rng.integers(low, high + 1) for low, high in zip(reach[:2], reach[2:])]
        extents.append([left, top, right - left + 2, bottom - top + 2, *reach])
    values = np.concatenate([grid.ravel() for grid in grids])
    found = encode_upsampled(values, np.array(extents), rows, columns, *size, threshold)
    for grid, extent, rle in zip(grids, extents, found):
        expected = pixel_by_pixel(grid, extent, rows, columns, *size, threshold)
        assert rle == {"size": list(size), "counts": counts_of(expected)}


def test_no_masks():
    axis = upsampling(4, 9)
    assert encode_upsampled(np.zeros(0, np.float32), np.zeros((0, 8), np.int32), axis, axis, 9, 9, 0.5) == []


@pytest.mark.parametrize("machine", MACHINES)
def test_the_library_is_compiled_from_the_source(machine):
    sha256 = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    assert sha256.encode() in library_of(machine).read_bytes(), "run scripts/compile_run_lengths.py"


@pytest.mark.parametrize("machine", MACHINES)
def test_the_library_is_what_its_compiler_makes_of_the_source(machine, tmp_path):
    """Byte for byte, by the gcc that scripts/compile_run_lengths.py names."""
    compiler = shutil.which(f"{machine}-linux-gnu-gcc")
    if compiler is None or "12.2.0" not in subprocess.check_output([compiler, "--version"], text=True):
        pytest.skip(f"no {machine}-linux-gnu-gcc 12.2.0")
    subprocess.run(compile_command(compiler, tmp_path / "run_lengths.so"), check=True)
    assert (tmp_path / "run_lengths.so").read_bytes() == library_of(machine).read_bytes()


def test_the_source_compiles_on_the_host_and_does_the_same(tmp_path, monkeypatch):
    """The command that a host with another processor is given."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler (cc)")
    mask = np.random.default_rng(0).random((9, 7)) < 0.5
    shipped = encode_pixels(mask, 1, 2, 11, 12)
    command = compile_command("cc", tmp_path / "run_lengths.so")
    subprocess.run([*command, "-Wall", "-Wextra", "-Werror"], check=True)
    monkeypatch.setattr(run_lengths, "library_of", lambda machine: tmp_path / "run_lengths.so")
    load_library.cache_clear()
    assert encode_pixels(mask, 1, 2, 11, 12) == shipped


def test_a_processor_without_a_library_is_told_how_to_compile_it(monkeypatch):
    monkeypatch.setattr("yolact_ascend.detection.run_lengths.platform.machine", lambda: "riscv64")
    load_library.cache_clear()
    with pytest.raises(ToolError, match=r"none for riscv64 comes with the package\. Compile it: cc -std=c11 .*\.c$"):
        encode_pixels(np.zeros((1, 1), bool), 0, 0, 1, 1)


@pytest.mark.parametrize("damage", ["cut short", "of older source"])
def test_a_damaged_library_is_not_loaded(damage, tmp_path, monkeypatch):
    """To load half of one ends the process by SIGBUS."""
    path, data = tmp_path / "run_lengths.so", library_of(platform.machine()).read_bytes()
    older = data.replace(hashlib.sha256(SOURCE.read_bytes()).hexdigest().encode(), b"0" * 64)
    path.write_bytes(data[: len(data) // 2] if damage == "cut short" else older)
    monkeypatch.setattr(run_lengths, "library_of", lambda machine: path)
    load_library.cache_clear()
    with pytest.raises(ToolError, match=r"is damaged, or was compiled from another run_lengths\.c .* compile it: cc "):
        encode_pixels(np.zeros((1, 1), bool), 0, 0, 1, 1)


def test_a_library_that_cannot_be_loaded_is_named(tmp_path, monkeypatch):
    path = tmp_path / "run_lengths.so"
    path.write_text(hashlib.sha256(SOURCE.read_bytes()).hexdigest())
    monkeypatch.setattr(run_lengths, "library_of", lambda machine: path)
    load_library.cache_clear()
    with pytest.raises(ToolError, match=r"Cannot load .*run_lengths\.so, which encodes masks: .* mounted noexec"):
        encode_pixels(np.zeros((1, 1), bool), 0, 0, 1, 1)
