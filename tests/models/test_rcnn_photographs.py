"""R-CNN beside Detectron2 on photographs: the same weights and the same canvas, on ONNX Runtime and OpenVINO.

Detectron2's own preprocessing makes the canvas, too, but for its size: it pads to multiples of 32, and ours is fixed.
Features near a picture's edge depend on the padding, so both networks get ours.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch
from detectron2_evaluation import load_into_detectron2
from detectron2_parity import (
    differences,
    masks_by_detectron2,
    moved_canvas,
    network_state,
    random_detectron2,
    rows_of,
    run_detectron2,
    same_rows,
    take,
    unexplained,
)
from factories import decode_mask

from yolact_ascend.detection.tasks import MASK
from yolact_ascend.files import shipped
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.layout import find_split
from yolact_ascend.images.transforms import prepare_pixels, resized_size
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.export import export_onnx
from yolact_ascend.models.inputs import FLOAT32, input_tensors
from yolact_ascend.models.rcnn.detect import RcnnDetector
from yolact_ascend.models.weights import load_network
from yolact_ascend.pipeline.demo import SEED
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.targets.openvino.engine import OpenVinoEngine
from yolact_ascend.timings import Timings

pytestmark = pytest.mark.detectron2
BOXES_PX, MASKS, SCORES = 1e-3, 1e-4, 1e-4
TIE = 2e-5  # scores so close may change places: rounding differs by as much
TIES = 0.01  # of the detections may be others, each of which must be shown to be a tie


class Case(NamedTuple):
    """A config, the edges that pictures are resized to, the canvas, and how many photographs.

    Of the first photograph only a `piece` of this size is taken: both its sides are multiples of 32 when resized.
    """

    name: str
    edges_px: tuple[int, int]
    canvas_px: int
    photographs: int
    piece_px: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name} at {self.canvas_px} px"

    @property
    def config(self):
        config, (shortest, longest) = CONFIGS[self.name], self.edges_px
        pixels = {"shortest_edge_px": shortest, "longest_edge_px": longest}
        pixels |= {"height_px": self.canvas_px, "width_px": self.canvas_px}
        return dataclasses.replace(config, preprocessing=dataclasses.replace(config.preprocessing, **pixels))


CASES = [
    Case("mask_rcnn_R_50_FPN_3x", (400, 640), 640, 24, (384, 640)),
    Case("mask_rcnn_R_101_FPN_3x", (400, 640), 640, 4, (384, 640)),
    Case("faster_rcnn_R_50_FPN_1x", (400, 640), 640, 4, (384, 640)),
    Case("mask_rcnn_R_50_FPN_3x", (800, 1333), 1344, 3, (400, 400)),
    Case("mask_rcnn_demo_config", (256, 256), 256, 24, (400, 400)),
]


def pictures(case, coco_mini, tmp_path):
    """The first photographs; for trained weights also scenes like those that they were trained on."""
    images = [decode_image(path) for path in sorted((coco_mini / "val2017").iterdir())[: case.photographs]]
    height, width = case.piece_px
    images[0] = np.ascontiguousarray(images[0][:height, :width])
    if case.config.source.is_shipped:
        draw_dataset(tmp_path / "scenes", 0, case.photographs, SEED)
        images += [decode_image(path) for path in sorted(find_split(tmp_path / "scenes")[0].iterdir())]
    return images


def weights_and_model(case, picture, tmp_path):
    """Detectron2's model with the weights that come with the config, or random ones; and their file."""
    if case.config.source.is_shipped:
        path = shipped(case.config.source.url)
        return path, load_into_detectron2(case.config, load_network(path, case.config).state_dict())
    model = random_detectron2(case.config, picture)
    model.cfg.INPUT.MIN_SIZE_TEST, model.cfg.INPUT.MAX_SIZE_TEST = case.edges_px
    torch.save(network_state(model), tmp_path / "weights.pth")
    return tmp_path / "weights.pth", model


def canvas_of_detectron2(image, model):
    """A picture [h,w,3] as Detectron2's predictor gives it to the network, before padding: [3,H,W]."""
    import detectron2.data.transforms as T

    edges = model.cfg.INPUT.MIN_SIZE_TEST, model.cfg.INPUT.MAX_SIZE_TEST
    resize = T.ResizeShortestEdge([edges[0], edges[0]], edges[1]).get_transform(image)
    pixels = torch.as_tensor(resize.apply_image(image).astype("float32").transpose(2, 0, 1))
    return ((pixels - model.pixel_mean) / model.pixel_std).numpy()


