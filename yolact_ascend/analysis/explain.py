"""The `explain_map` verb: one run's mAP under each convention that people trip over, beside the run's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend.analysis import conventions as by
from yolact_ascend.analysis.finished_run import FinishedRun, read_run
from yolact_ascend.analysis.other_scores import EVAL_PY, GUIDE, OtherRules, score_by_other_rules
from yolact_ascend.analysis.second_inference import infer_again, resized_in_uint8, why_resized_once_only
from yolact_ascend.cores import count_cores
from yolact_ascend.detection.average_precision import AveragePrecision, mean_precision
from yolact_ascend.detection.matches import match_results
from yolact_ascend.detection.results import Findings
from yolact_ascend.errors import ArtifactError, DatasetError, ToolError
from yolact_ascend.images.coco import CocoDataset, CocoImage, load_dataset
from yolact_ascend.images.pictures import inspect, verify_annotations
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import Detector
from yolact_ascend.progress import bar
from yolact_ascend.tables import NOT_AVAILABLE, counted, format_number, markdown_table
from yolact_ascend.targets.described import open_detector, read_description

Scores = Mapping[str, "float | None"]  # by task, mAP in percent
ROUNDING = 1e-9  # points by which the run's own scores may differ


@dataclass(frozen=True)
class Row:
    """One convention: what the run does, what others do, and mAP that way; `reason` says why there is none."""

    key: str
    convention: str
    own: str
    other: str
    scores: Scores
    points: Scores  # difference from the run's own
    reason: str = ""


@dataclass(frozen=True)
class Explanation:
    """A run's mAP, and what it would be by other conventions."""

    images: int
    annotated_images: int
    own: Scores
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def explain_run(
    path: Path,
    annotation_file: Path | None = None,
    image_folder: Path | None = None,
    workers: int | None = None,
    infers: bool = True,
) -> Explanation:
    """Score a finished run (`results/bs8`) under each convention; nothing in its folder is changed.

    Its outputs are detected in again; of a stream, which keeps none, the model runs again. `infers` False leaves out
    the row that needs a second inference. Raises ArtifactError, DatasetError and ToolError.
    """
    return _Explained(read_run(path), annotation_file, image_folder, workers or count_cores()).explain(infers)


