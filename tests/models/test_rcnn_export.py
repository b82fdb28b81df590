"""The exported R-CNN: its contract, and that both engines find what PyTorch finds, on tiny networks."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from factories import random_rcnn_state_dict, tiny_rcnn

from yolact_ascend.cli.main import main
from yolact_ascend.detection.sets import pair_rows
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS
from yolact_ascend.errors import ArtifactError, UsageError, WeightsError
from yolact_ascend.models import export
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.description import KEY, parse_description
from yolact_ascend.models.export import export_onnx
from yolact_ascend.models.families import choose_operators, cut_outputs, family_of, require_batch_sizes
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.models.rcnn import ascend, roi_align
from yolact_ascend.models.rcnn.box_operators import box_operators
from yolact_ascend.models.rcnn.samples import draw_inputs
from yolact_ascend.models.weights import load_network
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.timings import Timings

NAMES = ("mask_rcnn_R_50_FPN_3x", "resnet50_fpn_mask_rcnn", "faster_rcnn_R_50_FPN_1x")
BOXES_PX, MASKS = 1e-3, 4e-4  # random masks are steep: a box that is 2e-4 px off moves them by 2e-4; see issue 26


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """By the name of a config: the tiny config, its weights, its ONNX."""
    folder = tmp_path_factory.mktemp("rcnn")
    made = {}
    for name in NAMES:
        config, weights, path = tiny_rcnn(name), folder / f"{name}.pth", folder / f"{name}.onnx"
        torch.save(random_rcnn_state_dict(config), weights)
        export_onnx(weights, config, path)
        made[name] = (config, weights, path)
    return made


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def engine(request, models):
    """A function: the name of a config and inputs -> outputs of one image."""
    if request.param == "onnxruntime":
        runtime = pytest.importorskip("onnxruntime")
        sessions = {
            name: runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            for name, (_, _, path) in models.items()
        }
        return lambda name, inputs: [
            each[0] for each in sessions[name].run(None, dict(zip(("image", "image_size"), inputs)))
        ]
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    compiled = {
        name: core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for name, (_, _, path) in models.items()
    }
    return lambda name, inputs: [compiled[name](inputs)[k][0] for k in range(len(compiled[name].outputs))]


def run_torch(models, name, inputs):
    config, weights, _ = models[name]
    with torch.inference_mode():
        return [each.numpy()[0] for each in load_network(weights, config)(*map(torch.from_numpy, inputs))]


@pytest.mark.parametrize("name", NAMES)
def test_contract(models, name):
    config, _, path = models[name]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 16)]
    values = (*model.graph.input, *model.graph.output)
    found = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    expected = {spec.name: [1, *spec.shape] for spec in (*input_tensors(config), *cut_outputs(config, "detections"))}
    assert found == expected and list(found)[:2] == ["image", "image_size"]
    dtypes = {value.name: value.type.tensor_type.elem_type for value in values}
    assert dtypes["classes"] == dtypes["count"] == onnx.TensorProto.INT32
    counts = Counter(node.op_type for node in model.graph.node)
    poolers = 8 if "masks" in found else 4  # one a level
    assert counts["NonMaxSuppression"] == 2 and counts["RoiAlign"] == poolers
    modes = {
        onnx.helper.get_node_attr_value(n, "coordinate_transformation_mode")
        for n in model.graph.node
        if n.op_type == "RoiAlign"
    }
    assert modes == {b"output_half_pixel" if config.rcnn.dialect == "detectron1" else b"half_pixel"}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert parse_description(metadata[KEY], path.name).config == replace(config, source=config.source.__class__("", ""))
    assert json.loads(metadata["class_names"]) == ["ball", "crate", "star"] and "operators" not in metadata


@pytest.mark.parametrize("name", NAMES)
def test_engines_find_what_torch_finds(models, engine, name):
    config = models[name][0]
    names = [spec.name for spec in cut_outputs(config, "detections")]
    generator = np.random.default_rng(1)
    seen = 0
    for _ in range(4):
        inputs = draw_inputs(config.preprocessing, generator, 1)
        expected, found = run_torch(models, name, inputs), engine(name, inputs)
        first, second, matched = pair_rows(names, expected, found)
        assert matched.first == matched.second == matched.both
        seen += matched.both
        np.testing.assert_allclose(second[0], first[0], atol=BOXES_PX)
        np.testing.assert_allclose(second[1], first[1], atol=1e-4)
        assert np.all(np.diff(found[1][: matched.second]) <= 0)  # by falling score
        if "masks" in names:
            np.testing.assert_allclose(second[4], first[4], atol=MASKS)
        limits = [inputs[1][0, 1], inputs[1][0, 0]] * 2
        assert np.all(found[0] >= 0) and np.all(found[0] <= limits)  # inside the picture, not the canvas
    assert seen > 40


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(96, 128), (1, 1), (0, 0)])
def test_a_black_picture_gives_finite_values(models, engine, name, height, width):
    """Boxes of no area and rows of padding go through both poolers (field_problems 7 and 29)."""
    config = models[name][0]
    image = np.zeros((1, 3, 96, 128), np.float32)
    outputs = engine(name, [image, np.array([[height, width]], np.float32)])
    assert all(np.isfinite(values).all() for values in outputs)
    count = int(outputs[3][0])
    assert 0 <= count <= 20 and (height or not count or config.rcnn.dialect == "detectron1")
    for values in (*outputs[:3], *outputs[4:]):
        assert not values[count:].any()


@pytest.mark.parametrize("layer", ["cls_score", "objectness_logits"])
def test_a_logit_that_is_no_number_is_seen(models, layer):
    """Comparisons with NaN are false: an overflow of float16 would be fewer detections, or none."""
    config, _, path = models["faster_rcnn_R_50_FPN_1x"]
    model = onnx.load(path)
    (bias,) = (each for each in model.graph.initializer if each.name.endswith(f"{layer}.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full_like(onnx.numpy_helper.to_array(bias), np.inf), bias.name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = draw_inputs(config.preprocessing, np.random.default_rng(0), 1)
    outputs = [each[0] for each in session.run(None, dict(zip(("image", "image_size"), inputs)))]
    detector = family_of(config).make_detector(config, "detections", None, EVALUATION_SETTINGS, 1)
    with pytest.raises(ArtifactError, match="not finite numbers"):
        detector.detect(outputs, 60, 80, "outputs", "Remedy.", Timings())


def test_the_canvas_is_not_padding_to_32():
    """The same picture on two canvases: what the biases make of the padding reaches the picture (field_problems 2)."""
    config = tiny_rcnn()
    larger = replace(config, preprocessing=replace(config.preprocessing, height_px=160, width_px=192))
    state = random_rcnn_state_dict(config)
    inputs = draw_inputs(config.preprocessing, np.random.default_rng(2), 1)
    wide = np.zeros((1, 3, 160, 192), np.float32)
    wide[:, :, :96, :128] = inputs[0]
    levels = []
    for each, image in ((config, inputs[0]), (larger, wide)):
        network = family_of(each).build(each).eval()
        network.load_state_dict(state)
        with torch.inference_mode():
            levels.append(network.features(torch.from_numpy(image))[3][:, :, :3, :4])  # P5, of stride 32
    difference = (levels[0] - levels[1]).abs().amax(dim=1) / levels[0].abs().max()
    assert (difference > 0.01).float().mean() > 0.3


@pytest.mark.parametrize("name", NAMES[:2])
def test_classes_are_counted_without_the_background(name):
    """Whichever class's bias is raised, its number comes out, in both dialects (field_problems 18)."""
    config = tiny_rcnn(name)
    network = family_of(config).build(config).eval()
    network.load_state_dict(random_rcnn_state_dict(config))
    inputs = [torch.from_numpy(each) for each in draw_inputs(config.preprocessing, np.random.default_rng(3), 1)]
    bias = network.roi_heads.box_predictor.cls_score.bias
    before = bias.detach().clone()
    for k in range(4):  # the fourth is the background
        row = k if config.rcnn.dialect == "detectron2" else (k + 1) % 4
        with torch.no_grad():
            bias.copy_(before)
            bias[row] += 30
            _, _, classes, count, _ = network(*inputs)
        found = classes[0, : int(count)]
        assert (len(found) > 3 and (found == k).all()) if k < 3 else len(found) == 0


