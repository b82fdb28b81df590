"""The flags of atc: which there are, which values they take, and how a command line is cut into them."""

from __future__ import annotations

from ascend_emulation.atc_errors import AtcError, CommandLineError
from ascend_emulation.cann import Cann

REQUIRED = ("soc_version", "output", "model")  # in the order in which atc misses them
# Without influence on what the stand-in writes; op_select_implmode and its list choose between two kernels of an
# operator, of which the stand-in has one.
HARMLESS = (
    *("log", "debug_dir", "op_compiler_cache_dir", "op_compiler_cache_mode"),
    *("enable_small_channel", "op_select_implmode", "optypelist_for_implmode"),
)
_IMPLEMENTED = frozenset(
    (
        *(*REQUIRED, *HARMLESS, "framework", "mode", "input_shape", "input_format", "precision_mode"),
        *(
            "precision_mode_v2",
            "keep_dtype",
            "insert_op_conf",
            "input_fp16_nodes",
            "out_nodes",
            "output_type",
            "sparsity",
        ),
    )
)
_NOT_IMPLEMENTED = """
    ac_parallel_enable aicore_num allow_hf32 atomic_clean_policy auto_tune_mode buffer_optimize check_report
    cluster_config compress_weight_conf compression_optimize_conf core_type customize_dtypes ddk_version deterministic
    deterministic_level disable_reuse_memory display_model_info distributed_cluster_build dump_mode dynamic_batch_size
    dynamic_dims dynamic_image_size enable_attr_compression enable_compress_weight enable_graph_parallel
    enable_scope_fusion_passes enable_single_stream external_weight fusion_switch_file graph_parallel_option_path
    host_env_cpu host_env_os input_hint_shape input_shape_range is_input_adjust_hw_layout is_output_adjust_hw_layout
    is_weight_clip jit_compile job_id json mdl_bank_path modify_mixlist om oo_constant_folding
    oo_dead_code_elimination oo_level op_bank_path op_bank_update op_debug_config op_debug_level op_name_map
    op_precision_mode optimization_switch quant_dumpable save_original_model shape_generalized_build_mode singleop
    status_check tiling_schedule_optimize virtual_type weight
"""

_SWITCH = "0 1"
_PRECISION_MODES = """
    force_fp16 force_fp32 cube_fp16in_fp32out allow_mix_precision allow_fp32_to_fp16 must_keep_origin_dtype
    allow_mix_precision_fp16 allow_mix_precision_bf16 allow_fp32_to_bf16
"""
_PRECISION_MODES_V2 = "fp16 origin cube_fp16in_fp32out mixed_float16 mixed_bfloat16 cube_hif8 mixed_hif8"
# flag -> its values, those that atc checks while it reads the command line
_VALUES = {
    flag: tuple(sorted(values.split()))
    for flag, values in {
        "sparsity": _SWITCH,
        "dump_mode": _SWITCH,
        "virtual_type": _SWITCH,
        "status_check": _SWITCH,
        "deterministic": _SWITCH,
        "display_model_info": _SWITCH,
        "atomic_clean_policy": _SWITCH,
        "disable_reuse_memory": _SWITCH,
        "enable_small_channel": _SWITCH,  # the real atc passes on any text
        "deterministic_level": "0 1 2 3",
        "external_weight": "0 1 2",
        "op_debug_level": "0 1 2 3 4",
        "jit_compile": "0 1 2",
        "framework": "0 1 3 5",
        "mode": "0 1 3 5 6 7 30",
        "core_type": "AiCore VectorCore",
        "log": "debug info warning error null",
        "op_compiler_cache_mode": "enable disable force",
        "buffer_optimize": "l1_optimize l2_optimize off_optimize",
        "shape_generalized_build_mode": "shape_generalized shape_precise",
        "op_select_implmode": "high_precision high_performance high_precision_for_all high_performance_for_all",
        "precision_mode": _PRECISION_MODES,
        "precision_mode_v2": _PRECISION_MODES_V2,
    }.items()
}
_FRAMEWORKS = "0(Caffe) or 1(MindSpore) or 3(TensorFlow) or 5(Onnx)"


def framework_error() -> AtcError:
    """--framework is missing, or it is none."""
    return AtcError("E10007", parameter="framework", support=_FRAMEWORKS)


def split_flags(arguments: list[str], cann: Cann) -> dict[str, str]:
    """Flags and their values, from `--flag=value` and `--flag value`; `-` in a flag's name counts as `_`.

    Raises CommandLineError for a flag that atc does not have, a flag without its value or given twice, and a value
    without a flag; AtcError for a value that atc does not take, and for what the stand-in does not implement.
    """
    flags: dict[str, str] = {}
    strays = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            strays.append(argument)
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if not _exists(name, cann):
            raise CommandLineError(f"unknown command line flag '{name}'")
        if not equals and not rest:
            raise CommandLineError(f"flag '--{name}' is missing its argument")
        if name in flags:  # the real atc takes the last one without a word
            raise CommandLineError(f"flag '--{name}' is given more than once, which the emulated atc refuses")
        flags[name] = value if equals else rest.pop(0)
        _check_value(name, flags[name])
    if strays:
        raise CommandLineError("; ".join(f"Non-option parameter: {stray}" for stray in strays))
    for name in flags:
        if name in _NOT_IMPLEMENTED.split():
            raise AtcError("E10055", reason=f"the emulated atc does not implement --{name}")
    return flags


def _exists(name: str, cann: Cann) -> bool:
    if name == "precision_mode_v2":
        return cann.has_precision_mode_v2
    return name in _IMPLEMENTED or name in _NOT_IMPLEMENTED.split()


def _check_value(name: str, value: str) -> None:
    values = _VALUES.get(name)
    if values is None or value in values:
        return
    if name == "log":
        raise AtcError("E10010", value=value)
    if name == "framework":
        raise framework_error()
    if values == ("0", "1"):
        raise AtcError("E10006", value=value, parameter=name)
    known = "".join(f"[{one}] " for one in values)
    reason = f"The value is not within the range of values. The valid range is {known}."
    raise AtcError("E10001", value=value, parameter=f"--{name}", reason=reason)