def paste_by_detectron2(rows, size, height, width):
    """Its detections in an image of this size, from ours in the resized picture: boxes, masks [N,height,width]."""
    from detectron2.modeling.postprocessing import detector_postprocess
    from detectron2.structures import Boxes, Instances

    found = Instances(size, pred_boxes=Boxes(torch.as_tensor(rows.boxes)), rows=torch.arange(len(rows.scores)))
    if rows.masks.size:
        found.pred_masks = torch.as_tensor(rows.masks[:, None])
    placed = detector_postprocess(found, height, width)
    return placed.pred_boxes.tensor.numpy(), placed.pred_masks.numpy() if rows.masks.size else None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_detections_are_those_of_detectron2(detectron2, coco_mini, tmp_path, case):
    images, config = pictures(case, coco_mini, tmp_path), case.config
    prepared = [prepare_pixels(image, config.preprocessing, FLOAT32) for image in images]
    sizes = [resized_size(*image.shape[:2], config.preprocessing) for image in images]
    assert any(not (height % 32 or width % 32) for height, width in sizes)
    assert any(height % 32 or width % 32 for height, width in sizes)
    weights, theirs = weights_and_model(case, prepared[0], tmp_path)
    expected = [run_detectron2(theirs, canvas, size) for canvas, size in zip(prepared, sizes)]
    assert sum(len(rows.scores) for rows in expected) > 10 * len(images)

    for image, canvas, (height, width) in zip(images, prepared, sizes):
        assert np.array_equal(canvas[:, :height, :width], canvas_of_detectron2(image, theirs))
        assert not canvas[:, height:].any()
        assert not canvas[:, :, width:].any()

    export_onnx(weights, config, tmp_path / "model.onnx")
    compile_ir(tmp_path / "model.onnx", tmp_path / "model.xml", 1, "fp32", input_tensors(config), config.preprocessing)
    engines = {"ONNX Runtime": OnnxEngine(tmp_path / "model.onnx"), "OpenVINO": OpenVinoEngine(tmp_path / "model.xml")}
    for name, engine in engines.items():
        with engine:
            outputs = [
                [output[0] for output in engine.infer([canvas[None], np.array([size], np.float32)])]
                for canvas, size in zip(prepared, sizes)
            ]
        ours = [rows_of(found) for found in outputs]
        compare(case, name, ours, expected, theirs, prepared, sizes)
        compare_masks(case, name, ours, theirs, prepared, sizes)
    compare_pasted(case, images, sizes, outputs, expected)


def compare(case, engine, ours, expected, theirs, prepared, sizes):
    """Rows are the same up to ties: one that Detectron2 does not give, it gives when its input moves a bit."""
    both = [same_rows(rows, others, BOXES_PX) for rows, others in zip(ours, expected)]
    ties = sum(len(rows.scores) - len(left) for rows, (left, _) in zip(ours, both))
    unproven = 0
    for rows, others, canvas, size in zip(ours, expected, prepared, sizes):

        def moved(seed, canvas=canvas, size=size):
            return run_detectron2(theirs, moved_canvas(canvas, seed), size)

        unproven += unexplained(rows, others, BOXES_PX, moved)
    found = [
        differences(take(rows, np.sort(left)), take(others, np.sort(right)))
        for rows, others, (left, right) in zip(ours, expected, both)
    ]
    worst = {field: max(getattr(each, field) for each in found) for field in found[0]._fields}
    total = sum(len(rows.scores) for rows in ours)
    print(
        f"parity: {case} on {engine}: {total} detections in {len(found)} pictures, {ties} of them ties; "
        f"boxes differ by {worst['boxes_px']:.1e} px at most, scores by {worst['scores']:.1e}, masks, each in "
        f"its own box, by {worst['masks']:.1e}; scores that changed places differ by {worst['disordered']:.1e}"
    )
    assert unproven == 0
    assert ties <= total * TIES
    assert worst["scores"] <= SCORES
    assert worst["disordered"] <= TIE
    assert [len(rows.scores) for rows in ours] == [len(rows.scores) for rows in expected]


def compare_masks(case, engine, ours, theirs, prepared, sizes):
    """Masks in the same boxes: a box that is 1e-3 px away has another mask, so their own boxes say less."""
    if MASK not in case.config.tasks:
        return
    worst = 0.0
    for rows, canvas, size in zip(ours, prepared, sizes):
        masks = masks_by_detectron2(theirs, canvas, size, rows)
        worst = max(worst, float(np.abs(rows.masks - masks).max(initial=0)))
    print(f"parity: {case} on {engine}: masks in the same boxes differ by {worst:.1e} at most")
    assert worst <= MASKS


def compare_pasted(case, images, sizes, outputs, expected):
    """The same outputs are pasted to the same pixels; of the two networks' own outputs, single pixels may differ."""
    detector = RcnnDetector(case.config)
    differing = pixels = 0
    for image, size, found, others in zip(images, sizes, outputs, expected):
        height, width = image.shape[:2]
        ours = detector.detect(found, height, width, "They", "Stop.", Timings())
        boxes, masks = paste_by_detectron2(rows_of(found), size, height, width)
        assert np.array_equal(ours.boxes_xyxy_px, boxes)
        if masks is None:
            continue
        pasted = np.stack([decode_mask(mask) for mask in ours.masks]).astype(bool)
        assert np.array_equal(pasted, masks)
        left, right = same_rows(rows_of(found), others, BOXES_PX)
        _, whole = paste_by_detectron2(take(others, right), size, height, width)
        differing += int((pasted[left] != whole).sum())
        pixels += pasted.size
    print(f"parity: {case}: pasted masks of the same outputs are identical; of two networks' {differing} of {pixels}")
    assert differing <= pixels * 1e-6
