"""An exported ONNX as INT8: calibrate, choose the method and the layers by mAP, write every artefact from one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx

from yolact_ascend.compression.ascend_form import ascend_model, layers_of_twin
from yolact_ascend.compression.calibration import Calibration, choose_images, read_feeds, warn_of_choice
from yolact_ascend.compression.layers import channel_axes, find_layers, require_float
from yolact_ascend.compression.qdq import qdq_model
from yolact_ascend.compression.quantized import QuantizedModel, describe
from yolact_ascend.compression.ranges import collect_histograms
from yolact_ascend.compression.recipe import BEST, METHODS, QuantizeRecipe, Recipe, require_no_score
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
from yolact_ascend.progress import bar
from yolact_ascend.targets.folder import QuantizedFiles

SQNR_IMAGES = 8


def quantize_model(
    path: Path,
    images: Sequence[Path],
    config: ModelConfig,
    recipe: Recipe,
    folder: Path,
    score: Score | None = None,
    scored: Sequence[Path] = (),
    say: Callable[[str], None] = lambda _: None,
    is_measured: bool = False,
    runnable: Path | None = None,
) -> QuantizedModel:
    """Quantise an exported ONNX; write `QuantizedFiles` into a folder.

    `images` are what the calibration draws from; `score` gives a model's mAP on held-out images, which `method: best`
    and `map_budget` need; `scored` are images that are scored afterwards; `is_measured` asks for the sensitivity of
    each layer even if the budget is met; `runnable` is the same network with ONNX's operators, to measure on where
    those of `path` are Ascend's. Equal inputs give equal files; an interrupted call resumes with its scores.

    Raises ArtifactError for an ONNX that is quantised already or cannot be run, DatasetError that names a bad image,
    UsageError when the recipe does not fit.
    """
    part = recipe.quantize
    assert part is not None  # whoever reads it asks for it
    files = QuantizedFiles(path, folder)
    for_ascend, model = _read_models(path, runnable)
    path = runnable or path
    layers = find_layers(model)
    reasons = float_reasons(layers, part, path)
    if score is None:
        require_no_score(part)
    calibration, warnings = _choose_images(images, part, scored, score is not None, say)
    feeds = read_feeds(calibration.images, config, "calibrate")
    histograms = collect_histograms(path, channel_axes(layers), feeds)
    table = Table(model, histograms, part)
    key = digest([sha256_file(path), digest_files(calibration.images), dataclasses.asdict(part)])
    trials = None if score is None else Trials(table, score, path, files.progress, key)
    method, scores = _choose_method(table, part, reasons, trials)
    on_ascend = ascend_reasons(table.quantized(method, ()))
    found: list[Sensitivity] = []
    if trials is not None:

        def measure() -> list[Sensitivity]:
            feeds = read_feeds(calibration.images[:SQNR_IMAGES], config, "SQNR")
            return measure_sensitivity(table, method, reasons, trials, measure_sqnr(table, method, feeds))

        if part.map_budget is not None and (lost := _lost(trials, method, reasons)) > part.map_budget:
            say(f"{method} loses {lost:.2f} points of mAP, {part.map_budget:g} may be lost: looking for what to keep")
            kept, found = _keep_for_budget(table, method, reasons, trials, measure, part.map_budget)
            reasons |= kept
        if is_measured and not found:
            found = measure()
        scores |= {"int8": trials.score(method, reasons), "int8_ascend": trials.score(method, {**on_ascend, **reasons})}
    names, on_ascend = tuple(layer.name for layer in layers), {**on_ascend, **reasons}
    done = QuantizedModel(
        files, recipe, calibration, runnable, method, names, reasons, on_ascend, scores, tuple(found), warnings
    )
    _write(done, table, for_ascend)
    return done


def _read_models(path: Path, runnable: Path | None) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the model to write Ascend's form of, and the one to measure on, which is the same without `runnable`.

    Raises ArtifactError when either is quantised, when they are of other weights, or when ONNX Runtime does not know
    the operators of what is to be measured.
    """
    for_ascend = read_onnx(path)
    require_float(for_ascend, path)
    if runnable is None:
        if own_operators(path) is not None:
            raise ArtifactError(
                f"{path} has operators of Ascend's (operators=ascend), which cannot be run here to measure ranges. "
                "Export the same weights with operators=onnx, too, and pass that file: --onnx_model=FILE."
            )
        return for_ascend, for_ascend
    refuse_own_operators(runnable)
    model = read_onnx(runnable)
    require_float(model, runnable)
    layers_of_twin((), model, for_ascend, path)
    return for_ascend, model


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
    for method in bar(methods, desc="score methods", unit="method"):
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


def _write(done: QuantizedModel, table: Table, for_ascend: onnx.ModelProto) -> None:
    """Write all files, each whole or not at all; the description, which names the others' hashes, comes last."""
    layers, ascend_layers = (table.quantized(done.method, kept) for kept in (done.kept, done.kept_on_ascend))
    if not layers:
        raise ArtifactError(
            f"Every layer of {done.files.onnx} would stay in float32. Allow a larger map_budget, or keep fewer layers "
            "(keep_float)."
        )
    if not ascend_layers:
        name, why = next(iter(done.kept_on_ascend.items()))
        raise ArtifactError(
            f"Every layer of {done.files.onnx} would stay in float32 on Ascend; the first is {name} ({why}). Nothing "
            "was written. Such a network gains nothing from INT8: compile it in float16."
        )
    twins = layers_of_twin(ascend_layers, table.model, for_ascend, done.files.onnx)
    for path, model in (
        (done.files.qdq, qdq_model(table.model, layers)),
        (done.files.ascend, ascend_model(for_ascend, twins)),
    ):
        with atomic_path(path) as temporary:
            onnx.save(model, temporary)
    write_bytes(done.files.record, format_record(ascend_layers).encode())
    write_json(done.files.description, describe(done, table))
    done.files.progress.unlink(missing_ok=True)
