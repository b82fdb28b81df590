"""A finished run as its work folder holds it: model, scores, detections, images, times; staged or streamed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import read_json, sha256_file
from yolact_ascend.images.annotations import read_annotations
from yolact_ascend.images.coco import order_images
from yolact_ascend.images.layout import SPLIT, find_image_folder
from yolact_ascend.pipeline.data_place import DataPlace, read_place
from yolact_ascend.pipeline.records import Record, Records
from yolact_ascend.process import run_line
from yolact_ascend.targets.compiled import SideCar, read_sidecar
from yolact_ascend.targets.folder import WorkFolder, ids_file, locate_run, sidecar_file
from yolact_ascend.targets.registry import TARGETS
from yolact_ascend.targets.summary import DeviceTimings, read_timings

STAGED, STREAMED = "postprocess", "stream"  # the stages that score
SCORE_AGAIN = "Run it again: force=preprocess,postprocess."


@dataclass(frozen=True)
class FinishedRun:
    """What one run left in its work folder, read and checked against its records."""

    path: Path  # as the user names it
    folder: WorkFolder
    batch_size: int
    model: Path
    sidecar: SideCar
    record: Record  # of the stage that scored it
    is_streamed: bool
    scores: Mapping[str, Any]  # scores.json
    report: Mapping[str, Any] | None  # report.json, where it is of this run
    timings: DeviceTimings
    kind: str | None  # of device: "npu", "cpu-emulation", …

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task for task in (BOX, MASK) if self.scores.get(task))

    @property
    def result(self) -> Mapping[str, Any]:
        """The entry of report.json for this batch size; empty where there is none."""
        results = [] if self.report is None else self.report["results"]
        return next((result for result in results if result["batch_size"] == self.batch_size), {})

    def column(self, task: str, name: str) -> float | None:
        """Return the mAP of a task in percent, "all" or at one overlap; raises ArtifactError when it is not there."""
        try:
            value: float | None = self.scores[task][name]
        except (KeyError, TypeError) as error:
            raise _damaged(self.path, self.folder.scores(self.batch_size)) from error
        return value

    def read_results(self, task: str) -> list[dict[str, Any]]:
        """Return a task's detections in COCO's results format."""
        path = self.folder.detections(self.batch_size, (task,))[task]
        return list(read_json(path, "the detections of that run"))

    def find_place(self, annotation_file: Path | None = None, image_folder: Path | None = None) -> DataPlace:
        """Return where the data set of this run lies: as given, else as it noted.

        Raises ArtifactError when the annotation file is missing, or not the one that the run was scored against.
        """
        noted = read_place(self.record, self.folder)
        annotations = annotation_file or (noted and noted.annotation_file)
        if annotations is None:
            raise ArtifactError(
                f"The run in {self.path} does not say where its annotation file lies (an earlier version wrote it). "
                "Pass --json_file=FILE."
            )
        if not annotations.is_file():
            raise ArtifactError(
                f"The annotation file of {self.path} is not at {annotations} any more. Pass --json_file=FILE."
            )
        if sha256_file(annotations) != self.record.inputs.get("annotations_sha256"):
            raise ArtifactError(
                f"{annotations} is not the annotation file that {self.path} was scored against: its content differs. "
                "Pass that one (--json_file=FILE), or run it again."
            )
        if image_folder is None:
            image_folder = noted.image_folder if noted else _guess_images(annotations)
        return DataPlace(image_folder, annotations)

    def image_ids(self, annotations: Mapping[str, Any] | None = None) -> list[int]:
        """Return the ids of the scored images, in the run's order; a stream's are those of the annotation file.

        Raises ArtifactError when the inputs are not of this run any more.
        """
        if self.is_streamed:
            if annotations is None:
                annotations = read_annotations(self.find_place().annotation_file).data
            try:
                failed = set(self.scores["failed"])
                count = self.scores["images"] + len(failed)
            except (KeyError, TypeError) as error:
                raise _damaged(self.path, self.folder.scores(self.batch_size)) from error
            taken = order_images(annotations)[:count]
            return [image_id for image_id in taken if image_id not in failed]
        self.require_own_inputs()
        path = ids_file(self.folder.inputs)
        try:
            return list(read_json(path, "the image ids of that run")["ids"])
        except (KeyError, TypeError) as error:
            raise _damaged(self.path, path) from error

    def require_own_inputs(self) -> None:
        """Raise ArtifactError unless the inputs in the work folder are those that the outputs are of."""
        records = Records(self.folder)
        inferred = records.load(f"infer bs{self.batch_size}")
        if inferred is None or inferred.inputs.get("inputs") != records.token("preprocess"):
            raise ArtifactError(
                f"The outputs in {self.path} are not of the inputs that lie in {self.folder.inputs} now, so nothing "
                f"tells which image is which. Run it again: {self._again()}, with its other settings."
            )

    def require_own_model(self) -> None:
        """Raise ArtifactError unless the outputs were made by the model that lies in the work folder now."""
        inferred = Records(self.folder).load(f"infer bs{self.batch_size}")
        if inferred is None or inferred.inputs.get("model_sha256") != self.sidecar.model_sha256:
            raise ArtifactError(
                f"The outputs in {self.path} were made by another model than {self.model}, which was compiled since: "
                f"run it again without stream=1, which writes no outputs: {self._again()}, with its other settings."
            )

    def _again(self) -> str:
        return run_line(f"bs={self.batch_size}", f"out={self.folder.root}")


def read_run(path: Path) -> FinishedRun:
    """Read a run folder (`results/bs8`); raises ArtifactError without a finished run, or when files are damaged."""
    folder, batch_size = locate_run(path)
    model = _find_model(folder, batch_size)
    sidecar = read_sidecar(model)
    stage, record = _find_record(path, folder, batch_size)
    is_streamed = stage == STREAMED
    scores = read_json(folder.scores(batch_size), "the scores of that run")
    if not (isinstance(scores, dict) and {BOX, MASK} <= scores.keys()):
        raise _damaged(path, folder.scores(batch_size))
    if is_streamed:
        timings = read_timings(folder.stream_summary(batch_size))
    else:
        timings = read_timings(folder.summary(batch_size), folder.log(f"infer_bs{batch_size}"))
    run = FinishedRun(
        *(path, folder, batch_size, model, sidecar, record, is_streamed, scores),
        *(_find_report(folder, batch_size, is_streamed), timings, _find_kind(folder, batch_size, record)),
    )
    if not is_streamed:
        run.require_own_inputs()
    return run


def _guess_images(annotation_file: Path) -> Path:
    """Return the folder with the images of a COCO folder; where none is found, the first place of it."""
    coco = annotation_file.parent.parent
    try:
        return find_image_folder(coco)
    except DatasetError:
        return coco / SPLIT


def _damaged(path: Path, file: Path) -> ArtifactError:
    return ArtifactError(f"The files of {path} are damaged: {file} is not what a run writes. {SCORE_AGAIN}")


def _find_record(path: Path, folder: WorkFolder, batch_size: int) -> tuple[str, Record]:
    """Return the stage that wrote the scores, and its record; where both have run, by the state of the file."""
    records = Records(folder)
    scores = folder.scores(batch_size)
    found = [(stage, records.load(f"{stage} bs{batch_size}")) for stage in (STAGED, STREAMED)]
    done = [(stage, record) for stage, record in found if record is not None]
    state = records.describe([scores])
    own = [each for each in done if state.items() <= each[1].outputs.items()]
    if not done or (len(done) > 1 and not own):
        copied = ", or the folder was copied without the times of its files (cp -a keeps them)" if done else ""
        raise ArtifactError(
            f"{path} holds no finished run: its scores were not written to the end{copied}. Complete it: "
            f"{run_line(f'bs={batch_size}', f'out={folder.root}')}, with its other settings."
        )
    return (own or done)[0]


def _find_report(folder: WorkFolder, batch_size: int, is_streamed: bool) -> dict[str, Any] | None:
    """Return report.json where it is of this run: a folder keeps that of its last run only."""
    with contextlib.suppress(ArtifactError, KeyError, TypeError):
        report = read_json(folder.report_json, "the report of that run")
        sizes = [result["batch_size"] for result in report["results"]]
        if report["mode"] == "full" and report["stream"] == is_streamed and batch_size in sizes:
            return dict(report)
    return None


def _find_kind(folder: WorkFolder, batch_size: int, record: Record) -> str | None:
    """Return what kind of device ran the model, as the record of the stage that ran it has it."""
    ran = Records(folder).load(f"infer bs{batch_size}") if "tools" not in record.inputs else record
    tools = {} if ran is None else ran.inputs.get("tools", {})
    return tools.get("kind") if isinstance(tools, dict) else None


def _find_model(folder: WorkFolder, batch_size: int) -> Path:
    """Return the compiled model that the results are from: the newest, where several targets have one."""
    models = [folder.model(batch_size, target.model_suffix) for target in TARGETS.values()]
    present = [model for model in models if sidecar_file(model).is_file()]
    return max(present, key=lambda model: sidecar_file(model).stat().st_mtime_ns) if present else models[0]
