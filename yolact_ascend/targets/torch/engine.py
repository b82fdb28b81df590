"""The PyTorch network as a model: its file, made of weights and description, and the engine that runs it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from yolact_ascend.errors import MOST_SHOWN, ArtifactError, ToolError, UsageError
from yolact_ascend.files import atomic_path, sha256_file
from yolact_ascend.models.description import KEY, Description, parse_description, to_json
from yolact_ascend.models.families import cut_outputs, family_of, require_batch_sizes
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.models.unreadable import FOREIGN
from yolact_ascend.models.weights import load_network
from yolact_ascend.models.weights_file import require_sound
from yolact_ascend.targets.compiled import COMPILE_AGAIN
from yolact_ascend.targets.described import TORCH_DESCRIPTION, read_description
from yolact_ascend.targets.in_process import InProcessEngine
from yolact_ascend.targets.target import CompileJob, OneByOne

FORMAT = "yolact_ascend.torch/1"
CPU, CUDA = "cpu", "cuda"
OWN_NETWORK = "yolact_ascend"  # of a description: not upstream's


def compile_network(job: CompileJob) -> None:
    """Write the network behind an exported ONNX as one file: its weights, description and batch size.

    The ONNX states config and cut, and `job.weights` are those that it was exported from. Raises UsageError when no
    weights are named, WeightsError when they cannot be read, ArtifactError when the ONNX is of others.
    """
    description = read_description(job.onnx)
    if job.weights is None or not job.weights.is_file():
        raise UsageError(
            f"target=torch runs the network with its weights, and there is no {job.weights or 'weights file'}. Pass "
            "the file that the ONNX was exported from: weights=FILE (by hand: --trained_model=FILE)."
        )
    if description.network != OWN_NETWORK:
        raise UsageError(
            f"{job.onnx} was exported from another network ({description.network}), and target=torch runs the "
            "package's own. Export it without upstream=."
        )
    found = sha256_file(job.weights)
    if found != description.weights_sha256:
        raise ArtifactError(
            f"{job.onnx} was exported from other weights than {job.weights}: their sha256 is {found}, expected "
            f"{description.weights_sha256}. Export these, or pass the file that it was exported from."
        )
    contents = {
        "format": FORMAT,
        TORCH_DESCRIPTION: json.dumps(to_json(description)),
        "batch_size": job.batch_size,
        "weights": load_network(job.weights, description.config).state_dict(),
    }
    with atomic_path(job.model) as temporary, temporary.open("wb") as file:  # by its name, it would be in the bytes
        torch.save(contents, file)


class TorchEngine(InProcessEngine, OneByOne):
    """Computes batches with PyTorch in float32; a short batch is filled up. Callers in several threads take turns."""

    def __init__(self, model: Path, device: str = CPU, threads: int | None = None) -> None:
        """Load `model` onto PyTorch's `device`; `threads` of the CPU (None: all cores) are those of the whole process.

        Raises ArtifactError when the file is none of `compile_network`, ToolError when the device does not take it.
        """
        contents = _read(model)
        description, self.batch_size = _describe(contents, model)
        self.inputs = input_tensors(description.config)
        self.outputs = cut_outputs(description.config, description.cut)
        self.metadata: Mapping[str, str] = {
            **{KEY: contents[TORCH_DESCRIPTION], "config": description.config.name, "cut": description.cut},
            "weights_sha256": description.weights_sha256,
        }
        self._device, self._lock = torch.device(device), threading.Lock()
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            self._network = _build(contents, description, model).to(self._device)
        except torch.OutOfMemoryError as error:
            raise ToolError(f"{device} has no room for {model}: {error}") from error

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = [(str(array.dtype), array.shape[1:]) for array in inputs]
        if found != [(spec.dtype, spec.shape) for spec in self.inputs]:
            said = ", ".join(f"{array.dtype} {list(array.shape)}" for array in inputs)
            expected = ", ".join(f"{spec.dtype} {['batch', *spec.shape]}" for spec in self.inputs)
            raise ArtifactError(f"The model does not take a batch of {said}, expected {expected}.")
        count = len(inputs[0])
        # PyTorch warns of an array that may not be written.
        arrays = [np.require(self._filled(array), requirements=("C", "W")) for array in inputs]
        try:
            with self._lock, torch.inference_mode(), _in_float32():
                outputs = self._network(*(torch.from_numpy(array).to(self._device) for array in arrays))
                return [output[:count].cpu().numpy() for output in outputs]
        except torch.OutOfMemoryError as error:
            raise ToolError(f"{self._device} has no room for a batch of {len(arrays[0])}: {error}") from error

    def __enter__(self) -> TorchEngine:
        return self


def choose_device(word: str, number: int) -> str:
    """Return PyTorch's name of the device that is asked for: "auto" is a CUDA GPU where there is one, else the CPU.

    Raises UsageError when it is not there.
    """
    count = torch.cuda.device_count() if word != CPU and torch.cuda.is_available() else 0
    if word == CPU or (word != CUDA and not count):
        if number:
            raise UsageError(f"npus={number}: the CPU is device 0. Leave out npus=.")
        return CPU
    if number >= count:
        there = f"finds {count}" if count else f"({torch.__version__}) finds none"
        raise UsageError(f"device={word} and npus={number}: PyTorch {there} of CUDA's GPUs here. Set device=cpu.")
    return f"{CUDA}:{number}"


def describe_chip(device: str) -> str:
    """Return the name of a device's chip."""
    return "CPU" if device == CPU else torch.cuda.get_device_name(device)


def _in_float32() -> Any:
    """Keep convolutions on a GPU in float32: cuDNN takes TensorFloat-32 by itself, with 10 bits of a mantissa."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def _read(model: Path) -> dict[str, Any]:
    try:
        size = model.stat().st_size
        require_sound(model, size)
        contents = torch.load(model, map_location=CPU, weights_only=True)
    except Exception as error:  # a broken file fails in any of a dozen ways, and all mean the same
        foreign = FOREIGN.search(str(error))
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        if foreign is not None:
            reason = f"it holds Python objects ({foreign[1]}) beside tensors, which could run any code"
        raise ArtifactError(f"{model} cannot be read as a model for target=torch: {reason}. {COMPILE_AGAIN}") from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise ArtifactError(f"{model} is no model for target=torch: expected a file of {FORMAT}. {COMPILE_AGAIN}")
    return contents


def _describe(contents: dict[str, Any], model: Path) -> tuple[Description, int]:
    text, batch_size = contents.get(TORCH_DESCRIPTION), contents.get("batch_size")
    if not isinstance(text, str) or type(batch_size) is not int or batch_size < 1:
        raise ArtifactError(f"{model} is damaged: it has no description and batch size. {COMPILE_AGAIN}")
    description = parse_description(text, str(model), COMPILE_AGAIN)
    require_batch_sizes(description.config, [batch_size])
    return description, batch_size


def _build(contents: dict[str, Any], description: Description, model: Path) -> nn.Module:
    """Return the network at its cut with the file's weights."""
    family = family_of(description.config)
    network = family.build(description.config)
    try:
        network.load_state_dict(contents.get("weights", {}))
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:MOST_SHOWN]
        raise ArtifactError(f"{model} is damaged: {reason} … {COMPILE_AGAIN}") from error
    return family.at_cut(network.eval(), description.config, description.cut).eval()
