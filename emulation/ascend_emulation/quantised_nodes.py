"""What CANN reads from the nodes of an int8 layer, as values; what it would not take is refused.

Sources: the ONNX plugins of AscendQuant, AscendDequant and AscendAntiQuant (hicann/ops-nn, quant/*/framework, 2026) and
the operator specifications there (REG_OP); hicann/ge, docs/zh/user_guides: graph_dev, quantization (deq_scale), and
atc_tools, quantization_layers_constraints (Gemm, MatMul).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from ascend_emulation.node_builder import NodeBuilder
from ascend_emulation.precision import FLOAT16_MAX

QUANT, DEQUANT, ANTI_QUANT = "AscendQuant", "AscendDequant", "AscendAntiQuant"
OPERATORS = frozenset({QUANT, DEQUANT, ANTI_QUANT})
CONVOLUTIONS = ("Conv", "ConvTranspose")
MATRIX = (*CONVOLUTIONS, "Gemm", "MatMul")
LOWEST, HIGHEST = -128, 127
_FLOAT, _FLOAT16 = 0, 1  # GE's numbers of the types, attribute dtype


@dataclass(frozen=True)
class Quantiser:
    """x -> round(x * scale + offset) as int8."""

    scale: float
    offset: int


@dataclass(frozen=True)
class Layer:
    """Weights int8 as the node has them, bias int32 [outputs], deq_scale float32 [outputs] or [1]."""

    weight: np.ndarray
    bias: np.ndarray | None
    factor: np.ndarray
    inputs: int  # channels
    outputs: int


def is_quantised(node: onnx.NodeProto) -> bool:
    """Tell whether a node is one of these operators."""
    return node.domain in ("", "ai.onnx") and node.op_type in OPERATORS


def is_set(node: onnx.NodeProto, name: str) -> bool:
    """Whether an attribute is an integer other than 0; one of another type counts as 0, as for CANN's plugins."""
    return any(attribute.name == name and attribute.i != 0 for attribute in node.attribute)


def read_quantiser(b: NodeBuilder) -> Quantiser:
    """Scale and offset of an AscendQuant or AscendAntiQuant; 0 where they are not of type FLOAT."""
    if is_set(b.node, "sqrt_mode"):
        b.refuse("with sqrt_mode")
    if b.node.op_type == QUANT:
        _check_result(b)
    scale, offset = (_number(b, name) for name in ("scale", "offset"))
    if not (LOWEST <= offset <= HIGHEST and offset == int(offset)):
        b.refuse(f"with offset {offset:g}; it takes whole numbers from {LOWEST} to {HIGHEST}")
    with np.errstate(over="ignore"):
        half = float(np.float16(scale))
    if scale and not 0 < half <= FLOAT16_MAX:
        b.refuse(f"with scale {scale:g}, which float16 does not hold as a positive number")
    return Quantiser(scale, int(offset))


def _check_result(b: NodeBuilder) -> None:
    if b.attribute("round_mode", AttributeProto.STRING, b"Round") != b"Round":
        b.refuse('with a round_mode other than "Round"')
    if any(a.name == "dst_type" and a.s.rstrip(b" ") in (b"INT4", b"INT16") for a in b.node.attribute):
        b.refuse("with a dst_type other than INT8")


def _number(b: NodeBuilder, name: str) -> float:
    value: Any = b.attribute(name, AttributeProto.FLOAT, 0.0)
    return float(value)


def notes_of(b: NodeBuilder, quantiser: Quantiser) -> list[str]:
    """What the parser ignores in a node, and the effect of that."""
    types = {attribute.name: attribute.type for attribute in b.node.attribute}
    notes = []
    for name in ("scale", "offset"):
        kind = types.get(name)
        if kind == AttributeProto.FLOAT:
            continue
        found = "is missing" if kind is None else f"is {AttributeProto.AttributeType.Name(kind)}"
        effect = "all values become one"
        if name == "offset" and quantiser.scale and b.node.op_type == QUANT:
            low, high = (bound / quantiser.scale for bound in (LOWEST, HIGHEST))
            effect = f"values outside {low:.4g} to {high:.4g} are clipped"
        elif name == "offset":
            effect = "values are shifted"
        notes.append(
            f"[WARNING] {b.node.op_type} {b.name}: {name} {found}. CANN's parser reads FLOAT only and takes 0 instead, "
            f"so {effect}. Write {name} as FLOAT."
        )
    return notes


