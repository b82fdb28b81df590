"""--insert_op_conf: static AIPP in front of the network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from .conftest import ATC_COMMON, Result, Run, write_bytes
from .test_emulated_atc import assert_failed

RGB = "aipp_mode: static input_format: RGB888_U8"
NEGATE = "--model negate.onnx --output negate"


def negate_model(channels: int = 3, size: int = 4, opset: int = 11) -> onnx.ModelProto:
    """image [B,C,S,S] -> out [B,C,S,S], its negative: what AIPP made can be read off."""
    shape = ["b", channels, size, size]
    graph = helper.make_graph(
        [helper.make_node("Neg", ["image"], ["out"], name="Neg_0")],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def two_image_model() -> onnx.ModelProto:
    """left, right [1,3,2,2] -> difference."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 2, 2]) for name in ("left", "right")]
    output = helper.make_tensor_value_info("difference", TensorProto.FLOAT, [1, 3, 2, 2])
    graph = helper.make_graph([helper.make_node("Sub", ["left", "right"], ["difference"])], "g", values, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    onnx.save(negate_model(), tmp_path / "negate.onnx")
    onnx.save(negate_model(channels=1), tmp_path / "grey.onnx")
    onnx.save(negate_model(size=1100), tmp_path / "wide.onnx")
    onnx.save(negate_model(opset=10), tmp_path / "opset10.onnx")
    onnx.save(two_image_model(), tmp_path / "two.onnx")
    return tmp_path


def atc(
    run: Run, work: Path, config: str, *flags: str, model: str = "negate", shape: str = "", encoding: str = "utf-8"
) -> Result:
    """Compile `model`.onnx with a file of AIPP blocks; `config` without braces is one block."""
    (work / "aipp.cfg").write_text(config if "{" in config else f"aipp_op {{ {config} }}\n", encoding=encoding)
    if not shape:
        shape = {"negate": "image:1,3,4,4", "grey": "image:1,1,4,4", "wide": "image:1,3,1100,1100"}.get(model, "")
    words = ["--model", f"{model}.onnx", "--output", model, "--insert_op_conf", "aipp.cfg", *flags]
    return run("atc", *words, *(["--input_shape", shape] if shape else []), *ATC_COMMON)


def infer(run: Run, work: Path, image: np.ndarray, model: str = "negate") -> np.ndarray:
    """What the emulated runtime makes of `image` with `model`.om, by the real way: a file of bytes, ais_bench."""
    assert image.dtype == np.uint8
    for folder in ("in", "out"):
        (work / folder).mkdir(mode=0o750, exist_ok=True)
    write_bytes(work / "in" / "0.bin", image.tobytes())
    words = ["--model", f"{model}.om", "--input", "in", "--output", "out", "--output_dirname", "run"]
    result = run("python3", "-m", "ais_bench", *words)
    assert result.code == 0, result.stdout + result.stderr
    return np.fromfile(work / "out" / "run" / "0_0.bin", np.float32)


def header_of(path: Path) -> dict:
    return json.loads(path.read_bytes().split(b"\n", 2)[1])


def image_of(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, channels), dtype=np.uint8)


def half(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float16).astype(np.float32)


def test_input_becomes_uint8_nhwc(run: Run, work: Path) -> None:
    result = atc(run, work, RGB, shape="image:2,3,4,4")
    assert result.code == 0, result.stdout
    header = header_of(work / "negate.om")
    assert header["inputs"] == [{"name": "image", "dtype": "uint8", "shape": [2, 4, 4, 3], "format": "NHWC"}]
    assert header["outputs"] == [{"name": "out", "dtype": "float32", "shape": [2, 3, 4, 4], "format": "ND"}]
    assert header["aipp"] == [{"input_format": "RGB888_U8", "aipp_mode": "static"}]
    code = (
        "import aclruntime as a; o = a.session_options(); d = a.InferenceSession('negate.om', 0, o).get_inputs()[0]; "
        "print(d.name, d.datatype.name, d.format, d.shape, d.realsize)"
    )
    described = run("python3", "-c", code).stdout
    assert "image uint8 1 [2, 4, 4, 3] 96\n" in described  # 1 is NHWC in CANN's enumeration of formats


def test_normalisation_of_one_pixel_by_hand(run: Run, work: Path) -> None:
    # (200 - 104 - 0.5) * 0.5 = 47.75, (0 - 0 - 123.6875) * 1 = -123.6875 (123.68 in float16), 7 stays
    config = f"{RGB} mean_chn_0: 104 min_chn_0: 0.5 var_reci_chn_0: 0.5 min_chn_1: 123.68"
    assert atc(run, work, config).code == 0
    out = infer(run, work, np.tile(np.uint8([200, 0, 7]), 16))
    np.testing.assert_array_equal(out.reshape(3, 16), -np.tile(np.float32([[47.75], [-123.6875], [7]]), 16))


