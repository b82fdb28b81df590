"""Score the same model outputs with the guide's postprocess.py and with ours, and explain every difference.

    python benchmarks/compare_with_guide.py --guide DIR --upstream DIR --coco DIR [--images N]

DIR of --guide is ACL_PyTorch/built-in/cv/YolactEdge_for_PyTorch of Ascend/ModelZoo-PyTorch (preprocess.py,
postprocess.py), DIR of --upstream a checkout that scripts/apply_patch.sh has patched. The guide's files run unedited,
each time in a fresh process; only functions in its memory are replaced, and each step below names them.

The outputs are not a trained network's but the test oracle's: they decode to the annotations, with boxes shifted,
classes mistaken, instances dropped and invented, so that the tables mean something (tests/oracle.py).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

import oracle  # noqa: E402  (needs the paths above)
from pycocotools.coco import COCO  # noqa: E402
from pycocotools.cocoeval import COCOeval  # noqa: E402

from yolact_ascend.analysis.other_scores import GUIDE, score_by_other_rules  # noqa: E402
from yolact_ascend.detection.evaluate import IOU_TYPES, format_table  # noqa: E402
from yolact_ascend.detection.tasks import BOX, MASK  # noqa: E402
from yolact_ascend.files import write_json  # noqa: E402
from yolact_ascend.host.postprocess import postprocess, read_ids  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, load_dataset  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.models.config import DEFAULT_CONFIG, get_config  # noqa: E402
from yolact_ascend.models.detector import load_detector  # noqa: E402
from yolact_ascend.models.labels import COCO_CATEGORY_IDS  # noqa: E402
from yolact_ascend.models.yolact.cuts import FPN, cut_outputs  # noqa: E402
from yolact_ascend.targets.folder import output_bin  # noqa: E402

TOLERANCE = 0.01  # percent points: the last digit that the guide prints
PERCENT = [n / 100 for n in range(101)]

# What differs by construction, in the order in which it is taken away from the guide.
ADJUSTMENTS = {
    "classes": "a class without ground truth is left out of the mean (the guide: AP 0 as soon as it is detected)",
    "tiny": "an object thinner than 4/550 of the image counts (the guide: its transform for training discards it)",
    "crowds": "a crowd keeps its class, so detections in it are ignored (the guide: class -1, so they are false)",
    "threshold": "an IoU equal to the threshold is a match (the guide: only above it)",
}

Table = dict[str, dict[str, float]]  # "box", "mask" -> "all", "50" .. "95" -> percent


@dataclass(frozen=True)
class GuideRun:
    """One run of the guide's postprocess.py: its files, its arguments, and the names of the adjustments."""

    guide: Path
    upstream: Path
    annotation_file: Path
    arguments: tuple[str, ...]
    adjustments: tuple[str, ...]


def main() -> int:
    """Compare in a temporary folder; returns the exit code."""
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return compare(args, Path(folder))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guide", type=Path, required=True, help="folder of the guide's scripts")
    parser.add_argument("--upstream", type=Path, required=True, help="patched checkout of yolact_edge")
    parser.add_argument("--coco", type=Path, required=True, help="COCO folder with val2017 and annotations")
    parser.add_argument("--images", type=int, help="only the first N images (default: all)")
    parser.add_argument("--config", default=DEFAULT_CONFIG)
    return parser.parse_args()


