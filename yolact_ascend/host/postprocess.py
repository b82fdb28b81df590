"""The stage `postprocess`: the outputs that ais_bench wrote -> detections in COCO's format -> mAP."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.evaluate import Evaluation, open_scorer, scoring_of, truths_of
from yolact_ascend.detection.image_matches import Matched, Truth, match_timed
from yolact_ascend.detection.results import ResultsFiles
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import read_json
from yolact_ascend.images.coco import CocoDataset
from yolact_ascend.models.family import Detector
from yolact_ascend.progress import bar, clock
from yolact_ascend.targets.compiled import COMPILE_IN_FLOAT32
from yolact_ascend.targets.folder import output_bin
from yolact_ascend.tensors import read_tensor
from yolact_ascend.timings import EVAL, Timings
from yolact_ascend.workers import open_workers, together_of


class Scored(NamedTuple):
    """What a postprocess gives: the scores, and what its host work took."""

    evaluation: Evaluation
    timings: Timings


def postprocess(
    output_folder: Path,
    detector: Detector,
    dataset: CocoDataset,
    image_ids: Sequence[int],
    files: Mapping[str, Path],
    annotated_only: bool = False,
    workers: int = 1,
) -> Scored:
    """Detect instances in the outputs of every image, write them as COCO results files, and score them.

    `<index>_<k>.bin` in `output_folder` belongs to `image_ids[index]` (from `read_ids`); `annotated_only` leaves out
    the images without annotations, as the guide does. `files` are by task, written when all images are done.
    Raises ArtifactError when outputs are missing, of the wrong size, not numbers, or of other images.
    """
    require_outputs_of(output_folder, image_ids)
    sizes = {image.image_id: (image.height, image.width) for image in dataset.select(annotated_only)}
    chosen = [(index, image_id) for index, image_id in enumerate(image_ids) if image_id in sizes]
    if not chosen:
        raise ArtifactError(
            "None of the images in ids.json is annotated, so there is nothing to score. Leave out --annotated_only."
        )
    class_ids, ids = detector.config.category_ids, [image_id for _, image_id in chosen]
    scoring = scoring_of(dataset.truth, files, class_ids)
    truths = truths_of(scoring, dataset.truth, ids)
    jobs = [_Job(output_folder, index, *sizes[image_id], truths.get(image_id)) for index, image_id in chosen]
    workers, timings = min(workers, len(jobs)), Timings()
    with contextlib.ExitStack() as stack:
        results_files = stack.enter_context(ResultsFiles(files, class_ids))
        scorer = stack.enter_context(open_scorer(scoring, ids))
        pool = stack.enter_context(open_workers(workers, _take_detector, detector))
        detected = pool.map(_detect_job, jobs, together_of(len(jobs), workers))
        results = bar(detected, desc="postprocess", unit="image", total=len(jobs))
        for (found, matched, spent), image_id in zip(results, ids):
            results_files.add(image_id, found)
            with timings.timed(EVAL):
                scorer.add(image_id, matched)
            timings.add(spent)
        results_files.finish()
        with timings.timed(EVAL), clock("COCOeval"):
            return Scored(scorer.evaluation(), timings)


class _Job(NamedTuple):
    """The outputs of one image, and what they are scored against."""

    folder: Path
    number: int
    height: int
    width: int
    truth: Truth | None


_detector: Detector  # of this worker


def _take_detector(detector: Detector) -> None:
    global _detector
    _detector = detector


def _detect_job(job: _Job) -> tuple[Detections, Matched | None, Timings]:
    timings = Timings()
    found = detect_image(job.folder, job.number, _detector, job.height, job.width, timings)
    return found, match_timed(job.truth, found, timings), timings


def detect_image(
    output_folder: Path, index: int, detector: Detector, height: int, width: int, timings: Timings
) -> Detections:
    """Read the outputs of image `index` and detect its instances at its size in pixels."""
    paths = [output_bin(output_folder, index, k) for k in range(len(detector.outputs))]
    with timings.timed("read"):
        outputs = [read_tensor(path, spec) for path, spec in zip(paths, detector.outputs)]
    source = f"{paths[0]} to {paths[-1].name}"
    return detector.detect(outputs, height, width, source, f"{COMPILE_IN_FLOAT32}, then run `infer`.", timings)


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
    if not found & expected:
        recognised = _recognise(output_folder)
        if recognised is not None:
            raise ArtifactError(f"{output_folder} does not hold outputs as `infer` writes them. {recognised}")
    example = min(found ^ expected, key=lambda name: (len(name), name))
    raise ArtifactError(
        f"{output_folder} holds the outputs of {len(found)} images, but ids.json lists {len(expected)} "
        f"({example} is {'missing' if example in expected else 'too many'}). Are they of another run? "
        "Empty the folder and run `infer` again."
    )


def _recognise(folder: Path) -> str | None:
    """Return what ais_bench wrote here instead, and what to do; None for what is not known.

    ais_bench without --output_dirname makes a folder named by date and time; with several devices, one for each device;
    with --outfmt, other formats. It names outputs after the input files, and without --input pure_infer_data.
    """
    names = {path.name for path in folder.iterdir()}
    parts = sorted(name for name in names if re.fullmatch(r"device\d+(_\d+)?", name))
    if parts:
        return (
            f"It has a part for each device ({', '.join(parts)}), which ais_bench writes for --device with several "
            f"numbers. Move them together: mv {folder}/device*/*.bin {folder}/"
        )
    inner = sorted(path.parent for path in folder.glob("*/0_0.*"))
    if inner:
        more = f" ({len(inner)} runs; this is the last)" if len(inner) > 1 else ""
        return f"The outputs are in the folder inside it: pass {inner[-1]}{more}."
    for suffix in ("npy", "txt"):
        if any(re.fullmatch(rf".+_\d+\.{suffix}", name) for name in names):
            return f"Its files are .{suffix}, which ais_bench writes with --outfmt {suffix.upper()}. Use --outfmt BIN."
    if any(name.startswith("pure_infer_data") for name in names):
        return "It is of a benchmark: ais_bench ran without --input. Run `infer` on what preprocess.py wrote."
    other = sorted(name for name in names if name.endswith("_0.bin") and not re.fullmatch(r"(0|[1-9]\d*)_0\.bin", name))
    if other:
        return (
            f"{other[0]} is named after an input that preprocess.py does not write: its inputs are <index>.bin. "
            "Run preprocess.py, then `infer`."
        )
    return None