@pytest.mark.parametrize("mode", ["force_fp16", "must_keep_origin_dtype"])
def test_normalisation_of_the_network_here(run: Run, work: Path, mode: str) -> None:
    config = (
        f"{RGB} min_chn_0: 123.68 min_chn_1: 116.78 min_chn_2: 103.94 "
        "var_reci_chn_0: 0.01712329 var_reci_chn_1: 0.01750700 var_reci_chn_2: 0.01742767"
    )
    assert atc(run, work, config, f"--precision_mode={mode}").code == 0
    image = image_of(4, 4)
    means, factors = half([123.68, 116.78, 103.94]), half([0.01712329, 0.01750700, 0.01742767])
    expected = half((image.astype(np.float32) - means) * factors)  # float16 in both modes: so is AIPP's output
    np.testing.assert_array_equal(infer(run, work, image), -expected.transpose(0, 3, 1, 2).ravel())


def test_swap_comes_before_normalisation(run: Run, work: Path) -> None:
    assert atc(run, work, f"{RGB} rbuv_swap_switch: true mean_chn_0: 10").code == 0
    out = infer(run, work, np.tile(np.uint8([1, 2, 30]), 16)).reshape(3, 16)
    np.testing.assert_array_equal(-out[:, 0], [20, 2, 1])


def test_crop(run: Run, work: Path) -> None:
    config = f"{RGB} crop: true src_image_size_h: 6 src_image_size_w: 8 load_start_pos_h: 1 load_start_pos_w: 3"
    assert atc(run, work, config).code == 0
    assert header_of(work / "negate.om")["inputs"][0]["shape"] == [1, 6, 8, 3]
    image = image_of(6, 8)
    expected = image[:, 1:5, 3:7].transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_array_equal(infer(run, work, image), -expected.ravel())


def test_crop_then_padding(run: Run, work: Path) -> None:
    config = (
        f"{RGB} crop: true src_image_size_h: 4 src_image_size_w: 4 crop_size_h: 2 crop_size_w: 1 "
        "padding: true left_padding_size: 1 right_padding_size: 2 top_padding_size: 2 padding_value: 9.1 mean_chn_0: 1"
    )
    assert atc(run, work, config).code == 0
    image = image_of(4, 4)
    expected = np.full((3, 4, 4), 9.1015625, np.float32)  # 9.1 in float16: padding comes last
    expected[:, 2:, 1] = image[0, :2, 0].T - np.float32([[1], [0], [0]])
    np.testing.assert_array_equal(infer(run, work, image), -expected.ravel())


def test_colour_conversion_to_grey_by_hand(run: Run, work: Path) -> None:
    rows = " ".join(f"matrix_r{row}c{column}: 0" for row in (1, 2) for column in range(3))
    biases = " ".join(f"output_bias_{channel}: 0" for channel in range(3))
    config = f"{RGB} csc_switch: true matrix_r0c0: 76 matrix_r0c1: 150 matrix_r0c2: 30 {rows} {biases} mean_chn_0: 1"
    assert atc(run, work, config).code == 0
    # 76*10 + 150*20 + 30*31 = 4690, >> 8 = 18, then the mean
    out = infer(run, work, np.tile(np.uint8([10, 20, 31]), 16)).reshape(3, 16)
    np.testing.assert_array_equal(-out[:, 0], [17, 0, 0])


def test_colour_conversion_without_a_matrix_is_rgb_to_yuv(run: Run, work: Path) -> None:
    assert atc(run, work, f"{RGB} csc_switch: true").code == 0
    # red: 66*255 >> 8 = 65, + 16; -38*255 >> 8 = -38 (-37.85 rounded down), + 128; 112*255 >> 8 = 111, + 128
    out = infer(run, work, np.tile(np.uint8([255, 0, 0]), 16)).reshape(3, 16)
    np.testing.assert_array_equal(-out[:, 0], [81, 90, 239])


def test_colour_conversion_stays_within_a_byte(run: Run, work: Path) -> None:
    config = f"{RGB} csc_switch: true matrix_r0c0: 32767 matrix_r1c0: -32768"
    assert atc(run, work, config).code == 0
    out = infer(run, work, np.tile(np.uint8([255, 255, 255]), 16)).reshape(3, 16)
    np.testing.assert_array_equal(-out[:2, 0], [255, 0])


def test_grey_images(run: Run, work: Path) -> None:
    assert atc(run, work, "aipp_mode: static input_format: YUV400_U8 mean_chn_0: 5", model="grey").code == 0
    assert header_of(work / "grey.om")["inputs"][0]["shape"] == [1, 4, 4, 1]
    image = image_of(4, 4, 1)
    np.testing.assert_array_equal(infer(run, work, image, "grey"), 5 - image.ravel().astype(np.float32))


