"""What atc's error codes mean for a run, and what to do: one table.

The codes and their meanings are those that CANN's documents and users' captures of atc's output state.
"""

from __future__ import annotations

import re

# Of the Python that CANN's operator compiler runs in: what it imports, as modules, and what installs them.
COMPILER_MODULES = ("decorator", "attr", "absl", "psutil", "google.protobuf", "sympy", "scipy", "cffi", "yaml")
COMPILER_PIP = "python3 -m pip install 'numpy<2' decorator attrs absl-py psutil protobuf sympy scipy cffi pyyaml"

_PYTHON = (
    "CANN's compiler runs in the python3 of this shell (not in .venv), where packages are missing, numpy is version 2, "
    f"or Python is too new (3.11 fails with CANN 8.1). In that Python: {COMPILER_PIP}"
)
_PARSER = (
    "this CANN has no ONNX parser for an operator: its opset is too new, or the operator is a custom one. "
    "Export again with opset 11 and standard operators only (the export stage does: force=export)."
)
_ENGINE = (
    "no engine of this card runs an operator of the model. Is soc= the card's own? Was it precision=fp32 (or "
    "--precision_mode must_keep_origin_dtype)? Some cards convolve in float16 only: use precision=fp16. Otherwise use "
    "a newer CANN, or rewrite that operator in the network and export again."
)
_IR = "this CANN does not know an operator type of the model. Export again with opset 11, or use a newer CANN."
_INNER = (
    "an internal error of CANN, whose cause is often in another line of the log. Is soc= the card's own, the disk and "
    "memory free, and the driver of this CANN's release? Run the atc command again with --log debug to see more."
)

# code -> what it means and what to do
ATC_ERRORS = {
    "E10001": (
        "a flag has a value that atc does not take; [-1] means an input whose batch is free and needs "
        '--input_shape "image:N,3,550,550", with the config\'s size for 550.'
    ),
    "E10002": 'the form of --input_shape is wrong; write --input_shape "image:8,3,550,550", quoted.',
    "E10003": "a flag has a value of the wrong type, or a number out of its range; the message names it.",
    "E10004": "a flag has an empty value; fill it in, or leave the flag out.",
    "E10006": "a flag takes 0 or 1 only; fix the one that the message names.",
    "E10007": "--framework is missing or wrong; an ONNX model takes --framework 5.",
    "E10010": "--log has a value that atc does not know; use debug, info, warning, error or null.",
    "E10011": "a size in --input_shape is not positive; give the batch size as a whole number above 0.",
    "E10016": "a name in the flags is not in the model, whose input is called image; check --model and --input_shape.",
    "E10017": "--input_shape or --input_fp16_nodes names an operator that is not an input; "
    "our models' input is called image.",
    "E10022": "--output ends in a folder; add the file's name, without .om.",
    "E10034": "an input has AIPP and is also listed in --input_fp16_nodes; leave one of the two flags out.",
    "E10041": (
        "atc cannot read the model. Is the file whole, an ONNX, and readable for this user? Export again: force=export."
    ),
    "E10044": "there is too little disk for atc's tuning (it wants 2 GB); free some, or leave the tuning flags out.",
    "E10049": "--input_shape has another number of sizes than the model's input; our image has four: N,3,550,550.",
    "E10052": "the AIPP file (--insert_op_conf) has a value that atc refuses; fix the field that the message names.",
    "E10054": "a required flag of atc is empty; a value with ; or , may be missing its quotes.",
    "E10055": "this atc does not support a flag; leave the flag out, or use a CANN that supports it.",
    "E10056": "two flags exclude each other, such as --precision_mode and --precision_mode_v2; leave one out.",
    "E10501": _IR,
    "E13005": (
        "atc cannot parse a file. If it is the AIPP file (--insert_op_conf): the fields must be those of AIPP's "
        "template, and mean_chn_* whole numbers (fractions go into min_chn_*)."
    ),
    "E16002": _PARSER,
    "E19010": _PARSER,
    "E19999": _INNER,
    "E20001": (
        "an operator of the model does not compile for this card. Is soc= the card's own? The message names the "
        "operator; a newer CANN may compile it, and E40000 or EC0010 beside it mean that CANN's Python is the cause."
    ),
    "E40000": _PYTHON,
    "E81012": (
        "AIPP (--insert_op_conf) does not fit the network or the card: image size, channels, crop, padding or a value "
        "out of range; fix the field that the message names."
    ),
    "EC0010": _PYTHON,
    "EE1001": (
        "the soc_version is not one that this CANN knows. See the Name column of `npu-smi info` and give "
        "soc=Ascend<Name>, such as soc=Ascend310P3 (abbreviations like Ascend310P are not accepted). "
        "From CANN 8.5 on, the chip's ops package must also be installed."
    ),
    "EZ0501": _IR,
    "EZ3002": _ENGINE,
    "EZ3003": _ENGINE,
    "EZ9010": _PARSER,
    "EZ9999": _INNER,
}
_INNER_CODES = frozenset(code for code, text in ATC_ERRORS.items() if text is _INNER)

# "E19010: No parser …", "E20001: [PID: 200452] 2025-06-16-13:02:36.801.136 Failed …"
_CODE = re.compile(r"\b(E\d{5}|E[A-Z]\d{4}):")
# Messages of CANN's Python, with and without a code.
_PYTHON_FAILURE = re.compile(r"Failed to import Python module|removed in the NumPy 2\.0|'FrameLocalsProxy'")


def explain_atc_failure(output: str) -> str | None:
    """Explain atc's error in one line, with a remedy; None when the output names no error.

    Of several errors the first one that is not internal counts: internal ones accompany the one that caused them.
    """
    codes = list(dict.fromkeys(_CODE.findall(output)))
    known = [code for code in codes if code in ATC_ERRORS and code not in _INNER_CODES]
    if known:
        return f"{known[0]}: {ATC_ERRORS[known[0]]}"
    if _PYTHON_FAILURE.search(output):
        return _PYTHON[0].upper() + _PYTHON[1:]
    unknown = [code for code in codes if code not in ATC_ERRORS]
    if unknown:
        return f"{unknown[0]} is not among the errors that are explained here; see its own text in the log."
    return f"{codes[0]}: {ATC_ERRORS[codes[0]]}" if codes else None
