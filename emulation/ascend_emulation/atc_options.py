"""The command line of atc as one checked value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ascend_emulation.atc_errors import AtcError
from ascend_emulation.atc_flags import HARMLESS, REQUIRED, framework_error, split_flags
from ascend_emulation.cann import Cann
from ascend_emulation.chip import SOC_VERSION, has_sparsity
from ascend_emulation.precision import MODES

HELP = """usage: atc <args>
Stand-in of atc: compiles nothing, and writes an .om that only the emulated aclruntime runs, on the CPU.

  --model             ONNX file (required)
  --framework         5, ONNX (required)
  --output            path of the result without suffix; .om is appended (required)
  --soc_version       Ascend + Name column of `npu-smi info`, for example Ascend310P3 (required)
  --input_shape       "name1:n1,c1,h1,w1;name2:n2,c2,h2,w2"; required where the model has free dimensions
  --input_format      NCHW (default), NCDHW or ND
  --precision_mode    force_fp16 (default), force_fp32, cube_fp16in_fp32out, allow_fp32_to_fp16 or
                      must_keep_origin_dtype
  --precision_mode_v2 fp16, origin or cube_fp16in_fp32out; from CANN 7.0 on, not with --precision_mode
  --keep_dtype        file of operators that keep their type: a name or OpType::<type> on each line
  --insert_op_conf    file of static AIPP: the input becomes uint8, NHWC
  --input_fp16_nodes  "name1;name2": inputs that become float16
  --out_nodes         "node1:0;node2:1" or names of the model's outputs; default: all outputs
  --output_type       FP32, FP16 or "node1:0:FP16;node2:1:FP32"; default: the types of the ONNX model
  --sparsity          0 (default) or 1: 4:2 sparse weights, without effect here; refused for 310, 310P and 910
  --log               debug, info, warning, error or null (default); accepted, the stand-in writes no logs
  --mode              0
  --help, -h          this text