def test_one_block_for_one_of_two_inputs(run: Run, work: Path) -> None:
    config = f"aipp_op {{ {RGB} related_input_rank: 1 }}"
    assert atc(run, work, config, model="two").code == 0
    dtypes = [(tensor["name"], tensor["dtype"]) for tensor in header_of(work / "two.om")["inputs"]]
    assert dtypes == [("left", "float32"), ("right", "uint8")]


def test_blocks_for_both_inputs_and_comments(run: Run, work: Path) -> None:
    config = f"# both\naipp_op {{ {RGB} mean_chn_2: 3 }}\naipp_op {{ {RGB}\n related_input_rank: 1 # right\n }}\n"
    assert atc(run, work, config, model="two").code == 0
    assert [tensor["dtype"] for tensor in header_of(work / "two.om")["inputs"]] == ["uint8", "uint8"]
    assert [block.get("related_input_rank") for block in header_of(work / "two.om")["aipp"]] == [None, 1]


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_comments_in_any_encoding(run: Run, work: Path, encoding: str) -> None:
    config = f"# 图像预处理\naipp_op {{ {RGB} # 均值\n mean_chn_2: 3 }}\n"
    assert atc(run, work, config, encoding=encoding).code == 0
    assert header_of(work / "negate.om")["aipp"] == [
        {"input_format": "RGB888_U8", "aipp_mode": "static", "mean_chn_2": 3}
    ]


def test_small_bins_do_not_fit_a_large_batch_unnoticed(run: Run, work: Path) -> None:
    """float32 NCHW bins for an AIPP model: 192 bytes are 1 batch of 4 images; ais_bench takes them, as on a card."""
    assert atc(run, work, RGB, shape="image:4,3,4,4").code == 0
    assert infer(run, work, image_of(8, 8)).size == 4 * 48


CROP = "crop: true src_image_size_h: 6 src_image_size_w: 8"
PAD = "padding: true src_image_size_h: 4 src_image_size_w: 4"
FAILURES = {
    "mode_missing": ("input_format: RGB888_U8", "E10052: AIPP configuration is invalid. Reason: When insert AIPP op"),
    "format_missing": ("aipp_mode: static", "E10052: AIPP configuration is invalid. Reason: Input format of AIPP conf"),
    "dynamic": ("aipp_mode: dynamic max_src_image_size: 999", "E10055: The operation is not supported. Reason: the em"),
    "dynamic_without_size": ("aipp_mode: dynamic", "E10052: AIPP configuration is invalid. Reason: For dynamic AIPP"),
    "repeated": (f"{RGB} var_reci_chn_1: 1 var_reci_chn_1: 2", "The parameter var_reci_chn_1 cannot be configured rep"),
    "repeated_matrix": (f"{RGB} matrix_r2c1: 1 matrix_r2c1: 1", "The parameter matrix_r2c1 cannot be configured rep"),
    "negative_size": (f"{RGB} src_image_size_w: -4", "Src_image_size_w must not be configured smaller than 0"),
    "negative_padding": (f"{RGB} top_padding_size: -1", "Top_padding_size must not be configured smaller than 0"),
    "rank_too_high": (
        f"{RGB} related_input_rank: 1",
        "the data node by aipp parameter related_input_rank 1",
    ),
    "by_name": (f'{RGB} related_input_name: "image"', "related_input_name image convert rank failed"),
    "same_rank": (f"aipp_op {{ {RGB} }} aipp_op {{ {RGB} }}", "E10052: AIPP configuration is invalid. Reason: Cannot"),
    "rank_and_name": (
        f'aipp_op {{ {RGB} }} aipp_op {{ {RGB} related_input_name: "image" }}',
        "Cannot both set related_input_rank and related_input_name.",
    ),
    "unknown_key": (f"{RGB} mean_chn: 3", "E13005: Failed to parse file [aipp.cfg]."),
    "fractional_mean": (f"{RGB} mean_chn_0: 123.68", "E13005: Failed to parse file [aipp.cfg]."),
    "unknown_format": ("aipp_mode: static input_format: RGB888", "E13005: Failed to parse file [aipp.cfg]."),
    "field_twice": (f"{RGB} crop: true crop: true", "E13005: Failed to parse file [aipp.cfg]."),
    "brace_open": ("aipp_op {", "E13005: Failed to parse file [aipp.cfg]."),
    "no_block": ("# {}", "E10055: The operation is not supported. Reason: aipp.cfg has no aipp_op"),
    "other_format": ("aipp_mode: static input_format: YUV420SP_U8", "E10055: The operation is not supported. Reason:"),
    # Found by benchmarks/fuzz.py.
    "format_by_no_number": ("aipp_mode: static input_format: -1", "the emulated atc knows no input_format -1 of AIPP"),
    "mode_by_no_number": ("aipp_mode: 7 input_format: RGB888_U8", "the emulated atc knows no aipp_mode 7 of AIPP"),
    "reserved": (f"{RGB} single_line_mode: true", "the emulated atc has no single_line_mode of AIPP"),
    "resize": (f"{RGB} resize: true", "E81012: Compile op[aipp] failed, cause: resize only support Hi3796CV300ES"),
    "size": (f"{RGB} src_image_size_h: 5", "E81012: Compile op[aipp] failed, cause: input h[4] of network should be"),
    "crop_unsized": (f"{RGB} crop: true", "when crop[1] or resize[0] or padding[0] is enable, src_image_size_w[0]"),
    "crop_outside": (f"{RGB} {CROP} load_start_pos_w: 5", "load_start_pos_w[5] + crop_size_w[4] should be less than"),
    "crop_other": (f"{RGB} {CROP} crop_size_h: 3", "crop_size_w[4] should be equal to output w[4] and crop_size_h[3]"),
    "crop_and_padding": (f"{RGB} {CROP} padding: true", "when crop_size_h[0] is equal to 0 or crop_size_w[0] is equal"),
    "padding_too_much": (
        f"{RGB} {PAD} left_padding_size: 33",
        "The max padding size is 32, and left_padding_size is",
    ),
    "padding_other": (
        f"{RGB} {PAD} left_padding_size: 1",
        "src_image_size_w[4] + left_padding_size[1] + right_pad",
    ),
    "mean": (
        f"{RGB} mean_chn_0: 256",
        "E81012: Compile op[aipp] failed, cause: mean_chn_0[256] should be within[",
    ),
    "min": (f"{RGB} min_chn_2: -1", "E81012: Compile op[aipp] failed, cause: min_chn_2[-1.0] should be within[0, 255]"),
    "var_reci": (f"{RGB} var_reci_chn_0: 65505", "var_reci_chn_0[65505.0] should be within[-65504, 65504]"),
    "matrix": (f"{RGB} csc_switch: true matrix_r0c0: 32768", "matrix_r0c0[32768] should be within[-32768, 32767]"),
    "bias": (f"{RGB} csc_switch: true output_bias_0: 256", "output_bias_0[256] should be within[0, 255]"),
    "padding_value": (f"{RGB} padding_value: 7e4", "padding_value[70000.0] should be within[-65504, 65504]"),
    "image_too_large": (f"{RGB} {CROP} src_image_size_w: 0", "E13005: Failed to parse file [aipp.cfg]."),
}


