"""Time and memory of `scale`'s merge and scoring, on drawn detections: one shard of them, under the ids of many.

    .venv/bin/python benchmarks/scale_merge.py --images 2000 20000

Prints a line for each number of images: the peak of memory must not grow with it.
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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pycocotools import mask as coco_mask

from yolact_ascend.detection.detections import Detections
from yolact_ascend.host.overlap import Detected
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.scale.manifest import Image
from yolact_ascend.scale.merge import merge
from yolact_ascend.scale.parts import part_of
from yolact_ascend.scale.places import find_place
from yolact_ascend.scale.plan import Plan, Planned, place_plan, read_plan
from yolact_ascend.scale.source import Entry
from yolact_ascend.scale.work import rows_of_shard

SHARD_SIZE, CLASSES, OBJECTS, FOUND, SIDE = 250, 80, 7, 100, 640


def main() -> None:
    """Measure each number of images in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--out", type=Path, help="measure in this folder, as a process of its own")
    arguments = parser.parse_args()
    if arguments.out:
        measure(arguments.out, arguments.images[0])
        return
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, __file__, f"--images={count}", f"--out={folder}/out"], check=True)


def measure(out: Path, count: int) -> None:
    """Make the parts in another process, so that only the merge counts; then merge, and print what that took."""
    subprocess.run([sys.executable, "-c", MAKE, str(Path(__file__).parent), str(out), str(count)], check=True)
    place = find_place(str(out))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, spent = time.perf_counter(), time.process_time()
    merged = merge(Planned(place, read_plan(place)), {task: out / f"{task}.json" for task in ("box", "mask")})
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{merged.evaluation.images} images: {seconds:.1f} s, {1000 * cpu / count:.2f} core-ms per image, "
        f"peak {peak / 1024:.0f} MB (before: {before / 1024:.0f} MB)",
        flush=True,
    )


MAKE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import scale_merge; scale_merge.make(sys.argv[2], int(sys.argv[3]))"
)


def make(out: str, count: int) -> None:
    """Write a plan of so many images, and all parts: those of the first shard, with other ids."""
    rng = np.random.default_rng(0)
    truths = [draw_truth(rng) for _ in range(SHARD_SIZE)]
    images = [Image(Entry(str(n), str(n)), n, (SIDE, SIDE), json.dumps(truths[n % SHARD_SIZE])) for n in range(count)]
    ids = tuple(range(CLASSES))
    plan = Plan("drawn", count, "0" * 64, {}, "c", "0" * 64, {}, SHARD_SIZE, ("box", "mask"), ids, ids)
    planned = place_plan(find_place(out), plan, images)
    found = [Detected(PictureSource(b"", ""), (SIDE, SIDE), draw_detections(rng, truth)) for truth in truths]
    part = part_of(rows_of_shard(plan, images[:SHARD_SIZE], found))
    table = pq.read_table(pa.BufferReader(part))
    for shard in range(plan.shards):
        own = pa.array(range(shard * SHARD_SIZE, (shard + 1) * SHARD_SIZE), pa.int64())
        sink = pa.BufferOutputStream()
        pq.write_table(table.set_column(0, "image_id", own), sink, compression="zstd")
        planned.commit(shard, sink.getvalue())


def draw_truth(rng: np.random.Generator) -> list[dict]:
    """Return the objects of one image."""
    entries = []
    for _ in range(OBJECTS):
        x, y, w, h = (*rng.integers(0, 400, 2).tolist(), *rng.integers(20, 200, 2).tolist())
        shape = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        one = {"category_id": int(rng.integers(CLASSES)), "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        entries.append({"image_id": 0, **one, "segmentation": shape})
    return entries


def draw_detections(rng: np.random.Generator, truth: list[dict]) -> Detections:
    """Three near each object, the others anywhere."""
    corners = np.concatenate([rng.integers(0, 400, (FOUND, 2)), rng.integers(401, SIDE, (FOUND, 2))], axis=1)
    class_ids = rng.integers(0, CLASSES, FOUND)
    for number in range(3 * len(truth)):
        x, y, w, h = truth[number // 3]["bbox"]
        corners[number] = np.clip(np.array([x, y, x + w, y + h]) + rng.integers(-5, 6, 4), 0, SIDE)
        class_ids[number] = truth[number // 3]["category_id"]
    scores = np.sort(rng.random(FOUND).astype(np.float32))[::-1]
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float64)
    masks = [{**mask, "counts": mask["counts"].decode()} for mask in coco_mask.frPyObjects(boxes, SIDE, SIDE)]
    return Detections(class_ids, scores, corners, tuple(masks))


if __name__ == "__main__":
    main()
