"""The command line of atc: which flags there are, and what their values must look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ascend_emulation.atc_errors import AtcError, UnknownFlagError

HELP = """usage: atc <args>
Stand-in of atc: compiles nothing, and writes an .om that only the emulated aclruntime runs, on the CPU.

  --model         ONNX file (required)
  --framework     5, ONNX (required)
  --output        path of the result without suffix; .om is appended (required)
  --soc_version   Ascend + Name column of `npu-smi info`, for example Ascend310P3 (required)
  --input_shape   "name1:n1,c1,h1,w1;name2:n2,c2,h2,w2"; required where the model has free dimensions
  --input_format  NCHW (default), NCDHW or ND
  --output_type   FP32 or FP16; default: the types of the ONNX model
  --log           debug, info, warning, error or null (default); accepted, the stand-in writes no logs
  --mode          0
  --help, -h      this text

Write --flag=value or --flag value. The other flags of atc are refused, not ignored."""

FRAMEWORK_ONNX = "5"
_FRAMEWORKS = "0(Caffe) or 1(MindSpore) or 3(TensorFlow) or 5(ONNX)"
_INPUT_FORMATS = ("NCHW", "NCDHW", "ND")
_LOG_LEVELS = ("debug", "info", "warning", "error", "null")
_REQUIRED = ("model", "output", "soc_version")

# Without influence on what the stand-in writes.
_HARMLESS = ("log", "debug_dir", "op_compiler_cache_dir", "op_compiler_cache_mode")
_IMPLEMENTED = (*_REQUIRED, "framework", "input_shape", "input_format", "output_type", "mode", *_HARMLESS)
_NOT_IMPLEMENTED = """
    ac_parallel_enable aicore_num allow_hf32 atomic_clean_policy auto_tune_mode buffer_optimize check_report
    cluster_config compress_weight_conf compression_optimize_conf core_type customize_dtypes ddk_version deterministic
    disable_reuse_memory display_model_info distributed_cluster_build dump_mode dynamic_batch_size dynamic_dims
    dynamic_image_size enable_compress_weight enable_graph_parallel enable_scope_fusion_passes enable_single_stream
    enable_small_channel external_weight fusion_switch_file graph_parallel_option_path host_env_cpu host_env_os
    input_fp16_nodes input_shape_range insert_op_conf is_input_adjust_hw_layout is_output_adjust_hw_layout job_id json
    keep_dtype mdl_bank_path modify_mixlist om oo_constant_folding oo_dead_code_elimination oo_level op_bank_path
    op_bank_update op_debug_config op_debug_level op_name_map op_precision_mode op_select_implmode optimization_switch
    optypelist_for_implmode out_nodes precision_mode precision_mode_v2 quant_dumpable save_original_model
    shape_generalized_build_mode singleop sparsity status_check tiling_schedule_optimize virtual_type weight
