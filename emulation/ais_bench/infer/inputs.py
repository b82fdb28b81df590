"""From --input to batches: which files, in which order, how many per batch, and their bytes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence

import numpy as np

from ais_bench.infer import log
from ais_bench.infer.interface import TensorDescription
from ais_bench.infer.paths import may_read, read_bytes

PURE_INFER_NAME = "pure_infer_data"
PADDING_NAME = "padding_infer_fake_file"
FILES_MAX = 100000
_SUFFIXES = (".npy", ".NPY", ".bin", ".BIN")

# One batch: for every input of the model the files that make it up.
Batch = list[list[str]]


def natural_key(path: str) -> list[int | str]:
    """Sort key over the whole path: 2 before 10, upper and lower case alike."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split("([0-9]+)", path)]


def list_folder(folder: str) -> list[str]:
    """Data files of `folder` in natural order; raises RuntimeError where one may not be read or there is none."""
    paths: list[str] = []
    for name in os.listdir(folder):
        if len(paths) > FILES_MAX:
            raise OverflowError(f"file count under directory: {folder} is over {FILES_MAX}!")
        path = os.path.join(folder, name)
        if not may_read(path):
            raise RuntimeError(f"input data:{path} is illegal")
        if name.endswith(_SUFFIXES) and not os.path.isdir(path):
            paths.append(path)
    if not paths:
        log.error(f"{folder} of input args not find valid file,valid file format:[*.npy *.NPY *.bin *.BIN]")
        raise RuntimeError()
    return sorted(sorted(paths), key=natural_key)


def split_padded(paths: Sequence[str], count: int) -> list[list[str]]:
    """Groups of `count` paths; the last one is filled up with PADDING_NAME."""
    groups = [list(paths[start : start + count]) for start in range(0, len(paths), count)]
    return [group + [PADDING_NAME] * (count - len(group)) for group in groups]


def _check_inputs(inputs: Sequence[str], model_inputs: int) -> None:
    if os.path.isfile(inputs[0]):
        for index, path in enumerate(inputs):
            if not os.path.isfile(path):
                log.error(f"Invalid input args.--input:{list(inputs)} input[{index}]:{path} {path} not exist")
                raise RuntimeError()
    elif os.path.isdir(inputs[0]):
        if len(inputs) != model_inputs:
            log.error(f"Invalid args. args input dir num:{len(inputs)} not equal to model inputs num:{model_inputs}")
            raise RuntimeError()
        for path in inputs:
            if not os.path.isdir(path):
                log.error(f"Invalid args. {path} of input args is not a real dir path")
                raise RuntimeError()
    else:
        log.error(f"Invalid args. {inputs[0]}  of --input is invalid")
        raise RuntimeError()


def _data_size(path: str) -> int:
    return int(np.load(path).nbytes) if path.lower().endswith(".npy") else os.path.getsize(path)


