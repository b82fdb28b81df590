"""The conventions between a model's outputs and its mAP, and detection under each of them, image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, PREDICTION_SETTINGS, DetectionSettings
from yolact_ascend.models.family import DETECTIONS, Detector
from yolact_ascend.models.yolact.cuts import BOXES, HEADS, image_size_px
from yolact_ascend.models.yolact.detect import YolactDetector
from yolact_ascend.targets.compiled import COMPILE_IN_FLOAT32
from yolact_ascend.targets.folder import output_bin
from yolact_ascend.tensors import read_tensor
from yolact_ascend.timings import Timings
from yolact_ascend.workers import open_workers

OWN = "own"  # the run's own conventions
STANDARD_NMS, CUT_LAST, FRACTIONS, LOW_SCORES, MORE, FILE_SIZE = (
    *("standard_nms", "masks_cut_last", "boxes_in_fractions", "low_scores", "200_detections", "size_of_the_file"),
)
LOWER_THRESHOLD, MORE_DETECTIONS = 0.01, 200
SHOWN_THRESHOLD = PREDICTION_SETTINGS.score_threshold


class Text(NamedTuple):
    """A convention in words: what is decided, what a run does, and what others do."""

    convention: str
    own: str
    other: str


# The rows of the table, in order.
ANNOTATED, RESIZE, SHOWN_SCORES, EVAL_PY, GUIDE = "annotated_images", "resize", "shown_scores", "eval_py", "guide"
TEXTS = {
    ANNOTATED: Text("images", "all", "those with annotations, as the guide (4952 of val2017's 5000)"),
    STANDARD_NMS: Text("NMS", "Fast NMS", "standard NMS, class by class"),
    RESIZE: Text("resize of the input", "in float32", "in uint8, as with AIPP or embed=1"),
    CUT_LAST: Text("masks are cut to their box", "before upsampling", "after upsampling"),
    FRACTIONS: Text("box corners", "cut to whole pixels", "fractions of pixels"),
    LOW_SCORES: Text("score threshold", f"{EVALUATION_SETTINGS.score_threshold:g}", f"{LOWER_THRESHOLD:g}"),
    SHOWN_SCORES: Text(
        "score threshold", f"{EVALUATION_SETTINGS.score_threshold:g}", f"{SHOWN_THRESHOLD:g}, as for pictures (predict)"
    ),
    MORE: Text("detections per image", f"{EVALUATION_SETTINGS.max_detections}", f"{MORE_DETECTIONS}"),
    FILE_SIZE: Text("size of boxes and masks", "the annotation file's", "the image file's own"),
    EVAL_PY: Text("AP code", "COCOeval", "YOLACT's eval.py"),
    GUIDE: Text("AP code", "COCOeval", "the guide's postprocess.py"),
}


class ImageJob(NamedTuple):
    """One image: its size by the annotation file, and by its own file (None: the same)."""

    place: int  # of its files among the outputs
    size: tuple[int, int]  # height, width
    file_size: tuple[int, int] | None


@dataclass(frozen=True)
class Variants:
    """Detects under several conventions in the outputs of one image. Goes to other processes whole."""

    detector: Detector
    only_own: bool = False  # only the run's own convention

    @property
    def settings(self) -> dict[str, DetectionSettings]:
        """The settings by convention: those that the graph leaves to the host, for one that detects by itself."""
        own = self.detector.settings
        if self.only_own or not isinstance(self.detector, YolactDetector):
            return {OWN: own}
        behind_nms = {
            OWN: own,
            CUT_LAST: dataclasses.replace(own, cuts_masks_first=False),
            FRACTIONS: dataclasses.replace(own, has_whole_boxes=False),
        }
        if self.detector.cut == DETECTIONS:
            return behind_nms
        size_px = image_size_px(self.detector.config)
        return {
            **behind_nms,
            STANDARD_NMS: dataclasses.replace(own, standard_nms_px=size_px),
            LOW_SCORES: dataclasses.replace(own, score_threshold=LOWER_THRESHOLD),
            MORE: dataclasses.replace(own, max_detections=MORE_DETECTIONS),
        }

    def detect(self, outputs: Sequence[np.ndarray], job: ImageJob, source: str) -> dict[str, Detections]:
        """Return what is found in one image's outputs, by convention; raises ArtifactError for values not finite."""
        given, detector = self._after_heads(outputs)
        remedy = f"{COMPILE_IN_FLOAT32}, then run `infer`."

        def found(settings: DetectionSettings, size: tuple[int, int]) -> Detections:
            chosen = detector
            if isinstance(detector, YolactDetector):
                chosen = dataclasses.replace(detector, settings=settings)
            return chosen.detect(given, *size, source, remedy, Timings())

        by_convention = {name: found(settings, job.size) for name, settings in self.settings.items()}
        if job.file_size is not None and not self.only_own:
            by_convention[FILE_SIZE] = found(self.detector.settings, job.file_size)
        return by_convention

    def _after_heads(self, outputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], Detector]:
        """Run the heads, if the host does, once for all conventions; return what comes behind, and its detector."""
        detector = self.detector
        if not isinstance(detector, YolactDetector) or detector.heads is None:
            return list(outputs), detector
        *levels, protos = outputs
        cut = BOXES if detector.cut == BOXES else HEADS
        return [*detector.heads(levels), protos], dataclasses.replace(detector, cut=cut, heads=None)


def detect_stored(
    variants: Variants, output_folder: Path, jobs: Sequence[ImageJob], workers: int
) -> Iterator[dict[str, Detections]]:
    """Give what is found in the outputs `<index>_<k>.bin` of each image, by convention; raises ArtifactError."""
    work = ((output_folder, job) for job in jobs)
    with open_workers(min(workers, len(jobs)), _take_variants, variants) as pool:
        yield from pool.map(_detect_job, work)


_variants: Variants  # of this worker


def _take_variants(variants: Variants) -> None:
    global _variants
    _variants = variants


def _detect_job(work: tuple[Path, ImageJob]) -> dict[str, Detections]:
    folder, job = work
    specs = _variants.detector.outputs
    paths = [output_bin(folder, job.place, k) for k in range(len(specs))]
    outputs = [read_tensor(path, spec) for path, spec in zip(paths, specs)]
    return _variants.detect(outputs, job, f"{paths[0]} to {paths[-1].name}")


def detect_given(
    variants: Variants, outputs: Iterable[Sequence[np.ndarray]], jobs: Sequence[ImageJob]
) -> Iterator[dict[str, Detections]]:
    """Give what is found in outputs as they come, by convention."""
    for given, job in zip(outputs, jobs):
        yield variants.detect(given, job, "The model's outputs")


def files_differ(jobs: Iterable[ImageJob]) -> bool:
    """Whether any image's file has another size than the annotation file says."""
    return any(job.file_size is not None for job in jobs)


def by_name(found: Mapping[str, Detections], name: str) -> Detections:
    """Return what a convention finds in an image; the run's own where the two do not differ."""
    return found.get(name, found[OWN])