Write --flag=value or --flag value. The other flags of atc are refused, not ignored."""

DEFAULT_PRECISION_MODE = "force_fp16"
_FRAMEWORK_ONNX = "5"
_INPUT_FORMATS = ("NCHW", "NCDHW", "ND")


@dataclass(frozen=True)
class AtcOptions:
    """A checked command line; `input_shape` maps the name of an input to its dimensions."""

    model: Path
    output: Path
    soc_version: str
    input_shape: dict[str, tuple[int, ...]]
    input_format: str
    precision_mode: str
    keep_dtype: Path | None
    insert_op_conf: Path | None
    input_fp16_nodes: tuple[str, ...]
    out_nodes: str
    output_type: str
    arguments: tuple[str, ...]

    @property
    def om_path(self) -> Path:
        """The file that is written."""
        return self.output.with_name(self.output.name + ".om")


def asks_for_help(arguments: list[str]) -> bool:
    """Whether the command line has --help."""
    return any(argument in ("--help", "-help", "-h", "--h") for argument in arguments)


def parse_options(arguments: list[str], cann: Cann) -> AtcOptions:
    """The checked command line; raises CommandLineError and AtcError."""
    flags = split_flags(arguments, cann)
    _check_framework(flags)
    for name in REQUIRED:
        if name not in flags:
            raise AtcError("E10054", parameter=name)
    for name, value in flags.items():
        if not value and name not in HARMLESS:
            raise AtcError("E10004", parameter=name)
    _check_values(flags)
    return AtcOptions(
        model=_checked_model(flags["model"]),
        output=_checked_output(flags["output"]),
        soc_version=flags["soc_version"],
        input_shape=parse_input_shape(flags["input_shape"]) if "input_shape" in flags else {},
        input_format=flags.get("input_format", "NCHW"),
        precision_mode=_precision_mode(flags),
        keep_dtype=_checked_file(flags, "keep_dtype"),
        insert_op_conf=_checked_file(flags, "insert_op_conf"),
        input_fp16_nodes=tuple(flags["input_fp16_nodes"].split(";")) if "input_fp16_nodes" in flags else (),
        out_nodes=flags.get("out_nodes", ""),
        output_type=flags.get("output_type", ""),
        arguments=tuple(arguments),
    )


def _check_framework(flags: dict[str, str]) -> None:
    if "framework" not in flags:
        raise framework_error()
    if flags["framework"] != _FRAMEWORK_ONNX:
        reason = f"the emulated atc has --framework=5 (ONNX) only, not {flags['framework']}"
        raise AtcError("E10055", reason=reason)


def _check_values(flags: dict[str, str]) -> None:
    if flags.get("mode", "0") != "0":
        raise AtcError("E10055", reason=f"the emulated atc has --mode=0 only, not {flags['mode']}")
    input_format = flags.get("input_format", "NCHW")
    if input_format not in _INPUT_FORMATS:
        reason = "The value must be NCHW, ND or NCDHW in ONNX model."
        raise AtcError("E10001", value=input_format, parameter="--input_format", reason=reason)
    if "optypelist_for_implmode" in flags and "op_select_implmode" not in flags:
        reason = "Parameters --op_select_implmode and --optypelist_for_implmode must be set at the same time."
        raise AtcError("E10001", value="", parameter="--op_select_implmode", reason=reason)
    if not SOC_VERSION.fullmatch(flags["soc_version"]):
        raise AtcError("EE1001", value=flags["soc_version"])
    if flags.get("sparsity", "0") == "1" and not has_sparsity(flags["soc_version"]):
        reason = f"--sparsity=1 (4:2 sparse weights) does not exist for {flags['soc_version']}"
        raise AtcError("E10055", reason=reason)


def _precision_mode(flags: dict[str, str]) -> str:
    if "precision_mode" in flags and "precision_mode_v2" in flags:
        raise AtcError("E10056", first="--precision_mode", second="--precision_mode_v2")
    mode = flags.get("precision_mode") or flags.get("precision_mode_v2") or DEFAULT_PRECISION_MODE
    if mode not in MODES:
        reason = f"the emulated atc does not know which operators {mode} lowers, nor does it have bfloat16 or hifloat8"
        raise AtcError("E10055", reason=reason)
    return mode


def parse_input_shape(text: str) -> dict[str, tuple[int, ...]]:
    """`"image:8,3,550,550;mask:8,1"` as a dict; names may contain a colon, the last one counts.

    As in GE (option_utils.cc, ParseInputShape): blanks around names and sizes do not count, and `name:` is a scalar.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for entry in text.split(";"):
        name, colon, dims = entry.rpartition(":")
        name = name.strip()
        if not colon or not name:
            raise AtcError("E10002", value=text, reason='size not equal to 2 split by ":"')
        sizes = [size.strip() for size in dims.split(",")] if dims else []
        if "~" in dims or "-1" in sizes:  # -1 is a range from 1 on where no --dynamic_* flag stands beside it
            raise AtcError("E10055", reason=f"--input_shape {entry} is a range, the emulated atc has fixed shapes only")
        if name in shapes:
            raise AtcError("E10002", value=text, reason=f"[{name}] has two shapes")
        shapes[name] = tuple(_parse_size(size, text) for size in sizes)
    return shapes


def _parse_size(size: str, text: str) -> int:
    if not size:
        raise AtcError("E10002", value=text, reason="can not be empty")
    if not re.fullmatch(r"-?[0-9]+", size):
        raise AtcError("E10002", value=text, reason=f"[{size}] is not digit")
    if int(size) <= 0:
        raise AtcError("E10011", value=text, dim=int(size))
    return int(size)


def _missing(text: str, flag: str) -> AtcError:
    reason = "realpath error, errmsg:No such file or directory"
    return AtcError("E10001", value=text, parameter=f"--{flag}", reason=reason)


def _checked_model(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise AtcError("E10041", value=text, reason="It is a folder.")
    if not path.exists():
        raise _missing(text, "model")
    return path


def _checked_file(flags: dict[str, str], flag: str) -> Path | None:
    if flag not in flags:
        return None
    if not Path(flags[flag]).is_file():
        raise _missing(flags[flag], flag)
    return Path(flags[flag])


def _checked_output(text: str) -> Path:
    if text.endswith("/") or Path(text).is_dir():
        raise AtcError("E10022", value=text)
    return Path(text)
