"""Stand-in of atc: fixes an ONNX model's shapes and wraps it into a file that the emulated aclruntime opens."""

from __future__ import annotations

import os
import sys

from ascend_emulation.atc_errors import AtcCrash, AtcError, CommandLineError
from ascend_emulation.atc_options import HELP, AtcOptions, asks_for_help, parse_options
from ascend_emulation.cann import Cann, CannError, played_release
from ascend_emulation.precision import MODES, saturates

START = "ATC start working now, please wait for a moment."
SUCCESS = "ATC run success, welcome to the next use."
FAILURE = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
FAILURE_CODE = 255
CRASH_CODE = 139  # of a shell whose program ended by SIGSEGV; the real atc is a script that starts atc.bin


def compile_model(options: AtcOptions, cann: Cann) -> list[str]:
    """Write the .om that `options` describe, and return lines of the log; raises AtcError."""
    # here: onnx takes a second, --help needs none of it
    from ascend_emulation import aipp, aipp_config, model_ends, om, onnx_graph, onnx_parser
    from ascend_emulation.fused_operators import expand_operators
    from ascend_emulation.keep_dtype import kept_operators
    from ascend_emulation.quantised_operators import expand_quantised
    from ascend_emulation.rounding import apply_precision

    blocks = aipp_config.read_aipp(options.insert_op_conf) if options.insert_op_conf else []
    model, content = onnx_graph.load_model(options.model)
    onnx_parser.check_graph(model, cann)
    model_ends.check_half_inputs(model, options.input_fp16_nodes)
    kept = kept_operators(options.keep_dtype, model) if options.keep_dtype else ()
    mode, saturate = MODES[options.precision_mode], saturates(options.soc_version)
    quantised = expand_quantised(model, mode, saturate, kept)
    chosen = model_ends.select_outputs(model, options.out_nodes) if options.out_nodes else {}
    names = [output.name for output in model.graph.output]
    output_types = model_ends.parse_output_type(options.output_type, chosen, names)
    onnx_graph.fix_input_shapes(model, options.input_shape)
    aipp_inputs = aipp.find_inputs(model, blocks, options.input_fp16_nodes)

    expanded = expand_operators(model, mode, options.soc_version, kept)
    folded = onnx_graph.fold_shapes(model, options.model)
    half = (*options.input_fp16_nodes, *aipp_inputs, *quantised.half)
    apply_precision(folded, mode, saturate, (*kept, *quantised.made, *expanded), half)
    model_ends.cast_outputs(folded, output_types, saturate)
    model_ends.halve_inputs(folded, options.input_fp16_nodes)
    aipp.insert_aipp(folded, aipp_inputs)
    folded_bytes = folded.SerializeToString()
    header = om.OmHeader(
        cann=cann.name,
        soc_version=options.soc_version,
        precision_mode=options.precision_mode,
        keep_dtype=kept,
        aipp=tuple(aipp_config.settings(block) for block in blocks),
        input_fp16_nodes=options.input_fp16_nodes,
        out_nodes=options.out_nodes,
        output_type=options.output_type,
        atc_arguments=options.arguments,
        onnx_sha256=om.sha256_hex(content),
        model_sha256=om.sha256_hex(folded_bytes),
        inputs=onnx_graph.describe_inputs(folded, options.input_format, aipp_inputs),
        outputs=onnx_graph.describe_outputs(folded),
    )
    try:
        om.write_om(options.om_path, header, folded_bytes)
    except OSError as error:
        raise AtcError("E10001", value=options.om_path, parameter="--output", reason=str(error)) from error
    return quantised.notes


def main(arguments: list[str]) -> int:
    """Run `atc ARGUMENTS`; returns the exit code. As with the real atc, all but a bad command line is on stdout."""
    try:
        cann = played_release(os.environ)
    except CannError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return FAILURE_CODE
    if asks_for_help(arguments):
        print(HELP)
        return 0
    print(START, flush=True)
    try:
        notes = compile_model(parse_options(arguments, cann), cann)
    except CommandLineError as error:
        print(f"ERROR: {error}", file=sys.stderr, flush=True)
        print(FAILURE)
        return FAILURE_CODE
    except AtcError as error:
        print(f"{FAILURE}\n{error.render(cann)}")
        return FAILURE_CODE
    except AtcCrash as crash:
        print(f"atc: line 22: {os.getpid()} Segmentation fault (core dumped) atc.bin", file=sys.stderr)
        print(f"The emulated atc plays this crash: {crash}.", file=sys.stderr)
        return CRASH_CODE
    except ModuleNotFoundError as error:
        print(f"{FAILURE}\nERROR: the emulated atc needs the Python package {error.name}; {sys.executable} lacks it")
        return FAILURE_CODE
    for note in notes:
        print(note)
    print(SUCCESS)
    return 0
