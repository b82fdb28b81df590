"""What follows from a config: input, levels, anchors, tensors of each cut. All numbers are worked out by hand."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from factories import TINY_CONFIG

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS
from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.images.transforms import prepare_pixels
from yolact_ascend.models.config import (
    CONFIGS,
    DEFAULT_CONFIG,
    DEMO_CONFIG,
    Anchors,
    Preprocessing,
    get_config,
    require_upstream,
    with_classes,
)
from yolact_ascend.models.families import all_cuts, cut_outputs, default_cut, family_of, find_cut
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.yolact.anchors import make_anchors
from yolact_ascend.models.yolact.cuts import CUTS, count_anchors, level_sizes, proto_size
from yolact_ascend.tensors import TensorSpec
from yolact_ascend.timings import Timings

USUAL = TINY_CONFIG  # 550 pixels, 3 square anchors for each cell
# Everything that may differ does: 400 pixels, other scales, three more aspect ratios, anchors that are not square,
# other statistics. The square roots of the ratios are 1, 1/2, 2, 1/4, 4, 8.
OTHER = dataclasses.replace(
    TINY_CONFIG,
    preprocessing=Preprocessing(
        height_px=400, width_px=400, mean_rgb=(0.5, 0.25, 0.125), std_rgb=(0.5, 1, 2), pixel_max=1, channel_order="BGR"
    ),
    anchors=Anchors((20, 40, 80, 160, 320), (1, 1 / 4, 4, 1 / 16, 16, 64), is_square=False),
)
OTHER_LEVELS = (50, 25, 13, 7, 4)  # 400 / 8, 16, 32, 64, 128, rounded up
OTHER_ANCHORS = 20154  # 6 · (2500 + 625 + 169 + 49 + 16)


def test_the_input_is_as_large_as_the_preprocessing_says():
    assert input_tensor(USUAL) == TensorSpec("image", (3, 550, 550), "float32", "NCHW")
    assert input_tensor(OTHER) == TensorSpec("image", (3, 400, 400), "float32", "NCHW")
    assert input_tensor(OTHER, "uint8") == TensorSpec("image", (400, 400, 3), "uint8", "NHWC")
    flat = dataclasses.replace(USUAL, preprocessing=Preprocessing(height_px=200, width_px=300))
    assert input_tensor(flat).shape == (3, 200, 300)
    assert input_tensor(flat, "uint8").shape == (200, 300, 3)


def test_two_configs_in_one_process_prepare_the_same_image_each_in_its_own_way():
    image_bgr = np.full((10, 20, 3), (51, 102, 153), dtype=np.uint8)  # 0.2, 0.4, 0.6 of 255
    usual = [(153 - 123.68) / 58.40, (102 - 116.78) / 57.12, (51 - 103.94) / 57.38]  # RGB
    other = [(0.2 - 0.125) / 2, (0.4 - 0.25) / 1, (0.6 - 0.5) / 0.5]  # BGR
    for config, size, values, pixel in (
        (USUAL, 550, usual, [153, 102, 51]),
        (OTHER, 400, other, [51, 102, 153]),
        (USUAL, 550, usual, [153, 102, 51]),  # again: nothing is left of the other's
    ):
        prepared = prepare_pixels(image_bgr, config.preprocessing, "float32")
        assert prepared.shape == input_tensor(config).shape == (3, size, size)
        np.testing.assert_allclose(prepared[:, 0, 0], values, rtol=1e-5)
        np.testing.assert_allclose(prepared[:, -1, -1], values, rtol=1e-5)
        pixels = prepare_pixels(image_bgr, config.preprocessing, "uint8")
        assert pixels.shape == input_tensor(config, "uint8").shape == (size, size, 3)
        assert pixels[0, 0].tolist() == pixels[-1, -1].tolist() == pixel


def test_levels_and_prototypes_follow_from_the_size_of_the_image():
    assert level_sizes(550) == (69, 35, 18, 9, 5) and proto_size(550) == 138
    assert level_sizes(400) == OTHER_LEVELS and proto_size(400) == 100
    assert level_sizes(401)[0] == 51 and proto_size(401) == 102  # a rest of a cell counts as one


def test_the_number_of_anchors_follows_from_size_and_ratios():
    assert (USUAL.anchors.per_cell, count_anchors(USUAL)) == (3, 19248)
    assert (OTHER.anchors.per_cell, count_anchors(OTHER)) == (6, OTHER_ANCHORS)
    assert len(make_anchors(OTHER.anchors, 400)) == OTHER_ANCHORS


def test_anchors_follow_from_scales_and_ratios():
    anchors = make_anchors(OTHER.anchors, 400)
    # The first cell of P3: centre half of 1/50, scale 20; widths 20 · root, heights 20 / root, of 400 pixels.
    expected = [(20, 20), (10, 40), (40, 10), (5, 80), (80, 5), (160, 2.5)]
    np.testing.assert_allclose(anchors[:6, :2], [[0.01, 0.01]] * 6, rtol=1e-6)
    np.testing.assert_allclose(anchors[:6, 2:] * 400, expected, rtol=1e-6)
    # The next cell of the row, then the first of the next row.
    np.testing.assert_allclose(anchors[6, :2], [0.03, 0.01], rtol=1e-6)
    np.testing.assert_allclose(anchors[6 * 50, :2], [0.01, 0.03], rtol=1e-6)
    # Each level begins behind the cells of those before, at half of one of its own, with its own scale.
    starts = np.cumsum([0, 2500, 625, 169, 49]) * 6
    for start, cells, scale in zip(starts, OTHER_LEVELS, (20, 40, 80, 160, 320)):
        np.testing.assert_allclose(anchors[start], [0.5 / cells, 0.5 / cells, scale / 400, scale / 400], rtol=1e-6)
    # The last cell of P7, ratio 64: 2560×40 pixels.
    np.testing.assert_allclose(anchors[-1], [3.5 / 4, 3.5 / 4, 6.4, 0.1], rtol=1e-6)


def test_square_anchors_change_their_size_with_the_ratio_and_not_their_shape():
    square = make_anchors(dataclasses.replace(OTHER.anchors, is_square=True), 400)
    np.testing.assert_allclose(square[:6, 2] * 400, [20, 10, 40, 5, 80, 160], rtol=1e-6)
    assert (square[:, 2] == square[:, 3]).all()


def test_anchors_of_one_config_are_not_those_of_another():
    usual, other = make_anchors(USUAL.anchors, 550), make_anchors(OTHER.anchors, 400)
    assert (len(usual), len(other)) == (19248, OTHER_ANCHORS)
    np.testing.assert_allclose(make_anchors(USUAL.anchors, 400)[0, 2:], 24 / 400, rtol=1e-6)
    np.testing.assert_allclose(make_anchors(OTHER.anchors, 550)[0, 2:], 20 / 550, rtol=1e-6)
    assert make_anchors(USUAL.anchors, 550) is usual and not usual.flags.writeable


@pytest.mark.parametrize("scales", [(20, 40, 80, 160), (20, 40, 80, 160, 320, 640)], ids=["too few", "too many"])
def test_anchors_need_a_scale_for_each_level(scales):
    with pytest.raises(ValueError, match=r"Expected 5 anchor scales, one for each level P3..P7; found \(20, 40"):
        make_anchors(Anchors(scales), 400)


def test_an_input_that_is_not_square_is_refused_by_the_family():
    flat = dataclasses.replace(USUAL, preprocessing=Preprocessing(height_px=200, width_px=300))
    for derive in (
        count_anchors,
        lambda config: cut_outputs(config, "fpn"),
        lambda config: cut_outputs(config, "heads"),
    ):
        with pytest.raises(ValueError, match="yolact_edge_demo_config has an input of 300×200 pixels; .* square"):
            derive(flat)


# The demo's network has 64 channels in its FPN, 24 prototypes and 8 classes.
OTHER_OUTPUTS = {
    "fpn": [
        ("output0", (64, 50, 50)),
        ("output1", (64, 25, 25)),
        ("output2", (64, 13, 13)),
        ("output3", (64, 7, 7)),
        ("output4", (64, 4, 4)),
        ("output5", (100, 100, 24)),
    ],
    "heads": [
        ("loc", (OTHER_ANCHORS, 4)),
        ("conf", (OTHER_ANCHORS, 9)),
        ("coeffs", (OTHER_ANCHORS, 24)),
        ("protos", (100, 100, 24)),
    ],
    "boxes": [
        ("conf", (OTHER_ANCHORS, 9)),
        ("boxes", (OTHER_ANCHORS, 4)),
        ("mask", (OTHER_ANCHORS, 24)),
        ("proto", (100, 100, 24)),
    ],
    "candidates": [
        ("boxes", (1000, 4)),
        ("scores", (1000, 9)),
        ("count", (1,)),
        ("coeffs", (1000, 24)),
        ("protos", (100, 100, 24)),
    ],
    "detections": [
        ("boxes", (100, 4)),
        ("scores", (100,)),
        ("classes", (100,)),
        ("count", (1,)),
        ("coeffs", (100, 24)),
        ("protos", (100, 100, 24)),
    ],
}
INTEGERS = {"classes", "count"}


@pytest.mark.needs("torch")
@pytest.mark.parametrize("cut", OTHER_OUTPUTS)
def test_the_tensors_of_a_cut_follow_from_the_config_and_are_the_networks(cut):
    import torch

    outputs = cut_outputs(OTHER, cut)
    assert [(spec.name, spec.shape) for spec in outputs] == OTHER_OUTPUTS[cut]
    assert [spec.dtype for spec in outputs] == ["int32" if spec.name in INTEGERS else "float32" for spec in outputs]
    family = family_of(OTHER)
    with torch.device("meta"), torch.inference_mode():  # shapes alone
        found = family.at_cut(family.build(OTHER).eval(), OTHER, cut)(torch.zeros(2, *input_tensor(OTHER).shape))
    assert [tuple(output.shape) for output in found] == [(2, *spec.shape) for spec in outputs]


def test_a_models_outputs_tell_its_cut():
    assert [find_cut(cut_outputs(OTHER, cut), OTHER) for cut in CUTS] == list(CUTS)
    assert (
        find_cut([TensorSpec(f"{i}", spec.shape) for i, spec in enumerate(cut_outputs(USUAL, "heads"))], USUAL)
        == "heads"
    )
    with pytest.raises(ArtifactError, match=r"outputs are .*20154.*, expected .*69, 69.* \(cut fpn\) or .*19248, 4"):
        find_cut(cut_outputs(OTHER, "heads"), USUAL)
    with pytest.raises(ArtifactError, match=rf"exported for another, not for {USUAL.name}\. Pass --config=another and"):
        find_cut(cut_outputs(OTHER, "heads"), USUAL, "another")
    with pytest.raises(ArtifactError, match=rf"exported for mine-1a2b3c4d, not for {USUAL.name}"):
        find_cut(cut_outputs(USUAL, "fpn"), USUAL, "mine-1a2b3c4d")  # of the same shapes, from a config file
    half = [dataclasses.replace(spec, dtype="float16") for spec in cut_outputs(USUAL, "fpn")]
    with pytest.raises(ArtifactError, match="compiled with --output_type"):
        find_cut(half, USUAL)


def test_with_three_classes_names_tell_two_cuts_of_the_same_shapes_apart():
    three = with_classes(USUAL, ("a", "b", "c"), (1, 2, 3))
    shapes = [[spec.shape for spec in cut_outputs(three, cut)] for cut in ("heads", "boxes")]
    assert shapes[0] == shapes[1]
    assert [find_cut(cut_outputs(three, cut), three) for cut in CUTS] == list(CUTS)
    compiled = [
        dataclasses.replace(spec, name=f"Concat_7:{k}:{spec.name}")
        for k, spec in enumerate(cut_outputs(three, "boxes"))
    ]
    assert find_cut(compiled, three) == "boxes"


def test_detection_reads_anchors_and_prototypes_of_the_configs_size():
    detector = family_of(OTHER).make_detector(OTHER, "heads", None, EVALUATION_SETTINGS, 1)
    assert [(spec.name, spec.shape) for spec in detector.outputs] == OTHER_OUTPUTS["heads"]
    loc, conf, coeffs, protos = (np.zeros(spec.shape, np.float32) for spec in detector.outputs)
    conf[:, 0] = 20
    anchor = 6 * (10 * 50 + 20) + 2  # P3, row 10, column 20, ratio 4: 40×10 pixels around (164, 84)
    conf[anchor, [0, 3]] = 0, 20
    coeffs[anchor, 0] = protos[..., 0] = 1
    found = detector.detect([loc, conf, coeffs, protos], 800, 1200, "outputs", "", Timings())
    assert found.class_ids[0] == 2  # the others are the same anchor's, with scores near zero
    # Thrice as wide and twice as high as the input; whole pixels.
    np.testing.assert_allclose(found.boxes_xyxy_px, [[432, 158, 552, 178]] * len(found), atol=1)


@pytest.mark.needs("torch")
def test_export_follows_the_config(tiny_weights, tmp_path):
    from yolact_ascend.models.export import export_onnx

    config = dataclasses.replace(
        USUAL, preprocessing=Preprocessing(height_px=128, width_px=128, mean_rgb=(1, 2, 3), std_rgb=(4, 5, 6))
    )
    export_onnx(tiny_weights, config, tmp_path / "a.onnx", cut="heads")
    model = onnx.load(tmp_path / "a.onnx")
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "image": [3, 128, 128],
        "loc": [1023, 4],  # 3 · (256 + 64 + 16 + 4 + 1)
        "conf": [1023, 9],
        "coeffs": [1023, 24],
        "protos": [32, 32, 24],
    }
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["cut"] == "heads"
    assert json.loads(metadata["mean_rgb"]) == [1, 2, 3] and json.loads(metadata["std_rgb"]) == [4, 5, 6]


def test_cuts_are_the_familys():
    assert default_cut(USUAL) == "fpn"
    assert default_cut(CONFIGS["mask_rcnn_R_50_FPN_3x"]) == "detections"
    assert all_cuts() == ("fpn", "heads", "boxes", "candidates", "detections")


def test_an_unknown_config_is_refused_with_those_there_are():
    assert get_config(DEFAULT_CONFIG).name == DEFAULT_CONFIG
    with pytest.raises(UsageError, match=f"Unknown config 'yolact'. Choose one of: {', '.join(CONFIGS)}."):
        get_config("yolact")


@pytest.mark.parametrize(
    ("name", "instead"),
    [("yolact_plus_base_config", "yolact_base_config"), ("yolact_plus_resnet50_config", "yolact_resnet50_config")],
)
def test_yolact_plus_is_refused_with_the_reason_and_what_to_use(name, instead):
    with pytest.raises(UsageError, match=rf"^{name} is YOLACT\+\+, .*deformable convolutions .*: use {instead} and"):
        get_config(name)


# dbolya/yolact @ 57b8f2d, printed from its Yolact() for each config: side, anchors, and the sides of the first cell's.
YOLACT_ANCHORS = {
    "yolact_base_config": (550, 19248, [(24, 24), (16.97, 16.97), (33.94, 33.94)]),
    "yolact_resnet50_config": (550, 19248, [(24, 24), (16.97, 16.97), (33.94, 33.94)]),
    "yolact_darknet53_config": (550, 19248, [(24, 24), (16.97, 16.97), (33.94, 33.94)]),
    "yolact_im400_config": (400, 10077, [(17, 17), (12.02, 12.02), (24.04, 24.04)]),
    "yolact_im700_config": (700, 30963, [(30, 30), (21.21, 21.21), (42.43, 42.43)]),
    "yolact_resnet50_pascal_config": (550, 19248, [(32, 32), (22.63, 45.25), (45.25, 22.63)]),
}


@pytest.mark.parametrize("name", YOLACT_ANCHORS)
def test_yolacts_configs_have_its_sizes_and_anchors(name):
    config, (side, count, first) = CONFIGS[name], YOLACT_ANCHORS[name]
    assert (config.preprocessing.height_px, config.preprocessing.width_px) == (side, side)
    anchors = make_anchors(config.anchors, side)
    assert len(anchors) == count_anchors(config) == count
    np.testing.assert_allclose(anchors[:3, 2:] * side, first, atol=0.01)
    # int(384 / 550 · side) for the sizes that are derived.
    assert anchors[-3, 2] * side == pytest.approx({400: 279, 700: 488}.get(side, config.anchors.scales_px[-1]))


def test_darknets_pixels_are_fractions_of_255():
    image_bgr = np.full((10, 20, 3), (51, 102, 153), dtype=np.uint8)
    prepared = prepare_pixels(image_bgr, CONFIGS["yolact_darknet53_config"].preprocessing, "float32")
    np.testing.assert_allclose(prepared[:, 0, 0], [0.6, 0.4, 0.2], rtol=1e-6)


def test_pascals_classes_are_numbered_from_1():
    pascal = CONFIGS["yolact_resnet50_pascal_config"]
    assert dict(zip(pascal.category_ids, pascal.class_names))[15] == "person" and pascal.num_classes == 20
    assert pascal.category_ids == tuple(range(1, 21)) and len(set(pascal.class_names)) == 20


def test_only_configs_of_public_code_have_an_upstream():
    for config in CONFIGS.values():
        if config.family == "yolact" and config.name != DEMO_CONFIG:
            require_upstream(config)
    with pytest.raises(UsageError, match=f"{DEMO_CONFIG} is this repository's own: upstream does not have it"):
        require_upstream(CONFIGS[DEMO_CONFIG])
    with pytest.raises(UsageError, match=r"mask_rcnn_R_50_FPN_3x .* no upstream checkout\. Leave out upstream="):
        require_upstream(CONFIGS["mask_rcnn_R_50_FPN_3x"])


def test_other_classes_change_nothing_else():
    config = with_classes(OTHER, ("screw", "nut"), (7, 9))
    assert (config.class_names, config.category_ids, config.num_classes) == (("screw", "nut"), (7, 9), 2)
    assert with_classes(config, OTHER.class_names, OTHER.category_ids) == OTHER
    assert cut_outputs(config, "heads")[1].shape == (OTHER_ANCHORS, 3)
