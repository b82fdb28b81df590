"""The command line: every option of the real tool with its range, and a refusal for those that are not emulated."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import Any, Callable, NoReturn

from ais_bench.infer import log
from ais_bench.infer.paths import PathStringError, has_suffix, may_read, may_write

MODEL_SIZE_MAX = 10 * 1024**3
INT_MAX = 2**31 - 1
LOOP_MAX = 100000
INPUTS_MAX = 1024
DEVICE_MAX = 255
DEVICES_MAX = 256
_UPPER_LIMITS = {"threads": 64, "warmup_count": 10000, "batchsize": 4096, "output_batchsize_axis": 8}


@dataclass(frozen=True)
class Options:
    """A checked command line of what the stand-in implements."""

    model: str
    input: str | None
    output: str | None
    output_dirname: str | None
    outfmt: str
    loop: int
    devices: tuple[int, ...]
    batchsize: int | None
    pure_data_type: str
    output_batchsize_axis: int
    run_mode: str
    display_all_summary: bool
    warmup_count: int
    divide_input: bool


def _integer(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} contains special characters other than numbers.")
    return int(text)


def positive_integer(text: str) -> int:
    """1..INT_MAX."""
    value = _integer(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is an invalid positive int value")
    if value > INT_MAX:
        raise argparse.ArgumentTypeError(f"{text} is an invalid cpp int value")
    return value


def nonnegative_integer(text: str) -> int:
    """0..INT_MAX."""
    value = _integer(text)
    if value > INT_MAX:
        raise argparse.ArgumentTypeError(f"{text} is an invalid cpp int value")
    return value


def loop_count(text: str) -> int:
    """1..LOOP_MAX."""
    value = _integer(text)
    if not 0 < value <= LOOP_MAX:
        raise argparse.ArgumentTypeError(f"{text} is an invalid loop size value")
    return value


def boolean(text: str) -> bool:
    """yes/true/t/y/1 or no/false/f/n/0 in any case."""
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError("Boolean value expected true, 1, false, 0 with case insensitive.")


def device_numbers(text: str) -> tuple[int, ...]:
    """One device number, or several with commas between."""
    if "," not in text:
        value = _integer(text)
        if value > DEVICE_MAX:
            raise argparse.ArgumentTypeError(f"device:{value} is invalid. valid value range is [0, {DEVICE_MAX}]")
        return (value,)
    try:
        values = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"Argument npu-id invalid input value: {text}. "
            "Please provide a valid integer or a comma-separated list of integers."
        ) from None
    if len(values) > DEVICES_MAX:
        raise argparse.ArgumentTypeError(f"too much device id in --device, max permitted count is {DEVICES_MAX}")
    for value in values:
        if not 0 <= value <= DEVICE_MAX:
            raise argparse.ArgumentTypeError(
                f"{value} of device:{text} is invalid. valid value range is [0, {DEVICE_MAX}]"
            )
    return values


def _checked(check: Callable[[], bool], what: str, path: str) -> None:
    try:
        legal = check()
    except PathStringError:
        raise argparse.ArgumentTypeError(f"{what} path string is illegal. Please check.") from None
    if not legal:
        raise argparse.ArgumentTypeError(f"{what} path:{path} is illegal. Please check.")


def model_path(text: str) -> str:
    """An .om file that may be read."""
    _checked(lambda: may_read(text) and has_suffix(text, ".om") and _has_model_size(text), "om", text)
    return text


def _has_model_size(path: str) -> bool:
    size = os.path.getsize(path)
    if size > MODEL_SIZE_MAX:
        log.error(f"file_size:{size} byte out of max limit {MODEL_SIZE_MAX} byte")
    return size <= MODEL_SIZE_MAX


def input_paths(text: str) -> str:
    """Comma list of files or folders that may be read."""
    paths = text.split(",") if text else []
    if len(paths) > INPUTS_MAX:
        raise argparse.ArgumentTypeError(f"input list has {len(paths)} entries, more than {INPUTS_MAX}. Please check.")
    for path in paths:
        _checked(lambda path=path: may_read(path), "input", path)  # type: ignore[misc]
    return text


def output_path(text: str) -> str:
    """A folder that may be written, or does not exist yet."""
    if text:
        if os.path.exists(text) and not os.path.isdir(text):
            raise argparse.ArgumentTypeError("output path is not a directory")
        _checked(lambda: may_write(text), "output", text)
    return text


def build_parser() -> tuple[argparse.ArgumentParser, list[argparse.Action]]:
    """The parser, and those of its options that are taken with their default only.

    The options stand in the real tool's order, so that usage lines are equal.
    """
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    refused: list[argparse.Action] = []

    def refuse(flag: str, **settings: Any) -> None:
        refused.append(add(flag, **{"help": "not emulated", **settings}))

    add("--model", "-m", type=model_path, required=True, help="the .om file")
    add("--input", "-i", type=input_paths, help="folders (one per model input) or files, comma separated")
    add("--output", "-o", type=output_path, help="folder that gets the folder of the results")
    add("--output_dirname", type=output_path, help="name of the folder of the results; default: date and time")
    add("--outfmt", default="BIN", choices=["NPY", "BIN", "TXT"], help="format of the result files")
    add("--loop", "-l", type=loop_count, default=1, help="executions per batch")
    refuse("--debug", type=boolean, default=False)
    add(
        "--device",
        "-d",
        dest="devices",
        metavar="DEVICE",
        type=device_numbers,
        default=(0,),
        help="0, or 0,1 and so on",
    )
    refuse("--dymBatch", dest="dym_batch", type=positive_integer, default=0)
    refuse("--dymHW", dest="dym_hw")
    refuse("--dymDims", dest="dym_dims")
    refuse("--dymShape", dest="dym_shape")
    refuse("--outputSize", dest="output_size")
    refuse("--auto_set_dymshape_mode", type=boolean, default=False)
    refuse("--auto_set_dymdims_mode", type=boolean, default=False)
    add("--batchsize", type=positive_integer, help="batch size for the throughput; default: the model's")
    add("--pure_data_type", default="zero", choices=["zero", "random"], help="data where there is no --input")
    refuse("--profiler", type=boolean, default=False)
    refuse("--dump", type=boolean, default=False)
    refuse("--acl_json_path")
    add("--output_batchsize_axis", type=nonnegative_integer, default=0, help="axis on which outputs are split")
    modes = ["array", "files", "tensor", "full"]
    add("--run_mode", default="array", choices=modes, help="how inputs come to the device")
    add("--display_all_summary", type=boolean, default=False, help="show the times of the copies too")
    add("--warmup_count", type=nonnegative_integer, default=1, help="runs before the measurement")
    refuse("--dymShape_range", dest="dym_shape_range")
    refuse("--aipp_config")
    refuse("--energy_consumption", type=boolean, default=False)
    add("--npu_id", type=device_numbers, default=(0,), help="without effect")
    add("--backend", choices=["trtexec"], help="without effect")
    refuse("--perf", type=boolean, default=False)
    refuse("--pipeline", type=boolean, default=False)
    add("--profiler_rename", type=boolean, default=True, help="without effect")
    add("--dump_npy", type=boolean, default=False, help="without effect")
    add("--divide_input", type=boolean, default=False, help="several devices: a part of the files for each")
    add("--threads", type=positive_integer, default=1, help="without effect")
    return parser, refused


def _refuse(sentence: str) -> NoReturn:
    log.error(f"the emulated ais_bench does not implement {sentence}; leave it out, or run on a machine with CANN")
    sys.exit(2)


def parse_options(arguments: list[str]) -> Options:
    """The checked command line.

    Ends the process with code 2 for what argparse or the emulation refuses; raises ValueError and RuntimeError, which
    end it with code 1, where the real tool does.
    """
    parser, refused = build_parser()
    values = vars(parser.parse_args(arguments))
    for name, limit in _UPPER_LIMITS.items():
        if (values[name] or 0) > limit:
            raise ValueError(f"--{name}: {values[name]} is over {limit}")
    for action in refused:
        if values[action.dest] != action.default:
            _refuse(f"{action.option_strings[0]} {values[action.dest]}")
    _check_combinations(values)
    return Options(**{name: values[name] for name in Options.__dataclass_fields__})


def _check_combinations(values: dict[str, object]) -> None:
    dirname = values["output_dirname"]
    if str(dirname or "").startswith("/"):
        raise ValueError("--output_dirname do not support abs path!")
    if values["output"] is None and dirname is not None:
        log.error(
            "parameter --output_dirname cann't be used alone. Please use it together with the parameter --output!\n"
        )
        raise RuntimeError("error bad parameters --output_dirname")
    if values["threads"] != 1:
        log.info("need to set --pipeline when setting threads number to be more than one.")
