"""The cuts `candidates` and `detections`: what the graph chooses is what the host chooses behind `heads`.

Scores and exponentials of PyTorch and of numpy differ in the last bits, so scores are compared to 1e-6.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from factories import TINY_CONFIG

from yolact_ascend.analysis.operators import operators_on_chip
from yolact_ascend.detection.detections import keep_scores
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, PREDICTION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.host.inference import detect_batch
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.models.export import export_onnx
from yolact_ascend.models.families import family_of
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.models.onnx_metadata import float32_operators
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.cuts import candidate_rows, cut_outputs, detection_rows, rows_per_class
from yolact_ascend.models.yolact.network import HeadTensors
from yolact_ascend.models.yolact.select import choose_candidates, choose_detections, fast_nms
from yolact_ascend.timings import Timings

CONFIG = CONFIGS[DEMO_CONFIG]
ANCHORS = make_anchors(CONFIG.anchors, 550)
K, M = CONFIG.num_classes, CONFIG.proto_channels
BOTH = ("candidates", "detections")


def draw_heads(passing: int, seed: int = 0) -> list[np.ndarray]:
    """Return loc, conf and coeffs of one image in which so many anchors pass the threshold, spread over the levels."""
    rng = np.random.default_rng(seed)
    loc, coeffs = (rng.normal(size=(len(ANCHORS), n)).astype(np.float32) for n in (4, M))
    conf = rng.normal(0, 2, (len(ANCHORS), K + 1)).astype(np.float32)
    conf[:, 0] = 20
    conf[np.sort(rng.permutation(len(ANCHORS))[:passing]), 0] = -2  # the best of 8 others is far above 0.05
    return [loc, conf, coeffs]


PROTOS = np.random.default_rng(9).random((138, 138, M), dtype=np.float32)


def at_cuts(*images: list[np.ndarray]) -> dict[str, list[list[np.ndarray]]]:
    """Return the outputs of each image at the three cuts, as the graph would give them in one batch."""
    heads = HeadTensors(*(torch.from_numpy(np.stack(arrays)) for arrays in zip(*images)))
    found = choose_candidates(heads, torch.from_numpy(ANCHORS.copy()), candidate_rows(CONFIG))
    chosen = choose_detections(found, rows_per_class(CONFIG), detection_rows(CONFIG))
    outputs = {"candidates": (found.boxes, found.scores, found.passing, found.coeffs), "detections": chosen}
    return {
        "heads": [[*image, PROTOS] for image in images],
        **{cut: [[*(o[i].numpy() for o in out), PROTOS] for i in range(len(images))] for cut, out in outputs.items()},
    }


def detect(cut: str, outputs: list[np.ndarray], settings: DetectionSettings = EVALUATION_SETTINGS):
    timings = Timings()
    detector = family_of(CONFIG).make_detector(CONFIG, cut, None, settings, 1)
    assert [(spec.shape, spec.dtype) for spec in detector.outputs] == [(o.shape, str(o.dtype)) for o in outputs]
    return detector.detect(outputs, 60, 80, "outputs", "Remedy.", timings), timings


def assert_same(found, expected):
    assert np.array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6, atol=0)
    assert np.array_equal(found.boxes_xyxy_px, expected.boxes_xyxy_px) and found.masks == expected.masks


@pytest.mark.parametrize("passing", [0, 1, 30, 1000])
def test_the_host_finds_the_same_behind_each_cut_in_each_image_of_a_batch(passing):
    """With 1 anchor its 8 classes are 8 detections, as upstream has it; 1000 fill the candidates."""
    given = at_cuts(draw_heads(passing), draw_heads(7, seed=1))
    for i, count in enumerate((passing, 7)):
        expected, _ = detect("heads", given["heads"][i])
        assert len(expected) == min(100, K * count) or count > 7  # fewer overlap too much
        for cut in BOTH:
            found, timings = detect(cut, given[cut][i])
            assert_same(found, expected)
            assert (timings.images, timings.overfull_images) == (1, 0)
        assert given["candidates"][i][2] == [count]
        assert given["detections"][i][3] == [len(expected)]
        assert not any(
            output[len(expected) :].any() for output in np.array(given["detections"][i], object)[[0, 1, 2, 4]]
        )


def test_more_anchors_than_candidates_are_counted_and_the_best_are_taken():
    given = at_cuts(draw_heads(1200))
    assert given["candidates"][0][2] == [1200]
    found, timings = detect("candidates", given["candidates"][0])
    assert timings.overfull_images == 1
    # The best 1000 are those of all 1200 by their best class.
    kept = np.sort(given["candidates"][0][1][:, 1:].max(axis=1))
    logits = given["heads"][0][1].astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    best = (exponentials / exponentials.sum(axis=1, keepdims=True))[:, 1:].max(axis=1)
    np.testing.assert_allclose(kept, np.sort(best)[-1000:], rtol=1e-5)
    assert_same(detect("detections", given["detections"][0])[0], found)
    summed = Timings()
    for _ in range(2):
        summed.add(timings)
    assert summed.to_json()["overfull_images"] == 2


def test_a_call_from_python_warns_of_it():
    outputs = at_cuts(draw_heads(1200))["candidates"][0]
    engine = SimpleNamespace(inputs=input_tensors(CONFIG), infer=lambda inputs: [output[None] for output in outputs])
    detector = family_of(CONFIG).make_detector(CONFIG, "candidates", None, EVALUATION_SETTINGS, 1)
    with pytest.warns(RuntimeWarning, match="1 of 1 images had more anchors above the score threshold"):
        (found,) = detect_batch([np.zeros((60, 80, 3), np.uint8)], engine, detector, Timings().timed)
    assert len(found) == 100


def test_a_higher_threshold_needs_no_more_candidates_than_pass_it():
    """At 0.9 all that pass are among the best 1000."""
    outputs = at_cuts(draw_heads(1200))["candidates"][0]
    passing = int((outputs[1][:, 1:].max(axis=1) > 0.9).sum())
    assert 0 < passing < 1000
    assert (
        detect("candidates", outputs, dataclasses.replace(PREDICTION_SETTINGS, score_threshold=0.9))[1].overfull_images
        == 0
    )


def test_a_lower_threshold_is_overfull_when_all_candidates_pass_it():
    outputs = at_cuts(draw_heads(1000))["candidates"][0]
    low = dataclasses.replace(EVALUATION_SETTINGS, score_threshold=0.01)
    assert detect("candidates", outputs)[1].overfull_images == 0
    assert detect("candidates", outputs, low)[1].overfull_images == 1


def test_pictures_show_the_same_behind_each_cut():
    given = at_cuts(draw_heads(400))
    expected = keep_scores(detect("heads", given["heads"][0], PREDICTION_SETTINGS)[0], 0.3)
    assert len(expected) > 20
    for cut in BOTH:
        assert_same(keep_scores(detect(cut, given[cut][0], PREDICTION_SETTINGS)[0], 0.3), expected)
    few = dataclasses.replace(PREDICTION_SETTINGS, max_detections=5)
    assert len(detect("detections", given["detections"][0], few)[0]) == 5


@pytest.mark.parametrize(("tied", "found"), [(60, 60), (150, 100)])
def test_of_equal_scores_any_are_taken_and_none_twice(tied, found):
    """One class alone, whose boxes do not overlap; the others' scores are 0."""
    loc, conf, coeffs = draw_heads(0)
    loc[:] = 0
    rows, columns = np.divmod(np.arange(tied), 17)  # of squares of 24 px, 4 cells of 8 px apart
    chosen = 3 * (69 * 4 * rows + 4 * columns)
    conf[:, 1:], conf[chosen, 0], conf[chosen, 4] = -200, 0, 2
    given = at_cuts([loc, conf, coeffs])
    expected, _ = detect("heads", given["heads"][0], dataclasses.replace(EVALUATION_SETTINGS, max_detections=tied))
    of_class = expected.class_ids == 3
    for cut in BOTH:
        got, _ = detect(cut, given[cut][0])
        assert (got.class_ids[:found] == 3).all() and len(set(got.scores[:found])) == 1
        boxes = {tuple(box) for box in got.boxes_xyxy_px[:found].tolist()}
        assert len(boxes) == found
        assert boxes <= {tuple(box) for box in expected.boxes_xyxy_px[of_class].tolist()}


