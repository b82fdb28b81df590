"""What the check of a data set takes: wall time, CPU time and peak memory, by its parts.

    python benchmarks/verify_dataset.py --images 5000 118000
    python benchmarks/verify_dataset.py --run_lengths

Makes annotation files as large as COCO's (7.3 objects an image, polygons of 22 points, as in instances_val2017.json)
for drawn scenes; with --run_lengths all masks are compressed run lengths of some 250 characters, as those polygons
give. The image files are hard links to a few real ones, so the file system's cache is warm.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402

OBJECTS, POINTS = 7.3, 22  # of val2017: 36 335 single objects in 5000 images
DRAWN = 8
RADIUS_PX = 60  # of the shapes that become run lengths


def main() -> None:
    """Make each data set, check it in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[5000])
    parser.add_argument("--run_lengths", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child)))
        return
    print("| images | annotations | part | wall s | CPU s | peak MB |\n|---:|---:|---|---:|---:|---:|")
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as folder:
            annotations = make_dataset(Path(folder), count, arguments.run_lengths)
            command = [sys.executable, __file__, "--child", folder]
            parts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for part, (wall, cpu, peak) in parts.items():
            print(f"| {count} | {annotations} | {part} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |")


def make_dataset(folder: Path, count: int, is_run_lengths: bool = False) -> int:
    """Write `folder/annotations.json` and `folder/images`; return the number of annotations."""
    draw_dataset(folder / "drawn", 0, DRAWN, 0)
    drawn = json.loads((folder / "drawn" / "annotations" / "instances_val2017.json").read_text())
    pictures = itertools.cycle([(folder / "drawn" / "val2017" / e["file_name"], e) for e in drawn["images"]])
    config, rng = CONFIGS[DEFAULT_CONFIG], np.random.default_rng(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for image_id in range(1, count + 1):
        source, entry = next(pictures)
        name = f"{image_id:012d}.jpg"
        os.link(source, folder / "images" / name)
        width, height = entry["width"], entry["height"]
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for _ in range(rng.poisson(OBJECTS)):
            points = (rng.random((POINTS, 2)) * (width, height)).round(2)
            low, high = points.min(0), points.max(0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(rng.choice(config.category_ids)),
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "area": float(np.prod(high - low)),
                    "iscrowd": 0,
                    "segmentation": run_lengths(rng, width, height) if is_run_lengths else [points.ravel().tolist()],
                }
            )
    categories = [{"id": n, "name": name} for n, name in zip(config.category_ids, config.class_names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return len(annotations)


def run_lengths(rng: np.random.Generator, width: int, height: int) -> dict[str, object]:
    """Return a shape without crossings as compressed run lengths."""
    angle, radius = np.sort(rng.random(POINTS)) * 2 * np.pi, RADIUS_PX * (0.7 + 0.3 * rng.random(POINTS))
    points = rng.random(2) * (width, height) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rle = coco_mask.frPyObjects([points.ravel().tolist()], height, width)[0]
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def measure(folder: Path) -> dict[str, list[float]]:
    """Return wall seconds, CPU seconds and peak MB so far of each part."""
    from yolact_ascend.images.coco import load_dataset
    from yolact_ascend.images.pictures import verify_annotations, verify_pictures

    found = {}
    begin, begin_cpu = time.perf_counter(), time.process_time()

    def note(part: str) -> None:
        nonlocal begin, begin_cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found[part] = [time.perf_counter() - begin, time.process_time() - begin_cpu, peak]
        begin, begin_cpu = time.perf_counter(), time.process_time()

    json.loads((folder / "annotations.json").read_text())
    note("json.loads alone, for comparison")
    dataset = load_dataset(folder / "annotations.json", folder / "images")
    note("annotation file")
    dataset, _ = verify_annotations(dataset, CONFIGS[DEFAULT_CONFIG])
    verify_pictures(dataset)
    note("classes and pictures")
    return found


if __name__ == "__main__":
    main()