def compare(args: argparse.Namespace, work: Path) -> int:
    """Score both ways in the folder `work`, print the tables and steps; 0 when they end in the same table."""
    image_folder, annotation_file = find_split(args.coco)
    dataset = load_dataset(annotation_file, image_folder)
    if args.images is not None:
        annotation_file = write_first_images(dataset, args.images, work / "instances.json")
        dataset = load_dataset(annotation_file, image_folder)
    config = get_config(args.config)
    weights = oracle.save_weights(work / "weights.pth", config)
    detector = load_detector(weights, config, FPN)

    common = (f"--image_path={image_folder}", f"--json_file={annotation_file}")
    preprocess = GuideRun(args.guide, args.upstream, annotation_file, (*common, f"--save_path={work / 'guide'}"), ())
    run_in_fresh_process(run_guide_preprocess, [preprocess])
    guide_ids = read_ids(work / "guide" / "ids.json", dataset)
    our_ids = [image.image_id for image in dataset.images]
    write_json(work / "ids.json", {"ids": our_ids})
    print(f"The guide's ids.json: {len(guide_ids)} images; ours: {len(our_ids)}, which ", end="")
    print("begin with the same." if our_ids[: len(guide_ids)] == guide_ids else "are IN ANOTHER ORDER.")

    outputs = work / "output"
    oracle.write_outputs(outputs, dataset, our_ids, config, oracle.NOISY)
    files = {BOX: work / "bbox_detections.json", MASK: work / "mask_detections.json"}
    ours = postprocess(outputs, detector, dataset, our_ids, files, annotated_only=True).evaluation
    tensors = len(cut_outputs(config, FPN))
    guide_outputs = link_outputs(outputs, work / "guide_output", len(guide_ids), tensors)
    ours_on_theirs = postprocess(guide_outputs, detector, dataset, guide_ids, files).evaluation
    found = {entry["image_id"] for entry in json.loads(files[BOX].read_text())}
    print(f"Noise: {oracle.NOISY}; nothing is found in {len(set(guide_ids) - found)} of {ours.images} images.")
    print("Ours, --annotated_only, on our outputs and ids.json:", format_table(ours), sep="\n")
    same = ours_on_theirs == ours
    print(f"Ours, on outputs named by the guide's ids.json: {'the same' if same else 'ANOTHER RESULT'}.\n")

    model = (f"--config={args.config}", f"--trained_model={weights}")
    arguments = (*common, *model, f"--file_path={outputs}", f"--ids_path={work / 'ids.json'}")
    names = tuple(ADJUSTMENTS)
    runs = [GuideRun(args.guide, args.upstream, annotation_file, arguments, names[:n]) for n in range(len(names) + 1)]
    printed = run_in_fresh_process(run_guide_postprocess, runs)
    official: Table = {
        task: {name: value for name, value in score.table.items() if value is not None}
        for task, score in ours.scores.items()
    }
    on_grid = score_on_guides_grid(dataset, guide_ids, files)
    report_steps(printed, official, on_grid)
    rest = largest_difference(parse_table(printed[-1]), on_grid)
    explained = max(
        abs(parse_table(printed[0])[task]["all"] - (score_as_guide(dataset, guide_ids, task, file) or 0))
        for task, file in files.items()
    )
    print(
        f"parity: mAP by the guide's postprocess.py differs from explain_map's of its rules by {explained:.2f} points"
    )
    agree = same and max(rest, explained) <= TOLERANCE
    print("These steps explain the whole difference." if agree else "A DIFFERENCE REMAINS.")
    print(
        f"parity: {len(guide_ids)} images; mAP differs by {largest_difference(parse_table(printed[0]), official):.2f} "
        f"percent points at most, by {rest:.2f} after {len(ADJUSTMENTS) + 1} stated steps"
    )
    return 0 if agree else 1


def report_steps(printed: Sequence[str], official: Table, on_grid: Table) -> None:
    """Print each of the guide's tables with its largest distance from ours in any cell."""
    titles = ["The guide, as it is (an image without detections gives no detections instead of a crash)"]
    titles += [f"+ {description}" for description in ADJUSTMENTS.values()]
    for step, (title, table) in enumerate(zip(titles, printed)):
        print(f"{step}. {title}:", table, sep="\n")
        print(f"   largest difference from ours: {largest_difference(parse_table(table), official):.2f}\n")
    print(
        f"{len(titles)}. + COCOeval with the guide's thresholds, n / 100, for IoU and recall (its own: numpy.linspace,"
    )
    print(f"   which differs in the last bit): moves ours by {largest_difference(on_grid, official):.4f} at most")
    rest = largest_difference(parse_table(printed[-1]), on_grid)
    print(f"   largest difference that remains: {rest:.2f}\n")


def write_first_images(dataset: CocoDataset, count: int, path: Path) -> Path:
    """Write an annotation file of the first images of a data set."""
    kept = {image.image_id for image in dataset.select(limit=count)}
    data = dataset.annotations
    images = [image for image in data["images"] if image["id"] in kept]
    annotations = [annotation for annotation in data["annotations"] if annotation["image_id"] in kept]
    write_json(path, {**data, "images": images, "annotations": annotations}, indent=None)
    return path


def link_outputs(source: Path, folder: Path, count: int, tensors: int) -> Path:
    """Link the outputs of the first `count` images, each with so many tensors, into another folder."""
    folder.mkdir()
    for index in range(count):
        for k in range(tensors):
            output_bin(folder, index, k).symlink_to(output_bin(source, index, k))
    return folder


def score_on_guides_grid(dataset: CocoDataset, image_ids: list[int], files: dict[str, Path]) -> Table:
    """Score results with COCOeval, its IoU and recall thresholds written as n / 100."""
    tables = {}
    for task, iou_type in IOU_TYPES.items():
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(dataset.annotation_file))
            scorer = COCOeval(truth, truth.loadRes(str(files[task])), iou_type)
            scorer.params.imgIds = sorted(image_ids)
            scorer.params.iouThrs = np.array(PERCENT[50:100:5])
            scorer.params.recThrs = np.array(PERCENT)
            scorer.evaluate()
            scorer.accumulate()
        precision = scorer.eval["precision"][:, :, :, 0, -1]  # [IoU,recall,class]
        means = 100 * precision[:, :, precision[0, 0] > -1].mean(axis=(1, 2))
        tables[task] = {"all": means.mean(), **dict(zip(map(str, range(50, 100, 5)), means))}
    return tables