"""

# Abbreviations such as Ascend310P and Ascend910B are not among them, nor are they for the real atc.
_SOC_VERSION = re.compile(
    r"Ascend(310|310P[1357]|310B[1-4]|910|910A|910Pro[AB]|910PremiumA|910B[1-4]|910B2C|910B4-1|910_93\d\d)"
)


@dataclass(frozen=True)
class AtcOptions:
    """A checked command line; `input_shape` maps the name of an input to its dimensions."""

    model: Path
    output: Path
    soc_version: str
    input_shape: dict[str, tuple[int, ...]]
    input_format: str
    output_type: str | None
    arguments: tuple[str, ...]

    @property
    def om_path(self) -> Path:
        """The file that is written."""
        return self.output.with_name(self.output.name + ".om")


def asks_for_help(arguments: list[str]) -> bool:
    """Whether the command line has --help."""
    return any(argument in ("--help", "-help", "-h", "--h") for argument in arguments)


def split_flags(arguments: list[str]) -> dict[str, str]:
    """Flags and their values, from `--flag=value` and `--flag value`; the last one of a kind counts.

    Raises UnknownFlagError for flags that atc does not have, and for a value without a flag.
    """
    flags: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            raise UnknownFlagError(f"unknown command line argument '{argument}'; are all values in quotation marks?")
        name, equals, value = argument.lstrip("-").partition("=")
        if name not in _IMPLEMENTED and name not in _NOT_IMPLEMENTED.split():
            raise UnknownFlagError(f"unknown command line flag '{name}'")
        if not equals:
            if not rest:
                raise UnknownFlagError(f"flag '--{name}' is missing its argument")
            value = rest.pop(0)
        flags[name] = value
    return flags


def parse_input_shape(text: str) -> dict[str, tuple[int, ...]]:
    """`"image:8,3,550,550;mask:8,1"` as a dict; names may contain a colon, the last one counts."""
    shapes = {}
    for entry in text.split(";"):
        name, colon, dims = entry.rpartition(":")
        if not colon or not name:
            raise AtcError("E10002", value=text, reason='size not equal to 2 split by ":"')
        if "~" in dims:
            raise AtcError("E10055", reason=f"--input_shape {entry} is a range, the emulated atc has fixed shapes only")
        shapes[name] = tuple(_parse_dim(dim, text) for dim in dims.split(","))
    return shapes


def _parse_dim(dim: str, text: str) -> int:
    if not dim.strip():
        raise AtcError("E10002", value=text, reason="can not be empty")
    try:
        value = int(dim)
    except ValueError:
        raise AtcError("E10002", value=text, reason=f"[{dim}] is not digit") from None
    if value <= 0:
        raise AtcError("E10011", value=text, dim=value)
    return value


def parse_options(arguments: list[str]) -> AtcOptions:
    """The checked command line; raises UnknownFlagError and AtcError."""
    flags = split_flags(arguments)
    for name in flags:
        if name in _NOT_IMPLEMENTED.split():
            raise AtcError("E10055", reason=f"the emulated atc does not implement --{name}")
    for name in _REQUIRED:
        if name not in flags:
            raise AtcError("E10054", parameter=name)
    for name, value in flags.items():
        if not value and name not in _HARMLESS:
            raise AtcError("E10004", parameter=name)
    _check_values(flags)
    return AtcOptions(
        model=_checked_model(flags["model"]),
        output=_checked_output(flags["output"]),
        soc_version=flags["soc_version"],
        input_shape=parse_input_shape(flags["input_shape"]) if "input_shape" in flags else {},
        input_format=flags.get("input_format", "NCHW"),
        output_type=flags.get("output_type"),
        arguments=tuple(arguments),
    )


def _check_values(flags: dict[str, str]) -> None:
    if flags.get("mode", "0") != "0":
        raise AtcError("E10055", reason=f"the emulated atc has --mode=0 only, not {flags['mode']}")
    framework = flags.get("framework", "")
    if framework in ("0", "1", "3"):
        raise AtcError("E10055", reason=f"the emulated atc has --framework=5 (ONNX) only, not {framework}")
    if framework != FRAMEWORK_ONNX:
        raise AtcError("E10007", parameter="framework", support=_FRAMEWORKS)
    if flags.get("log", "null") not in _LOG_LEVELS:
        raise AtcError("E10010", value=flags["log"])
    input_format = flags.get("input_format", "NCHW")
    if input_format not in _INPUT_FORMATS:
        reason = f"only {', '.join(_INPUT_FORMATS)} is supported for ONNX models"
        raise AtcError("E10001", value=input_format, parameter="--input_format", reason=reason)
    if flags.get("output_type", "FP32") not in ("FP32", "FP16"):
        reason = f"the emulated atc has --output_type=FP32 and FP16 only, not {flags['output_type']}"
        raise AtcError("E10055", reason=reason)
    if not _SOC_VERSION.fullmatch(flags["soc_version"]):
        raise AtcError("EE1001", value=flags["soc_version"])


def _checked_model(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise AtcError("E10041", value=text, reason="It is a folder.")
    if not path.exists():
        reason = "realpath error, errmsg:No such file or directory"
        raise AtcError("E10001", value=text, parameter="--model", reason=reason)
    return path


def _checked_output(text: str) -> Path:
    if text.endswith("/") or Path(text).is_dir():
        raise AtcError("E10022", value=text)
    return Path(text)
