"""Time and memory of `scale`'s merge and scoring, on drawn detections: one shard of them, under the ids of many.

    python benchmarks/scale_merge.py [--images 2000 20000] [--found 100] [--scratch DIR] [--json FILE]

Prints a line for each number of images: the peak of memory must not grow with it. Classes are as unequal as COCO's,
whose most frequent one has 30 % of the objects.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pycocotools import mask as coco_mask

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.image_matches import match_image
from yolact_ascend.files import write_json
from yolact_ascend.host.overlap import Detected
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.scale.manifest import Image
from yolact_ascend.scale.merge import merge
from yolact_ascend.scale.parts import part_of
from yolact_ascend.scale.places import find_place
from yolact_ascend.scale.plan import Plan, Planned, place_plan, read_plan
from yolact_ascend.scale.source import Entry
from yolact_ascend.scale.work import rows_of_shard

SHARD_SIZE, CLASSES, OBJECTS, SIDE = 250, 80, 7, 640
FREQUENT = 0.3  # of the objects are of one class, as of COCO's train2017 are persons


def main() -> None:
    """Measure each number of images in a process of its own, print a line of each, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--found", type=int, default=100, help="detections in an image")
    parser.add_argument("--scratch", type=Path, help="where parts and results go, 4 GB for 1000000 images of 8")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)  # of one measurement, in this process
    arguments = parser.parse_args()
    if arguments.out:
        print(json.dumps(measure(arguments.out, arguments.images[0], arguments.found)))
        return
    rows = []
    for count in arguments.images:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            words = [f"--images={count}", f"--found={arguments.found}", f"--out={folder}/out"]
            done = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE)
        rows.append(json.loads(done.stdout))
        print(
            "{images} images of {found} detections: {seconds:.1f} s, {core_ms_per_image:.2f} core-ms per image, "
            "peak {peak_mb:.0f} MB (before: {before_mb:.0f} MB), results {results_gb:.2f} GB".format(**rows[-1]),
            flush=True,
        )
    if arguments.json:
        write_json(arguments.json, {"drawn": True, "results": rows})


def measure(out: Path, count: int, found: int) -> dict[str, Any]:
    """Make the parts in another process, so that only the merge counts; then merge, and return what that took."""
    folder = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", MAKE, folder, str(out), str(count), str(found)], check=True)
    place, files = find_place(str(out)), {task: out / f"{task}.json" for task in ("box", "mask")}
    before = peak_mb()
    start, spent = time.perf_counter(), time.process_time()
    merged = merge(Planned(place, read_plan(place)), files)
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    return {
        **{"images": merged.evaluation.images, "found": found, "seconds": round(seconds, 1)},
        **{"core_ms_per_image": round(1000 * cpu / count, 3), "peak_mb": round(peak_mb()), "before_mb": round(before)},
        "results_gb": round(sum(file.stat().st_size for file in files.values()) / 1e9, 3),
    }


def peak_mb() -> float:
    """Return the largest memory (RSS) that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


MAKE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import scale_merge; "
    "scale_merge.make(sys.argv[2], *map(int, sys.argv[3:]))"
)


def make(out: str, count: int, found: int) -> None:
    """Write a plan of so many images, and all parts."""
    planned, table = draw_plan(out, count, found)
    for shard in range(planned.plan.shards):
        replay(planned, shard, table)


def draw_plan(out: str, count: int, found: int, shard_size: int = SHARD_SIZE) -> tuple[Planned, pa.Table]:
    """Write a plan of so many images, of which each shard has the same objects; return it, and the part of a shard."""
    rng = np.random.default_rng(0)
    truths = [draw_truth(rng) for _ in range(shard_size)]
    texts = [json.dumps(truth) for truth in truths]
    images = [Image(Entry(str(n), str(n)), n, (SIDE, SIDE), texts[n % shard_size]) for n in range(count)]
    ids = tuple(range(CLASSES))
    plan = Plan("drawn", count, "0" * 64, {}, "c", "0" * 64, {}, shard_size, ("box", "mask"), ids, ids)
    planned = place_plan(find_place(out), plan, images)
    drawn = [draw_detections(rng, truth, found) for truth in truths]
    detected = []
    for image, each in zip(images, drawn):
        truth = image.truth_for(plan.scoring)
        assert truth is not None
        matched = match_image(truth, each)
        detected.append(Detected(PictureSource(b"", ""), (SIDE, SIDE), each, matched=matched))
    part = part_of(rows_of_shard(images[:shard_size], detected))
    return planned, pq.read_table(pa.BufferReader(part))


def replay(planned: Planned, shard: int, table: pa.Table) -> None:
    """Write the rows of a part as those of another shard, whose images are numbered from 0."""
    start = shard * planned.plan.shard_size
    own = pa.array(range(start, start + planned.plan.count(shard)), pa.int64())
    sink = pa.BufferOutputStream()
    pq.write_table(table.slice(0, len(own)).set_column(0, "image_id", own), sink, compression="zstd")
    planned.commit(shard, sink.getvalue())


def draw_classes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return classes [count], of which the first is frequent."""
    return np.where(rng.random(count) < FREQUENT, 0, rng.integers(1, CLASSES, count))


def draw_truth(rng: np.random.Generator) -> list[dict]:
    """Return the objects of one image."""
    entries = []
    for class_id in draw_classes(rng, OBJECTS).tolist():
        x, y, w, h = (*rng.integers(0, 400, 2).tolist(), *rng.integers(20, 200, 2).tolist())
        shape = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        one = {"category_id": class_id, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        entries.append({"image_id": 0, **one, "segmentation": shape})
    return entries


def draw_detections(rng: np.random.Generator, truth: list[dict], found: int) -> Detections:
    """Draw up to three near each object, the others anywhere."""
    corners = np.concatenate([rng.integers(0, 400, (found, 2)), rng.integers(401, SIDE, (found, 2))], axis=1)
    class_ids = draw_classes(rng, found)
    for number in range(min(3 * len(truth), found)):
        x, y, w, h = truth[number % len(truth)]["bbox"]
        corners[number] = np.clip(np.array([x, y, x + w, y + h]) + rng.integers(-5, 6, 4), 0, SIDE)
        class_ids[number] = truth[number % len(truth)]["category_id"]
    scores = np.sort(rng.random(found).astype(np.float32))[::-1]
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float64)
    masks = [{**mask, "counts": mask["counts"].decode()} for mask in coco_mask.frPyObjects(boxes, SIDE, SIDE)]
    return Detections(class_ids, scores, corners, tuple(masks))


if __name__ == "__main__":
    main()
