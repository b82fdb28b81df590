"""The `compare` verb: how far the outputs, the mAP and the speeds of two runs over the same images are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend.analysis.bootstrap import LEVEL_PERCENT, SAMPLES
from yolact_ascend.analysis.closeness import DifferenceMeter, OutputDifference
from yolact_ascend.analysis.finished_run import FinishedRun, read_run
from yolact_ascend.analysis.paired import PairedTask, pair_scores
from yolact_ascend.analysis.run_differences import Speed, compare_speeds, describe_limits, differing_settings
from yolact_ascend.detection.sets import Matched, lists_detections, pair_rows
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.images.annotations import read_annotations
from yolact_ascend.progress import bar
from yolact_ascend.targets.folder import output_bin
from yolact_ascend.tensors import TensorSpec, read_tensor

MAP_COLUMNS = ("all", "50", "75")


@dataclass(frozen=True)
class Side:
    """What one of the two runs is a run of."""

    target: str
    made_for: str  # chip and versions, as the model's side-car states them
    precision: str
    images_per_s: float  # of the device, while it inferred
    way: str  # "staged" or "streamed"


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side; `scores` maps "box" and "mask" to (first, second) by column, in percent."""

    images: int
    cuts: tuple[str, str]  # of the graph
    outputs: tuple[OutputDifference, ...]  # none where `apart` says why; of the detections that both have
    detections: Matched | None  # None where the outputs do not list detections
    scores: dict[str, dict[str, tuple[float | None, float | None]]]  # of each run's own images
    input_bytes: tuple[int, int]  # of one image
    sides: tuple[Side, Side]
    paired: dict[str, PairedTask]  # on the images that both have; empty where `unpaired` says why
    unpaired: str
    apart: str  # why the outputs are not compared
    settings: dict[str, tuple[Any, Any]]  # what differs
    speeds: tuple[Speed, ...]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        own = ("images", "cuts", "scores", "input_bytes", "unpaired", "apart", "settings", "notes")
        return {
            **{name: getattr(self, name) for name in own},
            "outputs": [asdict(output) for output in self.outputs],
            "detections": self.detections and asdict(self.detections),
            "sides": [asdict(side) for side in self.sides],
            "level_percent": LEVEL_PERCENT,
            "paired": {name: task.to_json() for name, task in self.paired.items()},
            "speeds": [speed.to_json() for speed in self.speeds],
        }


def compare_runs(
    first: Path,
    second: Path,
    annotation_file: Path | None = None,
    samples: int = SAMPLES,
    names: tuple[str, str] | None = None,
) -> Comparison:
    """Compare two run folders (`results/bs8`), image by image; images are matched by their COCO id.

    Outputs are compared where both runs have them, at the same cut. `annotation_file` is for runs that do not say
    where theirs lies; intervals come from so many `samples`.
    Raises ArtifactError when files are missing or damaged, or when the runs have no image in common.
    """
    runs = (read_run(first), read_run(second))
    names = names or (str(first), str(second))
    annotations, unpaired = _find_annotations(runs, annotation_file)
    shared = _shared_images(runs, annotations)
    cuts = (runs[0].sidecar.cut, runs[1].sidecar.cut)
    apart = _why_outputs_differ(runs)
    outputs, detections = ((), None) if apart else _compare_outputs(runs, shared)
    return Comparison(
        images=len(shared),
        cuts=cuts,
        outputs=outputs,
        detections=detections,
        scores=_pair_columns(runs),
        input_bytes=(_input_bytes(runs[0]), _input_bytes(runs[1])),
        sides=(_side(runs[0]), _side(runs[1])),
        paired={} if annotations is None else pair_scores(runs, annotations, shared, samples),
        unpaired=unpaired,
        settings=differing_settings(*runs),
        apart=apart,
        speeds=compare_speeds(*runs),
        notes=describe_limits(*runs, names),
    )


