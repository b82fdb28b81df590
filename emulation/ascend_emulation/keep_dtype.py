"""The file of --keep_dtype: which operators keep the type that they have in the ONNX model."""

from __future__ import annotations

import re
from pathlib import Path

import onnx

from ascend_emulation.atc_errors import AtcError

_TYPE_PREFIX = "OpType::"
_PASCAL_CASE = re.compile(r"[A-Z][a-zA-Z0-9]*")
# Types of Ascend IR that ONNX calls otherwise.
_ONNX_TYPES = {
    "Conv2D": "Conv",
    "Conv2DTranspose": "ConvTranspose",
    "BatchMultiClassNonMaxSuppression": "BatchMultiClassNMS",
}


def kept_operators(path: Path, model: onnx.ModelProto) -> tuple[str, ...]:
    """The names of the nodes that the file names, one on each line, or by `OpType::<type>`.

    Raises AtcError E10003 for a type in another spelling, and E10055 for what the model does not have: the real atc
    notes that in its log and goes on.
    """
    kept: dict[str, None] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        entry = line.strip()
        if not entry:
            continue
        found = [_named(node) for node in model.graph.node if _matches(node, entry, path)]
        if not found:
            reason = f"--keep_dtype names {entry}, which is not in the model; the real atc would go on without it"
            raise AtcError("E10055", reason=reason)
        kept.update(dict.fromkeys(found))
    return tuple(kept)


def _matches(node: onnx.NodeProto, entry: str, path: Path) -> bool:
    if not entry.startswith(_TYPE_PREFIX):
        return bool(node.name == entry)
    name = entry[len(_TYPE_PREFIX) :]
    if not _PASCAL_CASE.fullmatch(name):
        reason = f"The operator type [{name}] in the config file is invalid. It must be in PascalCase."
        raise AtcError("E10003", value=path, parameter="keep_dtype", reason=reason)
    return bool(node.op_type == _ONNX_TYPES.get(name, name))


def _named(node: onnx.NodeProto) -> str:
    """The node's name; one without is called after its output, to be found again."""
    node.name = node.name or node.output[0]
    return str(node.name)
