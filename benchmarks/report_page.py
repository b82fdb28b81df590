"""Time and size of a report of as many images as COCO val2017 has, from synthetic detections.

    python benchmarks/report_page.py [--images 5000] [--out FOLDER]

Each image is noise of 640×480 pixels (the worst case for an embedded picture), with 7 annotated polygons and 100
detections with masks, of which about 8 score at least 0.3. Prints as JSON: the seconds of everything that the stage
`report` does, its parts, and the size of report.html.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests"), str(CHECKOUT / "tests" / "report")]

from finished import BATCH_SIZE, OUTCOMES, write_outputs  # noqa: E402  (needs the paths above)

from yolact_ascend.detection.tasks import BOX, MASK  # noqa: E402
from yolact_ascend.files import write_json  # noqa: E402
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG  # noqa: E402
from yolact_ascend.pipeline.context import RunContext  # noqa: E402
from yolact_ascend.pipeline.records import Records  # noqa: E402
from yolact_ascend.pipeline.settings import parse_words  # noqa: E402
from yolact_ascend.process import Runner  # noqa: E402
from yolact_ascend.report.report import write_report  # noqa: E402
from yolact_ascend.targets.folder import WorkFolder  # noqa: E402
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget  # noqa: E402

CONFIG = CONFIGS[DEFAULT_CONFIG]
WIDTH, HEIGHT = 640, 480
FILES = 32  # different pictures; the others are links to them
ANNOTATED, FOUND = 7, 100  # an image
CORNERS = 30  # of a polygon


def main() -> None:
    """Make a finished run, write its report, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--out", type=Path, help="keep the work folder here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="report_page-") as name:
        root = arguments.out or Path(name)
        run = make_run(root, arguments.images)
        start, cpu_start = time.perf_counter(), time.process_time()
        write_report(run, OUTCOMES, [])
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        size = run.folder.report_html.stat().st_size
    print(
        json.dumps(
            {
                "images": arguments.images,
                "cpu_s": round(cpu_s, 1),
                "seconds": round(seconds, 1),
                "html_mb": round(size / 1e6, 2),
            }
        )
    )


def make_run(root: Path, count: int) -> RunContext:
    """Write a data set and a finished work folder below `root`."""
    generator = np.random.default_rng(0)
    data, found = draw(generator, count)
    write_pictures(generator, root / "coco" / "val2017", count)
    write_json(root / "coco" / "annotations" / "instances_val2017.json", data, indent=None)
    (root / "a.pth").write_bytes(b"weights")
    words = [f"config={CONFIG.name}", "target=onnxruntime", f"bs={BATCH_SIZE}", f"weights={root}/a.pth"]
    settings = parse_words([*words, f"coco={root}/coco", f"out={root}/out"])
    run = RunContext(settings, OnnxRuntimeTarget(), Records(WorkFolder(settings.out)), Runner(0, {}))
    write_outputs(run, (BOX, MASK))
    for task, path in run.detections(BATCH_SIZE).items():
        write_json(path, found[task], indent=None)
    latencies = generator.normal(3.7, 0.1, count // BATCH_SIZE).tolist()
    write_json(run.folder.summary(BATCH_SIZE), {"npu_compute_time_list": latencies, "throughput": 270.0})
    run.require_dataset()  # a run has checked it before its first stage
    return run


def write_pictures(generator: np.random.Generator, folder: Path, count: int) -> None:
    """Write pictures of noise; most are links to the first ones."""
    folder.mkdir(parents=True)
    for image_id in range(1, count + 1):
        path = folder / f"{image_id:012d}.jpg"
        if image_id > FILES:
            os.link(folder / f"{1 + image_id % FILES:012d}.jpg", path)
        else:
            cv2.imwrite(str(path), generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def draw(generator: np.random.Generator, count: int) -> tuple[dict, dict[str, list[dict]]]:
    """Return annotations in COCO's format, and entries of results files by task: polygons around random centres."""
    images = [{"id": n, "file_name": f"{n:012d}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(1, count + 1)]
    annotations, boxes, masks = [], [], []
    for image in images:
        polygons = [polygon(generator) for _ in range(ANNOTATED)]
        classes = generator.choice(CONFIG.category_ids, ANNOTATED).tolist()
        for corners, category_id in zip(polygons, classes):
            entry = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": category_id, "iscrowd": 0}
            shape = {"bbox": box_of(corners), "area": 5000.0, "segmentation": [corners.ravel().tolist()]}
            annotations.append({**entry, **shape})
        for n in range(FOUND):
            corners = polygons[n] + generator.normal(0, 4, 2) if n < ANNOTATED else polygon(generator)
            category_id = classes[n] if n < ANNOTATED else int(generator.choice(CONFIG.category_ids))
            score = generator.uniform(0.3, 1) if n < ANNOTATED else generator.uniform(0.05, 0.303)
            common = {"image_id": image["id"], "category_id": category_id, "score": round(float(score), 4)}
            rle = coco_mask.frPyObjects([corners.ravel().tolist()], HEIGHT, WIDTH)[0]
            boxes.append({**common, "bbox": box_of(corners)})
            masks.append({**common, "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}})
    categories = [{"id": number, "name": name} for number, name in zip(CONFIG.category_ids, CONFIG.class_names)]
    data = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    return data, {BOX: boxes, MASK: masks}


def polygon(generator: np.random.Generator) -> np.ndarray:
    """Return the corners [n,2] of a shape."""
    centre = generator.uniform((60, 60), (WIDTH - 60, HEIGHT - 60))
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    radii = generator.uniform(20, 55, CORNERS)
    return np.round(centre + np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1), 1)


def box_of(corners: np.ndarray) -> list[float]:
    """Return [x, y, width, height]."""
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return [left, top, right - left, bottom - top]


if __name__ == "__main__":
    main()
