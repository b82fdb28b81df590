"""The `rehearse` verb: which operators of the exported ONNX have values that float16 cannot hold.

ATC computes in float16 by default. This runs the model in float32 on real images, looks at what every operator puts
out, and names those whose values would overflow or vanish, before a card shows it as a bad mAP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, shape_inference
from tqdm import tqdm

from yolact_ascend.errors import ArtifactError
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import normalise_image
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.exported import read_onnx
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.onnx_metadata import refuse_own_operators
from yolact_ascend.tables import markdown_table
from yolact_ascend.targets.described import config_of_onnx

FLOAT16_MAX = 65504.0
FLOAT16_OVERFLOW = 65520.0  # from here on, rounding no longer gives FLOAT16_MAX
FLOAT16_HALF_TINIEST = 2.0**-25  # what is smaller, or equal, rounds to zero
NOTABLE_VANISHED = 0.01  # share of an operator's non-zero values; below, what vanishes is noise beside the rest
WEIGHT = "weight"
PROBABILITIES = "Softmax"  # one that becomes zero was far below every threshold
SHOWN = 5  # operators in the table of the largest values


@dataclass(frozen=True)
class ValueRange:
    """The values of one operator's output, or of one weight, over all images."""

    name: str
    kind: str  # the operator's type, or WEIGHT
    largest: float  # magnitude, of the finite values
    overflowed: float  # share of all values too large for float16, infinite and NaN included
    vanished: float  # share of the non-zero values that become zero

    @property
    def fault(self) -> str | None:
        """What float16 does to it: "overflows", "vanishes", or None."""
        if self.overflowed > 0:
            return "overflows"
        return "vanishes" if self.vanished > NOTABLE_VANISHED and self.kind != PROBABILITIES else None


def rehearse(onnx_file: Path, images: Sequence[Path]) -> list[ValueRange]:
    """Run the model on image files, one at a time; return the range of every operator and weight, in graph order.

    Raises ArtifactError when `onnx_file` is no ONNX model with the contract's input that runs, DatasetError for an
    image that cannot be decoded.
    """
    model, config = _load_model(onnx_file)
    image = input_tensor(config)
    kinds = {
        node.output[0]: (node.name or node.output[0], WEIGHT if node.op_type == "Constant" else node.op_type)
        for node in model.graph.node
    }
    session, names = _open_with_all_outputs(onnx_file, model, kinds)
    meters = {name: _RangeMeter() for name in names}
    for path in tqdm(images, desc="rehearse", unit="image"):
        values = session.run(names, {image.name: normalise_image(decode_image(path), config.preprocessing)[np.newaxis]})
        for name, value in zip(names, values):
            meters[name].add(value)
    weights = _weight_ranges(model.graph.initializer)
    return [*weights, *(meters[name].result(*kinds[name]) for name in names)]


def format_ranges(ranges: Sequence[ValueRange], images: int) -> str:
    """Return the findings for reading: what is at risk and what to do, then the largest values."""
    operators = [value for value in ranges if value.kind != WEIGHT]
    at_risk = [value for value in ranges if value.fault]
    largest = sorted(operators, key=lambda value: value.largest, reverse=True)[:SHOWN]
    lines = [f"{len(operators)} operators, {len(ranges) - len(operators)} weights, {images} images"]
    if at_risk:
        rows = [[value.fault, value.name, value.kind, *_figures(value)] for value in at_risk]
        lines += [
            markdown_table(["", "name", "type", *_FIGURES], rows),
            "In float16 these lose their values. Keep them in float32: name the operators, one a line, in a file for "
            "atc --keep_dtype; or compile with precision=fp32, where the card can (some convolve in float16 only).",
        ]
    else:
        lines.append("Nothing overflows or vanishes in float16.")
    rows = [[value.name, value.kind, *_figures(value)] for value in largest]
    lines += [
        f"The largest values (float16 ends at {FLOAT16_MAX:.0f}):",
        markdown_table(["name", "type", *_FIGURES], rows),
    ]
    return "\n\n".join(lines)


