"""The file of --insert_op_conf: its aipp_op blocks, and what atc's graph engine checks in them alone (E10052)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from ascend_emulation.atc_errors import AtcError

_FORMATS = """
    UNDEFINED YUV420SP_U8 XRGB8888_U8 RGB888_U8 YUV400_U8 NC1HWC0DI_FP16 NC1HWC0DI_S8 ARGB8888_U8 YUYV_U8 YUV422SP_U8
    AYUV444_U8 RAW10 RAW12 RAW16 RAW24 RGB16 RGB20 RGB24 RGB8_IR RGB16_IR RGB24_IR
"""
CHANNELS = {"RGB888_U8": 3, "YUV400_U8": 1}  # the formats that are played
MATRIX = [f"matrix_r{row}c{column}" for row in range(3) for column in range(3)]
BIASES = [f"{side}_bias_{channel}" for side in ("output", "input") for channel in range(3)]
RECIPROCALS = [f"var_reci_chn_{channel}" for channel in range(4)]
_BOOLS = "support_rotation csc_switch rbuv_swap_switch ax_swap_switch single_line_mode crop resize padding"
_FLOATS = "cpadding_value padding_value min_chn_0 min_chn_1 min_chn_2 min_chn_3"
_INTEGERS = """
    src_image_size_w src_image_size_h load_start_pos_w load_start_pos_h crop_size_w crop_size_h resize_output_w
    resize_output_h left_padding_size right_padding_size top_padding_size bottom_padding_size mean_chn_0 mean_chn_1
    mean_chn_2 mean_chn_3
"""
_NATURALS = "related_input_rank max_src_image_size raw_rgbir_to_f16_n"
_NOT_NEGATIVE = """
    src_image_size_w src_image_size_h load_start_pos_w load_start_pos_h crop_size_w resize_output_w resize_output_h
    left_padding_size right_padding_size top_padding_size bottom_padding_size
"""
_RESERVED = ("support_rotation", "single_line_mode", "cpadding_value", "raw_rgbir_to_f16_n", "input_edge_idx")
_RGB_TO_YUV = (66, 129, 25, -38, -74, 112, 112, -94, -18)  # BT.601, what atc takes where a matrix is not given


def _message_class() -> Any:
    """The message of CANN's insert_op.proto that holds the aipp_op blocks."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="insert_op.proto", package="domi", syntax="proto3")
    block = file.message_type.add(name="AippOpParams")

    def add(names: Sequence[str], kind: int, repeated: bool = False, type_name: str | None = None) -> None:
        label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
        for name in names:
            block.field.add(name=name, number=len(block.field) + 1, type=kind, label=label, type_name=type_name)

    for enum, values in (("InputFormat", _FORMATS.split()), ("AippMode", ["undefined", "static", "dynamic"])):
        entries = block.enum_type.add(name=enum).value
        for number, value in enumerate(values):
            entries.add(name=value, number=number)
    add(["input_format"], field.TYPE_ENUM, type_name=".domi.AippOpParams.InputFormat")
    add(["aipp_mode"], field.TYPE_ENUM, type_name=".domi.AippOpParams.AippMode")
    add(["related_input_name"], field.TYPE_STRING)
    add(_BOOLS.split(), field.TYPE_BOOL)
    add(_FLOATS.split(), field.TYPE_FLOAT)
    add(_INTEGERS.split(), field.TYPE_INT32)
    add(_NATURALS.split(), field.TYPE_UINT32)
    add(["input_edge_idx"], field.TYPE_UINT32, repeated=True)
    add([*MATRIX, *BIASES], field.TYPE_INT32, repeated=True)
    add(RECIPROCALS, field.TYPE_FLOAT, repeated=True)
    whole = file.message_type.add(name="InsertNewOps")
    kind, label = field.TYPE_MESSAGE, field.LABEL_REPEATED
    whole.field.add(name="aipp_op", number=1, type=kind, label=label, type_name=".domi.AippOpParams")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("domi.InsertNewOps"))


def _bad(reason: str) -> AtcError:
    return AtcError("E10052", reason=reason)


