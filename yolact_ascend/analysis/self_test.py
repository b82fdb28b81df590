"""The self-test of a packed model: one image, what the model should compute for it, and whether this device does.

Right is what the exported ONNX computes in float32, where it lies beside the model; else what the model itself computes
on the host that packs it. The comparison is `verify`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend import __version__
from yolact_ascend.analysis.causes import OVERFLOW, UNKNOWN, ZEROS, Cause
from yolact_ascend.analysis.closeness import OutputDifference
from yolact_ascend.analysis.expected import allowances, compare_outputs, describe_outputs, least_found
from yolact_ascend.analysis.golden import Float16Cost
from yolact_ascend.analysis.verdict import CAUSE, RUN, Verdict, describe_sidecar
from yolact_ascend.analysis.verify import (
    LISTED,
    MARGIN,
    SAME_SCORE,
    SURE,
    describe_differences,
    is_close,
    is_found,
    normalised,
)
from yolact_ascend.checks import FAIL, OK, Check
from yolact_ascend.cores import count_cores
from yolact_ascend.detection.detections import whole_results
from yolact_ascend.errors import ArtifactError, ToolError, YolactAscendError, show_value
from yolact_ascend.files import read_json
from yolact_ascend.host.inference import input_dtype
from yolact_ascend.host.pack import EXPECTED, PACK_AGAIN, SELF_TEST, Manifest, differing_files, read_manifest
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import prepare_inputs
from yolact_ascend.models.inputs import FLOAT32 as FLOAT32_INPUT
from yolact_ascend.models.inputs import NORMALISE, NOTHING, UINT8, embed_of
from yolact_ascend.targets.compiled import COMPILE_IN_FLOAT32, read_sidecar
from yolact_ascend.targets.described import open_detector, read_description
from yolact_ascend.targets.folder import sidecar_file
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget
from yolact_ascend.targets.registry import find_target, target_of_model
from yolact_ascend.targets.target import DeviceRequest, Engine, Target
from yolact_ascend.tensors import TensorSpec
from yolact_ascend.timings import Timings

MOST_COST = Float16Cost(cosine_min=0.99, relative=0.25)  # beyond it and `allowances`, a model does not compute its ONNX
RIGHT = "the pack's expected values"
FILES, OUTPUTS, DETECTIONS = "files", "outputs", "detections"  # the checks


@dataclass(frozen=True)
class Computed:
    """What a model computed for one picture on a device."""

    names: tuple[str, ...]
    outputs: tuple[np.ndarray, ...]  # of one image
    by: str  # a few words on the device


def compute(model: Path, target: Target, picture: np.ndarray, embed: str | None = None) -> Computed:
    """Run a picture, BGR uint8 [H,W,3], through a model on the first device of a target.

    `embed` NORMALISE: a float32 model gets what the model that normalises by itself computes its input to be.
    """
    config = read_description(model).config
    with target.open(model, target.npus[0]) as engine:
        dtype = input_dtype(engine, config)
        if embed == NORMALISE and dtype == FLOAT32_INPUT:
            pixels, *others = prepare_inputs(picture, config, UINT8)
            prepared = (normalised(pixels, config), *others)
        else:
            prepared = prepare_inputs(picture, config, dtype)
        outputs = tuple(output[0] for output in engine.infer([each[None] for each in prepared]))
        return Computed(_names_of(engine, model), outputs, target.describe_device(target.npus[0]))


def detect(model: Path, computed: Computed, picture: np.ndarray) -> list[dict[str, Any]]:
    """Return the detections in a model's outputs with a score of LISTED or more, best first.

    They are entries of COCO's results format without an image's id, box and mask together, and their class's name.
    """
    description = read_description(model)
    config = description.config
    detector = open_detector(model, description, threads=count_cores())
    height, width = picture.shape[:2]
    source, remedy = f"The outputs of {model.name}", f"{COMPILE_IN_FLOAT32}."
    found = detector.detect(computed.outputs, height, width, source, remedy, Timings())
    entries = whole_results(found, config.class_names, config.category_ids)
    return [entry for entry in entries if entry["score"] >= LISTED]


def _names_of(engine: Engine, model: Path) -> tuple[str, ...]:
    """Return the names of the outputs; by the side-car where a device gives them numbers."""
    if sidecar_file(model).is_file():
        return tuple(output["name"] for output in read_sidecar(model).outputs)
    return tuple(spec.name for spec in engine.outputs)


def compute_reference(onnx: Path, picture: np.ndarray, embed: str) -> Computed:
    """Run the exported ONNX on this host, in float32."""
    return compute(onnx, OnnxRuntimeTarget.find(DeviceRequest()), picture, embed)


def embed_of_model(model: Path) -> str:
    """Return which preprocessing a model does itself, by its side-car."""
    if not sidecar_file(model).is_file():
        return NOTHING
    return embed_of(TensorSpec.of_sample(read_sidecar(model).input))


def describe_expected(
    right: Computed, detections: Sequence[dict[str, Any]], own: Computed | None, precision: str, image: str
) -> dict[str, Any]:
    """Return what `expected.json` holds; `own` is what the packed model computed on this host, if it could run here.

    Raises ToolError when it does not compute what the right one does.
    """
    outputs = describe_outputs(right.names, right.outputs)
    allowed = allowances(outputs, precision)
    if own is not None:
        costs = compare_outputs(outputs, own.outputs)
        wrong = [
            cost for cost, least in zip(costs, allowed) if not (is_close(cost, MOST_COST) or is_close(cost, least))
        ]
        if wrong:
            raise ToolError(
                f"On {own.by}, the model does not compute what {right.by} does: {describe_differences(wrong)}. Nothing "
                "was packed. `verify` finds the likely cause for the demo's model."
            )
        allowed = [_wider(default, cost) for default, cost in zip(allowed, costs)]
    return {
        "image": image,
        "computed_by": right.by,
        "outputs": outputs,
        "allowed": [asdict(cost) for cost in allowed],
        "detections": list(detections),
    }


def _wider(default: Float16Cost, cost: OutputDifference) -> Float16Cost:
    """Return the larger of two allowances: that for any model, and MARGIN times what was measured, as `verify` does."""
    return Float16Cost(
        min(default.cosine_min, 1 - MARGIN**2 * (1 - cost.cosine_min)), max(default.relative, MARGIN * cost.relative)
    )


def check_pack(folder: Path, request: DeviceRequest) -> Verdict:
    """Compare a pack's files with its manifest, and what its model computes on this device with what is expected.

    Raises ArtifactError when there is no manifest, UsageError for a device that the model's target does not have.
    """
    manifest = read_manifest(folder)
    checks = [_check_files(folder, manifest)]
    model = folder / manifest.model
    kind = target_of_model(model)
    target = find_target(kind, request)
    models: tuple[dict[str, Any], ...] = ()
    try:
        if sidecar_file(model).is_file():
            models = (describe_sidecar(read_sidecar(model), embed_of_model(model)),)
        for check in _check_computed(folder, manifest, model, target):
            checks.append(check)
    except YolactAscendError as error:
        checks.append(Check(RUN, FAIL, str(error)))
    return Verdict(
        tuple(checks),
        target.describe_device(target.npus[0]),
        target.facts(kind.precisions[0]),
        {"yolact_ascend": __version__, "packed_by": manifest.producer},
        models,
        RIGHT,
    )


def _check_files(folder: Path, manifest: Manifest) -> Check:
    differing = list(differing_files(folder, manifest))
    if not differing:
        return Check(FILES, OK, f"{len(manifest.files)} files, byte for byte")
    cause = Cause(FILES, "; ".join(differing))
    return Check(FILES, FAIL, f"{'; '.join(differing)}. {PACK_AGAIN}", {CAUSE: asdict(cause)})


def _check_computed(folder: Path, manifest: Manifest, model: Path, target: Target) -> Iterator[Check]:
    expected = read_json(folder / EXPECTED, "what the packed model should compute")
    try:
        if f"{SELF_TEST}/{expected['image']}" not in manifest.files:  # it would lead out of the pack
            raise ValueError(f"image {show_value(expected['image'])} is no file of the pack")
        picture = decode_image(folder / SELF_TEST / expected["image"])
        found = compute(model, target, picture)
        yield _check_outputs(expected, found, manifest, model)
        if all(np.isfinite(output).all() for output in found.outputs):  # others are not decoded
            least = least_found(manifest.precision)
            yield _check_detections(expected, detect(model, found, picture), least)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / EXPECTED} is damaged: {type(error).__name__} {error}. {PACK_AGAIN}") from error


def _check_outputs(expected: dict[str, Any], found: Computed, manifest: Manifest, model: Path) -> Check:
    names = [output["name"] for output in expected["outputs"]]
    if names != list(found.names):
        text = f"the model has the outputs {', '.join(found.names)}, expected {', '.join(names)}"
        return Check(OUTPUTS, FAIL, text, {CAUSE: asdict(Cause("another model", text))})
    differences = compare_outputs(expected["outputs"], found.outputs)
    allowed = [Float16Cost(**cost) for cost in expected["allowed"]]
    if len(allowed) != len(differences):
        raise ValueError(f"{len(allowed)} allowed for {len(differences)} outputs, expected as many")
    facts: dict[str, Any] = {"outputs": [asdict(one) for one in differences], "allowed": expected["allowed"]}
    wrong = [one for one, cost in zip(differences, allowed) if not is_close(one, cost)]
    said = f"{describe_differences(wrong or differences)}, beside {expected['computed_by']}"
    if not wrong:
        return Check(OUTPUTS, OK, said, facts)
    cause = _find_cause(found, manifest, model)
    return Check(OUTPUTS, FAIL, f"{said}. Likely cause: {cause}.", {**facts, CAUSE: asdict(cause)})


def _find_cause(found: Computed, manifest: Manifest, model: Path) -> Cause:
    """Return what can be told from the outputs, and from what the side-car states."""
    precision = read_sidecar(model).precision if sidecar_file(model).is_file() else manifest.precision
    if precision != manifest.precision:
        return Cause("precision", f"the model was compiled with {precision}, and {manifest.precision} was packed")
    for name, output in zip(found.names, found.outputs):
        if not np.isfinite(output).all():
            return Cause(OVERFLOW, f"values of {name} are not finite")
        if not output.any():
            return Cause(ZEROS, f"{name} holds nothing but zeros")
    return Cause(UNKNOWN, "the device computes something else; `verify` without a pack looks for the cause")


def _check_detections(expected: dict[str, Any], found: Sequence[dict[str, Any]], least: float) -> Check:
    sure = [entry for entry in expected["detections"] if entry["score"] >= SURE]
    matched = sum(is_found(entry, found) for entry in sure)
    # Clearly above the score to which they are listed, so that what is expected holds them.
    others = [entry for entry in found if entry["score"] >= SURE + SAME_SCORE]
    surplus = sum(not is_found(entry, expected["detections"]) for entry in others)
    facts = {"sure": len(sure), "found": matched, "surplus": surplus}
    said = f"{matched} of {len(sure)} sure detections" if sure else "nothing sure is expected in this image"
    said += f", {surplus} that are not expected" if surplus else ""
    if matched >= least * len(sure) and surplus <= (1 - least) * len(others):
        return Check(DETECTIONS, OK, said, facts)
    cause = Cause("the host's part", "where the outputs are right, the heads, numpy or OpenCV of this host differ")
    return Check(DETECTIONS, FAIL, f"{said}.", {**facts, CAUSE: asdict(cause)})
