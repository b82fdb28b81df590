"""AMCT's record file: scales and offsets of each layer, in the text form of its protocol buffer.

Who has AMCT (Ascend Model Compression Toolkit) can continue from here. Source: hicann/amct @ 2be20da,
docs/zh/context/record.md. It was written after that page, and never read by a real AMCT here.
"""

from __future__ import annotations

from collections.abc import Iterable

from yolact_ascend.compression.affine import QuantizedLayer


def format_record(layers: Iterable[QuantizedLayer]) -> str:
    """Return the text of a record file. `scale_d` is the input's scale, `scale_w` that of each channel's weights."""
    return "".join(_entry(layer) for layer in layers)


def _entry(found: QuantizedLayer) -> str:
    lines = ["record {", f'  key: "{found.layer.name}"', "  value {"]
    lines += [f"    scale_d: {found.input.scale:.9g}", f"    offset_d: {found.input.zero_point}"]
    for scale in found.weight_scale:
        lines += [f"    scale_w: {scale:.9g}", "    offset_w: 0"]
    return "\n".join([*lines, "  }", "}", ""])