def test_other_detections_than_torchs_are_refused(models):
    config, weights, path = models[NAMES[2]]
    network = load_network(weights, config)
    bias = network.roi_heads.box_predictor.cls_score.bias
    with torch.no_grad():
        bias[0] += 2
    sample = draw_inputs(config.preprocessing, np.random.default_rng(0), 1)
    with pytest.raises(ArtifactError, match=r"finds \d+ objects and PyTorch \d+, but only \d+ are the same"):
        export.compare_with_torch(path, network, cut_outputs(config, "detections"), [sample])


def test_weights_whose_values_overflow_are_refused(models):
    """ONNX Runtime would give NaN for them, and OpenVINO no detections at all."""
    config, weights, path = models[NAMES[0]]
    network = load_network(weights, config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e15)
    sample = draw_inputs(config.preprocessing, np.random.default_rng(0), 1)
    with pytest.raises(WeightsError, match="give values that are not finite numbers.*Pass an earlier checkpoint"):
        export.compare_with_torch(path, network, cut_outputs(config, "detections"), [sample])


def test_one_image_at_a_time():
    config = CONFIGS["mask_rcnn_R_50_FPN_3x"]
    require_batch_sizes(config, [1])
    require_batch_sizes(CONFIGS["yolact_base_config"], [1, 8])
    with pytest.raises(UsageError, match="takes one image at a time.*found 4. Set bs=1.*parallel requests"):
        require_batch_sizes(config, [1, 4])


