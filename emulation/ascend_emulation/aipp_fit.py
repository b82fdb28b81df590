"""What the compiler of the AIPP operator checks: whether a block fits the network and the hardware (E81012)."""

from __future__ import annotations

from typing import Any

from ascend_emulation.aipp_config import (
    BIASES,
    CHANNELS,
    MATRIX,
    RECIPROCALS,
    crop_size,
    input_format,
    padding_sizes,
    source_size,
)
from ascend_emulation.atc_errors import AtcError


def _uncompilable(reason: str) -> AtcError:
    return AtcError("E81012", reason=reason)


def check_fit(block: Any, channels: int, height: int, width: int) -> None:
    """Raise AtcError E81012 where a block fits neither a network input [N,channels,height,width] nor the hardware."""
    needed = CHANNELS[input_format(block)]
    if channels != needed:
        raise _uncompilable(f"input c[{channels}] must be {needed} when input_format is {input_format(block)}")
    if block.csc_switch and needed == 1:
        reason = "when input format is YUV400_U8, it doesn't make sense to convert to RGB, csc_switch[1]"
        raise _uncompilable(reason)
    if block.resize:
        raise _uncompilable("resize only support Hi3796CV300ES, Hi3796CV300CS and SD3403")
    _check_geometry(block, height, width)
    _check_ranges(block, height, width)


def _check_geometry(block: Any, height: int, width: int) -> None:
    source_h, source_w = block.src_image_size_h, block.src_image_size_w
    if not block.crop and not block.padding:
        for axis, source, size in (("h", source_h, height), ("w", source_w, width)):
            if source not in (0, size):
                reason = f"input {axis}[{size}] of network should be equal to src_image_size_{axis}[{source}]"
                raise _uncompilable(reason)
        return
    if not source_h or not source_w:
        raise _uncompilable(
            f"when crop[{int(block.crop)}] or resize[0] or padding[{int(block.padding)}] is enable, "
            f"src_image_size_w[{source_w}] and src_image_size_h[{source_h}] should be greater than 0"
        )
    inner_h, inner_w = source_h, source_w
    if block.crop:
        _check_crop(block, height, width)
        inner_h, inner_w = crop_size(block, height, width)
    _check_padding(block, height, width, inner_h, inner_w)


def _check_crop(block: Any, height: int, width: int) -> None:
    if block.padding and not (block.crop_size_h and block.crop_size_w):
        raise _uncompilable(
            f"when crop_size_h[{block.crop_size_h}] is equal to 0 or crop_size_w[{block.crop_size_w}] is equal to 0, "
            "resize[0] and padding[1] should be not enable"
        )
    crop_h, crop_w = crop_size(block, height, width)
    for axis, start, size, source in (
        ("h", block.load_start_pos_h, crop_h, block.src_image_size_h),
        ("w", block.load_start_pos_w, crop_w, block.src_image_size_w),
    ):
        if start + size > source:
            raise _uncompilable(
                f"when crop is enable, load_start_pos_{axis}[{start}] + crop_size_{axis}[{size}] "
                f"should be less than or equal to src_image_size_{axis}[{source}]"
            )
    if not block.padding and (crop_h, crop_w) != (height, width):
        raise _uncompilable(
            f"when crop is enable, resize is disable and padding is disable, crop_size_w[{crop_w}] should be equal to "
            f"output w[{width}] and crop_size_h[{crop_h}] should be equal to output h[{height}]"
        )


def _check_padding(block: Any, height: int, width: int, inner_h: int, inner_w: int) -> None:
    if not block.padding:
        return
    top, bottom, left, right = padding_sizes(block)
    if width > 1080:
        raise _uncompilable(f"after padding, aipp output w[{width}] should be less than or eaqual to 1080")
    if max(top, bottom, left, right) > 32:
        raise _uncompilable(
            f"The max padding size is 32, and left_padding_size is {left}, right_padding_size is {right}, "
            f"top_padding_size is {top}, bottom_padding_size is {bottom}"
        )
    if (inner_h + top + bottom, inner_w + left + right) != (height, width):
        crop, name = ("enable", "crop_size") if block.crop else ("disable", "src_image_size")
        raise _uncompilable(
            f"when crop is {crop}, resize is disable and padding is enable, {name}_w[{inner_w}] + "
            f"left_padding_size[{left}] + right_padding_size[{right}] should be equal to output w[{width}] and "
            f"{name}_h[{inner_h}] + top_padding_size[{top}] + bottom_padding_size[{bottom}] should be equal to "
            f"output h[{height}]"
        )


def _check_ranges(block: Any, height: int, width: int) -> None:
    source_h, source_w = source_size(block, height, width)
    if not 1 <= source_h <= 4096:
        raise _uncompilable(f"src_image_size_h[{source_h}] should be within [0, 4096]")
    if not 2 <= source_w <= 4096:
        raise _uncompilable(f"src_image_size_w[{source_w}] should be within [2, 4096] or equal to 0")
    limits = [(f"mean_chn_{channel}", 0, 255) for channel in range(4)]
    limits += [(f"min_chn_{channel}", 0, 255) for channel in range(4)]
    limits += [(name, -65504, 65504) for name in RECIPROCALS]
    if block.csc_switch:
        limits += [(name, -32768, 32767) for name in MATRIX] + [(name, 0, 255) for name in BIASES]
    limits.append(("padding_value", -65504, 65504))
    for name, low, high in limits:
        value = getattr(block, name)
        for one in [value] if isinstance(value, (int, float)) else value:
            if not low <= one <= high:
                raise _uncompilable(f"{name}[{one}] should be within[{low}, {high}]")