@pytest.mark.parametrize(("config", "text"), FAILURES.values(), ids=FAILURES.keys())
def test_failures(run: Run, work: Path, config: str, text: str) -> None:
    assert_failed(atc(run, work, config), text, work)


OTHER_MODELS = {
    "grey_network": (RGB, "grey", "input c[1] must be 3 when input_format is RGB888_U8"),
    "colour_network": ("aipp_mode: static input_format: YUV400_U8", "negate", "input c[3] must be 1 when input_format"),
    "grey_conversion": (
        "aipp_mode: static input_format: YUV400_U8 csc_switch: true",
        "grey",
        "it doesn't make sense to convert to RGB",
    ),
    "too_wide_to_pad": (
        f"{RGB} padding: true src_image_size_h: 1100 src_image_size_w: 1099 left_padding_size: 1",
        "wide",
        "after padding, aipp output w[1100] should be less than or eaqual to 1080",
    ),
}


@pytest.mark.parametrize(("config", "model", "text"), OTHER_MODELS.values(), ids=OTHER_MODELS.keys())
def test_networks_that_do_not_fit(run: Run, work: Path, config: str, model: str, text: str) -> None:
    result = atc(run, work, config, model=model)
    assert_failed(result, f"E81012: Compile op[aipp] failed, cause: {text}" if "must be" in text else text, work)


def test_old_opsets_are_refused(run: Run, work: Path) -> None:
    result = atc(run, work, RGB, model="opset10", shape="image:1,3,4,4")
    assert_failed(result, "the emulated atc has AIPP from opset 11 on, the model has 10", work)


def test_input_with_aipp_cannot_be_float16(run: Run, work: Path) -> None:
    result = atc(run, work, RGB, "--input_fp16_nodes=image")
    assert_failed(result, "E10034: Nodes (for example, [image]) connected to AIPP must not be of type FP16.", work)


def test_missing_file(run: Run, work: Path) -> None:
    words = [*NEGATE.split(), "--insert_op_conf=gone.cfg", "--input_shape=image:1,3,4,4", *ATC_COMMON]
    assert_failed(run("atc", *words), "E10001: Value [gone.cfg] for parameter [--insert_op_conf] is invalid.", work)