def read_dtype(b: NodeBuilder) -> bool:
    """Whether dtype of an AscendDequant or AscendAntiQuant is float16, rather than float32."""
    dtype = b.attribute("dtype", AttributeProto.INT, _FLOAT)
    if dtype not in (_FLOAT, _FLOAT16):
        b.refuse(f"with dtype {dtype}; it takes {_FLOAT} (float32) and {_FLOAT16} (float16)")
    return dtype == _FLOAT16


def read_layer(b: NodeBuilder, dequant: NodeBuilder, weights: dict[str, TensorProto]) -> Layer:
    """The constants of a Conv, ConvTranspose, Gemm or MatMul and of the AscendDequant behind it."""
    weight = _constant(b, weights, 1, "weights", TensorProto.INT8)
    groups: Any = b.attribute("group", AttributeProto.INT, 1)
    operator = b.node.op_type
    if operator == "Conv":
        inputs, outputs = weight.shape[1] * groups, weight.shape[0]
    elif operator == "ConvTranspose":
        if groups != 1:
            b.refuse(f"in int8 with {groups} groups")
        inputs, outputs = weight.shape[:2]
    else:
        _check_product(b, weight)
        inputs, outputs = weight.shape[:: -1 if is_set(b.node, "transB") else 1]
    bias = None
    if len(b.node.input) > 2 and b.node.input[2]:
        bias = _constant(b, weights, 2, "bias", TensorProto.INT32)
        if bias.shape != (outputs,):
            b.refuse(f"in int8 with a bias {list(bias.shape)}; it takes [{outputs}]")
    return Layer(weight, bias, _read_factor(dequant, weights, outputs), inputs, outputs)


def _check_product(b: NodeBuilder, weight: np.ndarray) -> None:
    is_plain = b.attribute("alpha", AttributeProto.FLOAT, 1.0) == b.attribute("beta", AttributeProto.FLOAT, 1.0) == 1
    if is_set(b.node, "transA") or not is_plain or weight.ndim != 2:
        b.refuse("in int8, except with transA=0, alpha=1, beta=1, and weights of two dimensions")


def _read_factor(b: NodeBuilder, weights: dict[str, TensorProto], outputs: int) -> np.ndarray:
    """deq_scale: the low 32 bits of each uint64 are a float32; offset_w and the shift above them must be 0."""
    if is_set(b.node, "sqrt_mode"):
        b.refuse("with sqrt_mode")
    packed = _constant(b, weights, 1, "deq_scale", TensorProto.UINT64)
    if packed.shape not in ((1,), (outputs,)):
        b.refuse(f"with deq_scale {list(packed.shape)}; it takes [{outputs}] or [1]")
    if (packed >> np.uint64(32)).any():
        b.refuse("with deq_scale whose upper 32 bits (shift, offset_w) are not 0")
    factor = packed.astype(np.uint32).view(np.float32)
    if not np.isfinite(factor).all():
        b.refuse("with deq_scale whose low 32 bits are no finite float32")
    return np.asarray(factor)


def _constant(b: NodeBuilder, weights: dict[str, TensorProto], place: int, meaning: str, kind: int) -> np.ndarray:
    name = b.node.input[place] if place < len(b.node.input) else ""
    expected = TensorProto.DataType.Name(kind)
    if name not in weights:
        b.refuse(f"in int8 with {meaning} that are no constant; it takes {expected}")
    found = weights[name].data_type
    if found != kind:
        b.refuse(f"in int8 with {meaning} of type {TensorProto.DataType.Name(found)}; it takes {expected}")
    return np.asarray(numpy_helper.to_array(weights[name]))
