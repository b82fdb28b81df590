"""Stand-in of atc: fixes an ONNX model's shapes and wraps it into a file that the emulated aclruntime opens."""

from __future__ import annotations

import sys

from ascend_emulation.atc_errors import AtcError, UnknownFlagError
from ascend_emulation.atc_options import HELP, AtcOptions, asks_for_help, parse_options

START = "ATC start working now, please wait for a moment."
SUCCESS = "ATC run success, welcome to the next use."
FAILURE = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
FAILURE_CODE = 255


def compile_model(options: AtcOptions) -> None:
    """Write the .om that `options` describe; raises AtcError."""
    from ascend_emulation import om, onnx_graph  # here: onnx takes a second, --help needs none of it

    model, content = onnx_graph.load_model(options.model)
    onnx_graph.check_operators(model)
    onnx_graph.fix_input_shapes(model, options.input_shape)
    if options.output_type is not None:
        onnx_graph.cast_outputs(model, options.output_type)
    folded = onnx_graph.fold_shapes(model, options.model)
    folded_bytes = folded.SerializeToString()
    header = om.OmHeader(
        soc_version=options.soc_version,
        atc_arguments=options.arguments,
        onnx_sha256=om.sha256_hex(content),
        model_sha256=om.sha256_hex(folded_bytes),
        inputs=onnx_graph.describe_inputs(folded, options.input_format),
        outputs=onnx_graph.describe_outputs(folded),
    )
    try:
        om.write_om(options.om_path, header, folded_bytes)
    except OSError as error:
        raise AtcError("E10001", value=options.om_path, parameter="--output", reason=str(error)) from error


def main(arguments: list[str]) -> int:
    """Run `atc ARGUMENTS`; returns the exit code. Everything goes to stdout, as with the real atc."""
    if asks_for_help(arguments):
        print(HELP)
        return 0
    print(START, flush=True)
    try:
        compile_model(parse_options(arguments))
    except UnknownFlagError as error:
        print(f"{FAILURE}\nERROR: {error}")
        return FAILURE_CODE
    except AtcError as error:
        print(f"{FAILURE}\n{error}")
        return FAILURE_CODE
    except ModuleNotFoundError as error:
        print(f"{FAILURE}\nERROR: the emulated atc needs the Python package {error.name}; {sys.executable} lacks it")
        return FAILURE_CODE
    print(SUCCESS)
    return 0
