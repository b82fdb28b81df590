"""The `export` stage: weights to an ONNX file that was compared with PyTorch before it was accepted."""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch
from torch import nn

from yolact_ascend import __version__
from yolact_ascend.artifacts import INPUT, TensorSpec, atomic_path, cut_outputs, sha256_file
from yolact_ascend.config import DEFAULT_CUT, MEAN_RGB, STD_RGB, ModelConfig
from yolact_ascend.errors import ArtifactError
from yolact_ascend.heads import HostHeads
from yolact_ascend.network import HeadTensors, PredictionHead, WithHeads
from yolact_ascend.upstream import describe_upstream, load_upstream_network
from yolact_ascend.weights import load_network

OPSET = 11  # inside the documented range of every CANN
BATCH_AXIS = "batch"
# Largest |ONNX - PyTorch| over largest |PyTorch| of an output. Seen: 2e-6; summation order alone explains 1e-5.
TOLERANCE = 1e-4
# Of the mask coefficients: tanh, whose argument can be far larger than its result, is as far off as that.
TANH_TOLERANCE = 1e-3
CHECKED_BATCHES = (1, 3)
OWN_NETWORK = "yolact_ascend"


class Difference(NamedTuple):
    """How far one output of the ONNX file is from PyTorch at one batch size."""

    output: str
    batch_size: int
    max_abs: float
    relative: float  # max_abs over the output's largest magnitude


def export_onnx(
    weights: Path, config: ModelConfig, path: Path, upstream: Path | None = None, cut: str = DEFAULT_CUT
) -> list[Difference]:
    """Export the network to `path`: `image` -> the outputs at the cut, batch axis free, height and width fixed.

    The network is ours, or the one in the patched checkout `upstream`. Returns the differences from PyTorch.
    Raises WeightsError, ToolError (checkout), or ArtifactError when the file fails a check; then no file is left.
    """
    # Read the weights before the old file goes: a wrong name loses nothing.
    levels = load_upstream_network(upstream, weights, config) if upstream else load_network(weights, config)
    network = WithHeads(levels).eval() if cut == "heads" else levels
    path.unlink(missing_ok=True)
    with atomic_path(path) as temporary:
        outputs = cut_outputs(config, cut)
        _write_onnx(network, temporary, outputs)
        model = _simplify(onnx.load(temporary))
        _set_metadata(model, _describe(weights, config, upstream, cut))
        onnx.save(model, temporary)
        check_contract(temporary, outputs)
        differences = compare_with_torch(temporary, network, outputs)
        refuse_different(differences)
    return differences


def load_heads(weights: Path, config: ModelConfig, threads: int = 1) -> HostHeads:
    """Return the prediction head of these weights as the host runs it.

    Raises WeightsError when the weights do not fit the config.
    """
    return HostHeads(export_heads(load_network(weights, config).head, config), threads)


def export_heads(head: PredictionHead, config: ModelConfig) -> bytes:
    """Return a prediction head as ONNX: the levels P3..P7 of one image to loc, conf and coeffs."""
    *levels, _ = cut_outputs(config, "fpn")
    *names, _ = (output.name for output in cut_outputs(config, "heads"))
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), _quiet_exporter():
        path = Path(folder) / "heads.onnx"
        torch.onnx.export(
            OnLevels(head).eval(),
            tuple(torch.zeros(1, *level.shape) for level in levels),
            str(path),
            input_names=[level.name for level in levels],
            output_names=names,
            opset_version=OPSET,
            dynamo=False,
        )
        return path.read_bytes()


class OnLevels(nn.Module):
    """A prediction head as a function of the five levels: what is exported of it."""

    def __init__(self, head: PredictionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, *levels: torch.Tensor) -> HeadTensors:
        """Map P3..P7 [B,C,h,w] to loc, conf and coeffs."""
        return self.head.predict_levels(list(levels))


