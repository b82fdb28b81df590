"""Makes golden/, which `verify` compares with: scenes, annotations, and what the demo network computes for them.

    .venv/bin/python scripts/golden.py           new values for the scenes that lie there
    .venv/bin/python scripts/golden.py --draw    new scenes, too

Run it when the demo's weights, its preprocessing or its outputs change. Float32 is by ONNX Runtime, float16 by the
stand-ins.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from yolact_ascend.analysis.closeness import difference_of
from yolact_ascend.analysis.golden import (
    GOLDEN,
    INPUT_SAMPLES,
    OUTPUT_SAMPLES,
    Float16Cost,
    Golden,
    Variant,
    annotation_file,
    detections_by_image,
    image_folder,
    sample,
    sha256_of,
    statistics_of,
    write_golden,
)
from yolact_ascend.analysis.verify import LISTED
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.files import make_folder, read_json, sha256_file, write_json
from yolact_ascend.images.decode import decode_image
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG, DRAWN_CATEGORY_IDS, DRAWN_CLASSES
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, NORMALISE, NOTHING, input_tensor
from yolact_ascend.pipeline.demo import IMAGES, SEED, WEIGHTS
from yolact_ascend.scenes.scenes import DrawnObject, annotate, draw_scene
from yolact_ascend.sources import library_versions
from yolact_ascend.targets.compiled import read_sidecar
from yolact_ascend.targets.folder import WorkFolder, ids_file, input_bin, output_bin
from yolact_ascend.tensors import TensorSpec, read_tensor

SCENES = 16
BATCH_SIZE = 8
CONFIG = CONFIGS[DEMO_CONFIG]
# Width and height of the scenes, in turn. The network's input has twice as many pixels, or as many, on each side: a
# bilinear resize then weighs with 1/4 and 3/4, which float32 does not round in any order of operations. So inputs are
# the same bytes wherever they are made.
SIZES = ((275, 275), (550, 275), (275, 275), (275, 550))
STEP = 8  # between the levels of a pixel, so that the files stay small


def draw(folder: Path) -> None:
    """Draw the scenes, which follow those of the demo, and their annotations."""
    make_folder(image_folder(folder))
    images, annotations = [], []
    for index in range(SCENES):
        scene = draw_scene(SEED, "val2017", IMAGES + index)
        size = SIZES[index % len(SIZES)]
        pixels = cv2.resize(scene.image, size, interpolation=cv2.INTER_AREA)
        name = f"{index:02d}.png"
        coarse = pixels // STEP * STEP + STEP // 2
        cv2.imwrite(str(image_folder(folder) / name), coarse, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        images.append({"id": index + 1, "file_name": name, "width": size[0], "height": size[1]})
        for instance in scene.instances:
            mask = cv2.resize(instance.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
            if mask.any():
                resized = DrawnObject(instance.class_id, mask, instance.is_crowd)
                annotations.append(annotate(resized, index + 1, len(annotations) + 1))
    categories = [{"id": i, "name": name} for i, name in zip(DRAWN_CATEGORY_IDS, DRAWN_CLASSES)]
    info = {"description": f"golden scenes of yolact-ascend, seed {SEED}"}
    data = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    write_json(annotation_file(folder), data, indent=None)


def run(out: Path, embed: str, *words: str) -> WorkFolder:
    """Run the scenes to the scores."""
    demo = [f"config={DEMO_CONFIG}", f"weights={WEIGHTS}", f"bs={BATCH_SIZE}", f"embed={embed}", "to=postprocess"]
    data = [f"images={image_folder(GOLDEN)}", f"annotations={annotation_file(GOLDEN)}"]
    run_stages([*demo, *data, f"out={out}", *words])
    return WorkFolder(out)


def read_outputs(folder: WorkFolder, suffix: str) -> dict[str, list[np.ndarray]]:
    """Return each output by name: one tensor an image."""
    specs = [TensorSpec.of_sample(output) for output in read_sidecar(folder.model(BATCH_SIZE, suffix)).outputs]
    outputs = folder.outputs(BATCH_SIZE)
    return {
        spec.name: [read_tensor(output_bin(outputs, i, k), spec) for i in range(SCENES)] for k, spec in enumerate(specs)
    }


def scores_of(folder: WorkFolder) -> dict[str, float]:
    """Return mAP in percent, by task."""
    scores = read_json(folder.scores(BATCH_SIZE), "scores")
    return {task: scores[task]["all"] for task in CONFIG.tasks}


def make_variant(work: Path, embed: str) -> Variant:
    """Compute the golden values of one value of `embed=`."""
    reference = run(work / f"float32_{embed}", embed, "target=onnxruntime")
    played = run(work / f"float16_{embed}", embed, "target=ascend", "device=emulation")
    spec = input_tensor(CONFIG, DTYPE_OF_EMBED[embed])
    inputs = [read_tensor(input_bin(reference.inputs, i), spec) for i in range(SCENES)]
    outputs, coarse = read_outputs(reference, ".onnx"), read_outputs(played, ".om")
    costs = [difference_of(name, outputs[name], coarse[name]) for name in outputs]
    ids = read_json(ids_file(reference.inputs), "image ids")["ids"]
    entries = read_json(reference.detections(BATCH_SIZE, CONFIG.tasks)["box"], "detections")
    return Variant(
        input_sha256=tuple(map(sha256_of, inputs)),
        input_samples=np.stack([sample(one, INPUT_SAMPLES) for one in inputs]),
        outputs=tuple(outputs),
        samples=tuple(np.stack([sample(one, OUTPUT_SAMPLES) for one in values]) for values in outputs.values()),
        statistics=tuple(np.stack([statistics_of(one) for one in values]) for values in outputs.values()),
        float16=tuple(Float16Cost(cost.cosine_min, cost.relative) for cost in costs),
        detections=tuple(map(tuple, detections_by_image(entries, ids, LISTED))),
        scores=scores_of(reference),
        float16_scores=scores_of(played),
    )


def main() -> None:
    """Make the files."""
    if "--draw" in sys.argv[1:]:
        draw(GOLDEN)
    with tempfile.TemporaryDirectory() as work:
        variants = {embed: make_variant(Path(work), embed) for embed in (NOTHING, NORMALISE)}
        ids = read_json(ids_file(WorkFolder(Path(work) / f"float32_{NOTHING}").inputs), "image ids")["ids"]
    listed = read_json(annotation_file(GOLDEN), "annotations")["images"]
    names = {image["id"]: image["file_name"] for image in listed}
    images = tuple(names[image_id] for image_id in ids)
    pixels = tuple(sha256_of(decode_image(image_folder(GOLDEN) / name)) for name in images)
    made_with = {"machine": platform.machine(), **library_versions()}
    write_golden(Golden(GOLDEN, images, tuple(ids), pixels, sha256_file(WEIGHTS), variants), made_with)
    for embed, variant in variants.items():
        print(f"embed={embed}: mAP {variant.scores}, in float16 {variant.float16_scores}")
        for name, cost in zip(variant.outputs, variant.float16):
            print(
                f"  {name}: float16 costs a cosine of {cost.cosine_min:.7f}, {cost.relative:.1e} of the largest value"
            )


if __name__ == "__main__":
    main()
