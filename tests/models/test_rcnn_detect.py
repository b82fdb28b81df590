"""The host's part of R-CNN: from the outputs of a graph to detections, by eye and beside Detectron2's own."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from factories import decode_mask

from yolact_ascend.detection.tasks import BOX
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, PREDICTION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.rcnn.detect import RcnnDetector
from yolact_ascend.timings import Timings

ROWS, K = 100, 80


def config_of(name, **sizes):
    """Return a config for pictures whose shorter edge becomes 80 pixels, on a canvas of 160×160."""
    config = CONFIGS[name]
    sizes = {"height_px": 160, "width_px": 160, "shortest_edge_px": 80, "longest_edge_px": 160, **sizes}
    return dataclasses.replace(config, preprocessing=dataclasses.replace(config.preprocessing, **sizes))


MASK_RCNN, FASTER_RCNN = config_of("mask_rcnn_R_50_FPN_3x"), config_of("faster_rcnn_R_50_FPN_3x")
DETECTRON1 = config_of("resnet50_fpn_mask_rcnn")


def outputs_of(boxes, scores=None, classes=None, masks=None, config=MASK_RCNN):
    """Return a graph's outputs with these detections, in pixels of the resized picture; masks are full without."""
    n = len(boxes)
    outputs = [np.zeros(spec.shape, spec.dtype) for spec in RcnnDetector(config).outputs]
    outputs[0][:n] = np.reshape(boxes, (n, 4))
    outputs[1][:n] = np.linspace(0.9, 0.6, n) if scores is None else scores
    outputs[2][:n] = 0 if classes is None else classes
    outputs[3][0] = n
    for output in outputs[4:]:
        output[:n] = 1 if masks is None else masks
    return outputs


def detect(outputs, size=(80, 80), config=MASK_RCNN, settings=EVALUATION_SETTINGS, timings=None):
    detector = RcnnDetector(config, settings)
    return detector.detect(outputs, *size, "out/0_0.bin", "Compile in float32.", timings or Timings())


@pytest.mark.parametrize("config", [MASK_RCNN, FASTER_RCNN, DETECTRON1], ids=lambda config: config.name)
def test_nothing_is_found_where_nothing_is(config):
    found = detect(outputs_of([], config=config), config=config)
    assert len(found) == 0
    assert (found.boxes_xyxy_px.shape, found.scores.dtype) == ((0, 4), np.float32)
    assert found.masks == (None if config.tasks == (BOX,) else ())


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        # The resized picture has 80×80 pixels, or 80×120 of the image's 40×60 and 800×1200.
        pytest.param((80, 80), [10, 20, 30.5, 40.25], [10, 20, 30.5, 40.25], id="as it is"),
        pytest.param((160, 160), [10, 20, 30, 40], [20, 40, 60, 80], id="twice as large"),
        pytest.param((40, 60), [10, 20, 30, 40], [5, 10, 15, 20], id="half as large"),
        pytest.param((800, 1200), [10, 20, 30, 40], [100, 200, 300, 400], id="ten times, not square"),
        pytest.param((80, 80), [-3, -4, 81, 82], [0, 0, 80, 80], id="clipped to the image"),
    ],
)
def test_boxes_take_the_size_of_the_image(size, box, expected):
    found = detect(outputs_of([box]), size)
    assert found.boxes_xyxy_px.tolist() == [expected]
    assert found.boxes_xyxy_px.dtype == np.float32


def test_edges_are_scaled_each_by_its_own_rounding():
    """An image of 75×100 becomes 80×107, not 106.67: its width has another scale than its height."""
    found = detect(outputs_of([[0, 0, 107, 80]]), (75, 100))
    assert found.boxes_xyxy_px.tolist() == [[0, 0, 100, 75]]
    assert decode_mask(found.masks[0]).shape == (75, 100)


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 9], [5, 5, 9, 5], [81, 0, 82, 9], [0, -9, 9, -2]], ids=["thin", "flat", "right of it", "above it"]
)
def test_boxes_without_an_area_are_dropped(box):
    found = detect(outputs_of([[0, 0, 9, 9], box, [20, 20, 29, 29]], classes=[1, 2, 3]))
    assert found.class_ids.tolist() == [1, 3]
    assert len(found.masks) == 2


