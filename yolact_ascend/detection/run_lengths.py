"""COCO's compressed run lengths of masks, by a small compiled library: run_lengths.c.

The libraries of both processors lie beside this file. They need nothing but a Linux on that processor: no Python's
headers, no C library, no compiler on the host (docs/decisions.md). `python scripts/compile_run_lengths.py` makes them.
"""

from __future__ import annotations

import ctypes
import platform
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from yolact_ascend.errors import ToolError
from yolact_ascend.files import sha256_file

Rle = dict  # {"size": [H, W], "counts": str}: COCO's compressed run-length encoding

SOURCE = Path(__file__).with_suffix(".c")
# Without contraction a product and a sum are rounded twice, as numpy rounds: the pixels are the same on all processors.
FLAGS = (
    *("-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-nostdlib", "-s", "-fno-ident"),
    "-Wl,--build-id=none,-z,noseparate-code,-z,norelro",  # small files
)
COLUMNS = 8  # of extents: first column and row of cells, their numbers; left, top, right, bottom in pixels
CHARACTERS = 400  # of a mask, to begin with


def library_of(machine: str) -> Path:
    """Return the compiled library for a processor, by its name in `uname -m`."""
    return SOURCE.with_name(f"run_lengths.{machine}.so")


def compile_command(compiler: str, library: Path) -> list[str]:
    """Return the command that compiles the library."""
    return [compiler, *FLAGS, f'-DSOURCE_SHA256="{sha256_file(SOURCE)}"', "-o", str(library), str(SOURCE)]


@cache
def load_library() -> ctypes.CDLL:
    """Load the library; raises ToolError where there is none for this processor, or a damaged or an old one."""
    machine = platform.machine()
    path = library_of(machine)
    command = shlex.join(compile_command("cc", path))
    if not path.is_file():
        raise ToolError(
            f"Masks need a small compiled library, and none for {machine} comes with the package. Compile it: {command}"
        )
    try:
        # A file that is cut short ends the process as it is loaded; one of older source takes other arguments.
        if sha256_file(SOURCE).encode() not in path.read_bytes():
            raise ToolError(
                f"{path}, which encodes masks, is damaged, or was compiled from another {SOURCE.name} than the one "
                f"beside it. Install the package again, or compile it: {command}"
            )
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ToolError(
            f"Cannot load {path}, which encodes masks: {error}. Is its file system mounted noexec?"
        ) from error
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.encode_upsampled.argtypes = [
        *(pointer, pointer, number, pointer, pointer, pointer, pointer, number, number, ctypes.c_float),
        *(pointer, pointer, pointer, number, pointer),
    ]
    library.encode_pixels.argtypes = [pointer, *[number] * 6, pointer, number]
    library.encode_upsampled.restype = library.encode_pixels.restype = number
    return library


def encode_upsampled(
    values: np.ndarray,
    extents: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray],
    height: int,
    width: int,
    threshold: float,
) -> list[Rle]:
    """Upsample N masks bilinearly to an image of height×width pixels, and encode where they exceed `threshold`.

    Takes the float32 values of all masks' cells, one mask after the other and each by rows; int32 extents [N,8]: the
    first column and row of cells (0: the one before the grid), their numbers, the pixels that may be set (left, top;
    right, bottom exclusive); for each axis the first pixel int32 [cells+2] of each cell from the one before the grid to
    the one behind it, and float32 [pixels], how much each pixel takes of the next cell. Raises ToolError where the
    library is missing.
    """
    library = load_library()
    n = len(extents)
    if not n:
        return []
    kinds = np.empty((extents[:, 2] * extents[:, 3]).max(), np.uint8)
    pieces = np.empty(extents[:, 3].max(), np.int32)
    ends = np.empty(n, np.int64)
    inputs = [np.ascontiguousarray(extents, np.int32), *rows, *columns]

    def encode(out: np.ndarray) -> int:
        where, row_start, row_share, column_start, column_share = (array.ctypes.data for array in inputs)
        axes = (row_start, row_share, column_start, column_share, height, width)
        scratch = (kinds.ctypes.data, pieces.ctypes.data, out.ctypes.data, len(out), ends.ctypes.data)
        return library.encode_upsampled(values.ctypes.data, where, n, *axes, threshold, *scratch)

    text = _with_room(encode, n * CHARACTERS)
    starts = [0, *ends.tolist()]
    return [{"size": [height, width], "counts": text[start:end]} for start, end in zip(starts, starts[1:])]


def encode_pixels(by_column: np.ndarray, left: int, top: int, height: int, width: int) -> Rle:
    """Encode a mask of height×width pixels whose only set pixels are in bool `by_column` [columns,rows] at (left, top).

    Raises ToolError where the library is missing.
    """
    library = load_library()
    pixels = np.ascontiguousarray(by_column)
    place = (*pixels.shape, left, top, height, width)
    text = _with_room(
        lambda out: library.encode_pixels(pixels.ctypes.data, *place, out.ctypes.data, len(out)), CHARACTERS
    )
    return {"size": [height, width], "counts": text}


def _with_room(encode: Callable[[np.ndarray], int], room: int) -> str:
    """Return the characters that `encode` writes, which is called again where they need more room."""
    out = np.empty(room, np.uint8)
    size = encode(out)
    if size > room:
        out = np.empty(size, np.uint8)
        encode(out)
    return out[:size].tobytes().decode("ascii")
