"""What one training sample of a large picture with many objects takes: wall time, CPU time, peak memory.

    python benchmarks/large_picture.py [--megapixels 12] [--objects 400]

Prints a digest of the sample as well: changes of the code must not change it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from yolact_ascend.images.coco import load_dataset  # noqa: E402
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG  # noqa: E402
from yolact_ascend.training.augment import Augmentation  # noqa: E402
from yolact_ascend.training.samples import TrainingSet  # noqa: E402
from yolact_ascend.training.yolact.samples import make_sample  # noqa: E402

CONFIG = CONFIGS[DEMO_CONFIG]
POINTS, RADIUS_SHARE = 40, 0.03  # of an object's outline; of the picture's height


def main() -> None:
    """Make the picture, then read it and make a sample, as a worker does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--objects", type=int, default=400)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    height = round((arguments.megapixels * 1e6 * 3 / 4) ** 0.5)
    with tempfile.TemporaryDirectory() as folder:
        annotation_file = make_picture(Path(folder), height, height * 4 // 3, arguments.objects)
        training_set = TrainingSet(load_dataset(annotation_file, Path(folder)), CONFIG.category_ids)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        image, objects = training_set.read(0)
        read = time.perf_counter() - begin
        sample = make_sample(image, objects, 550, CONFIG, Augmentation(), 100, np.random.default_rng(0))
    wall, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in sample)).hexdigest()[:16]
    print(f"read {read:.1f} s, sample {wall - read:.1f} s, CPU {cpu:.1f} s, peak {peak_gb:.2f} GB, digest {digest}")


def make_picture(folder: Path, height: int, width: int, count: int) -> Path:
    """Write a picture with `count` round objects, and its annotation file."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "a.jpg"), cv2.resize(noise, (width, height)))
    annotations = []
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    for number in range(count):
        radius = height * RADIUS_SHARE * generator.uniform(0.3, 1, POINTS)
        centre = generator.random(2) * (width, height)
        outline = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] + centre
        annotations.append(
            {
                "id": number + 1,
                "image_id": 1,
                "category_id": CONFIG.category_ids[number % CONFIG.num_classes],
                "segmentation": [outline.clip(0, (width, height)).round(2).ravel().tolist()],
            }
        )
    categories = [{"id": n, "name": name} for n, name in zip(CONFIG.category_ids, CONFIG.class_names)]
    images = [{"id": 1, "file_name": "a.jpg", "width": width, "height": height}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


if __name__ == "__main__":
    main()
