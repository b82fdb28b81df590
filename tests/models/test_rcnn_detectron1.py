"""R-CNN of the dialect detectron1 beside Detectron's functions on arrays, and maskrcnn-benchmark's whole model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from detectron1_shims import build_maskrcnn_benchmark
from detectron2_parity import Rows, differences, randomise_norms, rows_of, spread_outputs
from factories import decode_mask

from yolact_ascend.detection.paste import paste_resized_masks
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.transforms import prepare_pixels, resized_size
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.inputs import FLOAT32
from yolact_ascend.models.rcnn import anchors, boxes
from yolact_ascend.models.rcnn.detect import place_boxes
from yolact_ascend.models.values import DETECTRON1
from yolact_ascend.models.weights import load_network
from yolact_ascend.timings import Timings

MASK_R50 = CONFIGS["resnet50_fpn_mask_rcnn"]
LEVELS = [(stride, size) for stride, (size,) in zip((4, 8, 16, 32, 64), MASK_R50.rcnn.anchor_sizes_px)]
# layer of maskrcnn-benchmark -> the standard deviation that its outputs get
SPREAD = {
    "rpn.head.cls_logits": 1.0,  # it sorts after the sigmoid, which makes large logits equal
    "rpn.head.bbox_pred": 0.2,
    "roi_heads.box.predictor.cls_score": 2.0,
    "roi_heads.box.predictor.bbox_pred": 1.0,
    "roi_heads.mask.predictor.mask_fcn_logits": 3.0,
}


def random_boxes(count, seed=0):
    """Boxes [count,4] xyxy in a picture of 300×200 px, some of one pixel, some beyond its edges."""
    generator = np.random.default_rng(seed)
    low = generator.uniform(-20, 280, (count, 2))
    high = low + generator.choice([0.0, 1.0, 30.0, 250.0], (count, 1)) * generator.uniform(0, 1, (count, 2))
    return np.concatenate([low, high], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 9, 9]),
        ([10, 0, 0, 0], [10, 0, 19, 9]),  # by its width, which is 10 pixels
        ([0, -5, 0, 0], [0, -5, 9, 4]),
        ([0, 0, 5 * np.log(2), 0], [-5, 0, 14, 9]),  # twice as wide about its middle, 5
        ([0, 0, 0, 1000], [0, -307.5, 9, 316.5]),  # at most 62.5 times as high
    ],
    ids=["none", "right", "up", "wider", "no higher than that"],
)
def test_deltas_by_hand(deltas, expected):
    """From segmentoly's utils/boxes.py (bbox_transform) @ 1c4634d, which is Detectron's."""
    given = torch.tensor([[0.0, 0, 9, 9]])
    found = boxes.decode_deltas(torch.tensor([deltas], dtype=torch.float32), given, (10, 10, 5, 5), DETECTRON1)
    assert found[0].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("side", "level"), [(0, 0), (110, 0), (111, 1), (222, 1), (223, 2), (446, 2), (447, 3), (2000, 3)]
)
def test_levels_by_hand(side, level):
    """From segmentoly's rcnn/roi_distributor.py @ 1c4634d: a side of 223 has 224 pixels."""
    assert boxes.pyramid_levels(torch.tensor([[5.0, 7, 5 + side, 7 + side]]), 4, DETECTRON1).tolist() == [level]


@pytest.mark.detectron
@pytest.mark.parametrize(("stride", "size"), LEVELS)
def test_anchors_are_those_of_detectron(detectron, stride, size):
    from detectron.modeling.generate_anchors import generate_anchors

    expected = generate_anchors(stride, (size,), MASK_R50.rcnn.aspect_ratios)
    assert anchors.cell_anchors(MASK_R50.rcnn, (size,), stride).tolist() == expected.tolist()


@pytest.mark.detectron
def test_boxes_are_decoded_and_clipped_as_by_detectron(detectron):
    """Tolerance: float32 in another order of operations, at boxes of a few hundred pixels."""
    from detectron.utils.boxes import bbox_transform, clip_tiled_boxes

    given, weights = random_boxes(500), MASK_R50.rcnn.box_weights
    deltas = np.random.default_rng(1).normal(0, 4, (500, 4)).astype(np.float32)
    expected = bbox_transform(given, deltas, weights)
    found = boxes.decode_deltas(torch.as_tensor(deltas), torch.as_tensor(given), weights, DETECTRON1)
    assert np.abs(found.numpy() - expected).max() <= 1e-6 * np.abs(expected).max()
    clipped = boxes.clip_boxes(found, torch.tensor([200.0, 300.0]), DETECTRON1).numpy()
    assert np.abs(clipped - clip_tiled_boxes(expected.copy(), (200, 300))).max() <= 1e-3
    assert clipped.max() == 299


@pytest.mark.detectron
def test_a_box_is_pooled_from_the_level_of_detectron(detectron):
    """Also at the sizes where the level changes, 112, 224 and 448 pixels, and one pixel beside them."""
    from detectron.modeling.FPN import map_rois_to_fpn_levels

    sides = [side + step for side in (112, 224, 448) for step in (-2, -1.01, -1, -0.99, 0)]
    given = np.concatenate([[[10, 20, 10 + side, 20 + side] for side in sides], random_boxes(500)]).astype(np.float32)
    found = boxes.pyramid_levels(torch.as_tensor(given), 4, DETECTRON1)
    assert found.tolist() == (map_rois_to_fpn_levels(given, 2, 5) - 2).tolist()
    assert len(set(found.tolist())) == 4