def _find_annotations(
    runs: tuple[FinishedRun, FinishedRun], annotation_file: Path | None
) -> tuple[Mapping[str, Any] | None, str]:
    """Return the annotation file's content that both runs were scored against; None and the reason without one."""
    first, second = (run.record.inputs.get("annotations_sha256") for run in runs)
    if first != second:
        return None, "The runs were scored against annotation files of different content."
    if first is None:
        return None, "The runs do not say which annotation file they were scored against: run them again."
    errors = []
    for run in runs:
        try:
            found = read_annotations(run.find_place(annotation_file).annotation_file)
            return (found.data, "") if found.is_scored else (None, "The annotation file has no annotations.")
        except (ArtifactError, DatasetError) as error:
            errors.append(str(error))
    if annotation_file is not None:
        raise ArtifactError(errors[0])
    return None, errors[0]


def _shared_images(runs: tuple[FinishedRun, FinishedRun], annotations: Mapping[str, Any] | None) -> list[int]:
    """Return the images that both runs scored, in the first one's order; raises ArtifactError when there are none."""
    first, second = (run.image_ids(annotations) for run in runs)
    others = set(second)
    shared = [image_id for image_id in first if image_id in others]
    if not shared:
        raise ArtifactError(
            f"{runs[0].path} and {runs[1].path} have no image in common, so there is nothing to compare. "
            "Run both on the same data set (coco=, limit=)."
        )
    return shared


def _pair_columns(runs: tuple[FinishedRun, FinishedRun]) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    first, second = runs
    tasks = [task for task in first.tasks if task in second.tasks]
    return {
        task: {column: (first.column(task, column), second.column(task, column)) for column in MAP_COLUMNS}
        for task in tasks
    }


def _input_bytes(run: FinishedRun) -> int:
    return TensorSpec.of_sample(run.sidecar.input).size_bytes


def _side(run: FinishedRun) -> Side:
    made_for = ", ".join(run.sidecar.made_for.values())
    way = "streamed" if run.is_streamed else "staged"
    return Side(run.sidecar.target, made_for, run.sidecar.precision, run.timings.throughput_images_per_s, way)


def _why_outputs_differ(runs: tuple[FinishedRun, FinishedRun]) -> str:
    """Return why two runs' outputs cannot be compared; "" where they can."""
    if any(run.is_streamed for run in runs):
        return "a streamed run writes none"
    first, second = (run.sidecar.cut for run in runs)
    if first != second:
        return f"they are of cut {first} and cut {second}, whose outputs are not the same"
    specs = [_outputs_of(run) for run in runs]
    if specs[0] != specs[1]:
        return f"the models have other outputs: {_describe(specs[0])}, and {_describe(specs[1])}"
    return ""


def _outputs_of(run: FinishedRun) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec.of_sample(output) for output in run.sidecar.outputs)


def _compare_outputs(
    runs: tuple[FinishedRun, FinishedRun], image_ids: Sequence[int]
) -> tuple[tuple[OutputDifference, ...], Matched | None]:
    """Compare output by output; where they list detections, those that both runs have."""
    first, second = (_Outputs(run) for run in runs)
    meters = [DifferenceMeter(spec.name) for spec in first.specs]
    names = [spec.name for spec in first.specs]
    matched = Matched() if lists_detections(names) else None
    for image_id in bar(image_ids, desc="compare", unit="image"):
        if matched is None:  # one output at a time: those of an image may be large
            for k, meter in enumerate(meters):
                meter.add(*(outputs.read(image_id, k) for outputs in (first, second)))
            continue
        *pairs, found = pair_rows(names, *(outputs.read_all(image_id) for outputs in (first, second)))
        matched += found
        for meter, *pair in zip(meters, *pairs):
            meter.add(*pair)
    return tuple(meter.result() for meter in meters), matched


def _describe(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {list(spec.shape)} {spec.dtype}" for spec in specs)


class _Outputs:
    """The outputs of a staged run, by image id."""

    def __init__(self, run: FinishedRun) -> None:
        run.require_own_model()
        self.run = run
        self.specs = _outputs_of(run)
        self._indices = {image_id: index for index, image_id in enumerate(run.image_ids())}

    def read(self, image_id: int, k: int) -> np.ndarray:
        path = output_bin(self.run.folder.outputs(self.run.batch_size), self._indices[image_id], k)
        return read_tensor(path, self.specs[k])

    def read_all(self, image_id: int) -> list[np.ndarray]:
        return [self.read(image_id, k) for k in range(len(self.specs))]
