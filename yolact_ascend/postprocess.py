"""The stage `postprocess`: the outputs that ais_bench wrote -> detections in COCO's format -> mAP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from yolact_ascend.artifacts import TensorSpec, fpn_cut_outputs, output_bin, read_json, read_tensor, write_json
from yolact_ascend.coco import CocoDataset
from yolact_ascend.config import EVALUATION_SETTINGS, DetectionSettings, ModelConfig
from yolact_ascend.detections import Detections, bbox_results, detect, mask_results
from yolact_ascend.errors import ArtifactError
from yolact_ascend.evaluate import Evaluation, evaluate

# The prediction head on the host (heads.HostHeads): P3..P7 of one image, each [256,h,w] -> loc, conf logits, coeffs.
Heads = Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray, np.ndarray]]


def postprocess(
    output_folder: Path,
    heads: Heads,
    config: ModelConfig,
    dataset: CocoDataset,
    image_ids: Sequence[int],
    bbox_file: Path,
    mask_file: Path,
    annotated_only: bool = False,
    settings: DetectionSettings = EVALUATION_SETTINGS,
) -> Evaluation:
    """Detect instances in the outputs of every image, write them as two COCO results files, and score them.

    `<index>_<k>.bin` in `output_folder` belongs to `image_ids[index]` (from `read_ids`); `annotated_only` leaves out
    the images without annotations, as the guide does. Both files are written when all images are done.
    Raises ArtifactError when outputs are missing, of the wrong size, not numbers, or of other images.
    """
    require_outputs_of(output_folder, image_ids)
    sizes = {image.image_id: (image.height, image.width) for image in dataset.select(annotated_only)}
    chosen = [(index, image_id) for index, image_id in enumerate(image_ids) if image_id in sizes]
    if not chosen:
        raise ArtifactError(
            "None of the images in ids.json is annotated, so there is nothing to score. Leave out --annotated_only."
        )
    outputs = fpn_cut_outputs(config)
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    for index, image_id in tqdm(chosen, desc="postprocess", unit="image"):
        found = detect_image(output_folder, index, outputs, heads, *sizes[image_id], settings)
        boxes += bbox_results(found, image_id, config.category_ids)
        masks += mask_results(found, image_id, config.category_ids)
    write_json(bbox_file, boxes, indent=None)
    write_json(mask_file, masks, indent=None)
    return evaluate(dataset.annotations, [image_id for _, image_id in chosen], boxes, masks)


def detect_image(
    output_folder: Path,
    index: int,
    outputs: Sequence[TensorSpec],
    heads: Heads,
    height: int,
    width: int,
    settings: DetectionSettings = EVALUATION_SETTINGS,
) -> Detections:
    """Read the outputs of image `index` and detect its instances at its size in pixels."""
    paths = [output_bin(output_folder, index, k) for k in range(len(outputs))]
    tensors = [read_tensor(path, spec) for path, spec in zip(paths, outputs)]
    source = f"{paths[0]} to {paths[-1].name}"
    remedy = (
        "Compile with precision=fp32 (by hand: atc --precision_mode must_keep_origin_dtype), or export again, then run "
        "`infer`."
    )
    return detect_outputs(tensors, heads, height, width, settings, source, remedy)


def detect_outputs(
    outputs: Sequence[np.ndarray],
    heads: Heads,
    height: int,
    width: int,
    settings: DetectionSettings,
    source: str,
    remedy: str,
) -> Detections:
    """Detect the instances in one image's outputs: the levels P3..P7, each [C,h,w], then the prototypes [h,w,M].

    Raises ArtifactError when values are not finite; `source` names where the outputs are from, `remedy` what to do.
    """
    *levels, protos = outputs
    head_outputs = heads(levels)
    # A float16 overflow on the device would otherwise end as "nothing found", or as a plausible mAP.
    if not all(np.isfinite(values).all() for values in (*head_outputs, protos)):
        raise ArtifactError(
            f"{source} give values that are not finite numbers. Did float16 overflow on the device, or do the weights "
            f"not belong to this model? {remedy}"
        )
    return detect(head_outputs, protos, height, width, settings)


def read_ids(ids_file: Path, dataset: CocoDataset) -> list[int]:
    """Read ids.json, {"ids": [image_id, ...]}: the position of an image's id is the index of its files.

    Raises ArtifactError when it has another form, repeats an image or names one that the annotations do not list.
    """
    data = read_json(ids_file, "the image id of each input, written by preprocess.py")
    ids = data.get("ids") if isinstance(data, dict) else None
    if not isinstance(ids, list) or not ids or not all(type(image_id) is int for image_id in ids):
        raise ArtifactError(
            f'{ids_file} is not what preprocess.py writes: expected {{"ids": [139, 285, ...]}}, a list of image ids. '
            "Run preprocess.py again."
        )
    image_id, repetitions = Counter(ids).most_common(1)[0]
    if repetitions > 1:
        raise ArtifactError(f"{ids_file} lists image {image_id} {repetitions} times. Run preprocess.py again.")
    known = {image.image_id for image in dataset.images}
    unknown = [image_id for image_id in ids if image_id not in known]
    if unknown:
        raise ArtifactError(
            f"{ids_file} lists image {unknown[0]}, which {dataset.annotation_file} does not ({len(unknown)} such). "
            "Was preprocess.py run with another --json_file?"
        )
    return ids


def require_outputs_of(output_folder: Path, image_ids: Sequence[int]) -> None:
    """Raise ArtifactError unless the folder holds the outputs of exactly the images 0..len(image_ids)-1."""
    if not output_folder.is_dir():
        raise ArtifactError(f"There is no folder {output_folder} with the model's outputs. Run `infer` first.")
    expected = {output_bin(output_folder, index, 0).name for index in range(len(image_ids))}
    found = {path.name for path in output_folder.glob("*_0.bin")}
    if found == expected:
        return
    example = min(found ^ expected, key=lambda name: (len(name), name))
    raise ArtifactError(
        f"{output_folder} holds the outputs of {len(found)} images, but ids.json lists {len(expected)} "
        f"({example} is {'missing' if example in expected else 'too many'}). Are they of another run? "
        "Empty the folder and run `infer` again."
    )