def to_json(ranges: Sequence[ValueRange], images: int) -> dict[str, Any]:
    """Return the ranges as a JSON value."""
    return {"images": images, "ranges": [{**asdict(value), "fault": value.fault} for value in ranges]}


class _RangeMeter:
    """Gathers the range of one tensor over images."""

    def __init__(self) -> None:
        self._largest = 0.0
        self._values = self._nonzero = self._overflowed = self._vanished = 0

    def add(self, tensor: np.ndarray) -> None:
        magnitude = np.abs(tensor)
        nonzero = magnitude != 0
        fits = magnitude < FLOAT16_OVERFLOW  # False for NaN, too
        self._values += magnitude.size
        self._nonzero += int(np.count_nonzero(nonzero))
        self._overflowed += magnitude.size - int(np.count_nonzero(fits))
        self._vanished += int(np.count_nonzero(nonzero & (magnitude <= FLOAT16_HALF_TINIEST)))
        finite = magnitude if fits.all() else magnitude[np.isfinite(magnitude)]
        self._largest = max(self._largest, float(finite.max(initial=0)))

    def result(self, name: str, kind: str) -> ValueRange:
        overflowed = self._overflowed / self._values if self._values else 0.0
        vanished = self._vanished / self._nonzero if self._nonzero else 0.0
        return ValueRange(name, kind, self._largest, overflowed, vanished)


_FIGURES = ("largest", "overflow", "vanish")


def _figures(value: ValueRange) -> list[str]:
    return [f"{value.largest:.4g}", f"{value.overflowed:.2%}", f"{value.vanished:.2%}"]


def _load_model(path: Path) -> tuple[onnx.ModelProto, ModelConfig]:
    """Return the model and the config that its metadata names, the default one where it names none."""
    model = read_onnx(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [_describe_input(value) for value in model.graph.input if value.name not in weights]
    config = config_of_onnx(path)
    image = input_tensor(config)
    expected = (image.name, image.dtype, image.shape)
    if [entry[:3] for entry in inputs] != [expected] or inputs[0][3] not in (None, 1):
        raise ArtifactError(
            f"{path} takes {inputs}, expected one input {expected} whose batch is free. "
            "Pass an ONNX file that pth2onnx.py wrote."
        )
    return model, config


def _describe_input(value: onnx.ValueInfoProto) -> tuple[str, str, tuple[int | None, ...], int | None]:
    """Return name, type, shape without the batch axis, and the batch; None where a dimension is free."""
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    return value.name, dtype, tuple(dims[1:]), dims[0] if dims else 0


def _open_with_all_outputs(
    path: Path, model: onnx.ModelProto, names: Iterable[str]
) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """Open `model` so that every float32 tensor of `names` is an output; return the session and these names."""
    inferred = shape_inference.infer_shapes(model)
    known = {value.name: value for value in (*inferred.graph.value_info, *inferred.graph.output)}
    floats = [name for name in names if name in known and known[name].type.tensor_type.elem_type == TensorProto.FLOAT]
    del inferred.graph.output[:]
    inferred.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in floats)
    options = onnxruntime.SessionOptions()
    # A fused operator has no outputs inside.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        content = inferred.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]), floats
    except Exception as error:  # the exceptions of ONNX Runtime have no common base class
        refuse_own_operators(path)
        raise ArtifactError(f"{path} cannot be run: {str(error).strip()} Export it again (pth2onnx.py).") from error


def _weight_ranges(initializers: Iterable[TensorProto]) -> list[ValueRange]:
    ranges = []
    for tensor in initializers:
        if tensor.data_type == TensorProto.FLOAT:
            meter = _RangeMeter()
            meter.add(numpy_helper.to_array(tensor))
            ranges.append(meter.result(tensor.name, WEIGHT))
    return ranges
