"""The metadata of an ONNX file, against what the package onnx reads of it."""

import contextlib
import json

import onnx
import pytest
from formats import require_valid
from onnx import TensorProto, helper

from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.description import KEY
from yolact_ascend.models.onnx_metadata import read_metadata, refuse_own_operators


def write(path, **metadata):
    """Write a small model with weights and metadata; return its bytes."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("a", "b")]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = helper.make_graph([helper.make_node("Add", ["a", "w"], ["b"])], "g", value[:1], value[1:], [weights])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 11)], producer_name="p", model_version=2**60
    )
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "metadata", [{}, {"a": "1"}, {"a": "", "é": "ü" * 300, "long": "x" * 70_000}], ids=["none", "one", "several"]
)
def test_it_is_what_onnx_reads(tmp_path, metadata):
    write(tmp_path / "a.onnx", **metadata)
    expected = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert read_metadata(tmp_path / "a.onnx") == expected == metadata


def test_it_is_what_onnx_reads_of_an_exported_model(tiny_onnx):
    expected = {entry.key: entry.value for entry in onnx.load(tiny_onnx).metadata_props}
    assert read_metadata(tiny_onnx) == expected
    assert len(expected) == 11
    require_valid(json.loads(expected[KEY]), "description")


def test_fields_that_onnx_does_not_have_are_skipped(tmp_path):
    """Of each wire type: a varint, 8 bytes, a length, 4 bytes; protobuf.dev, "Encoding"."""
    path = tmp_path / "a.onnx"
    content = write(path, a="1")
    path.write_bytes(b"\xb8\x06\x96\x01" + b"\xb9\x06" + bytes(8) + b"\xba\x06\x02xy" + b"\xbd\x06abcd" + content)
    assert read_metadata(path) == {"a": "1"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04" + bytes(40), "no field of an ONNX model"),
        (b"{}", "ends inside a field|no field"),
        (b"\x72\x7f\x0a\x01a", "ends inside a field"),
        (b"\x08", "ends inside a number"),
        (b"\x08" + b"\xff" * 11, "no number"),
        (b"\x72\x04\x0a\x02\xff\xfe", "utf-8"),
        (b"\x72\x80\x80\x80\x10" + bytes(10), "ends inside a field"),
    ],
    ids=["empty", "zip", "text", "cut short", "cut in a number", "long number", "no text", "longer than the file"],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, content, said):
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"a\.onnx cannot be read as ONNX: .*({said}).* Export it first"):
        read_metadata(path)


def test_no_cut_of_a_model_is_read_as_a_whole_one(tmp_path):
    path = tmp_path / "a.onnx"
    content = write(path, a="1")  # the metadata is the last field but one
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with contextlib.suppress(ArtifactError):  # a cut between two fields leaves a message that is whole
            assert read_metadata(path) in ({}, {"a": "1"})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.onnx cannot be read as ONNX: No such file"):
        read_metadata(tmp_path / "none.onnx")


def test_only_a_graph_with_a_cards_operators_is_refused_for_them(tmp_path):
    write(tmp_path / "own.onnx", operators="ascend")
    write(tmp_path / "int8.onnx", operators="int8")
    write(tmp_path / "plain.onnx")
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match=r"own\.onnx was exported with operators=ascend, .* model \(\.om\)"):
        refuse_own_operators(tmp_path / "own.onnx")
    with pytest.raises(ArtifactError, match=r"int8\.onnx is int8 in Ascend's form, .* or the \*_int8_qdq\.onnx"):
        refuse_own_operators(tmp_path / "int8.onnx")
    for name in ("plain.onnx", "none.onnx"):
        refuse_own_operators(tmp_path / name)