def test_operators_follow_from_the_target():
    rcnn, yolact = CONFIGS["mask_rcnn_R_50_FPN_3x"], CONFIGS["yolact_base_config"]
    assert choose_operators(rcnn, None, is_for_ascend=True) == "ascend"
    assert choose_operators(rcnn, None, is_for_ascend=False) == "onnx"
    assert choose_operators(rcnn, "onnx", is_for_ascend=True) == "onnx"
    assert choose_operators(yolact, None, is_for_ascend=True) == "onnx"
    with pytest.raises(UsageError, match="only target=ascend has these operators. Pass operators=onnx"):
        choose_operators(rcnn, "ascend_unaligned", is_for_ascend=False)
    with pytest.raises(UsageError, match="yolact_base_config is exported with operators=onnx only"):
        choose_operators(yolact, "ascend", is_for_ascend=True)


@pytest.mark.parametrize(("operators", "aligned"), [("ascend", 1), ("ascend_unaligned", 0)])
def test_ascends_operators_are_written_as_its_recipe_writes_them(models, tmp_path, operators, aligned):
    """Ascend/ModelZoo-PyTorch @ 6a2804a35, MaskRcnn/maskrcnn_detectron2.diff."""
    config, weights, _ = models[NAMES[2]]
    export_onnx(weights, config, tmp_path / "a.onnx", operators=operators)
    model = onnx.load(tmp_path / "a.onnx")
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 16)]
    with pytest.raises(ArtifactError, match=f"operators={operators}, which only Ascend's tools compute. Use its"):
        OnnxEngine(tmp_path / "a.onnx")
    nodes = {
        kind: [node for node in model.graph.node if node.op_type == kind]
        for kind in ("BatchMultiClassNMS", "RoiExtractor")
    }
    attributes = {
        kind: [{each.name: onnx.helper.get_attribute_value(each) for each in node.attribute} for node in found]
        for kind, found in nodes.items()
    }
    common = {"finest_scale": 56, "pool_mode": b"avg", "roi_scale_factor": 0, "sample_num": 0, "aligned": aligned}
    scales = {"spatial_scale": [0.25, 0.125, 0.0625, 0.03125], "pooled_height": 7, "pooled_width": 7}
    assert attributes["RoiExtractor"] == [{**common, **scales}]
    assert [len(node.output) for node in nodes["BatchMultiClassNMS"]] == [4, 4]
    proposals, detections = attributes["BatchMultiClassNMS"]
    assert proposals == {
        "score_threshold": 0.0,
        "iou_threshold": pytest.approx(0.7),
        "max_size_per_class": 150,
        "max_total_size": 150,
    }
    assert detections == {
        "score_threshold": pytest.approx(0.05),
        "iou_threshold": 0.5,
        "max_size_per_class": 20,
        "max_total_size": 20,
    }
    metadata = {each.key: each.value for each in model.metadata_props}
    assert metadata["operators"] == operators
    assert metadata["float32_operators"].splitlines() == box_operators(model.graph)
    assert not {"NonMaxSuppression", "RoiAlign", "NonZero"} & {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_graph_for_ascend_computes_the_same(models, monkeypatch, name):
    """With its operators played in half precision by `test_rcnn_parts`; on a card they are Huawei's."""
    from test_rcnn_parts import Played

    def play_extractor(levels, boxes, size, samples, is_aligned):
        pooling = roi_align.Pooling(size, samples, is_aligned, config.rcnn.dialect)
        return roi_align.pool_levels(levels, boxes, torch.zeros(len(boxes), dtype=torch.int64), pooling)

    config, weights, _ = models[name]
    monkeypatch.setattr(ascend, "_BatchMultiClassNms", Played)
    monkeypatch.setattr(roi_align, "extract_regions", play_extractor)
    network = load_network(weights, config)
    names = [spec.name for spec in cut_outputs(config, "detections")]
    inputs = draw_inputs(config.preprocessing, np.random.default_rng(4), 1)
    with torch.inference_mode():
        expected, found = (
            [each.numpy()[0] for each in each_network(*map(torch.from_numpy, inputs))]
            for each_network in (network, network.with_operators("ascend"))
        )
    first, second, matched = pair_rows(names, expected, found)
    assert matched.both >= 0.8 * max(matched.first, matched.second) and matched.both > 8  # choices at thresholds turn
    np.testing.assert_allclose(second[0], first[0], atol=BOXES_PX)  # boxes and scores are float32, not the operator's
    np.testing.assert_allclose(second[1], first[1], atol=1e-5)


def test_the_verb_exports_and_names_the_operators(models, tmp_path, monkeypatch, capsys):
    config, weights, path = models[NAMES[2]]
    monkeypatch.setitem(CONFIGS, config.name, config)
    output = tmp_path / "a.onnx"
    words = [f"--config={config.name}", f"--weights={weights}", f"--output={output}", "--classes=ball,crate,star"]
    assert main(["export", *words]) == 0
    assert "boxes: largest difference from PyTorch" in capsys.readouterr().out
    assert onnx.load(output).graph == onnx.load(path).graph  # deterministic, too