def score_as_guide(dataset: CocoDataset, image_ids: list[int], task: str, file: Path) -> float | None:
    """Return the mAP that `explain_map` states for the guide's program."""
    results = json.loads(file.read_text())
    return score_by_other_rules(dataset.annotations, image_ids, results, task, GUIDE)


def largest_difference(table: Table, other: Table) -> float:
    """Return the largest difference of two cells, rounded as the guide prints them."""
    return max(abs(round(table[kind][name], 2) - round(other[kind][name], 2)) for kind in table for name in table[kind])


def parse_table(text: str) -> Table:
    """Read the guide's printed table."""
    rows = [[cell.strip() for cell in line.split("|")[:-1]] for line in text.splitlines() if "|" in line]
    names = [name.lstrip(".") for name in rows[0][1:]]
    return {row[0]: dict(zip(names, map(float, row[1:]))) for row in rows[1:]}


def run_in_fresh_process(function: Any, runs: list[GuideRun]) -> list[Any]:
    """Call the function for each run in a process of its own: upstream's config is global."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.map(function, runs, chunksize=1)


def run_guide_preprocess(run: GuideRun) -> None:
    """Run the guide's preprocess.py."""
    with contextlib.redirect_stdout(sys.stderr):  # pycocotools prints its progress, and our tables go to stdout
        execute_guide(run, "preprocess.py", {})


def run_guide_postprocess(run: GuideRun) -> str:
    """Run the guide's postprocess.py with a guard against empty images and the adjustments; return what it prints."""
    sys.path.insert(0, str(run.upstream))
    import torch
    from eval import APDataObject
    from yolact_edge.data import COCODetection, cfg, set_cfg
    from yolact_edge.layers.box_utils import jaccard
    from yolact_edge.layers.output_utils import postprocess as upstream_postprocess

    def guarded(detections: list, w: int, h: int, **options: Any) -> Any:
        if detections[0] is None:
            return torch.zeros(0), torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, h, w)
        return upstream_postprocess(detections, w, h, **options)

    class PresentClasses(APDataObject):
        def is_empty(self) -> bool:
            return self.num_gt_positives == 0

    def at_least(iou: Any) -> Any:
        return lambda *arguments, **options: iou(*arguments, **options) + 1e-6  # more than float32 rounds, too

    def set_cfg_for_all_sizes(name: str) -> None:
        set_cfg(name)
        cfg.discard_box_width = cfg.discard_box_height = 0

    replaced: dict[str, Any] = {"postprocess": lambda _: guarded}
    if "classes" in run.adjustments:
        replaced["APDataObject"] = lambda _: PresentClasses
    if "tiny" in run.adjustments:
        replaced["set_cfg"] = lambda _: set_cfg_for_all_sizes
    if "threshold" in run.adjustments:
        replaced |= {"mask_iou": at_least, "bbox_iou": lambda _: at_least(jaccard)}
    if "crowds" in run.adjustments:
        COCODetection.pull_item = keep_crowd_classes(COCODetection.pull_item, run.annotation_file)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        execute_guide(run, "postprocess.py", replaced)
    # pycocotools prints, too; the table is what has columns.
    return "\n".join(line for line in printed.getvalue().splitlines() if line.endswith(("|", "+")))


def keep_crowd_classes(pull_item: Any, annotation_file: Path) -> Any:
    """Wrap upstream's `COCODetection.pull_item` so that crowds, which come last, have their class instead of -1."""
    crowds: dict[int, list[int]] = {}
    for annotation in json.loads(annotation_file.read_text())["annotations"]:
        if annotation["iscrowd"]:
            class_id = COCO_CATEGORY_IDS.index(annotation["category_id"])
            crowds.setdefault(annotation["image_id"], []).append(class_id)

    def wrapped(self: Any, index: int) -> Any:
        image, target, masks, height, width, count = pull_item(self, index)
        if count:
            target[-count:, 4] = crowds[self.ids[index]]
        return image, target, masks, height, width, count

    return wrapped


def execute_guide(run: GuideRun, script: str, replaced: dict[str, Any]) -> None:
    """Run a script as its `python script` would, its functions replaced just before its main part."""
    if str(run.upstream) not in sys.path:
        sys.path.insert(0, str(run.upstream))
    path = run.guide / script
    tree = ast.parse(path.read_text(), str(path))
    definitions, main_part = tree.body[:-1], tree.body[-1:]
    if not isinstance(main_part[0], ast.If):
        raise SystemExit(f"{path} does not end in `if __name__ == '__main__':`; is it the guide's?")
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    sys.argv = [script, *run.arguments]
    exec(compile(ast.Module(definitions, []), str(path), "exec"), namespace)
    for name, replacement in replaced.items():
        namespace[name] = replacement(namespace[name])
    exec(compile(ast.Module(main_part, []), str(path), "exec"), namespace)


if __name__ == "__main__":
    sys.exit(main())
