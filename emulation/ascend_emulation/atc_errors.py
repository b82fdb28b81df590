"""The error codes of atc that the stand-in reports, with the texts of CANN 6 to 8."""

from __future__ import annotations

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
    "E10004": ("Value for [--{parameter}] is empty.", "Set a valid parameter value."),
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
        "Specify the name of an existing input: {known}.",
    ),
    "E10022": (
        "Path [{value}] for parameter [--output] does not include the file name.",
        "Add the file name to the path.",
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
    "E10054": (
        "The required parameter [--{parameter}] for ATC is empty. Another possible reason is that the values of some "
        'parameters are not enclosed by quotation marks ("").',
        "Check whether the command line parameter format is correct.",
    ),
    "E10055": ("The operation is not supported. Reason: {reason}.", "Leave it out, or run atc on a machine with CANN."),
    "E19010": (
        "No parser is registered for Op [{name}, optype [{domain}::{opset}::{optype}]].",
        "Export the model with standard operators and an opset from 8 to 18, 11 best.",
    ),
    "EE1001": (
        "The argument is invalid.Reason: Soc version [{value}] is invalid",
        'Write "Ascend" and the Name column of `npu-smi info`, for example Ascend310P3.',
    ),
}


class AtcError(Exception):
    """A failure of atc: a code, its text and a line of advice."""

    def __init__(self, code: str, **fields: object) -> None:
        """`fields` fill the text of `code`."""
        text, solution = (part.format(**fields) for part in _TEXTS[code])
        super().__init__(f"{code}: {text}\n        Solution: {solution}")
        self.code = code


class UnknownFlagError(Exception):
    """The command line has a flag that atc does not have, or a flag without its value."""