class _Explained:
    """A run on its way to an `Explanation`."""

    def __init__(self, run: FinishedRun, annotation_file: Path | None, image_folder: Path | None, workers: int) -> None:
        place = run.find_place(annotation_file, image_folder)
        if not place.image_folder.is_dir():
            raise ArtifactError(f"The images of {run.path} are not in {place.image_folder}. Pass --image_path=DIR.")
        description = read_description(run.model)
        dataset, config = verify_annotations(
            load_dataset(place.annotation_file, place.image_folder), description.config
        )
        self.run, self.workers = run, workers
        self.dataset: CocoDataset = dataset
        self.config: ModelConfig = config
        self.detector: Detector = open_detector(run.model, dataclasses.replace(description, config=config))
        self.image_ids = run.image_ids(dataset.annotations)
        listed = {image.image_id: image for image in dataset.images}
        pictures = inspect([listed[image_id] for image_id in self.image_ids])
        self.images: tuple[CocoImage, ...] = pictures.images
        shown = {image.image_id: (height, width) for image, (width, height) in pictures.other_size}
        self.jobs = [
            by.ImageJob(index, (image.height, image.width), shown.get(image.image_id))
            for index, image in enumerate(self.images)
        ]
        if not dataset.is_scored:
            raise DatasetError(f"{place.annotation_file} has no annotations, so there is no mAP to explain.")

    def explain(self, infers: bool) -> Explanation:
        """Compute all rows."""
        found = self._collect(by.Variants(self.detector))
        detected = found[by.OWN]
        own = self._score(detected)
        annotated = {entry["image_id"] for entry in self.dataset.annotations["annotations"]} & set(self.image_ids)
        given = {
            by.ANNOTATED: _row(by.ANNOTATED, own, self._score(detected, sorted(annotated))),
            by.SHOWN_SCORES: _row(by.SHOWN_SCORES, own, self._score(detected, least_score=by.SHOWN_THRESHOLD)),
            by.RESIZE: self._second(own, infers),
            by.EVAL_PY: _row(by.EVAL_PY, own, self._other(detected, EVAL_PY)),
            by.GUIDE: _row(by.GUIDE, own, self._other(detected, GUIDE)),
        }
        rows = [given[key] if key in given else self._detected(key, own, found) for key in by.TEXTS]
        return Explanation(len(self.image_ids), len(annotated), own, tuple(rows), tuple(self._notes(own)))

    def _collect(self, variants: by.Variants) -> dict[str, Findings]:
        """Return what each convention finds in all images."""
        if self.run.is_streamed:
            detected = by.detect_given(variants, infer_again(self.run, self.config, self.images), self.jobs)
        else:
            self.run.require_own_model()
            folder = self.run.folder.outputs(self.run.batch_size)
            detected = by.detect_stored(variants, folder, self.jobs, self.workers)
        names = [*variants.settings, *([by.FILE_SIZE] if by.files_differ(self.jobs) else [])]
        found = {name: Findings(self.config.category_ids) for name in names}
        shown = bar(detected, desc="explain_map", total=len(self.jobs), unit="image")
        for each, image_id in zip(shown, self.image_ids):
            for name in names:
                found[name].add(image_id, by.by_name(each, name))
        return found

    def _score(
        self, found: Findings, image_ids: Sequence[int] | None = None, least_score: float | None = None
    ) -> Scores:
        """Return COCOeval's mAP by task; `least_score` leaves out detections that do not score above it."""
        scored = self.image_ids if image_ids is None else image_ids
        scores: dict[str, float | None] = {}
        for task in self.config.tasks:
            kept = (entry for entry in found.entries(task) if least_score is None or entry["score"] > least_score)
            matches = match_results(self.dataset.annotations, scored, kept, task)
            ones = np.ones((1, len(matches.image_ids)), np.int64)
            value = 100 * mean_precision(AveragePrecision(matches).of_classes(ones)[0]).mean()
            scores[task] = None if np.isnan(value) else float(value)
        return scores

    def _other(self, found: Findings, rules: OtherRules) -> Scores:
        truth = self.dataset.annotations
        return {
            task: score_by_other_rules(truth, self.image_ids, list(found.entries(task)), task, rules)
            for task in self.config.tasks
        }

    def _detected(self, name: str, own: Scores, found: Mapping[str, Findings]) -> Row:
        if name in found:
            return _row(name, own, self._score(found[name]))
        if name == by.FILE_SIZE:
            return _row(name, own, {}, "all image files have the sizes that the annotation file says")
        row = _row(name, own, {}, f"the graph of {self.config.name} decides this")
        return dataclasses.replace(row, own="in the graph")

    def _second(self, own: Scores, infers: bool) -> Row:
        """Return the row of the other resize, by a second inference."""
        reason = why_resized_once_only(self.run, self.config) if infers else "left out (--no_infer)"
        if reason:
            return _row(by.RESIZE, own, {}, reason)
        found = Findings(self.config.category_ids)
        try:
            outputs = infer_again(self.run, self.config, self.images, resized_in_uint8)
            detected = by.detect_given(by.Variants(self.detector, only_own=True), outputs, self.jobs)
            shown = bar(detected, desc="second inference", total=len(self.jobs), unit="image")
            for each, image_id in zip(shown, self.image_ids):
                found.add(image_id, each[by.OWN])
        except (ToolError, ArtifactError) as error:
            return _row(by.RESIZE, own, {}, f"the model cannot run here: {error}")
        return _row(by.RESIZE, own, self._score(found))

    def _notes(self, own: Scores) -> Iterable[str]:
        for task, value in own.items():
            stored = self.run.column(task, "all")
            if stored is not None and value is not None and abs(stored - value) > ROUNDING:
                yield (
                    f"The run's own {task} mAP is {stored:.2f}, and {value:.2f} when it is detected and scored again: "
                    "another version, or another device, made it. The differences are from the latter."
                )
        if self.run.is_streamed:
            yield "The run was streamed and kept no outputs: its model ran again on this host."


def _row(key: str, own: Scores, scores: Scores, reason: str = "") -> Row:
    points: dict[str, float | None] = {}
    for task, value in scores.items():
        before = own[task]
        points[task] = None if value is None or before is None else value - before
    return Row(key, *by.TEXTS[key], scores, points, reason)


def format_explanation(explanation: Explanation, name: str) -> str:
    """Return the table as Markdown; `name` is what to call the run."""
    own = ", ".join(f"{task} {format_number(value)}" for task, value in explanation.own.items())
    tasks, images = list(explanation.own), counted(explanation.images, "image")
    rows = [[row.convention, row.own, row.other, *(_cells(row, task) for task in tasks)] for row in explanation.rows]
    heads = ["convention", "the run", "others", *(f"{task} mAP (points)" for task in tasks)]
    reasons = [f"- {row.convention}, {row.other}: {row.reason}." for row in explanation.rows if row.reason]
    parts = [
        f"{name}: mAP {own} on {images} ({explanation.annotated_images} with annotations)",
        markdown_table(heads, rows),
        *(["\n".join(["Not measured:", *reasons])] if reasons else []),
        *explanation.notes,
    ]
    return "\n\n".join(parts)


def _cells(row: Row, task: str) -> str:
    value, points = row.scores.get(task), row.points.get(task)
    return NOT_AVAILABLE if value is None or points is None else f"{value:.2f} ({points:+.2f})"