def check_contract(path: Path, outputs: Sequence[TensorSpec]) -> None:
    """Raise ArtifactError unless the file is valid ONNX with the opset, names and shapes that later stages rely on."""
    model = onnx.load(path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArtifactError(f"The exported ONNX is not valid: {error}") from error
    found = {value.name: _shape(value) for value in (*model.graph.input, *model.graph.output)}
    expected = {spec.name: [BATCH_AXIS, *spec.shape] for spec in (INPUT, *outputs)}
    opset = {imported.domain: imported.version for imported in model.opset_import}.get("")
    if list(found.items()) != list(expected.items()) or opset != OPSET:
        raise ArtifactError(
            f"The exported ONNX has opset {opset} and {found}, expected opset {OPSET} and {expected}. "
            "Is this version of torch or onnxsim one that the project was tested with (requirements.txt)?"
        )


def compare_with_torch(path: Path, network: nn.Module, outputs: Sequence[TensorSpec]) -> list[Difference]:
    """Run the ONNX file and the network on the same random images at each of `CHECKED_BATCHES`."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    differences = []
    for batch_size in CHECKED_BATCHES:
        images = generator.standard_normal((batch_size, *INPUT.shape), dtype=np.float32)
        with torch.inference_mode():
            expected = [output.numpy() for output in network(torch.from_numpy(images))]
        found = session.run(None, {INPUT.name: images})
        for spec, ours, reference in zip(outputs, found, expected):
            max_abs = float(np.abs(ours - reference).max())
            largest = float(np.abs(reference).max())
            differences.append(Difference(spec.name, batch_size, max_abs, max_abs / largest if largest else max_abs))
    return differences


def largest_by_output(differences: Sequence[Difference]) -> list[Difference]:
    """Return the largest relative difference of each output, over the batch sizes."""
    largest: dict[str, Difference] = {}
    for difference in differences:
        if difference.output not in largest or difference.relative > largest[difference.output].relative:
            largest[difference.output] = difference
    return list(largest.values())


def refuse_different(differences: Sequence[Difference]) -> None:
    """Raise ArtifactError that names the worst output when one is further from PyTorch than its tolerance."""
    # `not <=` rather than `>`: NaN is refused, too.
    refused = [difference for difference in differences if not difference.relative <= _tolerance(difference.output)]
    if refused:
        worst = max(refused, key=lambda difference: np.nan_to_num(difference.relative, nan=np.inf))
        raise ArtifactError(
            f"The exported ONNX differs from PyTorch: {worst.output} at batch {worst.batch_size} by "
            f"{worst.max_abs:.2e} (relative {worst.relative:.2e}, allowed {_tolerance(worst.output):.0e}). Do the "
            "weights hold NaN or huge values, or is this version of torch, onnxsim or onnxruntime untested "
            "(requirements.txt)?"
        )


def _tolerance(output: str) -> float:
    return TANH_TOLERANCE if output == "coeffs" else TOLERANCE


def _write_onnx(network: nn.Module, path: Path, outputs: Sequence[TensorSpec]) -> None:
    names = [spec.name for spec in (INPUT, *outputs)]
    with torch.inference_mode(), _quiet_exporter():
        torch.onnx.export(
            network,
            (torch.zeros(1, *INPUT.shape),),
            str(path),
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: BATCH_AXIS} for name in names},
            opset_version=OPSET,
            # The default since torch 2.9, dynamo, emits opset 18 and newer only.
            dynamo=False,
        )


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says of itself: that it is the old one, and which constants it traced."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            yield
    finally:
        logger.setLevel(level)


def _simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified, is_same = onnxsim.simplify(model)
    if not is_same:
        raise ArtifactError(
            "onnxsim changed what the exported ONNX computes; see requirements.txt for tested versions."
        )
    return simplified


def _describe(weights: Path, config: ModelConfig, upstream: Path | None, cut: str) -> dict[str, str]:
    return {
        "producer": f"yolact-ascend {__version__}",
        "network": describe_upstream(upstream) if upstream else OWN_NETWORK,
        "config": config.name,
        "cut": cut,
        "weights_sha256": sha256_file(weights),
        "class_names": json.dumps(config.class_names),
        "category_ids": json.dumps(config.category_ids),
        "mean_rgb": json.dumps(MEAN_RGB),
        "std_rgb": json.dumps(STD_RGB),
    }


def _set_metadata(model: onnx.ModelProto, metadata: dict[str, str]) -> None:
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)


def _shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