def read_aipp(path: Path) -> list[Any]:
    """The aipp_op blocks of `path`, checked as far as they stand alone; raises AtcError."""
    whole = _message_class()()
    try:
        # comments may be in any encoding: protobuf's own parser skips their bytes
        text_format.Parse(path.read_text(encoding="utf-8", errors="replace"), whole)
    except text_format.ParseError as error:
        raise AtcError("E13005", value=path, reason=str(error)) from error
    blocks = list(whole.aipp_op)
    if not blocks:
        reason = f"{path} has no aipp_op; the real atc would compile without AIPP"
        raise AtcError("E10055", reason=reason)
    _check_positions(blocks)
    for block in blocks:
        _check_block(block)
    return blocks


def _check_positions(blocks: list[Any]) -> None:
    by_name = [bool(block.related_input_name) for block in blocks]
    if any(by_name) and not all(by_name):
        first, other = ("name", "rank") if by_name[0] else ("rank", "name")
        raise _bad(
            f"Cannot both set related_input_{first} and related_input_{other}. Please ensure param is the same as the "
            f"first aipp config(related_input_{first})"
        )
    key = "related_input_name" if all(by_name) else "related_input_rank"
    if len({getattr(block, key) for block in blocks}) != len(blocks):
        raise _bad(
            f"Cannot insert aipp to the same position! Please ensure {key} param is different in different aipp config"
        )


def _check_block(block: Any) -> None:
    for field, value in block.ListFields():
        if field.enum_type is not None and value not in field.enum_type.values_by_number:  # proto3 takes any number
            raise AtcError("E10055", reason=f"the emulated atc knows no {field.name} {value} of AIPP")
    if not block.aipp_mode:
        raise _bad("When insert AIPP op, aipp_mode must be configured as static or dynamic")
    for name in [*RECIPROCALS, *MATRIX, *BIASES]:
        if len(getattr(block, name)) > 1:
            raise _bad(f"The parameter {name} cannot be configured repeatedly")
    if block.aipp_mode == block.dynamic:
        if not block.max_src_image_size:
            raise _bad("For dynamic AIPP params, max_src_image_size must be set which number should be greater than 0")
        raise AtcError("E10055", reason="the emulated atc has static AIPP only: write aipp_mode: static")
    if not block.input_format:
        raise _bad("Input format of AIPP conf must be set in static aipp")
    for name in _NOT_NEGATIVE.split():
        if getattr(block, name) < 0:
            raise _bad(f"{name.capitalize()} must not be configured smaller than 0")
    if input_format(block) not in CHANNELS:
        reason = f"the emulated atc has input_format {' and '.join(CHANNELS)} only, not {input_format(block)}"
        raise AtcError("E10055", reason=reason)
    for name in _RESERVED:
        if getattr(block, name):
            raise AtcError("E10055", reason=f"the emulated atc has no {name} of AIPP")


def input_format(block: Any) -> str:
    """The name of a block's input_format."""
    return str(block.InputFormat.Name(block.input_format))


def settings(block: Any) -> dict[str, Any]:
    """The fields that the file sets, enumerations by name."""
    found: dict[str, Any] = {}
    for field, value in block.ListFields():
        if field.enum_type is not None:
            value = field.enum_type.values_by_number[value].name
        found[field.name] = value[0] if field.name in (*RECIPROCALS, *MATRIX, *BIASES) else value
    return found


def first(block: Any, name: str, default: float) -> float:
    """A field that atc's file format allows to be repeated, or its default."""
    values = getattr(block, name)
    return values[0] if values else default


def matrix(block: Any) -> list[list[float]]:
    """The 3x3 matrix of the colour conversion, rows of output channels."""
    values = [first(block, name, default) for name, default in zip(MATRIX, _RGB_TO_YUV)]
    return [values[0:3], values[3:6], values[6:9]]


def output_bias(block: Any) -> list[float]:
    """What the colour conversion adds to each channel."""
    return [first(block, f"output_bias_{channel}", default) for channel, default in enumerate((16, 128, 128))]


def source_size(block: Any, height: int, width: int) -> tuple[int, int]:
    """Height and width of the image that is fed; unset, those of the network."""
    return block.src_image_size_h or height, block.src_image_size_w or width


def crop_size(block: Any, height: int, width: int) -> tuple[int, int]:
    """Height and width of what is cut out; unset, those of the network."""
    return block.crop_size_h or height, block.crop_size_w or width


def padding_sizes(block: Any) -> tuple[int, int, int, int]:
    """Top, bottom, left, right; 0 where padding is off."""
    sizes = (block.top_padding_size, block.bottom_padding_size, block.left_padding_size, block.right_padding_size)
    return sizes if block.padding else (0, 0, 0, 0)