def test_rows_beyond_the_count_are_no_detections():
    outputs = outputs_of([[0, 0, 9, 9], [20, 20, 29, 29]])
    outputs[3][0] = 1
    assert len(detect(outputs)) == 1


def test_detectron1s_boxes_end_with_their_last_pixel():
    """A box of the pixels 10..19 is 10 wide; the last pixel of a picture of 80 is 79."""
    found = detect(outputs_of([[10, 20, 19, 29], [70, 70, 79.5, 82]], config=DETECTRON1), config=DETECTRON1)
    assert found.boxes_xyxy_px.tolist() == [[10, 20, 20, 30], [70, 70, 80, 80]]
    rows, columns = np.nonzero(decode_mask(found.masks[0]))
    # With the border 9.68..19.32 and 19.68..29.32, of which truncation makes the pixels 9..19 and 19..29.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (9, 19, 19, 29)


def test_masks_stay_with_their_boxes():
    masks = np.zeros((3, 28, 28), np.float32)
    masks[0], masks[1, :14], masks[2, :, :14] = 1, 1, 1
    boxes = [[0, 0, 28, 28], [40, 0, 68, 28], [0, 40, 28, 68]]
    found = detect(outputs_of(boxes, masks=masks))
    assert [int(decode_mask(rle).sum()) for rle in found.masks] == [28 * 28, 28 * 14, 14 * 28]
    # 0.5 between the rows 13 and 14 of cells is not in a mask that ends there: pixels are the cells here
    assert decode_mask(found.masks[1])[:28, 40:68].sum(axis=0).tolist() == [14] * 28
    assert decode_mask(found.masks[2])[40:68, :28].sum(axis=1).tolist() == [14] * 28


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(EVALUATION_SETTINGS, [1, 2, 3, 4], id="evaluation: all that the model gives"),
        pytest.param(PREDICTION_SETTINGS, [1, 2], id="prediction"),
        pytest.param(DetectionSettings(score_threshold=0.6), [1], id="a score"),
        pytest.param(DetectionSettings(max_detections=3), [1, 2, 3], id="a number"),
        pytest.param(DetectionSettings(score_threshold=0.95), [], id="more than there is"),
    ],
)
def test_thresholds_work_on_top_of_the_models_own(settings, expected):
    boxes = [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9], [60, 0, 69, 9]]
    outputs = outputs_of(boxes, scores=[0.9, 0.6, 0.3, 0.06], classes=[1, 2, 3, 4])
    assert detect(outputs, settings=settings).class_ids.tolist() == expected


def test_the_best_come_first_and_dropped_ones_do_not_count():
    outputs = outputs_of([[0, 0, 0, 9], [0, 0, 9, 9], [20, 0, 29, 9]], scores=[0.9, 0.4, 0.6], classes=[1, 2, 3])
    found = detect(outputs, settings=DetectionSettings(max_detections=2))
    assert found.class_ids.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DetectionSettings(score_threshold=0.01), "score threshold of 0.01: this model gives scores above 0.05 only"),
        (DetectionSettings(max_detections=300), "300 detections per image: this model gives at most 100"),
    ],
)
def test_more_than_the_graph_gives_is_refused(settings, message):
    with pytest.raises(UsageError, match=f"{message}.*exported graph of mask_rcnn_R_50_FPN_3x: pass"):
        RcnnDetector(MASK_RCNN, settings)


@pytest.mark.parametrize("settings", [EVALUATION_SETTINGS, PREDICTION_SETTINGS])
def test_a_model_of_a_higher_threshold_runs_with_the_defaults(settings):
    strict = dataclasses.replace(MASK_RCNN.rcnn, score_threshold=0.5, max_detections=10)
    assert RcnnDetector(dataclasses.replace(MASK_RCNN, rcnn=strict), settings).settings == settings


