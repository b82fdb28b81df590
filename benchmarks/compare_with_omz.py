"""Score the outputs of an OpenVINO IR at `cut=boxes` with Open Model Zoo's YOLACT adapter and with ours.

    python benchmarks/compare_with_omz.py --zoo DIR --out FOLDER [--images 100] [--precision fp32]

DIR is `tools/accuracy_checker/accuracy_checker` of openvinotoolkit/open_model_zoo. Its adapter and its NMS run
unedited; what they import of the rest of the zoo is replaced by a few empty classes. The network is the demo's, on
drawn scenes that it was not trained on. A third row is the zoo's adapter with YOLACT's Fast NMS in place of its
standard NMS, which shows how much of the difference that is.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from pycocotools.coco import COCO  # noqa: E402
from pycocotools.cocoeval import COCOeval  # noqa: E402
from tabulate import tabulate  # noqa: E402
from tqdm import tqdm  # noqa: E402

from yolact_ascend.detection.detections import bbox_results, mask_results  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, CocoImage, load_dataset  # noqa: E402
from yolact_ascend.images.decode import decode_image  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.images.transforms import prepare_pixels  # noqa: E402
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG  # noqa: E402
from yolact_ascend.models.detector import load_detector  # noqa: E402
from yolact_ascend.models.export import export_onnx  # noqa: E402
from yolact_ascend.models.inputs import FLOAT32, input_tensor  # noqa: E402
from yolact_ascend.pipeline.demo import SEED, WEIGHTS  # noqa: E402
from yolact_ascend.process import Runner  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.targets.registry import TARGETS  # noqa: E402
from yolact_ascend.targets.target import CompileJob, DeviceRequest, Engine  # noqa: E402
from yolact_ascend.timings import Timings  # noqa: E402

CONFIG = CONFIGS[DEMO_CONFIG]
NAMES = ("conf", "boxes", "mask", "proto")
MOST = 100  # detections of an image
Results = dict[str, list[dict[str, Any]]]  # "bbox", "segm" -> COCO results


def main() -> None:
    """Draw, export, compile, score three times, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for scenes and models")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()
    draw_dataset(arguments.out / "scenes", 0, arguments.images, SEED)
    image_folder, annotation_file = find_split(arguments.out / "scenes")
    dataset = load_dataset(annotation_file, image_folder)
    engine = open_ir(arguments.out, arguments.precision)
    adapter, nms = load_adapter(arguments.zoo)
    found: dict[str, Results] = {"ours": _empty(), "zoo": _empty(), "zoo, Fast NMS": _empty()}
    detector, standard = load_detector(WEIGHTS, CONFIG, "boxes"), nms.nms
    for image in tqdm(dataset.select(), unit="image"):
        pixels = prepare_pixels(decode_image(image.path), CONFIG.preprocessing, FLOAT32)
        outputs = [output[0] for output in engine.infer([pixels[np.newaxis]])]
        add_ours(found["ours"], image, detector.detect(outputs, image.height, image.width, "", "", Timings()))
        for name, suppress in (("zoo", standard), ("zoo, Fast NMS", fast_nms)):
            add_zoos(found[name], image, adapter, nms, suppress, outputs)
    rows = [[name, *(f"{value:.2f}" for value in score(dataset, results))] for name, results in found.items()]
    heads = ["detections by", "box AP", "box AP50", "mask AP", "mask AP50"]
    print(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True))


def _empty() -> Results:
    return {"bbox": [], "segm": []}


def open_ir(out: Path, precision: str) -> Engine:
    """Export the demo's network at `cut=boxes`, compile it as a run would, and open it."""
    export_onnx(WEIGHTS, CONFIG, out / "demo.onnx", cut="boxes")
    target = TARGETS["openvino"].find(DeviceRequest("cpu"))
    image = input_tensor(CONFIG)
    job = CompileJob(out / "demo.onnx", out / "demo.xml", 1, precision, (image,), (image,), CONFIG.preprocessing)
    with (out / "lock").open("w") as lock:
        target.compile(job, Runner(lock.fileno(), os.environ), out / "compile.log")
    return target.open(job.model, 0)


