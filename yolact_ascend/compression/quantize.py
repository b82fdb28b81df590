"""An exported ONNX as INT8: calibrate, choose the method and the layers by mAP, write every artefact from one table."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from tqdm import tqdm

from yolact_ascend.compression.ascend_form import ascend_model, layers_of_twin
from yolact_ascend.compression.calibration import Calibration, choose_images, read_feeds, warn_of_choice
from yolact_ascend.compression.layers import find_layers, require_float
from yolact_ascend.compression.qdq import qdq_model
from yolact_ascend.compression.ranges import collect_histograms
from yolact_ascend.compression.recipe import BEST, METHODS, QuantizeRecipe, require_no_score
from yolact_ascend.compression.record import format_record
from yolact_ascend.compression.sensitivity import (
    Sensitivity,
    first_to_keep,
    measure_sensitivity,
    measure_sqnr,
    smallest_prefix,
)
from yolact_ascend.compression.table import Table, ascend_reasons, float_reasons
from yolact_ascend.compression.trials import Score, Trials
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import atomic_path, digest, digest_files, sha256_file, write_bytes, write_json
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.exported import read_onnx
from yolact_ascend.models.onnx_metadata import own_operators, refuse_own_operators
from yolact_ascend.targets.folder import QuantizedFiles

SCHEMA = 1
SQNR_IMAGES = 8


@dataclass(frozen=True)
class Quantization:
    """What was chosen: `kept` are the layers in float32, with the reason, `kept_on_ascend` those in Ascend's form, too.

    `scores` are mAP in percent on the held-out images, empty without a score.
    """

    files: QuantizedFiles
    calibration: Calibration
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


def quantize_model(
    path: Path,
    images: Sequence[Path],
    config: ModelConfig,
    recipe: QuantizeRecipe,
    folder: Path,
    score: Score | None = None,
    scored: Sequence[Path] = (),
    say: Callable[[str], None] = lambda _: None,
    is_measured: bool = False,
    runnable: Path | None = None,
) -> Quantization:
    """Quantise an exported ONNX; write `QuantizedFiles` into a folder.

    `images` are what the calibration draws from; `score` gives a model's mAP on held-out images, which `method: best`
    and `map_budget` need; `scored` are images that are scored afterwards; `is_measured` asks for the sensitivity of
    each layer even if the budget is met; `runnable` is the same network with ONNX's operators, to measure on where
    those of `path` are Ascend's. Equal inputs give equal files; an interrupted call resumes with its scores.

    Raises ArtifactError for an ONNX that is quantised already or cannot be run, DatasetError that names a bad image,
    UsageError when the recipe does not fit.
    """
    files = QuantizedFiles(path, folder)
    for_ascend = read_onnx(path)
    require_float(for_ascend, path)
    path = _require_runnable(path, runnable)
    model = for_ascend if runnable is None else read_onnx(path)
    layers_of_twin((), model, for_ascend, files.onnx)
    reasons = float_reasons(find_layers(model), recipe, path)
    if score is None:
        require_no_score(recipe)
    calibration, warnings = _choose_images(images, recipe, scored, score is not None, say)
    tensors = {layer.tensor for layer in find_layers(model)}
    histograms = collect_histograms(path, tensors, read_feeds(calibration.images, config, "calibrate"))
    table = Table(model, histograms, recipe)
    trials = None
    if score is not None:
        key = digest([sha256_file(path), digest_files(calibration.images), dataclasses.asdict(recipe)])
        trials = Trials(table, score, path, files.progress, key)
    method, scores = _choose_method(table, recipe, reasons, trials)
    on_ascend = ascend_reasons(table.quantized(method, ()))
    found: list[Sensitivity] = []
    if trials is not None:

        def measure() -> list[Sensitivity]:
            feeds = read_feeds(calibration.images[:SQNR_IMAGES], config, "SQNR")
            return measure_sensitivity(table, method, reasons, trials, measure_sqnr(table, method, feeds))

        if recipe.map_budget is not None and (lost := _lost(trials, method, reasons)) > recipe.map_budget:
            say(f"{method} loses {lost:.2f} points of mAP, {recipe.map_budget:g} may be lost: looking for what to keep")
            kept, found = _keep_for_budget(table, method, reasons, trials, measure, recipe.map_budget)
            reasons |= kept
        if is_measured and not found:
            found = measure()
        scores |= {"int8": trials.score(method, reasons), "int8_ascend": trials.score(method, {**on_ascend, **reasons})}
    names = tuple(layer.name for layer in table.layers)
    kept_on_ascend = {**on_ascend, **reasons}
    done = Quantization(files, calibration, method, names, reasons, kept_on_ascend, scores, tuple(found), warnings)
    _write(done, table, recipe, for_ascend)
    return done


def _require_runnable(path: Path, runnable: Path | None) -> Path:
    """Return the model to measure on; raises ArtifactError when ONNX Runtime does not know its operators."""
    if runnable is None and own_operators(path) is not None:
        raise ArtifactError(
            f"{path} has operators of Ascend's (operators=ascend), which cannot be run here to measure ranges. Export "
            "the same weights with operators=onnx, too, and pass that file: --onnx_model=FILE."
        )
    if runnable is not None:
        refuse_own_operators(runnable)
        require_float(read_onnx(runnable), runnable)
    return runnable or path


def _choose_images(
    images: Sequence[Path],
    recipe: QuantizeRecipe,
    scored: Sequence[Path],
    has_score: bool,
    say: Callable[[str], None],
) -> tuple[Calibration, tuple[str, ...]]:
    """Choose the images, and say which, and what is odd about them."""
    calibration = choose_images(images, recipe.images, recipe.seed)
    warnings = tuple(warn_of_choice(calibration, scored))
    if not has_score and recipe.map_budget is not None:
        warnings += (
            f"the calibration images have no annotations: the mAP was not measured, and map_budget "
            f"({recipe.map_budget:g}) was not checked.",
        )
    for warning in warnings:
        say(f"warning: {warning}")
    say(f"calibrating on {calibration.describe()}")
    return calibration, warnings


def _choose_method(
    table: Table, recipe: QuantizeRecipe, reasons: Mapping[str, str], trials: Trials | None
) -> tuple[str, dict[str, float]]:
    """Return the recipe's method, or the one with the highest mAP, and the scores."""
    if trials is None:
        return recipe.method, {}
    methods = [method for method in METHODS if method != BEST] if recipe.method == BEST else [recipe.method]
    scores = {"float32": trials.score_float()}
    for method in tqdm(methods, desc="score methods", unit="method", file=sys.stderr):
        scores[method] = trials.score(method, reasons)
    return max(methods, key=lambda method: scores[method]), scores


