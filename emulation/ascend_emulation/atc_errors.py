"""The error codes of atc that the stand-in reports, with the texts of CANN 6 to 8 and what CANN 8.5 changed in them.

The changes are those of the pages in Ascend/ge, docs/en/user_guides/error_codes (August 2026): titles, no brackets
around values, and a few texts. The form of a message is that of Ascend/runtime, src/dfx/error_manager/error_manager.cc.
"""

from __future__ import annotations

import os
import re
import time

from ascend_emulation.cann import Cann

INNER = "E19999"
INNER_OF_PLUGINS = "EZ9999"  # reported by plugins and passes, in releases since 8.5
_TRACEBACK = "TraceBack (most recent call last):"
_INPUT_SHAPE_SAMPLE = '"input_name1:n1,c1,h1,w1;input_name2:n2,c2,h2,w2"'

# code -> (text, what to do)
_TEXTS = {
    "E10001": (
        "Value [{value}] for parameter [{parameter}] is invalid. Reason: {reason}",
        "Try again with a valid argument.",
    ),
    "E10002": (
        "Value [{value}] for parameter [--input_shape] is invalid. Reason: {reason}. The value must be formatted as ["
        + _INPUT_SHAPE_SAMPLE
        + "].",
        "Replace input_name with node names. Ensure that the shape values are integers.",
    ),
    "E10003": ("Value [{value}] for parameter [--{parameter}] is invalid. Reason: {reason}", "Fix the value."),
    "E10004": ("Value for [--{parameter}] is empty.", "Set a valid parameter value."),
    "E10006": (
        "Value [{value}] for parameter [--{parameter}] is invalid. The value must be either 1 or 0.",
        "Set a valid parameter value. The parameter value can only be 1 or 0.",
    ),
    "E10007": ("[--{parameter}] is required. The value must be [{support}].", "Set a valid parameter value."),
    "E10010": (
        "Value [{value}] for parameter [--log] is invalid.",
        "Select the value from debug, info, warning, error, and null.",
    ),
    "E10011": (
        "Value [{value}] for parameter [--input_shape] is invalid. Shape values must be positive integers. "
        "The error value in the shape is [{dim}].",
        "Set the shape values in --input_shape to positive integers.",
    ),
    "E10016": (
        "Opname [{name}] specified in [--{parameter}] is not found in the model. "
        "Confirm whether this node name exists, or node is not split with the specified delimiter ';'",
        "Specify a name that the model has: {known}.",
    ),
    "E10017": (
        "Input Op [{name}] specified in [--{parameter}] is invalid. The Op type must be Data.",
        "Specify the name of an input: {known}.",
    ),
    "E10022": (
        "Path [{value}] for parameter [--output] does not include the file name.",
        "Add the file name to the path.",
    ),
    "E10034": (
        "Nodes (for example, [{name}]) connected to AIPP must not be of type FP16.",
        "1. To enable AIPP, remove the nodes connected to AIPP from the --input_fp16_nodes argument. "
        "2. If AIPP is not required, remove the --insert_op_conf option from your ATC command line.",
    ),
    "E10041": (
        "Failed to load the model from [{value}].",
        "Check that the model file is valid and that --framework matches its framework. {reason}",
    ),
    "E10049": (
        "Dimension count [{count}] configured in --input_shape does not match "
        "dimension count [{expected}] of the node.",
        "Give input {name} as many dimensions as in the model: {shape}.",
    ),
    "E10052": ("AIPP configuration is invalid. Reason: {reason}.", "Fix the file that --insert_op_conf names."),
    "E10054": (
        "The required parameter [--{parameter}] for ATC is empty. Another possible reason is that the values of some "
        'parameters are not enclosed by quotation marks ("").',
        "Check whether the command line parameter format is correct.",
    ),
    "E10055": ("The operation is not supported. Reason: {reason}.", "Leave it out, or run atc on a machine with CANN."),
    "E10056": (
        "Cannot configure both parameters [{first}] and [{second}] simultaneously.",
        "The two parameters cannot be set at the same time.",
    ),
    "E13005": ("Failed to parse file [{value}].", "Try again with a valid file. {reason}"),
    "E13009": (
        "Operator {name} already exists in the graph. Ensure that operator names are unique.",
        "Ensure that the operators in the graph have unique names.",
    ),
    "E16001": ("The model has no {end} node.", "Check whether the ONNX model contains the {end} node."),
    "E16005": (
        "The model has [{count}] [--domain_version] fields, but only one is allowed.",
        "Keep one opset_import in the model, or name the domain of each operator.",
    ),
    "E19010": (
        "No parser is registered for Op [{name}, optype [{domain}::{opset}::{optype}]].",
        "Export the model with standard operators and an opset from {opset_min} to {opset_max}, 11 best.",
    ),
    "E19999": ("Inner Error! {reason}", "Fix the name, or leave the flag out."),
    "EZ9999": ("Inner Error! {reason}", "Fix the graph."),
    "E81012": ("Compile op[aipp] failed, cause: {reason}.", "Fix the file that --insert_op_conf names."),
    "EE1001": (
        "The argument is invalid.Reason: Soc version [{value}] is invalid",
        'Write "Ascend" and the Name column of `npu-smi info`, for example Ascend310P3.',
    ),
}