def load_adapter(zoo: Path) -> tuple[Any, Any]:
    """Return the zoo's YOLACT adapter, made ready for our four outputs, and its class NMS."""

    def module(name: str, **contents: Any) -> None:
        made = types.ModuleType(name)
        made.__path__ = []  # type: ignore[attr-defined]
        made.__dict__.update(contents)
        sys.modules[name] = made

    def load(name: str, path: Path) -> Any:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[name] = made
        spec.loader.exec_module(made)
        return made

    class Empty:
        def __init__(self, *values: Any, **named: Any) -> None:
            self.values, self.metadata = values, {}

    kinds = ("DetectionPrediction", "DetectionAnnotation", "ActionDetectionPrediction", "ActionDetectionAnnotation")
    kinds = (*kinds, "CoCoInstanceSegmentationPrediction", "ContainerPrediction")
    made = {name: type(name, (Empty,), {}) for name in kinds}
    module("omz")
    module("omz.config", **dict.fromkeys(("StringField", "NumberField", "BoolField", "ConfigError"), Empty))
    module("omz.representation", **made)
    module("omz.utils", UnsupportedPackage=type("UnsupportedPackage", (Empty,), {}))
    module("omz.adapters")
    module("omz.adapters.adapter", Adapter=Empty)
    module("omz.postprocessor")
    module("omz.postprocessor.postprocessor", Postprocessor=Empty)
    nms = load("omz.postprocessor.nms", zoo / "postprocessor" / "nms.py").NMS
    sys.modules["omz.postprocessor"].NMS = nms  # type: ignore[attr-defined]
    found = load("omz.adapters.yolact", zoo / "adapters" / "yolact.py")
    adapter = found.YolactAdapter()
    adapter.encoder = found.mask_util.encode
    adapter.conf_out, adapter.boxes_out, adapter.mask_out, adapter.proto_out = NAMES
    adapter.conf_thresh, adapter.max_num_detections, adapter.outputs_verified = 0.05, MOST, True
    adapter._extract_predictions = lambda raw, meta: raw
    return adapter, nms


def fast_nms(x1: Any, y1: Any, x2: Any, y2: Any, scores: Any, thresh: float, **_: Any) -> list[int]:
    """YOLACT's Fast NMS (Bolya et al. 2019, section 5): a box that is suppressed still suppresses others."""
    order = np.argsort(-scores, kind="stable")[:200]
    x1, y1, x2, y2 = (side[order] for side in (x1, y1, x2, y2))
    wide = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    high = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    shared = wide.clip(0) * high.clip(0)
    areas = (x2 - x1) * (y2 - y1)
    overlap = np.triu(shared / (areas[:, None] + areas - shared), k=1)
    return list(order[overlap.max(axis=0) <= thresh])


def add_ours(found: Results, image: CocoImage, detections: Any) -> None:
    """Add what our detector finds in an image."""
    found["bbox"] += bbox_results(detections, image.image_id, CONFIG.category_ids)
    found["segm"] += mask_results(detections, image.image_id, CONFIG.category_ids)


def add_zoos(found: Results, image: CocoImage, adapter: Any, nms: Any, suppress: Callable, outputs: Any) -> None:
    """Add what the zoo's adapter makes of the same outputs; its classes begin with 0, without the background."""
    nms.nms = staticmethod(suppress)
    raw = {name: np.array(output)[np.newaxis] for name, output in zip(NAMES, outputs)}
    (both,) = adapter.process(raw, [image.image_id], [{"image_size": (image.height, image.width, 3)}])
    boxes, masks = both.values[0].values()
    _, classes, scores, *sides = boxes.values
    _, rles, mask_classes, mask_scores = masks.values
    for number, score, left, top, right, bottom in zip(classes, scores, *sides):
        entry = {"image_id": image.image_id, "category_id": CONFIG.category_ids[int(number)], "score": float(score)}
        found["bbox"].append({**entry, "bbox": [float(n) for n in (left, top, right - left, bottom - top)]})
    for rle, number, score in zip(rles, mask_classes, mask_scores):
        entry = {"image_id": image.image_id, "category_id": CONFIG.category_ids[int(number)], "score": float(score)}
        found["segm"].append({**entry, "segmentation": rle})


def score(dataset: CocoDataset, found: Results) -> list[float]:
    """Return AP and AP50 of boxes and masks in percent, by pycocotools."""
    figures = []
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(dataset.annotation_file))
        for kind, results in found.items():
            scorer = COCOeval(truth, truth.loadRes(results), kind)
            scorer.evaluate()
            scorer.accumulate()
            scorer.summarize()
            figures += [100 * scorer.stats[0], 100 * scorer.stats[1]]
    return figures


if __name__ == "__main__":
    main()