def _lost(trials: Trials, method: str, reasons: Mapping[str, str]) -> float:
    return trials.score_float() - trials.score(method, reasons)


def _keep_for_budget(
    table: Table,
    method: str,
    reasons: Mapping[str, str],
    trials: Trials,
    measure: Callable[[], list[Sensitivity]],
    budget: float,
) -> tuple[dict[str, str], list[Sensitivity]]:
    """Return the layers to keep in float32 beside those of `reasons`, with the reason, and what was measured for it.

    First those that are float on Ascend anyway, then the model's last ones; if that is too little, the most sensitive.
    """

    def meets(names: Sequence[str]) -> bool:
        return _lost(trials, method, {**reasons, **dict.fromkeys(names, "")}) <= budget

    order, found = [name for name in first_to_keep(table) if name not in reasons], list[Sensitivity]()
    if not meets(order):
        found = measure()
        order += [layer.name for layer in found if layer.name not in order]
    kept = smallest_prefix(order, meets)
    return dict.fromkeys(kept, f"map_budget: in INT8 like the rest, more than {budget:g} points would be lost"), found


def _write(done: Quantization, table: Table, recipe: QuantizeRecipe, for_ascend: onnx.ModelProto) -> None:
    """Write all files, each whole or not at all; the description, which names the others' hashes, comes last."""
    layers, ascend_layers = (table.quantized(done.method, kept) for kept in (done.kept, done.kept_on_ascend))
    if not layers:
        raise ArtifactError(f"Every layer of {done.files.onnx} would stay in float32. Allow a larger map_budget.")
    twins = layers_of_twin(ascend_layers, table.model, for_ascend, done.files.onnx)
    for path, model in (
        (done.files.qdq, qdq_model(table.model, layers)),
        (done.files.ascend, ascend_model(for_ascend, twins)),
    ):
        with atomic_path(path) as temporary:
            onnx.save(model, temporary)
    write_bytes(done.files.record, format_record(ascend_layers).encode())
    write_json(done.files.description, describe(done, table, recipe))
    done.files.progress.unlink(missing_ok=True)


def describe(done: Quantization, table: Table, recipe: QuantizeRecipe) -> dict[str, Any]:
    """Return what was chosen, as the file `*_int8.json` holds it."""
    quantized = {layer.layer.name: layer for layer in table.quantized(done.method, ())}
    ranges = table.ranges(done.method)
    tensors = {layer.layer.tensor: layer.input for layer in quantized.values()}
    return {
        "schema": SCHEMA,
        "onnx": {"file": done.files.onnx.name, "sha256": sha256_file(done.files.onnx)},
        "recipe": dataclasses.asdict(recipe),
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
            name: {"file": path.name, "sha256": sha256_file(path), "size_bytes": path.stat().st_size}
            for name, path in (
                ("qdq", done.files.qdq),
                ("ascend", done.files.ascend),
                ("record", done.files.record),
            )
        },
    }
