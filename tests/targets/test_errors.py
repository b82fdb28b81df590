"""What atc's failures are explained as."""

import ast

import pytest
from factories import CHECKOUT

from yolact_ascend.targets.ascend.errors import ATC_ERRORS, explain_atc_failure

# code -> a message of atc, and the words of the remedy that a user needs
MESSAGES = {
    "E10001": ("Value [-1] for parameter [image] is invalid. Reason: maybe you should set input_shape", "image:N,3,"),
    "E10002": ("Value [image] for parameter [--input_shape] is invalid. Reason: size not equal to 2", "image:8,3,"),
    "E10003": ("Value [Conv_0] for parameter [--out_nodes] is invalid. Reason: Output index", "the message names"),
    "E10004": ("Value for [--output] is empty.", "leave the flag out"),
    "E10006": ("Value [2] for parameter [--sparsity] is invalid. The value must be either 1 or 0.", "0 or 1"),
    "E10007": ("[--framework] is required. The value must be [0(Caffe) or 5(ONNX)].", "--framework 5"),
    "E10010": ("Value [loud] for parameter [--log] is invalid.", "debug, info"),
    "E10011": ("Value [image:0,3] for parameter [--input_shape] is invalid.", "above 0"),
    "E10016": ("Opname [x] specified in [--input_shape] is not found in the model", "called image"),
    "E10017": ("Input Op [Conv_0] specified in [--input_fp16_nodes] is invalid.", "called image"),
    "E10022": ("Path [out/] for parameter [--output] does not include the file name.", "file's name"),
    "E10034": ("Nodes (for example, [image]) connected to AIPP must not be of type FP16.", "--input_fp16_nodes"),
    "E10041": ("Failed to load the model from [a.onnx].", "force=export"),
    "E10044": ("disk space is less than 2GB", "2 GB"),
    "E10049": ("Dimension count [3] configured in --input_shape does not match [4]", "N,3,550,550"),
    "E10052": ("AIPP configuration is invalid", "--insert_op_conf"),
    "E10054": ("The required parameter [--model] for ATC is empty.", "quotes"),
    "E10055": ("The operation is not supported.", "leave the flag out"),
    "E10056": ("Cannot configure both parameters [--precision_mode] and [--precision_mode_v2]", "leave one out"),
    "E10501": ("IR for Op [x] is not registered.", "opset 11"),
    "E13005": ("Failed to parse file [aipp.cfg].", "min_chn_*"),
    "E16002": ("Op type is not supported by the parser.", "opset 11"),
    "E19010": ("No parser is registered for Op [grid_sampler_3140, optype [x]].", "opset 11"),
    "E19999": ("Inner Error!", "--log debug"),
    "E20001": ("Failed to compile Op [x]. (optype: [StridedSliceD])", "soc= the card's own"),
    "E40000": (
        "Failed to import Python module [ModuleNotFoundError: No module named 'decorator']",
        "pip install 'nump",
    ),
    "E81012": ("Compile op[aipp] failed, cause: input h[4] of network", "--insert_op_conf"),
    "EC0010": (
        "Failed to import Python module [AttributeError: `np.float_` was removed in the]",
        "pip install 'numpy<",
    ),
    "EE1001": ("The argument is invalid.Reason: Soc version [Ascend310P] is invalid", "soc=Ascend310P3"),
    "EZ0501": ("IR for Op [x] is not registered.", "opset 11"),
    "EZ3002": ("Optype [x] of Ops kernel is unsupported.", "newer CANN"),
    "EZ3003": ("No supported Ops kernel and engine are found for [x]", "newer CANN"),
    "EZ9010": ("No parser is registered for Op [x]", "opset 11"),
    "EZ9999": ("Inner Error!", "--log debug"),
}
OLD = "ATC start working now, please wait for a moment.\nATC run failed, Please check the detail log\n{code}: {text}\n"
NEW = "...\nATC run failed, Please check the detail log\n{code}: [PID: 200452] 2025-06-16-13:02:36.801.136 {text}\n"


def test_every_code_has_its_case():
    assert set(MESSAGES) == set(ATC_ERRORS)


@pytest.mark.parametrize("layout", [OLD, NEW], ids=["until CANN 7", "CANN 8"])
@pytest.mark.parametrize("code", MESSAGES)
def test_each_code_is_explained_in_one_line_with_a_remedy(code, layout):
    text, remedy = MESSAGES[code]
    explanation = explain_atc_failure(layout.format(code=code, text=text))
    assert explanation.startswith(f"{code}: ")
    assert remedy in explanation
    assert "\n" not in explanation and explanation.endswith((".", "pyyaml"))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", None),
        ("Segmentation fault (core dumped)\n", None),
        ("Failed to open image E10001.jpg", None),
        ("EA9876: something new\n", "EA9876 is not among the errors that are explained here"),
        ("E99998: [PID: 7] 2025-06-16-13:02:36.801.136 something new\n", "E99998 is not among"),
        ("EZ9999: Inner Error!\nEZ9999  [Build][FUNC:x]\nE20001: Failed to compile Op [x].", "E20001: an operator"),
        ("EZ9999: Inner Error!\nEA9876: something new\n", "EA9876 is not among"),
        ("E19010: No parser\nEE1001: The argument is invalid", "E19010: "),
        (
            "ModuleNotFoundError\nEZ9999: Inner Error! TypeError: cannot pickle 'FrameLocalsProxy' object",
            "CANN's compil",
        ),
        ("AttributeError: `np.float_` was removed in the NumPy 2.0 release.", "CANN's compiler runs in the python3 of"),
    ],
)
def test_what_has_no_code_or_several(output, expected):
    explanation = explain_atc_failure(output)
    assert explanation is None if expected is None else explanation.startswith(expected)


def test_every_code_of_the_stand_in_is_explained():
    tree = ast.parse((CHECKOUT / "emulation" / "ascend_emulation" / "atc_errors.py").read_text())
    (texts,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "_TEXTS")
    assert {key.value for key in texts.keys} <= set(ATC_ERRORS)
