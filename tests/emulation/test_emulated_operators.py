"""CANN's own operators of R-CNN in the stand-in: what ONNX Runtime computes in their place is what they state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from .conftest import ATC_COMMON, Run, stand_ins_importable

CHIP, OTHER_CHIP = "Ascend310P3", "Ascend910B3"
HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT
NMS = {"score_threshold": 0.05, "iou_threshold": 0.5, "max_size_per_class": 100, "max_total_size": 6}
POOL = {"finest_scale": 56, "pooled_height": 7, "pooled_width": 7, "sample_num": 0, "pool_mode": "avg"}
POOL["spatial_scale"] = [0.25, 0.125, 0.0625, 0.03125]


@pytest.fixture(scope="module")
def emulation() -> Iterator[SimpleNamespace]:
    """The stand-in's own modules, in this process."""
    with stand_ins_importable():
        from ascend_emulation import atc_errors, cann, fused_operators, onnx_parser, precision

        yield SimpleNamespace(
            Error=atc_errors.AtcError,
            cann=cann,
            expand=fused_operators.expand_operators,
            parser=onnx_parser,
            MODES=precision.MODES,
        )


def model_of(
    operator: str, inputs: dict[str, tuple[list[int], int]], outputs: dict[str, int], attributes: dict, opset: int = 16
) -> onnx.ModelProto:
    """A model of one node called `own`, whose inputs have shapes and types, its outputs types."""
    node = helper.make_node(operator, list(inputs), list(outputs), name="own", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (shape, kind) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def suppression(boxes: np.ndarray, scores: np.ndarray, kind: int = HALF, opset: int = 16, **changes: Any) -> Any:
    outputs = {"boxes_out": kind, "scores_out": kind, "classes_out": kind, "count": TensorProto.INT32}
    inputs = {"boxes": (list(boxes.shape), kind), "scores": (list(scores.shape), kind)}
    attributes = {name: value for name, value in {**NMS, **changes}.items() if value is not None}
    return model_of("BatchMultiClassNMS", inputs, outputs, attributes, opset)


def extractor(levels: list[np.ndarray], rois: np.ndarray, kind: int = HALF, opset: int = 16, **changes: Any) -> Any:
    inputs = {f"p{i + 2}": (list(level.shape), kind) for i, level in enumerate(levels)}
    inputs["rois"] = (list(rois.shape), kind)
    attributes = {name: value for name, value in {**POOL, **changes}.items() if value is not None}
    return model_of("RoiExtractor", inputs, {"pooled": kind}, attributes, opset)


def compute(emulation: Any, model: Any, arrays: list[np.ndarray], mode: str = "force_fp16", chip: str = CHIP) -> list:
    """Run the standard operators in place of the node, on arrays in the types of its inputs."""
    emulation.expand(model, emulation.MODES[mode], chip)
    onnx.checker.check_model(shape_inference.infer_shapes(model))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    types = [np.float16 if "16" in value.type else np.float32 for value in session.get_inputs()]
    return session.run(None, {name: array.astype(kind) for name, array, kind in zip(names, arrays, types)})


def keep_best(boxes: np.ndarray, scores: np.ndarray, threshold: float, iou: float, most: int) -> list[int]:
    """Greedy suppression of one class, box by box, as CANN's own reference states it."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    rows = [i for i in np.argsort(-scores, kind="stable") if scores[i] > threshold and (sizes[i] > 0).all()]
    kept: list[int] = []
    for i in rows:
        for k in kept:
            overlap = np.clip(np.minimum(boxes[i, 2:], boxes[k, 2:]) - np.maximum(boxes[i, :2], boxes[k, :2]), 0, None)
            common = overlap.prod()
            if common / (sizes[i].prod() + sizes[k].prod() - common) > iou:
                break
        else:
            kept.append(i)
    return kept[:most]


def by_hand(boxes: np.ndarray, scores: np.ndarray, values: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """boxes [1,N,q,4], scores [1,N,K], as half holds them -> the operator's four outputs."""
    boxes, scores = (array.astype(np.float16).astype(np.float32) for array in (boxes, scores))
    found = []
    for k in range(scores.shape[2]):
        own = boxes[0, :, k if boxes.shape[2] > 1 else 0]
        rows = keep_best(own, scores[0, :, k], *(values[n] for n in list(NMS)[:3]))
        found += [(scores[0, row, k], k, own[row]) for row in rows]
    found = sorted(found, key=lambda each: -each[0])[: values["max_total_size"]]
    total = values["max_total_size"]
    outputs = np.zeros((1, total, 4)), np.zeros((1, total)), np.zeros((1, total)), np.array([len(found)])
    for i, (score, k, box) in enumerate(found):
        outputs[0][0, i], outputs[1][0, i], outputs[2][0, i] = box, score, k
    return outputs


def drawn(count: int, own: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that overlap, one of them without area, and scores around the threshold, no two alike in half."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (1, count, own, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 60, corners.shape)], axis=-1)
    boxes[0, 1, 0, 2] = boxes[0, 1, 0, 0]
    scores = rng.permutation(np.arange(count * classes)).reshape(1, count, classes) / (count * classes)
    return boxes, scores


@pytest.mark.parametrize("kind", [HALF, SINGLE], ids=["half", "single"])
@pytest.mark.parametrize(
    ("own", "classes", "changes"),
    [
        (1, 1, {}),
        (1, 3, {}),
        (3, 3, {}),
        (3, 3, {"max_size_per_class": 2}),
        (3, 3, {"score_threshold": 0.9, "max_total_size": 20}),
        (3, 3, {"score_threshold": 1.5}),
    ],
    ids=["one class", "shared boxes", "own boxes", "two a class", "few", "none"],
)
def test_suppression_is_that_of_the_operator(emulation: Any, own: int, classes: int, changes: Any, kind: int) -> None:
    """Exactly: choices among half values, which no arithmetic changes."""
    boxes, scores = drawn(40, own, classes)
    found = compute(emulation, suppression(boxes, scores, kind, **changes), [boxes, scores])
    for ours, theirs in zip(found, by_hand(boxes, scores, {**NMS, **changes}), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found[3].dtype == np.int32 and found[0].dtype == (np.float16 if kind == HALF else np.float32)


def test_boxes_are_compared_in_half_and_areas_do_not_overflow(emulation: Any) -> None:
    """Twin boxes of 600 x 600, whose area half does not hold: one survives; and half moves a corner by 0.25 px."""
    boxes = np.array([[[[700.25, 0, 1300.25, 600]], [[700.25, 0, 1300.25, 600]], [[0, 0, 600, 600]]]])
    scores = np.array([[[0.9], [0.8], [0.7]]])
    out, kept_scores, _, count = compute(emulation, suppression(boxes, scores), [boxes, scores])
    assert count.tolist() == [2]
    assert kept_scores[0, :2].tolist() == np.float16([0.9, 0.7]).tolist()
    assert out[0, 0].tolist() == np.float16(boxes[0, 0, 0]).tolist() != boxes[0, 0, 0].tolist()


def pyramid(channels: int = 3) -> list[np.ndarray]:
    """Levels P2..P5 of a canvas of 256 x 320, whose values half holds."""
    rng = np.random.default_rng(3)
    return [rng.integers(-64, 64, (1, channels, 256 // s, 320 // s)) / 16 for s in (4, 8, 16, 32)]


ROIS = np.array(
    [
        [0, 10.25, 20.5, 40, 44],  # P2
        [0, -8, -4, 90, 100],  # P2, beyond the canvas
        [0, 0, 0, 112, 112],  # exactly twice the finest scale: P3
        [0, 3, 5, 250, 240],  # P4
        [0, 0, 0, 320, 256],  # P4
        [0, 16, 16, 16, 16],  # no area
        [0, 0, 0, 640, 640],  # P5
    ]
)


@pytest.mark.parametrize("size", [7, 14])
@pytest.mark.parametrize("aligned", [0, 1])
def test_pooling_is_roi_align_on_the_level_of_each_region(emulation: Any, aligned: int, size: int) -> None:
    """Of the package's own ROIAlign, which is held to Detectron2's; half holds 11 bits of its averages."""
    torch = pytest.importorskip("torch")
    from yolact_ascend.models.rcnn.roi_align import Pooling, pool_levels

    levels, pooling = pyramid(), Pooling(size, 0, bool(aligned), "detectron2")
    model = extractor(levels, ROIS, aligned=aligned, pooled_height=size, pooled_width=size)
    (found,) = compute(emulation, model, [*levels, ROIS])
    tensors = [torch.from_numpy(level).float() for level in levels]
    boxes, ids = torch.from_numpy(ROIS[:, 1:]).float(), torch.zeros(len(ROIS), dtype=torch.int64)
    expected = pool_levels(tensors, boxes, ids, pooling).numpy()
    assert found.dtype == np.float16 and np.abs(expected).max() > 1
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2**-11, atol=2e-3)


def test_aligned_is_the_default_and_half_a_cell_apart(emulation: Any) -> None:
    levels = pyramid()
    default, aligned, unaligned = (
        compute(emulation, extractor(levels, ROIS, aligned=aligned), [*levels, ROIS])[0] for aligned in (None, 1, 0)
    )
    assert np.array_equal(default, aligned) and np.abs(aligned - unaligned).max() > 0.5


def test_unaligned_pooling_is_computed_at_the_opset_of_the_recipes(emulation: Any) -> None:
    """ModelZoo's recipes export with opset 11, at which ONNX' RoiAlign is the unaligned one."""
    levels = pyramid()
    old, new = (
        compute(emulation, extractor(levels, ROIS, aligned=0, opset=opset), [*levels, ROIS])[0] for opset in (11, 16)
    )
    np.testing.assert_allclose(old.astype(np.float32), new.astype(np.float32), rtol=0, atol=1e-2)


BOXES, SCORES = drawn(4, 1, 1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (suppression(BOXES, SCORES, iou_threshold=1), "without iou_threshold as FLOAT, which it requires"),
        (suppression(BOXES, SCORES, max_total_size=None), "without max_total_size as INT, which it requires"),
        (suppression(BOXES, SCORES, opset=10), "at opset 10; it computes it from opset 11 on"),
        (suppression(BOXES.repeat(2, 0), SCORES.repeat(2, 0)), r"with boxes \[2,4,1,4\] .*; it plays one image"),
        (suppression(BOXES.repeat(2, 2), SCORES.repeat(3, 2)), "and scores of 3 classes"),
        (suppression(BOXES[0], SCORES), r"whose boxes is not known to be \[1,N,q,4\]"),
        (suppression(BOXES, SCORES, TensorProto.DOUBLE), "with boxes of type DOUBLE; it takes FLOAT16 or FLOAT"),
        (extractor(pyramid()[:3], ROIS), r"with 3 levels, 4 scales"),
        (extractor(pyramid(), ROIS, pool_mode="max"), "with a pool_mode other than"),
        (extractor(pyramid(), ROIS, roi_scale_factor=1.2), "with a roi_scale_factor"),
        (extractor(pyramid(), ROIS, aligned=1, opset=11), "with aligned=1 at opset 11; it does from opset 16 on"),
    ],
)
def test_what_is_not_known_is_refused(emulation: Any, model: Any, said: str) -> None:
    with pytest.raises(emulation.Error) as caught:
        emulation.expand(model, emulation.MODES["force_fp16"], CHIP)
    assert caught.value.code == "E10055"
    text = caught.value.render(emulation.cann.RELEASES["9.1"])
    assert "(node own) " in text
    assert re.search(said, text), text


def test_an_attribute_of_another_type_is_ignored_as_by_canns_plugin(emulation: Any) -> None:
    """ModelZoo's patch writes roi_scale_factor as an integer."""
    levels = pyramid()
    plain = compute(emulation, extractor(levels, ROIS), [*levels, ROIS])[0]
    assert np.array_equal(compute(emulation, extractor(levels, ROIS, roi_scale_factor=2), [*levels, ROIS])[0], plain)


def test_in_float32_it_computes_where_the_chip_can(emulation: Any) -> None:
    """On 310P CANN's specification names float16 alone; where nothing is rounded, corners keep their quarters."""
    boxes, scores = np.array([[[[700.25, 0, 1300.25, 600]]]]), np.array([[[0.9]]])
    model, mode = suppression(boxes, scores, SINGLE), "must_keep_origin_dtype"
    out, *_ = compute(emulation, model, [boxes, scores], mode, OTHER_CHIP)
    assert out[0, 0].tolist() == [700.25, 0, 1300.25, 600]
    with pytest.raises(emulation.Error) as caught:
        emulation.expand(suppression(boxes, scores, SINGLE), emulation.MODES[mode], CHIP)
    assert "whose kernel takes float16 only" in caught.value.render(emulation.cann.RELEASES["9.1"])


def test_the_parser_takes_them_up_to_opset_16(emulation: Any) -> None:
    release = emulation.cann.RELEASES["9.1"]
    emulation.parser.check_graph(suppression(BOXES, SCORES, opset=16), release)
    with pytest.raises(emulation.Error) as caught:
        emulation.parser.check_graph(suppression(BOXES, SCORES, opset=17), release)
    assert caught.value.code == "E19010"


def chained() -> onnx.ModelProto:
    """The recipe's chain: proposals by suppression in half, then pooling, then a layer on what was pooled."""
    node, cast = helper.make_node, lambda source, target, to: helper.make_node("Cast", [source], [target], to=to)
    nodes = [
        cast("boxes", "boxes_half", HALF),
        cast("scores", "scores_half", HALF),
        node(
            "BatchMultiClassNMS",
            ["boxes_half", "scores_half"],
            ["found_half", "kept_half", "classes_half", "count"],
            "suppress",
            **NMS,
        ),
        cast("found_half", "found", SINGLE),
        node("Reshape", ["found", "rows"], ["corners"]),
        node("Concat", ["zeros", "corners"], ["rois"], axis=1),
        node("RoiExtractor", ["p2", "p3", "p4", "p5", "rois"], ["pooled"], "extract", aligned=1, **POOL),
        node("Conv", ["pooled", "w"], ["result"], "layer"),
    ]
    inputs = {"boxes": [1, 40, 1, 4], "scores": [1, 40, 1]}
    inputs.update({f"p{i + 2}": list(level.shape) for i, level in enumerate(pyramid())})
    weights = {
        "rows": np.array([6, 4]),
        "zeros": np.zeros((6, 1), np.float32),
        "w": np.full((2, 3, 1, 1), 0.25, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, SINGLE, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info("result", SINGLE, None),
            helper.make_tensor_value_info("count", TensorProto.INT32, None),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


@pytest.mark.parametrize("mode", ["force_fp16", "must_keep_origin_dtype"])
def test_a_model_with_them_compiles_and_runs(emulation: Any, run: Run, tmp_path: Any, mode: str) -> None:
    """Through atc: what it suppresses is the same in both modes, as its inputs are half anyway."""
    onnx.save(chained(), tmp_path / "m.onnx")
    flags = ("--precision_mode", mode, "--soc_version", OTHER_CHIP)  # which has a kernel for float32 regions
    compiled = run("atc", "--model", "m.onnx", "--output", "m", "--framework", "5", *flags)
    assert compiled.code == 0, compiled.stdout
    model = onnx.load_model_from_string((tmp_path / "m.om").read_bytes().split(b"\n", 2)[2])
    assert not {node.op_type for node in model.graph.node} & {"BatchMultiClassNMS", "RoiExtractor"}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    boxes, scores = drawn(40, 1, 1)
    feed = {"boxes": boxes, "scores": scores, **{f"p{i + 2}": level for i, level in enumerate(pyramid())}}
    result, count = session.run(None, {name: array.astype(np.float32) for name, array in feed.items()})
    corners, *_, expected = by_hand(boxes, scores, NMS)
    assert count.tolist() == expected.tolist() == [6]
    rois = np.concatenate([np.zeros((6, 1)), corners[0]], axis=1)
    (pooled,) = compute(emulation, extractor(pyramid(), rois, SINGLE), [*pyramid(), rois], mode, OTHER_CHIP)
    # In float16 the layer's sums are rounded, to 11 bits.
    np.testing.assert_allclose(result, 0.25 * pooled.sum(1, keepdims=True).repeat(2, 1), rtol=2**-10, atol=4e-3)
    is_half = np.array_equal(result, result.astype(np.float16).astype(np.float32))
    assert is_half == (mode == "force_fp16")


def test_keep_dtype_knows_them_by_their_type_in_ascend_ir(run: Run, tmp_path: Any) -> None:
    onnx.save(chained(), tmp_path / "m.onnx")
    (tmp_path / "kept.cfg").write_text("OpType::BatchMultiClassNonMaxSuppression\nOpType::RoiExtractor\n")
    words = ("--model", "m.onnx", "--output", "m", "--keep_dtype", "kept.cfg", *ATC_COMMON)
    assert run("atc", *words).code == 0


@pytest.fixture(scope="module")
def network() -> Any:
    """A small Mask R-CNN with weights whose scores and boxes spread."""
    pytest.importorskip("torch")
    from factories import random_rcnn_state_dict, tiny_rcnn

    from yolact_ascend.models.families import family_of

    config = tiny_rcnn()
    built = family_of(config).build(config).eval()
    built.load_state_dict(random_rcnn_state_dict(config))
    return built


@pytest.mark.parametrize(
    ("precision", "keeps"),
    [("must_keep_origin_dtype", False), ("force_fp16", False), ("force_fp16", True)],
    ids=["float32", "float16", "float16 but for boxes"],
)
def test_a_mask_rcnn_for_ascend_finds_what_its_network_finds(
    network: Any, run: Run, tmp_path: Any, precision: str, keeps: bool
) -> None:
    """Exported with Ascend's operators, as sets: NMS in half breaks ties between proposals in its own way.

    What both find has the network's values where nothing is rounded. In float16, corners have steps of 1/16 px on this
    canvas unless --keep_dtype names what computes them, and offsets from anchors are rounded before, too.
    """
    import torch

    from yolact_ascend.detection.sets import pair_rows
    from yolact_ascend.models.exporter import write_onnx
    from yolact_ascend.models.families import cut_outputs, family_of
    from yolact_ascend.models.family import OPERATORS_DOMAIN
    from yolact_ascend.models.inputs import input_tensors

    config = network.config
    family, outputs = family_of(config), cut_outputs(config, "detections")
    names = [spec.name for spec in outputs]
    graph = family.with_operators(network, "ascend")
    write_onnx(
        graph,
        tmp_path / "m.onnx",
        input_tensors(config),
        names,
        family.opset,
        has_free_batch=False,
        own_domains=[OPERATORS_DOMAIN],
    )
    model = onnx.load(tmp_path / "m.onnx")
    own = [node for node in model.graph.node if node.domain == OPERATORS_DOMAIN]
    assert sorted(node.op_type for node in own) == ["BatchMultiClassNMS"] * 2 + ["RoiExtractor"] * 2
    for node in own:
        node.domain = ""
    kept = [entry for entry in model.opset_import if entry.domain != OPERATORS_DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.save(model, tmp_path / "m.onnx")
    (tmp_path / "keep.cfg").write_text("\n".join(family.float32_operators(model.graph)))
    words = ["--precision_mode", precision, *(["--keep_dtype", "keep.cfg"] if keeps else [])]
    compiled = run("atc", "--model", "m.onnx", "--output", "m", *words, *ATC_COMMON)
    assert compiled.code == 0, compiled.stdout
    content = (tmp_path / "m.om").read_bytes().split(b"\n", 2)[2]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = family.sample_inputs(config, np.random.default_rng(0), 1)
    found = session.run(None, dict(zip(("image", "image_size"), images)))
    with torch.inference_mode():
        expected = [value.numpy() for value in network(*map(torch.from_numpy, images))]
    ours, theirs, matched = pair_rows(names, *([output[0] for output in outputs] for outputs in (found, expected)))
    is_half = precision == "force_fp16"
    assert (matched.first, matched.second) == (20, 20) and matched.both >= (14 if is_half else 18)
    tolerances = {"boxes": 0.5, "scores": 5e-3} if is_half else {"boxes": 1e-3, "scores": 1e-5}
    for name, tolerance in tolerances.items():
        one, other = (outputs[names.index(name)] for outputs in (ours, theirs))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)
    boxes = ours[names.index("boxes")]
    assert np.array_equal(boxes, boxes.astype(np.float16)) == (is_half and not keeps)
