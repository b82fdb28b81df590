"""Where results go, and writing them: one file per sample and output, `<stem>_<k>.<format>`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np

from ais_bench.infer import log, paths
from ais_bench.infer.inputs import PADDING_NAME, Batch
from ais_bench.infer.summary import FilesInfo


def prepare_folder(output: str | None, dirname: str | None, subfolder: str = "") -> str | None:
    """The folder of the results, created where needed and never cleaned; None without --output.

    Raises ValueError where it exists and breaks the rules.
    """
    if output is None:
        return None
    folder = os.path.join(output, time.strftime("%Y_%m_%d-%H_%M_%S") if dirname is None else dirname)
    if subfolder:
        folder = os.path.join(folder, subfolder)
    if not os.path.exists(folder):
        paths.make_folders(folder)
    elif not os.path.isdir(folder):
        raise ValueError(f"The path:{folder} is not a directory.")
    elif not paths.may_read(folder):
        raise ValueError(f"The path:{folder} is illegal. Please check the error log for more detail.")
    log.info(f"output path:{folder}")
    return folder


def write_array(path: str, array: np.ndarray) -> None:
    """Write `array` in the format that the suffix names: .npy, .txt (a line per row of the last axis) or raw bytes."""
    with paths.open_for_writing(path) as file:
        if path.endswith(".npy"):
            np.save(file, array)
        elif path.endswith(".txt"):
            number_format = "%f" if array.dtype.kind == "f" else "%d"
            for row in array.reshape(-1, array.shape[-1]):
                file.write("".join(f"{number_format % value} " for value in row).encode() + b"\n")
        else:
            array.tofile(file)


def _stem(path: str) -> str:
    """The file's name up to the FIRST dot, as in the real tool: a.0.bin and a.1.bin collide."""
    return os.path.basename(path).split(".")[0]


def save_outputs(
    batch: Batch, batch_index: int, outputs: Sequence[object], folder: str, outfmt: str, axis: int, files: FilesInfo
) -> None:
    """Split every output along `axis` into one file per sample; padded samples are left out.

    Raises RuntimeError where an output cannot be split.
    """
    samples = list(zip(*batch))
    for output_index, output in enumerate(outputs):
        array = np.array(output)
        if axis >= array.ndim:
            log.error(
                f"error i:{output_index} ndata.shape:{array.shape} len:{array.ndim} "
                f"<= output_batchsize_axis:{axis}  is invalid"
            )
            raise RuntimeError()
        if len(samples) > 1 and array.shape[axis] % len(samples):
            log.error(
                f"save out files error array shape:{array.shape} filesinfo:{batch} "
                f"files_count_perbatch:{len(samples)} ndata.shape{' ' * 25}{axis}:{array.shape[axis]}"
            )
            raise RuntimeError()
        for index, (sample, part) in enumerate(zip(samples, np.array_split(array, len(samples), axis))):
            if sample[0] == PADDING_NAME:
                continue
            path = os.path.join(folder, f"{_stem(sample[0])}_{output_index}.{outfmt.lower()}")
            entry = files.setdefault(batch_index * len(samples) + index, {"infiles": list(sample), "outfiles": []})
            entry["outfiles"].append(path)
            write_array(path, part)