def collect_batches(inputs: Sequence[str], model_inputs: Sequence[TensorDescription]) -> list[Batch]:
    """The batches of a run over `inputs`, folders or files.

    The number of files per batch comes from the sizes of the first file and of the model's first input, from nothing
    else. Raises RuntimeError after a line that says what does not fit.
    """
    _check_inputs(inputs, len(model_inputs))
    if os.path.isdir(inputs[0]):
        paths_per_input = [list_folder(folder) for folder in inputs]
    else:
        paths_per_input = split_padded(inputs, len(inputs) // len(model_inputs))
    if len(paths_per_input) != len(model_inputs):
        log.error(f"fileslist:{len(paths_per_input)} intensor:{len(model_inputs)} not match")
        raise RuntimeError()
    files_per_batch, batch_count = _count_files_per_batch(paths_per_input[0], model_inputs[0].realsize)
    groups = [split_padded(paths, files_per_batch) for paths in paths_per_input]
    if any(len(group) < batch_count for group in groups):
        counts = ", ".join(str(len(paths)) for paths in paths_per_input)
        raise IndexError(f"the inputs have different numbers of files: {counts}")
    return [[group[index] for group in groups] for index in range(batch_count)]


def _count_files_per_batch(paths: Sequence[str], tensor_size: int) -> tuple[int, int]:
    file_size = _data_size(paths[0])
    if file_size == 0 or tensor_size % file_size:
        log.error(f"arg0 tensorsize: {tensor_size} filesize: {file_size} not match")
        raise RuntimeError()
    files_per_batch = tensor_size // file_size
    batch_count = math.ceil(len(paths) / files_per_batch)
    log.info(
        f"get filesperbatch files0 size:{file_size} tensor0size:{tensor_size} "
        f"filesperbatch:{files_per_batch} runcount:{batch_count}"
    )
    return files_per_batch, batch_count


def pure_batches(model_inputs: Sequence[TensorDescription]) -> list[Batch]:
    """The one batch of a run without --input."""
    return [[[PURE_INFER_NAME] for _ in model_inputs]]


def _pure_data(size: int, data_type: str) -> np.ndarray:
    if data_type == "random":
        return np.random.default_rng().integers(0, 256, size, dtype=np.uint8)
    return np.zeros(size, dtype=np.uint8)


def _file_data(path: str) -> np.ndarray:
    if path.lower().endswith(".npy"):
        return np.asarray(np.load(path))
    return np.frombuffer(read_bytes(path), dtype=np.int8)


def read_group(paths: Sequence[str], size: int, pure_data_type: str) -> np.ndarray:
    """The bytes of one input of one batch; padding repeats the batch's first file.

    Raises RuntimeError where several files do not add up to `size` bytes; a single one is left to the runtime.
    """
    arrays = []
    for path in paths:
        if path == PURE_INFER_NAME:
            arrays.append(_pure_data(size, pure_data_type))
        elif path == PADDING_NAME:
            arrays.append(_file_data(paths[0]))
        elif not os.path.exists(path):
            log.error(f"filepath:{path} not valid")
            raise RuntimeError()
        else:
            arrays.append(_file_data(path))
    if len(arrays) == 1:
        return arrays[0]
    array = np.concatenate(arrays)
    if array.nbytes != size:
        log.error(f"ndata size:{array.nbytes} not match {size}")
        raise RuntimeError()
    return array


def require_raw_files(paths: Sequence[str]) -> list[str]:
    """The files that the runtime reads by itself; padding repeats the first. Raises RuntimeError for other data."""
    for path in paths:
        if path == PURE_INFER_NAME:
            raise RuntimeError("not support pure infer")
        if path.endswith((".npy", ".NPY")):
            raise RuntimeError(f"not support npy file:{path}")
    return [paths[0] if path == PADDING_NAME else path for path in paths]


def list_inputs(inputs: Sequence[str]) -> list[str]:
    """All files of a run that is to be divided: those of the folders one after the other, or `inputs` themselves.

    Raises RuntimeError where they are neither files nor folders.
    """
    if os.path.isfile(inputs[0]):
        return list(inputs)
    if os.path.isdir(inputs[0]):
        return [path for folder in inputs for path in list_folder(folder)]
    log.error(f"error {inputs[0]} not file or dir")
    raise RuntimeError()


def divide_files(paths: Sequence[str], model_inputs: int, parts: int) -> list[list[str]]:
    """Files for each of `parts` devices: of every input of the model a run, the first ones longer by one file.

    Raises OverflowError where there are fewer files than devices, as the real tool does.
    """
    shares: list[list[str]] = [[] for _ in range(parts)]
    per_input = math.ceil(len(paths) / model_inputs)
    for first in range(0, len(paths), per_input):
        # Every input counts as having as many files; what the last one lacks is missing from the last shares.
        count, longer = divmod(per_input, parts)
        if count == 0:
            raise OverflowError("get list part failed")
        for index, share in enumerate(shares):
            begin = first + index * count + min(index, longer)
            end = first + (index + 1) * count + min(index + 1, longer)
            share.extend(paths[begin : min(end, first + per_input)])
    return shares
