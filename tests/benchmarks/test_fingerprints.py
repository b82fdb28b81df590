"""Fingerprints of a work folder: what changes them, and what the comparison says."""

import json
import sys

import pytest
from factories import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "benchmarks"))

from fingerprints import compare, fingerprint


@pytest.fixture
def work(tmp_path):
    """A small work folder in the places of a real run."""
    import onnx
    from onnx import TensorProto, helper

    image, output = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("image", "output0"))
    graph = helper.make_graph([helper.make_node("Neg", ["image"], ["output0"])], "g", [image], [output])
    model = helper.make_model(graph, producer_name="a")
    onnx.save(model, tmp_path / "yolact_edge.onnx")
    header = {"soc_version": "Ascend310P3", "atc_arguments": ["--model", "a.onnx"], "onnx_sha256": "0"}
    om = b"magic\n" + json.dumps(header).encode() + b"\n" + model.SerializeToString()
    (tmp_path / "yolact_edge_bs1.om").write_bytes(om)
    for name in ("inputs/bin_file/0.bin", "inputs/bin_file/1.bin", "bs1/output/0_0.bin", "bs1/bbox_detections.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_every_artefact_has_a_digest(work):
    assert [*fingerprint(work)] == [
        "yolact_edge.onnx",
        "yolact_edge.onnx: graph",
        "yolact_edge_bs1.om",
        "yolact_edge_bs1.om: header without paths and hashes",
        "yolact_edge_bs1.om: graph",
        "inputs (2 files)",
        "outputs (1 files)",
        "bs1/bbox_detections.json",
    ]


def test_the_parts_of_a_model_explain_a_difference(work):
    import onnx

    before = fingerprint(work)
    model = onnx.load(work / "yolact_edge.onnx")
    model.producer_name = "b"
    model.graph.node[0].doc_string = "somewhere.py:12"
    onnx.save(model, work / "yolact_edge.onnx")
    om = work / "yolact_edge_bs1.om"
    om.write_bytes(om.read_bytes().replace(b"a.onnx", b"b.onnx").replace(b'"0"', b'"1"'))
    after = fingerprint(work)
    assert {what for what in before if before[what] != after[what]} == {"yolact_edge.onnx", "yolact_edge_bs1.om"}
    om.write_bytes(om.read_bytes().replace(b"310P3", b"310P1"))
    header = "yolact_edge_bs1.om: header without paths and hashes"
    assert fingerprint(work)[header] != after[header]


@pytest.mark.parametrize(
    ("name", "what"), [("inputs/bin_file/1.bin", "inputs (2 files)"), ("bs1/output/0_0.bin", "outputs (1 files)")]
)
def test_names_and_contents_count(work, name, what):
    before = fingerprint(work)
    (work / name).rename((work / name).with_name("7.bin"))
    renamed = fingerprint(work)
    (work / name).with_name("7.bin").write_text("other")
    changed = fingerprint(work)
    assert len({before[what], renamed[what], changed[what]}) == 3


def test_the_table_tells_what_is_identical():
    before = {"commit": "a", "versions": {"numpy": "1"}, "weights": "w", "runs": {"demo": {"onnx": "1", "om": "2"}}}
    after = {**before, "commit": "b", "runs": {"demo": {"onnx": "1", "om": "3", "inputs": "4"}}}
    assert compare(before, after)[-3:] == [
        "| demo | onnx | 1 | 1 | identical |",
        "| demo | om | 2 | 3 | **different** |",
        "| demo | inputs | missing | 4 | **different** |",
    ]
    other = compare(before, {**after, "versions": {"numpy": "2"}})
    assert "Note: the versions are different: {'numpy': '1'} and {'numpy': '2'}." in other