@pytest.mark.detectron
def test_pasted_masks_are_those_of_detectron(detectron):
    from detectron.core.config import cfg
    from detectron.core.test import segm_results
    from pycocotools import mask as coco_mask

    generator, count = np.random.default_rng(2), 60
    masks = generator.uniform(0, 1, (count, 28, 28)).astype(np.float32)
    given = np.clip(random_boxes(count), 0, [299, 199, 299, 199]).astype(np.float32)
    cfg.MODEL.NUM_CLASSES, cfg.MRCNN.RESOLUTION = 2, 28
    of_class = [np.zeros((0, 5), np.float32), np.zeros((count, 5), np.float32)]
    expected = segm_results(of_class, np.stack([masks, masks], axis=1), given, 200, 300)[1]
    found = paste_resized_masks(masks, given, 200, 300, cfg.MRCNN.THRESH_BINARIZE, Timings())
    assert [decode_mask(rle).tolist() for rle in found] == [coco_mask.decode(rle).tolist() for rle in expected]


@pytest.mark.detectron
@pytest.mark.parametrize(
    "size", [(400, 600), (600, 400), (100, 100), (1600, 2000), (480, 640), (333, 500), (427, 640), (200, 600)], ids=str
)
def test_pictures_are_resized_as_by_detectron(detectron, size):
    """Their sizes always. Their pixels where these are exact: else it scales by the edge's ratio, we by each side's.

    It subtracts the mean first and resizes float32, we resize whole levels as segmentoly: half a level, and rounding.
    """
    from detectron.core.config import cfg
    from detectron.utils.blob import prep_im_for_blob

    pixels = MASK_R50.preprocessing
    assert cfg.PIXEL_MEANS.ravel().tolist() == list(pixels.mean_rgb[::-1])
    image = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected, scale = prep_im_for_blob(image.astype(np.float32), cfg.PIXEL_MEANS, 800, 1333)
    height, width = resized_size(*size, pixels)
    assert (height, width) == expected.shape[:2]
    if (height, width) == (size[0] * scale, size[1] * scale):
        found = prepare_pixels(image, pixels, FLOAT32)[:, :height, :width]
        assert np.abs(found - expected.transpose(2, 0, 1)).max() <= 0.75


def random_maskrcnn_benchmark(picture):
    """Its own model with random weights that find something in `picture` [3,H,W]."""
    torch.manual_seed(0)
    model = build_maskrcnn_benchmark("e2e_mask_rcnn_R_50_FPN_1x.yaml")
    for norm in ("bn1", "bn2", "bn3", "downsample.1"):
        randomise_norms(model, norm, "bn3")
    spread_outputs(model, SPREAD, lambda: run_maskrcnn_benchmark(model, picture, picture.shape[1:]))
    return model


@torch.no_grad()
def run_maskrcnn_benchmark(model, canvas, size):
    """Detect in a canvas [3,H,W] with a picture of `size` on it, by falling score."""
    from maskrcnn_benchmark.structures.image_list import ImageList

    (found,) = model(ImageList(torch.as_tensor(np.ascontiguousarray(canvas))[None], [tuple(map(int, size))]))
    scores = found.get_field("scores").numpy()
    order = np.argsort(-scores, kind="stable")
    masks = found.get_field("mask")[:, 0].numpy()
    return Rows(found.bbox.numpy()[order], scores[order], found.get_field("labels").numpy()[order] - 1, masks[order])


@pytest.mark.maskrcnn_benchmark
def test_the_whole_model_finds_what_maskrcnn_benchmark_finds(maskrcnn_benchmark, coco_mini, tmp_path):
    """On photographs, with weights in its own file; its labels count the background."""
    pixels = dataclasses.replace(
        MASK_R50.preprocessing, shortest_edge_px=256, longest_edge_px=384, height_px=384, width_px=384
    )
    config = dataclasses.replace(MASK_R50, preprocessing=pixels)
    images = [decode_image(path) for path in sorted((coco_mini / "val2017").iterdir())[:3]]
    prepared = [prepare_pixels(image, pixels, FLOAT32) for image in images]
    theirs = random_maskrcnn_benchmark(prepared[0])
    torch.save({"model": {f"module.{key}": value for key, value in theirs.state_dict().items()}}, tmp_path / "w.pth")
    ours = load_network(tmp_path / "w.pth", config)
    found = []
    for image, canvas in zip(images, prepared):
        size = resized_size(*image.shape[:2], pixels)
        with torch.no_grad():
            outputs = ours(torch.as_tensor(canvas)[None], torch.tensor([size], dtype=torch.float32))
        expected = run_maskrcnn_benchmark(theirs, canvas, size)
        found.append(differences(rows_of([output[0].numpy() for output in outputs]), expected))
        place_as_theirs(expected, image.shape[:2], size)
    total, unmatched = (sum(getattr(each, field) for each in found) for field in ("detections", "unmatched"))
    worst = {field: max(getattr(each, field) for each in found) for field in found[0]._fields}
    print(
        f"parity: {config.name}: {total} detections in {len(found)} photographs, {unmatched} without a partner; boxes "
        f"differ by {worst['boxes_px']:.1e} px at most, scores by {worst['scores']:.1e}, masks by {worst['masks']:.1e}"
    )
    assert total > 50 * len(found)
    assert unmatched == 0
    assert worst["boxes_px"] <= 1e-3
    assert worst["masks"] <= 1e-4
    assert worst["disordered"] <= 2e-5


def place_as_theirs(rows, image_size, size):
    """Its boxes in the image are ours; tolerance: it scales by one float64, we by float32."""
    from maskrcnn_benchmark.structures.bounding_box import BoxList

    (height, width), (resized_height, resized_width) = image_size, size
    expected = BoxList(torch.as_tensor(rows.boxes), (resized_width, resized_height)).resize((width, height)).bbox
    placed, _ = place_boxes(rows.boxes, (width / resized_width, height / resized_height), height, width, True)
    assert np.abs(placed - expected.numpy()).max() <= 1e-3
