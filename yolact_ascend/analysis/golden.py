"""The golden values that the repository ships: what the demo network computes for 16 scenes, stage by stage.

`golden/` holds the scenes, their annotations, and the values: SHA-256 sums of the inputs, samples and statistics of the
outputs in float32, detections, mAP, and what float16 costs on the stand-ins. scripts/golden.py makes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import atomic_path, how_to_restore, read_json, sha256_file, shipped, write_json

SCHEMA = 1
GOLDEN = shipped("golden")
REMEDY = f"Restore the folder golden/ of yolact-ascend ({how_to_restore('golden')})."
INPUT_SAMPLES, OUTPUT_SAMPLES = 64, 256  # of each image
_GOLDEN_RATIO = 0.6180339887498949  # its multiples spread evenly over any length


@dataclass(frozen=True)
class Float16Cost:
    """How far an output is from float32 when the stand-ins compute it in float16."""

    cosine_min: float  # of the image that is worst
    relative: float  # largest difference over the largest magnitude


@dataclass(frozen=True)
class Variant:
    """The golden values of one value of `embed=`; arrays have one row an image."""

    input_sha256: tuple[str, ...]
    input_samples: np.ndarray  # [N,INPUT_SAMPLES]
    outputs: tuple[str, ...]  # names
    samples: tuple[np.ndarray, ...]  # of each output, [N,OUTPUT_SAMPLES]
    statistics: tuple[np.ndarray, ...]  # of each output, [N,4]: mean, standard deviation, lowest, highest
    float16: tuple[Float16Cost, ...]  # of each output
    detections: tuple[tuple[dict[str, Any], ...], ...]  # of each image: class, box, score
    scores: Mapping[str, float]  # mAP in percent, by task
    float16_scores: Mapping[str, float]  # the same on the stand-ins

    @property
    def count(self) -> int:
        return len(self.input_sha256)


@dataclass(frozen=True)
class Golden:
    """What is in the folder."""

    folder: Path
    images: tuple[str, ...]  # file names, in the order of the indices, which is the annotations', not the images'
    ids: tuple[int, ...]  # of the images
    pixels_sha256: tuple[str, ...]  # of the decoded images
    weights_sha256: str
    variants: Mapping[str, Variant]  # by the value of `embed=`

    @property
    def image_folder(self) -> Path:
        return image_folder(self.folder)

    @property
    def annotations(self) -> Path:
        return annotation_file(self.folder)


def image_folder(folder: Path) -> Path:
    """Where the scenes are."""
    return folder / "images"


def annotation_file(folder: Path) -> Path:
    """The scenes' annotations, in COCO's format."""
    return folder / "annotations.json"


def read_golden(folder: Path = GOLDEN) -> Golden:
    """Read the golden values; raises ArtifactError when files are missing or damaged."""
    try:
        values = read_json(_values_file(folder), "the golden values of `verify`")
    except ArtifactError as error:
        raise ArtifactError(f"{error} {REMEDY}") from error
    try:
        if values["schema"] != SCHEMA or sha256_file(_arrays_file(folder)) != values["arrays_sha256"]:
            raise ValueError(f"{_arrays_file(folder).name} is not the file that {_values_file(folder).name} names")
        with np.load(_arrays_file(folder)) as file:
            arrays = {name: file[name] for name in file.files}
        variants = {
            embed: Variant(
                tuple(found["input_sha256"]),
                arrays[f"embed{embed} input"],
                tuple(found["outputs"]),
                tuple(arrays[f"embed{embed} {name} samples"] for name in found["outputs"]),
                tuple(arrays[f"embed{embed} {name} statistics"] for name in found["outputs"]),
                tuple(Float16Cost(**cost) for cost in found["float16"]),
                tuple(tuple(image) for image in found["detections"]),
                found["scores"],
                found["float16_scores"],
            )
            for embed, found in values["variants"].items()
        }
        return Golden(
            folder,
            tuple(values["images"]),
            tuple(values["ids"]),
            tuple(values["pixels_sha256"]),
            values["weights_sha256"],
            variants,
        )
    except KeyError as error:
        raise ArtifactError(f"The golden values in {folder} are damaged: there is no {error}. {REMEDY}") from error
    except (ArtifactError, TypeError, ValueError, OSError) as error:
        raise ArtifactError(f"The golden values in {folder} are damaged: {str(error).rstrip('.')}. {REMEDY}") from error


def write_golden(golden: Golden, made_with: Mapping[str, Any]) -> None:
    """Write the values beside the images and annotations that lie in the folder already."""
    arrays: dict[str, np.ndarray] = {}
    variants = {}
    for embed, variant in golden.variants.items():
        arrays[f"embed{embed} input"] = variant.input_samples
        for name, samples, statistics in zip(variant.outputs, variant.samples, variant.statistics):
            arrays[f"embed{embed} {name} samples"] = samples
            arrays[f"embed{embed} {name} statistics"] = statistics
        variants[embed] = {
            "input_sha256": variant.input_sha256,
            "outputs": variant.outputs,
            "float16": [asdict(cost) for cost in variant.float16],
            "scores": variant.scores,
            "float16_scores": variant.float16_scores,
            "detections": variant.detections,
        }
    path = _arrays_file(golden.folder)
    with atomic_path(path) as temporary, temporary.open("r+b") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stubs take the names for options
    values = {
        "schema": SCHEMA,
        "made_with": made_with,
        "weights_sha256": golden.weights_sha256,
        "arrays_sha256": sha256_file(path),
        "images": golden.images,
        "ids": golden.ids,
        "pixels_sha256": golden.pixels_sha256,
        "variants": variants,
    }
    write_json(_values_file(golden.folder), values, indent=1)


def sample(values: np.ndarray, count: int) -> np.ndarray:
    """Return `count` values of a tensor, spread over it: always the same positions for the same size."""
    flat = values.reshape(-1)
    return flat[((np.arange(count) * _GOLDEN_RATIO) % 1 * flat.size).astype(np.int64)]


def statistics_of(values: np.ndarray) -> np.ndarray:
    """Return mean, standard deviation, lowest and highest value of a tensor."""
    wide = values.astype(np.float64)
    return np.array([wide.mean(), wide.std(), wide.min(), wide.max()])


def sha256_of(values: np.ndarray) -> str:
    """Return the SHA-256 of a tensor's bytes."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def detections_by_image(entries: Sequence[Mapping[str, Any]], ids: Sequence[int], least: float) -> list[list[dict]]:
    """Return entries of COCO's results format by image, those with a score of `least` or more, best first."""
    found: dict[int, list[dict]] = {image_id: [] for image_id in ids}
    for entry in entries:
        if entry["score"] >= least:
            found[entry["image_id"]].append({key: entry[key] for key in ("category_id", "bbox", "score")})
    return [sorted(found[image_id], key=lambda entry: -entry["score"]) for image_id in ids]


def _values_file(folder: Path) -> Path:
    return folder / "golden.json"


def _arrays_file(folder: Path) -> Path:
    return folder / "golden.npz"
