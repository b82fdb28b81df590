"""The `compare` verb: how far the outputs, and the mAP, of two runs over the same images are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from yolact_ascend.analysis.closeness import DifferenceMeter, OutputDifference
from yolact_ascend.detection.sets import SAME_IOU, Matched, lists_detections, pair_rows
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import read_json
from yolact_ascend.pipeline.records import Records
from yolact_ascend.process import run_line
from yolact_ascend.tables import format_change, format_number, markdown_table
from yolact_ascend.targets.compiled import read_sidecar
from yolact_ascend.targets.folder import (
    WorkFolder,
    ids_file,
    locate_run,
    output_bin,
    sidecar_file,
)
from yolact_ascend.targets.registry import TARGETS
from yolact_ascend.targets.summary import read_timings
from yolact_ascend.tensors import TensorSpec, read_tensor

MAP_COLUMNS = ("all", "50", "75")


@dataclass(frozen=True)
class Side:
    """What one of the two runs is a run of."""

    target: str
    made_for: str  # chip and versions, as the model's side-car states them
    precision: str
    images_per_s: float  # of the device, while it inferred


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side; `scores` maps "box" and "mask" to (first, second) by column, in percent."""

    images: int
    cuts: tuple[str, str]  # of the graph
    outputs: tuple[OutputDifference, ...]  # none where the cuts are not the same; of the detections that both have
    detections: Matched | None  # None where the outputs do not list detections
    scores: dict[str, dict[str, tuple[float | None, float | None]]]
    input_bytes: tuple[int, int]  # of one image
    sides: tuple[Side, Side]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_runs(first: Path, second: Path) -> Comparison:
    """Compare two run folders (`results/bs8`), image by image; images are matched by their COCO id.

    Of runs with another cut only the scores are compared.
    Raises ArtifactError when outputs are missing or of the wrong size, or when the runs have no image in common.
    """
    runs = (_read_run(first), _read_run(second))
    shared = [image_id for image_id in runs[0].indices if image_id in runs[1].indices]
    if not shared:
        raise ArtifactError(
            f"{first} and {second} have no image in common, so there is nothing to compare. "
            "Run both on the same data set (coco=, limit=)."
        )
    cuts = (runs[0].cut, runs[1].cut)
    outputs, detections = _compare_outputs(runs, shared) if cuts[0] == cuts[1] else ((), None)
    return Comparison(
        images=len(shared),
        cuts=cuts,
        outputs=outputs,
        detections=detections,
        scores={
            kind: {column: (value, runs[1].scores[kind][column]) for column, value in columns.items()}
            for kind, columns in runs[0].scores.items()
            if kind in runs[1].scores
        },
        input_bytes=(runs[0].input_bytes, runs[1].input_bytes),
        sides=(runs[0].side, runs[1].side),
    )


def _compare_outputs(
    runs: tuple[_Run, _Run], image_ids: Sequence[int]
) -> tuple[tuple[OutputDifference, ...], Matched | None]:
    """Compare output by output; where they list detections, those that both runs have."""
    first, second = runs
    if first.outputs != second.outputs:
        raise ArtifactError(
            f"{first.path} and {second.path} are of models with other outputs: {_describe(first.outputs)}, and "
            f"{_describe(second.outputs)}. Compare runs of one config and of the same classes."
        )
    meters = [DifferenceMeter(spec.name) for spec in first.outputs]
    names = [spec.name for spec in first.outputs]
    matched = Matched() if lists_detections(names) else None
    for image_id in tqdm(image_ids, desc="compare", unit="image"):
        if matched is None:  # one output at a time: those of an image may be large
            for k, meter in enumerate(meters):
                meter.add(*(run.read_output(image_id, k) for run in runs))
            continue
        *pairs, found = pair_rows(names, *(run.read_outputs(image_id) for run in runs))
        matched += found
        for meter, *pair in zip(meters, *pairs):
            meter.add(*pair)
    return tuple(meter.result() for meter in meters), matched