def test_fast_nms_of_a_graph_lets_a_suppressed_box_suppress():
    """Bolya et al., section 3.3: b overlaps a, c overlaps b alone; both go. Boxes without area overlap nothing."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10], [5, 5, 5, 5], [5, 5, 5, 5]])
    assert fast_nms(boxes[None, None], 0.5).tolist() == [[[0, 1, 1, 0, 0]]]
    half = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]])  # an overlap of exactly 0.5 is not above it
    assert fast_nms(half[None, None], 0.5).tolist() == [[[0, 0]]]


@pytest.mark.parametrize(
    ("cut", "k", "value", "message"),
    [
        ("detections", 3, 101, "state 101 detections, expected 0 to 100"),
        ("detections", 3, -1, "state -1 detections"),
        ("detections", 2, 8, "give class 8, expected 0 to 7 for the 8 classes"),
        ("detections", 0, np.nan, "not finite numbers"),
        ("candidates", 1, np.inf, "not finite numbers"),
        ("candidates", 2, 19249, "state 19249 anchors above the threshold, expected 0 to 19248"),
    ],
)
def test_damaged_outputs_are_refused(cut, k, value, message):
    outputs = at_cuts(draw_heads(7))[cut][0]
    outputs[k] = outputs[k].copy()
    outputs[k].flat[0] = value
    with pytest.raises(ArtifactError, match=message):
        detect(cut, outputs)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"score_threshold": 0.01}, "gives scores above 0.05 only"), ({"max_detections": 101}, "gives at most 100")],
)
def test_thresholds_inside_the_graph_cannot_be_lowered(changed, message):
    settings = dataclasses.replace(EVALUATION_SETTINGS, **changed)
    with pytest.raises(UsageError, match=message):
        family_of(CONFIG).make_detector(CONFIG, "detections", None, settings, 1)


@pytest.fixture(scope="module")
def exported(tiny_weights, tmp_path_factory):
    """The two cuts of a network with random weights, for inputs of 128 px."""
    small = dataclasses.replace(TINY_CONFIG.preprocessing, height_px=128, width_px=128)
    config, folder = dataclasses.replace(TINY_CONFIG, preprocessing=small), tmp_path_factory.mktemp("chosen")
    differences = {cut: export_onnx(tiny_weights, config, folder / f"{cut}.onnx", cut=cut) for cut in BOTH}
    return folder, differences, config


@pytest.mark.parametrize("cut", BOTH)
def test_an_exported_graph_has_operators_that_a_310p_is_known_to_compute(exported, cut):
    facts = operators_on_chip(exported[0] / f"{cut}.onnx", "Ascend310P3")
    assert {fact.operator for fact in facts if fact.state != "known"} == set()
    assert {"TopK", "Gather", "ReduceMax"} <= {fact.operator for fact in facts}


@pytest.mark.parametrize("cut", BOTH)
def test_what_follows_the_heads_stays_float32_and_nothing_else(exported, cut):
    """The heads end in a Concat of five levels for each of loc, conf and coeffs."""
    path = exported[0] / f"{cut}.onnx"
    kept, graph = set(float32_operators(path).split("\n")), onnx.load(path).graph
    kinds = {node.op_type for node in graph.node if node.name in kept}
    assert {"Softmax", "TopK", "Exp", "ReduceSum", "Greater"} <= kinds
    assert not kinds & {"Conv", "Tanh", "Resize", "Constant"} and len(kept) < len(graph.node) / 2


@pytest.mark.parametrize("cut", BOTH)
def test_a_logit_that_is_no_number_is_seen_though_its_anchor_is_not_chosen(exported, cut):
    """Minus infinity is a score of 0, which the graph passes over: behind the heads the host refuses it."""
    model = onnx.load(exported[0] / f"{cut}.onnx")
    (bias,) = (each for each in model.graph.initializer if each.name.endswith("conf_layer.bias"))
    values = onnx.numpy_helper.to_array(bias).copy()
    values[-1] = -np.inf
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [output[0] for output in session.run(None, {"image": np.zeros((1, 3, 128, 128), np.float32)})]
    detector = family_of(exported[2]).make_detector(exported[2], cut, None, EVALUATION_SETTINGS, 1)
    with pytest.raises(ArtifactError, match="not finite numbers"):
        detector.detect(outputs, 60, 80, "outputs", "Remedy.", Timings())


def test_all_candidates_are_compared_with_torch_even_where_none_passes(exported):
    """Random weights find nothing; without the rows behind the count there would be nothing to compare."""
    found = {difference.output: difference.max_abs for difference in exported[1]["candidates"]}
    assert list(found) == ["boxes", "scores", "coeffs", "protos"] and 0 < found["scores"] < 1e-5


def test_a_small_network_has_room_for_what_there_can_be():
    """64 px have 3 * (64 + 16 + 4 + 1 + 1) anchors, one class has 200 detections at most."""
    size = dataclasses.replace(CONFIG.preprocessing, height_px=64, width_px=64)
    small = dataclasses.replace(CONFIG, preprocessing=size, class_names=("a",), category_ids=(1,))
    assert [cut_outputs(small, cut)[0].shape for cut in BOTH] == [(258, 4), (100, 4)]
    assert (rows_per_class(small), detection_rows(small)) == (200, 100)
