"""The `verify` verb: does this device compute what it should? A run over the golden scenes, stage by stage.

`golden` has the values that the repository ships, `causes` finds what most likely went wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend.analysis.causes import (
    CHANNELS,
    LAYOUT,
    UNKNOWN,
    Cause,
    Evidence,
    find_cause,
    find_input_fault,
)
from yolact_ascend.analysis.closeness import OutputDifference, difference_of
from yolact_ascend.analysis.golden import (
    INPUT_SAMPLES,
    OUTPUT_SAMPLES,
    REMEDY,
    Float16Cost,
    Golden,
    Variant,
    detections_by_image,
    sample,
    sha256_of,
)
from yolact_ascend.analysis.verdict import CAUSE
from yolact_ascend.checks import FAIL, OK, WARN, Check
from yolact_ascend.detection.boxes import box_iou, corners_of
from yolact_ascend.detection.tasks import BOX
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import how_to_restore, read_json, sha256_file
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import normalise_pixels, prepare_pixels
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, NOTHING, UINT8, input_tensor
from yolact_ascend.targets.compiled import SideCar
from yolact_ascend.targets.folder import WorkFolder, input_bin, output_bin
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget
from yolact_ascend.targets.target import DeviceRequest
from yolact_ascend.tensors import TensorSpec, read_tensor

# Allowed: this many times what float16 costs on the stand-ins. A card adds in another order and rounds elsewhere.
MARGIN = 3.0
FLOAT32 = Float16Cost(
    cosine_min=1 - 1e-6, relative=1e-3
)  # allowed; the export allows 1e-4 on normal distributed inputs
LEVELS = 1.0  # allowed between two builds of OpenCV, of 255; a resize in another order of operations
SURE, LISTED = 0.5, 0.3  # scores of golden detections that are looked for, and of those that are listed
SAME_BOX, SAME_MASK, SAME_SCORE = 0.8, 0.8, 0.1  # least IoU, and largest difference
LEAST_FOUND = 0.9  # of the sure detections
SHIPPED = "shipped files"
LEAST_POINTS = 1.0  # of mAP in percent that are always allowed


@dataclass(frozen=True)
class Scenes:
    """What one variant of a run should compute, as this host's float32 has it."""

    config: ModelConfig
    variant: Variant
    embed: str
    bins: np.ndarray  # [N,...] what preprocess should write
    inputs: np.ndarray  # [N,3,H,W] what the network should see
    outputs: tuple[np.ndarray, ...]  # each [N,...], by ONNX Runtime
    onnx: Path

    @property
    def name(self) -> str:
        return f"embed={self.embed}"

    def network(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Compute outputs for inputs [B,3,H,W], in float32."""
        return _run_onnx(self.onnx, inputs)


def load_scenes(golden: Golden, folder: WorkFolder, config: ModelConfig, embed: str) -> Scenes:
    """Make the right inputs, and run the exported ONNX on them."""
    pictures = [decode_image(golden.image_folder / name) for name in golden.images]
    bins = np.stack([prepare_pixels(picture, config.preprocessing, DTYPE_OF_EMBED[embed]) for picture in pictures])
    inputs = bins if embed == NOTHING else np.stack([normalised(one, config) for one in bins])
    outputs = tuple(_run_onnx(folder.onnx, inputs))
    return Scenes(config, golden.variants[embed], embed, bins, inputs, outputs, folder.onnx)


def normalised(pixels: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Return what a network sees of resized uint8 pixels [H,W,3], in its order, that the model normalises by itself."""
    is_rgb = config.preprocessing.channel_order == "RGB"
    return normalise_pixels(pixels[..., ::-1] if is_rgb else pixels, config.preprocessing)


def _run_onnx(onnx: Path, inputs: np.ndarray) -> list[np.ndarray]:
    with OnnxRuntimeTarget.find(DeviceRequest()).open(onnx, 0) as engine:
        return engine.infer([inputs])


def check_shipped(golden: Golden, weights: Path) -> Check:
    """Whether the weights are those of the golden values, and the scenes are decoded to the right pixels."""
    sha256 = sha256_file(weights) if weights.is_file() else "of no file"
    if sha256 != golden.weights_sha256:
        restore = how_to_restore("weights")
        text = f"{weights} has the SHA-256 {sha256}, expected {golden.weights_sha256}. Restore it: {restore}."
        cause = Cause(SHIPPED, f"other weights; {restore} restores them")
        return Check(SHIPPED, FAIL, text, {CAUSE: asdict(cause)})
    found = [_sha256_of_scene(golden.image_folder / name) for name in golden.images]
    wrong = [name for name, one, right in zip(golden.images, found, golden.pixels_sha256) if one != right]
    if wrong:
        text = f"{len(wrong)} of {len(found)} scenes are not decoded to the golden pixels, first {wrong[0]}. {REMEDY}"
        cause = Cause(SHIPPED, f"scenes are damaged; {how_to_restore('golden')} restores them")
        return Check(SHIPPED, FAIL, text, {CAUSE: asdict(cause)})
    return Check(SHIPPED, OK, f"weights, and the pixels of {len(found)} scenes, byte for byte")


def _sha256_of_scene(path: Path) -> str:
    try:
        return sha256_of(decode_image(path))
    except DatasetError:  # missing, or no image
        return ""


def check_export(scenes: Scenes) -> Check:
    """Whether the exported ONNX gives the golden outputs on this host, in float32."""
    name = f"export {scenes.name}"
    differences = _compare_samples(scenes.variant, scenes.outputs)
    wrong = [found for found in differences if not is_close(found, FLOAT32)]
    facts: dict[str, Any] = {"outputs": [asdict(found) for found in differences]}
    if wrong:
        text = f"ONNX Runtime on this host is not at the golden outputs: {describe_differences(wrong)}."
        cause = Cause("export", "the ONNX of this host's torch, or its ONNX Runtime, computes something else")
        return Check(name, FAIL, text, {**facts, CAUSE: asdict(cause)})
    return Check(name, OK, f"ONNX Runtime on this host: {describe_differences(differences)}", facts)


def check_inputs(folder: WorkFolder, scenes: Scenes) -> Check:
    """Whether preprocess wrote the golden inputs, byte for byte or, with another OpenCV, within one level."""
    name = f"inputs {scenes.name}"
    spec = input_tensor(scenes.config, DTYPE_OF_EMBED[scenes.embed])
    variant = scenes.variant
    found = [read_tensor(input_bin(folder.inputs, index), spec) for index in range(variant.count)]
    wrong = [i for i, one in enumerate(found) if sha256_of(one) != variant.input_sha256[i]]
    if not wrong:
        return Check(name, OK, f"{len(found)} files, byte for byte", {"different": []})
    apart = max(float(np.abs(_samples_apart(found[i], variant.input_samples[i])).max()) for i in wrong)
    level = 1.0 if spec.dtype == UINT8 else scenes.config.preprocessing.pixel_max / 255 / _smallest_deviation(scenes)
    allowed = LEVELS * level
    facts: dict[str, Any] = {"different": wrong, "max_abs": apart, "allowed": allowed}
    said = f"{len(wrong)} of {len(found)} files are not the golden ones, first {wrong[0]}.bin: up to {apart:.3g} apart"
    if apart <= allowed:
        return Check(name, WARN, f"{said}, at most one level of 255: another build of OpenCV", facts)
    i = wrong[0]
    if spec.dtype == UINT8:
        cause = _find_pixel_fault(found[i], scenes.bins[i])
    else:
        cause = find_input_fault(found[i], scenes.inputs[i], scenes.config.preprocessing)
    cause = cause or Cause(UNKNOWN, "none of the faults that were tried gives these inputs")
    return Check(name, FAIL, f"{said}. Likely cause: {cause}.", {**facts, CAUSE: asdict(cause)})


def _samples_apart(found: np.ndarray, right: np.ndarray) -> np.ndarray:
    return sample(found, INPUT_SAMPLES).astype(np.float64) - right


def _smallest_deviation(scenes: Scenes) -> float:
    return min(scenes.config.preprocessing.std_rgb)


def _find_pixel_fault(found: np.ndarray, right: np.ndarray) -> Cause | None:
    """Return what was done to pixels [H,W,3]."""
    if np.abs(found[..., ::-1].astype(int) - right).max() <= LEVELS:
        return Cause(CHANNELS, "red and blue are exchanged")
    if np.abs(found.reshape(3, *found.shape[:2]).transpose(1, 2, 0).astype(int) - right).max() <= LEVELS:
        return Cause(LAYOUT, "pixels are stored as [3,H,W], expected [H,W,3]")
    return None


def check_outputs(folder: WorkFolder, batch_size: int, sidecar: SideCar, scenes: Scenes) -> Check:
    """Whether the device's outputs are as close to the golden ones as its precision allows."""
    name = f"outputs bs={batch_size} {scenes.name}"
    specs = tuple(TensorSpec.of_sample(output) for output in sidecar.outputs)
    if [spec.name for spec in specs] != list(scenes.variant.outputs):
        expected = ", ".join(scenes.variant.outputs)
        raise ArtifactError(f"The model has the outputs {_names(specs)}, expected {expected}. Run `verify` again.")
    paths = [
        [output_bin(folder.outputs(batch_size), i, k) for i in range(scenes.variant.count)] for k in range(len(specs))
    ]
    found = [np.stack([read_tensor(path, spec) for path in listed]) for listed, spec in zip(paths, specs)]
    allowed = _allowed(scenes.variant, sidecar.precision)
    whole = [difference_of(spec.name, right, one) for spec, right, one in zip(specs, scenes.outputs, found)]
    sampled = _compare_samples(scenes.variant, found)
    facts: dict[str, Any] = {
        "precision": sidecar.precision,
        "outputs": [asdict(one) for one in whole],
        "golden_samples": [asdict(one) for one in sampled],
        "allowed": [asdict(cost) for cost in allowed],
    }
    wrong = [
        one
        for one, golden, cost in zip(whole, sampled, allowed)
        if not (is_close(one, cost) and is_close(golden, cost))
    ]
    if not wrong:
        return Check(name, OK, describe_differences(whole), facts)
    images = _wrong_images(scenes, found, allowed)
    cause = find_cause(_evidence(scenes, found, images), scenes.network)
    facts.update({"wrong_images": images, CAUSE: asdict(cause)})
    said = f"{describe_differences(wrong)}, in {len(images)} of {scenes.variant.count} images"
    return Check(name, FAIL, f"{said}. Likely cause: {cause}.", facts)


def _evidence(scenes: Scenes, found: Sequence[np.ndarray], wrong_images: Sequence[int]) -> Evidence:
    return Evidence(
        scenes.variant.outputs,
        found,
        scenes.outputs,
        wrong_images or list(range(scenes.variant.count)),  # none: only the golden samples are not met
        scenes.inputs,
        scenes.config.preprocessing,
        scenes.embed != NOTHING,
    )


def _wrong_images(scenes: Scenes, found: Sequence[np.ndarray], allowed: Sequence[Float16Cost]) -> list[int]:
    def is_wrong(i: int) -> bool:
        pairs = zip(scenes.variant.outputs, scenes.outputs, found, allowed)
        return not all(is_close(difference_of(name, [right[i]], [one[i]]), cost) for name, right, one, cost in pairs)

    return [i for i in range(scenes.variant.count) if is_wrong(i)]


def check_detections(folder: WorkFolder, batch_size: int, golden: Golden, scenes: Scenes) -> Check:
    """Whether the sure detections of the golden values were found, and mAP is theirs."""
    name = f"detections bs={batch_size} {scenes.name}"
    variant = scenes.variant
    path = folder.detections(batch_size, scenes.config.tasks)[BOX]
    found = detections_by_image(read_json(path, "the detections of verify's run"), golden.ids, 0.0)
    sure = [[entry for entry in image if entry["score"] >= SURE] for image in variant.detections]
    matched = sum(is_found(entry, found[i]) for i, image in enumerate(sure) for entry in image)
    count = sum(map(len, sure))
    scores = read_json(folder.scores(batch_size), "the scores of verify's run")
    points = {
        task: (scores[task]["all"], right, max(LEAST_POINTS, MARGIN * abs(variant.float16_scores[task] - right)))
        for task, right in variant.scores.items()
    }
    facts = {
        "sure": count,
        "found": matched,
        "mAP": {task: {"found": one, "golden": right, "allowed": most} for task, (one, right, most) in points.items()},
    }
    said = f"{matched} of {count} sure detections; mAP " + ", ".join(
        f"{task} {one:.2f} (golden {right:.2f}, ±{most:.1f})" for task, (one, right, most) in points.items()
    )
    is_right = matched >= LEAST_FOUND * count and all(abs(one - right) <= most for one, right, most in points.values())
    if is_right:
        return Check(name, OK, said, facts)
    cause = Cause("postprocess", "where the outputs are right, this host's numpy, OpenCV or pycocotools differ")
    return Check(name, FAIL, f"{said}.", {**facts, CAUSE: asdict(cause)})


def is_found(right: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a detection of the same class, at the same place and of about the same score is there.

    Where both have masks, they are at the same place, too.
    """
    alike = [
        one
        for one in found
        if one["category_id"] == right["category_id"] and abs(one["score"] - right["score"]) <= SAME_SCORE
    ]
    if "segmentation" in right:
        overlaps = coco_mask.iou([one["segmentation"] for one in alike], [right["segmentation"]], [0]) if alike else []
        alike = [one for one, overlap in zip(alike, overlaps) if overlap >= SAME_MASK]
    if not alike:
        return False
    boxes = np.array([corners_of(one["bbox"]) for one in alike])
    return bool(box_iou(np.array([corners_of(right["bbox"])]), boxes).max() >= SAME_BOX)


def _allowed(variant: Variant, precision: str) -> list[Float16Cost]:
    """Return how far each output may be off."""
    if precision == "fp32":
        return [FLOAT32] * len(variant.outputs)
    # The angle grows with the difference, so 1 - cosine with its square.
    return [Float16Cost(1 - MARGIN**2 * (1 - cost.cosine_min), MARGIN * cost.relative) for cost in variant.float16]


def _compare_samples(variant: Variant, outputs: Sequence[np.ndarray]) -> list[OutputDifference]:
    """Compare samples of outputs [N,...] with the golden ones; the largest magnitude is that of the whole output."""
    compared = []
    for name, right, statistics, found in zip(variant.outputs, variant.samples, variant.statistics, outputs):
        compared.append(difference_of_samples(name, right, float(np.abs(statistics[:, 2:]).max()), found))
    return compared


def difference_of_samples(
    name: str, right: Iterable[np.ndarray], largest: float, found: Iterable[np.ndarray]
) -> OutputDifference:
    """Compare an output of some images with samples of the right one, whose largest magnitude is `largest`."""
    difference = difference_of(name, right, [sample(one, OUTPUT_SAMPLES) for one in found])
    return replace(difference, relative=difference.max_abs / largest if largest else difference.max_abs)


def is_close(difference: OutputDifference, allowed: Float16Cost) -> bool:
    """Whether an output is as close as it is allowed to be."""
    is_close = difference.cosine_min >= allowed.cosine_min and difference.relative <= allowed.relative
    return is_close and not difference.not_finite


def describe_differences(differences: Sequence[OutputDifference]) -> str:
    """Say how far outputs are off: the two worst figures, and whose they are."""
    worst = min(differences, key=lambda one: one.cosine_min)
    largest = max(differences, key=lambda one: one.relative)
    return (
        f"lowest cosine {worst.cosine_min:.6f} ({worst.output}), largest difference {largest.relative:.1e} of the "
        f"largest value ({largest.output})"
    )


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(spec.name for spec in specs)