@pytest.mark.parametrize(
    ("k", "value", "message"),
    [
        pytest.param(0, np.nan, "give values that are not finite numbers.*float16.*Compile in float32", id="boxes"),
        pytest.param(1, np.inf, "give values that are not", id="scores"),
        pytest.param(4, np.nan, "give values that are not", id="masks"),
        pytest.param(3, -1, "state -1 detections, expected 0 to 100", id="a negative count"),
        pytest.param(3, 101, "state 101 detections, expected 0 to 100", id="a large count"),
        pytest.param(2, 80, "give class 80, expected 0 to 79 for the 80 classes of mask_rcnn_R_50", id="class K"),
        pytest.param(2, -1, "give class -1, expected 0 to 79", id="the background"),
        pytest.param(0, 9e5, "give a box up to x .*inside the picture of .*another canvas", id="another canvas"),
    ],
)
def test_outputs_that_are_no_detections_are_refused(k, value, message):
    outputs = outputs_of([[0, 0, 9, 9]])
    outputs[k].flat[0] = value
    with pytest.raises(ArtifactError, match=f"out/0_0.bin {message}"):
        detect(outputs)


@pytest.mark.parametrize("config", [MASK_RCNN, DETECTRON1], ids=["detectron2", "detectron1"])
def test_each_class_is_itself(config):
    """Class k of the graph is the k-th name, in either dialect: the graph has left the background out."""
    for k in range(K):
        found = detect(outputs_of([[0, 0, 9, 9]], classes=[k], config=config), config=config)
        assert found.class_ids.tolist() == [k]


def test_steps_are_those_of_the_report():
    timings = Timings()
    detect(outputs_of([[0, 0, 9, 9]]), timings=timings)
    assert timings.images == 1 and set(timings.seconds) == {"detect", "masks", "RLE"}
    timings = Timings()
    detect(outputs_of([[0, 0, 9, 9]], config=FASTER_RCNN), config=FASTER_RCNN, timings=timings)
    assert timings.images == 1 and set(timings.seconds) == {"detect"}


def test_a_detector_goes_to_other_processes():
    detector = RcnnDetector(MASK_RCNN)
    assert pickle.loads(pickle.dumps(detector)) == detector


@pytest.mark.detectron2
@pytest.mark.parametrize("size", [(80, 80), (75, 100), (333, 211), (480, 640), (24, 23)], ids=str)
@pytest.mark.parametrize("config", [MASK_RCNN, FASTER_RCNN], ids=["masks", "boxes"])
def test_detections_are_detectron2s(detectron2, size, config):
    """Random detections, some of them beside the image or without an area, through `detector_postprocess`."""
    import torch
    from detectron2.modeling.postprocessing import detector_postprocess
    from detectron2.structures import Boxes, Instances

    from yolact_ascend.models.resized_size import resized_size

    rng = np.random.default_rng(sum(size))
    resized = resized_size(*size, config.preprocessing)
    corners = rng.uniform(-20, 1.1 * max(resized), (60, 2, 2)).astype(np.float32)
    boxes = np.sort(corners, axis=1).reshape(60, 4)
    boxes[::7, 2] = boxes[::7, 0]
    boxes = np.minimum(boxes, np.float32(2 * resized[::-1]))  # others are refused: the graph clips them
    scores = np.sort(rng.uniform(0.06, 1, 60)).astype(np.float32)[::-1]
    classes, masks = rng.integers(0, K, 60), rng.random((60, 28, 28)).astype(np.float32)
    fields = {"pred_boxes": Boxes(torch.from_numpy(boxes.copy())), "scores": torch.from_numpy(scores.copy())}
    fields["pred_classes"] = torch.from_numpy(classes)
    if config is MASK_RCNN:
        fields["pred_masks"] = torch.from_numpy(masks[:, None])
    expected = detector_postprocess(Instances(resized, **fields), *size)
    found = detect(outputs_of(boxes, scores, classes, masks, config), size, config)
    # all in float32, in the same order of operations: bit for bit
    np.testing.assert_array_equal(found.boxes_xyxy_px, expected.pred_boxes.tensor.numpy())
    np.testing.assert_array_equal(found.scores, expected.scores.numpy())
    np.testing.assert_array_equal(found.class_ids, expected.pred_classes.numpy())
    assert 10 < len(found) < 60
    if config is MASK_RCNN:
        pixels = np.stack([decode_mask(rle) for rle in found.masks])
        np.testing.assert_array_equal(pixels, expected.pred_masks.numpy())
