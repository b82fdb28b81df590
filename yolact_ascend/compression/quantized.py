"""What was chosen when a model became INT8, and as `*_int8.json`, which `schemas/int8.schema.json` describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact_ascend.compression.recipe import Recipe
from yolact_ascend.files import digest_files, sha256_file
from yolact_ascend.targets.folder import QuantizedFiles

if TYPE_CHECKING:  # not for those who want the version only: they import onnx
    from yolact_ascend.compression.calibration import Calibration
    from yolact_ascend.compression.sensitivity import Sensitivity
    from yolact_ascend.compression.table import Table

SCHEMA = 1


@dataclass(frozen=True)
class QuantizedModel:
    """What was chosen: `kept` are the layers in float32, with the reason, `kept_on_ascend` those in Ascend's form, too.

    `scores` are mAP in percent on the held-out images, empty without a score.
    """

    files: QuantizedFiles
    recipe: Recipe
    calibration: Calibration
    measured_on: Path | None  # the export that the ranges are measured on, where that is another one than `files.onnx`
    method: str
    layers: tuple[str, ...]
    kept: Mapping[str, str]
    kept_on_ascend: Mapping[str, str]
    scores: Mapping[str, float]
    sensitivity: tuple[Sensitivity, ...]
    warnings: tuple[str, ...]

    @property
    def int8_layers(self) -> tuple[str, ...]:
        return tuple(name for name in self.layers if name not in self.kept)


def describe(done: QuantizedModel, table: Table) -> dict[str, Any]:
    """Return what was chosen, as the file `*_int8.json` holds it."""
    quantized = {layer.layer.name: layer for layer in table.quantized(done.method, ())}
    ranges = table.ranges(done.method)
    tensors = {layer.layer.tensor: layer.input for layer in quantized.values()}
    return {
        "schema": SCHEMA,
        "onnx": _name_file(done.files.onnx),
        "measured_on": None if done.measured_on is None else _name_file(done.measured_on),
        "recipe": done.recipe.to_json()["quantize"],
        "recipe_sha256": done.recipe.sha256,
        "method": done.method,
        "images": {
            "used": len(done.calibration.images),
            "found": done.calibration.found,
            "seed": done.calibration.seed,
            "sha256": digest_files(done.calibration.images),
        },
        "map": dict(done.scores),
        "warnings": list(done.warnings),
        "tensors": {
            name: {**dataclasses.asdict(ranges[name]), **dataclasses.asdict(affine)} for name, affine in tensors.items()
        },
        "layers": [
            {
                "name": name,
                "type": found.layer.kind,
                "precision": "float32" if name in done.kept else "int8",
                "precision_on_ascend": "float32" if name in done.kept_on_ascend else "int8",
                "why": done.kept_on_ascend.get(name),
                "raised_channels": found.raised,
            }
            for name, found in quantized.items()
        ],
        "sensitivity": [dataclasses.asdict(layer) for layer in done.sensitivity],
        "files": {
            name: {**_name_file(path), "size_bytes": path.stat().st_size}
            for name, path in (
                ("qdq", done.files.qdq),
                ("ascend", done.files.ascend),
                ("record", done.files.record),
            )
        },
    }


def _name_file(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": sha256_file(path)}
