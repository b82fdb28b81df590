"""What is known of a model's operators on a chip."""

import json

import onnx
import pytest
from onnx import TensorProto, helper
from recipes import RECIPES

from yolact_ascend.analysis.operators import format_operators, operators_on_chip
from yolact_ascend.cli.main import main
from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.targets.ascend.kernels import kernel_fact


def write_model(path, *operators, domain=""):
    """Write a graph that has these operators; nothing of it can be computed."""
    nodes = [helper.make_node(name, ["x"], [f"y{index}"], domain=domain) for index, name in enumerate(operators)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y0")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8), path)
    return path


def states(facts):
    return {fact.operator: fact.state for fact in facts}


def test_any_onnx_gets_a_state_for_each_operator(tmp_path):
    model = write_model(tmp_path / "m.onnx", "Relu", "GridSample", "Einsum", "Relu", "RNN", "Reshape")
    facts = operators_on_chip(model, "Ascend310P3")
    assert [(fact.state, fact.operator, fact.nodes) for fact in facts] == [
        ("known not", "GridSample", 1),
        ("known not", "RNN", 1),
        ("unknown", "Einsum", 1),
        ("known", "Relu", 2),
        ("known", "Reshape", 1),
    ]
    text = format_operators(facts, "Ascend310P3")
    assert "5 kinds of operators on Ascend310P3: 2 known, 1 unknown, 2 known not" in text
    assert "× in the table of GridSampler2D" in text and "no ONNX parser" in text and "Expect atc to refuse" in text


def test_operators_in_branches_count(tmp_path):
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("RNN", ["x"], ["b"])], "body", [], [value])
    model = onnx.load(write_model(tmp_path / "m.onnx", "If"))
    model.graph.node[0].attribute.extend(helper.make_attribute(f"{name}_branch", body) for name in ("then", "else"))
    onnx.save(model, tmp_path / "m.onnx")
    facts = operators_on_chip(tmp_path / "m.onnx", "Ascend310P3")
    assert [(fact.operator, fact.nodes, fact.state) for fact in facts] == [("RNN", 2, "known not"), ("If", 1, "known")]


@pytest.mark.parametrize(
    ("operator", "soc", "state"),
    [
        # ops-cv@6ae87653, image/grid_sampler2_d: × for both series, √ for Atlas A2; GE's list of 910B has GridSample
        ("GridSample", "Ascend310P3", "known not"),
        ("GridSample", "Ascend310B4", "known not"),
        ("GridSample", "Ascend910B3", "known"),
        # × in the tables and run by ModelZoo's YolactEdge on a 310P (27.96 mAP in its README)
        ("Tanh", "Ascend310P3", "known"),
        ("Slice", "Ascend310P3", "known"),
        ("Tanh", "Ascend310B4", "unknown"),
        # × in the tables for every chip, and in GE's list of an installed CANN for 910B
        ("Gather", "Ascend910B3", "known"),
        ("LSTM", "Ascend310P3", "known"),
        ("LSTM", "Ascend910B3", "unknown"),
        # GE's local engine, which needs no kernel of a chip
        ("Shape", "Ascend310", "known"),
        ("Relu", "Ascend310", "unknown"),  # no list of this chip is public
        ("Relu", "Ascend910B", "unknown"),  # the first generation is another chip than 910B1 to 910B4
        # ModelZoo's MaskRcnn (ACL_PyTorch/contrib/cv/classfication): 22.06 images/s on a 310P in its README
        ("BatchMultiClassNMS", "Ascend310P3", "known"),
        ("RoiExtractor", "Ascend310P3", "known"),
        ("TopK", "Ascend310P3", "known"),
        # ModelZoo-PyTorch@6a2804a35, ACL_PyTorch/contrib/cv/classfication: Pointnetplus has 6960 images/s at bs=1 on a
        # 310P3 with torch.max(new_points, 2)[0]; T2T-ViT has 81.4 %, and its gen_cfg.py looks for ReduceSum
        ("ReduceMax", "Ascend310P3", "known"),
        ("ReduceSum", "Ascend310P3", "known"),
        # of R-CNN with operators=onnx: compiled by Ultralytics with five inputs; in GE's list of 910B; nothing known
        ("NonMaxSuppression", "Ascend310P3", "known"),
        ("RoiAlign", "Ascend910B3", "known"),
        ("RoiAlign", "Ascend310P3", "unknown"),
        ("QuantizeLinear", "Ascend910_9392", "known not"),
        ("Einsum", "Ascend910B3", "unknown"),
    ],
)
def test_only_evidence_counts(operator, soc, state):
    assert kernel_fact(operator, "", soc).state == state


def test_operators_of_other_domains_are_unknown():
    assert kernel_fact("Relu", "my.ops", "Ascend310P3").state == "unknown"


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_that_ran_on_a_310p_have_known_operators_only(tmp_path, recipe):
    facts = operators_on_chip(write_model(tmp_path / "m.onnx", *RECIPES[recipe].split()), "Ascend310P3")
    assert states(facts) == dict.fromkeys(RECIPES[recipe].split(), "known")


def test_the_verb_lists_them_without_images(tmp_path, capsys):
    model = write_model(tmp_path / "m.onnx", "Relu")
    assert main(["rehearse", f"--model={model}", "--soc=Ascend310P3"]) == 0
    assert "| known | Relu" in capsys.readouterr().out
    assert main(["rehearse", f"--model={model}", "--soc=Ascend910_9392", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["soc_version"], printed["operators"][0]["state"]) == ("Ascend910_9392", "unknown")


def test_a_chip_without_lists_is_said(tmp_path):
    facts = operators_on_chip(write_model(tmp_path / "m.onnx", "Relu"), "Ascend310")
    text = format_operators(facts, "Ascend310")
    assert "No public list of operators is known for Ascend310." in text and "Unknown is no refusal" in text


def test_nothing_more_is_said_where_all_is_known(tmp_path):
    text = format_operators(operators_on_chip(write_model(tmp_path / "m.onnx", "Relu"), "Ascend310P3"), "Ascend310P3")
    assert "1 kind of operators on Ascend310P3: 1 known, 0 unknown, 0 known not" in text
    assert "refus" not in text and "No public list" not in text


@pytest.mark.parametrize(
    ("soc", "said"),
    [("310P3", "--soc=310P3: expected a chip as atc names it, such as Ascend310P3"), ("Ascend310P", "a series, which")],
)
def test_another_name_of_a_chip_is_refused(tmp_path, soc, said):
    with pytest.raises(UsageError, match=said):
        operators_on_chip(write_model(tmp_path / "m.onnx", "Relu"), soc)


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ArtifactError, match="cannot be read as ONNX"):
        operators_on_chip(tmp_path / "text.onnx", "Ascend310P3")