# From CANN 8.5 on: codes that take another's place, and texts of other words.
_NEW_CODES = {"E19010": "E13010"}
_NEW_TEXTS = {
    "E10007": "--{parameter} is required. The value must be {support}.",
    "E10016": (
        "Op name {name} specified in --{parameter} is not found in the model. Confirm whether this node name exists, "
        "or whether the node is not split with the specified delimiter ';'."
    ),
    "E13010": "No operator plugin is registered for Op: {name}, optype: {domain}::{opset}::{optype}.",
    "EE1001": "The argument is invalid. Reason: Soc version {value} is invalid",
}
_TITLES = {
    "E10002": "Invalid_Argument_Tensor_Input_Shape",
    "E10011": "Invalid_Argument_Tensor_Input_Shape",
    "E10016": "Invalid_Argument_Operator_Name",
    "E10041": "Invalid_Argument_Model",
    "E10049": "Invalid_Argument_Tensor_Input_Shape",
    "E10055": "Not_Supported",
    "E13005": "File_Operation_Error_Parse",
    "E13009": "Invalid_Argument_Operator_Name",
    "E13010": "Not_Supported_Operator",
    "E16001": "Invalid_Argument_ONNX_Model_Data",
    "E19999": "Inner_Error",
    "EZ9999": "Inner_Error",
    "E81012": "Compilation_Error",  # assumed: no page has it
}
_TITLE = "Invalid_Argument"  # of all others
_FIELD_IN_BRACKETS = re.compile(r"\[((?:--)?\{\w+\})\]")


class AtcError(Exception):
    """A failure of atc: a code, its text and a line of advice."""

    def __init__(self, code: str, **fields: object) -> None:
        """`fields` fill the text of `code`."""
        self.code, self._fields = code, fields
        self.text, self.solution = (part.format(**fields) for part in _TEXTS[code])
        super().__init__(f"{code}: {self.text}")

    def render(self, cann: Cann) -> str:
        """The lines that atc of that release prints."""
        origin = f"[PID: {os.getpid()}] {_timestamp()} " if cann.dates_errors else ""
        if cann.titles_errors:
            return self._render_with_title(origin)
        return f"{self.code}: {origin}{self.text}\n        Solution: {self.solution}"

    def _render_with_title(self, origin: str) -> str:
        code = _NEW_CODES.get(self.code, self.code)
        text = (_NEW_TEXTS.get(code) or _FIELD_IN_BRACKETS.sub(r"\1", _TEXTS[code][0])).format(**self._fields)
        line = f"{origin}{_TITLES.get(code, _TITLE)}({code}): "
        if code in (INNER, INNER_OF_PLUGINS):
            text = text.replace("Inner Error! ", "")
            return f"{code}: Internal error!\n{code}{line} {text}\n{_TRACEBACK}"
        return f"{line}{text}\n        Solution: {self.solution}\n{_TRACEBACK}\n        ATC model parse ret fail."


class AtcCrash(Exception):
    """The real atc ends by SIGSEGV here, without any error of its own."""


class CommandLineError(Exception):
    """The command line cannot be cut into flags and values."""


def _timestamp() -> str:
    """Such as 2025-06-16-13:02:36.801.136."""
    now = time.time_ns()
    micros = now // 1000 % 1000000
    return time.strftime("%Y-%m-%d-%H:%M:%S", time.localtime(now // 10**9)) + f".{micros // 1000:03}.{micros % 1000:03}"
