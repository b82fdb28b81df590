"""The metadata of an ONNX file, read without the packages onnx and onnxruntime, and without the tensors.

An ONNX file is a message of Protocol Buffers. Of its fields only `metadata_props` is read; the others are skipped,
whatever they hold. Source: onnx/onnx.proto (ModelProto, StringStringEntryProto); protobuf.dev, "Encoding".
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from yolact_ascend.errors import ArtifactError

METADATA_PROPS = 14  # the field of ModelProto
KEY, VALUE = 1, 2  # the fields of StringStringEntryProto
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types; the others have been out of use for long
FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
MOST_VARINT_BYTES = 10
MOST_ENTRY_BYTES = 16 << 20  # of one entry; the names of 80 classes take 2 kB
OPERATORS = "operators"  # the key for operators that are not ONNX's; it is absent for those that are
ASCEND_INT8 = "int8"  # its value where `quantize` wrote Ascend's form
QDQ = "int8_qdq"  # the key of the form for ONNX Runtime and OpenVINO, whose operators are ONNX's
FLOAT32_OPERATORS = "float32_operators"  # the key for the names of those that half precision would harm, one a line
EXPORT_FIRST = "Export it first (pth2onnx.py)."


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file; raises ArtifactError when it cannot be read as one."""
    try:
        size = path.stat().st_size
        if not size:
            raise ValueError("it is empty")
        with path.open("rb") as file:
            return dict(_read_entries(file, size))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read as ONNX: {error.strerror or error}. {EXPORT_FIRST}") from error
    except ValueError as error:
        raise ArtifactError(f"{path} cannot be read as ONNX: {error}. {EXPORT_FIRST}") from error


def own_operators(path: Path) -> str | None:
    """Return the kind of a graph's operators where they are not ONNX's (`operators=`); None of any other file."""
    try:
        return read_metadata(path).get(OPERATORS)
    except ArtifactError:
        return None  # no ONNX at all: whoever cannot open it says why


def is_quantized(path: Path) -> bool:
    """Whether `quantize` wrote a file, in either form; raises ArtifactError when it is no ONNX model."""
    found = read_metadata(path)
    return QDQ in found or found.get(OPERATORS) == ASCEND_INT8


def float32_operators(path: Path) -> str:
    """Return the names of the operators that are to stay float32, one a line; "" where there are none."""
    try:
        return read_metadata(path).get(FLOAT32_OPERATORS, "")
    except ArtifactError:
        return ""  # no ONNX yet, or none at all: whoever cannot open it says why


def refuse_own_operators(path: Path) -> None:
    """Raise ArtifactError when a file that could not be opened has operators of Ascend's."""
    kind = own_operators(path)
    if kind == ASCEND_INT8:
        raise ArtifactError(
            f"{path} is int8 in Ascend's form, which only Ascend's tools compute. Use its compiled model (.om), or the "
            "*_int8_qdq.onnx that `quantize` wrote beside it."
        )
    if kind is not None:
        raise ArtifactError(
            f"{path} was exported with operators={kind}, which only Ascend's tools compute. Use its compiled model "
            "(.om), or export it again with operators=onnx."
        )


def _read_entries(file: BinaryIO, size: int) -> list[tuple[str, str]]:
    """Return the entries of the metadata of a ModelProto that ends at `size`."""
    entries = []
    while file.tell() < size:
        field, wire_type, length = _read_tag(file, size)
        if (field, wire_type) != (METADATA_PROPS, LENGTH):
            file.seek(length, 1)
            continue
        if length > MOST_ENTRY_BYTES:
            raise ValueError(f"an entry of its metadata has {length} bytes")
        end = file.tell() + length
        texts = {KEY: "", VALUE: ""}
        while file.tell() < end:
            field, wire_type, length = _read_tag(file, end)
            data = file.read(length)
            if wire_type == LENGTH and field in texts:
                texts[field] = data.decode()
        entries.append((texts[KEY], texts[VALUE]))
    return entries


def _read_tag(file: BinaryIO, end: int) -> tuple[int, int, int]:
    """Return the next field's number, wire type and bytes, which follow and lie before `end`."""
    tag = _read_varint(file)
    field, wire_type = tag >> 3, tag & 7
    if wire_type == VARINT:
        _read_varint(file)
        length = 0
    elif wire_type == LENGTH:
        length = _read_varint(file)
    elif wire_type in FIXED_BYTES:
        length = FIXED_BYTES[wire_type]
    else:
        raise ValueError(f"its bytes at {file.tell()} are no field of an ONNX model")
    if not field or file.tell() + length > end:
        raise ValueError(f"it ends inside a field, or its bytes at {file.tell()} are no field of an ONNX model")
    return field, wire_type, length


def _read_varint(file: BinaryIO) -> int:
    value = 0
    for number in range(MOST_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends inside a number")
        value |= (byte[0] & 0x7F) << (7 * number)
        if byte[0] < 0x80:
            return value
    raise ValueError(f"its bytes at {file.tell()} are no number")