def _describe(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {list(spec.shape)} {spec.dtype}" for spec in specs)


def format_comparison(comparison: Comparison, names: Sequence[str]) -> str:
    """Return the tables and the inputs' size as Markdown; `names` are what to call the two runs."""
    rows = [
        [d.output, f"{d.cosine_min:.7f}", f"{d.cosine_mean:.7f}", f"{d.max_abs:.3g}", f"{d.relative:.2e}", d.not_finite]
        for d in comparison.outputs
    ]
    heads = ["output", "lowest cosine", "mean cosine", "max-abs", "of largest", "not finite"]
    first, second = comparison.cuts
    outputs = (
        markdown_table(heads, rows)
        if first == second
        else f"They are of cut {first} and cut {second}, whose outputs are not the same; their mAP:"
    )
    scores = [
        [f"{kind} .{column}" if column != "all" else f"{kind} all", *map(format_number, pair), format_change(*pair)]
        for kind, columns in comparison.scores.items()
        for column, pair in columns.items()
    ]
    sides = [
        ["target", *(side.target for side in comparison.sides)],
        ["compiled for", *(side.made_for for side in comparison.sides)],
        ["precision", *(side.precision for side in comparison.sides)],
        ["device images/s", *(format_number(side.images_per_s) for side in comparison.sides)],
    ]
    return "\n\n".join(
        [
            f"{names[1]} against {names[0]}, {comparison.images} images",
            markdown_table(["", *names], sides),
            outputs,
            *_describe_matched(comparison.detections, names),
            markdown_table(["mAP in percent", *names, "difference"], scores),
            f"Bytes of one input: {comparison.input_bytes[0]} and {comparison.input_bytes[1]}",
        ]
    )


def _describe_matched(matched: Matched | None, names: Sequence[str]) -> list[str]:
    if matched is None:
        return []
    return [
        f"Detections: {matched.first} of {names[0]}, {matched.second} of {names[1]}; {matched.both} are in both (same "
        f"class, IoU of {SAME_IOU:g} or more). The outputs are compared on these, whatever their order."
    ]


@dataclass(frozen=True)
class _Run:
    """What one side of a comparison left in its work folder."""

    path: Path  # as the user names it
    folder: WorkFolder
    batch_size: int
    cut: str
    indices: dict[int, int]  # image id -> index in file names
    scores: dict[str, dict[str, float | None]]  # by "box" and "mask", of MAP_COLUMNS
    input_bytes: int  # of one image
    outputs: tuple[TensorSpec, ...]
    side: Side

    def read_output(self, image_id: int, k: int) -> np.ndarray:
        path = output_bin(self.folder.outputs(self.batch_size), self.indices[image_id], k)
        return read_tensor(path, self.outputs[k])

    def read_outputs(self, image_id: int) -> list[np.ndarray]:
        return [self.read_output(image_id, k) for k in range(len(self.outputs))]


def _read_run(path: Path) -> _Run:
    folder, batch_size = locate_run(path)
    records = Records(folder)
    again = run_line(f"bs={batch_size}", f"out={folder.root}")
    inferred = records.load(f"infer bs{batch_size}")
    if inferred is None or inferred.inputs.get("inputs") != records.token("preprocess"):
        raise ArtifactError(
            f"The outputs in {path} are not of the inputs that lie in {folder.inputs} now, so nothing tells which "
            f"image is which. Run it again: {again}, with its other settings."
        )
    model = _find_model(folder, batch_size)
    sidecar = read_sidecar(model)
    if inferred.inputs.get("model_sha256") != sidecar.model_sha256:
        raise ArtifactError(
            f"The outputs in {path} were made by another model than {model}, which was compiled since: "
            f"run it again without stream=1, which writes no outputs: {again}, with its other settings."
        )
    ids = read_json(ids_file(folder.inputs), "the image ids of that run")
    scores = read_json(folder.scores(batch_size), "the scores of that run")
    try:
        return _Run(
            path,
            folder,
            batch_size,
            sidecar.cut,
            {image_id: index for index, image_id in enumerate(ids["ids"])},
            {task: {column: scores[task][column] for column in MAP_COLUMNS} for task in (BOX, MASK) if scores[task]},
            TensorSpec.of_sample(sidecar.input).size_bytes,
            tuple(TensorSpec.of_sample(output) for output in sidecar.outputs),
            Side(
                sidecar.target,
                ", ".join(sidecar.made_for.values()),
                sidecar.precision,
                read_timings(folder.summary(batch_size), folder.log(f"infer_bs{batch_size}")).throughput_images_per_s,
            ),
        )
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"The files of {path} are damaged: {type(error).__name__} {error} in {ids_file(folder.inputs).name} or "
            f"{folder.scores(batch_size).name}. Run it again: force=preprocess,postprocess."
        ) from error


def _find_model(folder: WorkFolder, batch_size: int) -> Path:
    """Return the compiled model that the outputs are from: the newest, where several targets have one."""
    models = [folder.model(batch_size, target.model_suffix) for target in TARGETS.values()]
    present = [model for model in models if sidecar_file(model).is_file()]
    return max(present, key=lambda model: sidecar_file(model).stat().st_mtime_ns) if present else models[0]
