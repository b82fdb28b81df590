"""What CANN's ONNX parser refuses before anything is compiled, and what the stand-in cannot compute although it passes.

Which operators have a parser is a table of facts, onnx_parsers.json: the registrations (REGISTER_CUSTOM_OP) of CANN's
open ONNX plugins. The rest is from hicann/ge@ffdcbc9, parser/parser/onnx (CANN 8.5 and later; built and run offline),
and from Ascend/parser@069eb8b, parser/onnx (CANN 7 and before).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import onnx

from ascend_emulation.atc_errors import INNER, INNER_OF_PLUGINS, AtcCrash, AtcError
from ascend_emulation.cann import Cann
from ascend_emulation.fused_operators import is_fused
from ascend_emulation.onnx_graph import graph_inputs, opset_of
from ascend_emulation.quantised_nodes import is_quantised

_TABLE = Path(__file__).with_name("onnx_parsers.json")
_STANDARD = "ai.onnx"
_WITHOUT_PLUGIN = "Constant"  # taken at any opset
_SUPPRESSION = "NonMaxSuppression"
_MOST_INPUTS_OF_SUPPRESSION = 5


def check_graph(model: onnx.ModelProto, cann: Cann) -> None:
    """Raise AtcError for the first thing that the parser of this release, or the stand-in, does not take.

    Raises AtcCrash for a node on which the real atc crashes.
    """
    if cann.titles_errors:
        _check_ends(model.graph)
    _check_parsers(model, cann)
    if cann.titles_errors:
        _check_names(model)
        _check_parameters(model)
    for name, node in _all_nodes(model.graph):
        if node.op_type == _SUPPRESSION:
            _check_suppression(name, node, cann)
    _check_computable(model)


@lru_cache(maxsize=1)
def parser_ranges() -> dict[str, dict[str, list[tuple[int, int]]]]:
    """domain -> operator -> the opsets for which it has a parser, as pairs of first and last one."""
    table = json.loads(_TABLE.read_text(encoding="utf-8"))["parsers"]
    ranges: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for domain, groups in table.items():
        for text, operators in groups.items():
            pairs = [(int(first), int(last)) for first, last in (part.split("-") for part in text.split())]
            ranges.setdefault(domain, {}).update(dict.fromkeys(operators, pairs))
    return ranges


def has_parser(domain: str, opset: int, operator: str, cann: Cann) -> bool:
    """Whether this release has a parser for an operator.

    Of releases before 8.5 the list of opsets is known, and no list of operators: what has no parser in 2026 has none.
    """
    if domain == _STANDARD and not cann.titles_errors and not cann.opset_min <= opset <= cann.opset_max:
        return False
    return any(first <= opset <= last for first, last in parser_ranges().get(domain, {}).get(operator, ()))


def _named_nodes(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.NodeProto]]:
    """The nodes of one graph, with the names that the parser gives to those without one."""
    unnamed = 0
    for node in graph.node:
        name = node.name
        if not name:
            name, unnamed = f"{node.op_type}_{unnamed}", unnamed + 1
        yield name, node


def _all_nodes(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.NodeProto]]:
    """The nodes, and those of the branches of an If."""
    for name, node in _named_nodes(graph):
        yield name, node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)


def _check_ends(graph: onnx.GraphProto) -> None:
    for end, values in (("input", graph.input), ("output", graph.output)):
        if not values:
            raise AtcError("E16001", end=end)


def _check_parsers(model: onnx.ModelProto, cann: Cann) -> None:
    for name, node in _all_nodes(model.graph):
        if node.op_type == _WITHOUT_PLUGIN:
            continue
        domain, opset = _domain_and_opset(model, node, cann)
        if not has_parser(domain, opset, node.op_type, cann):
            limits = {"opset_min": cann.opset_min, "opset_max": cann.opset_max}
            raise AtcError("E19010", name=name, domain=domain, opset=opset, optype=node.op_type, **limits)


def _domain_and_opset(model: onnx.ModelProto, node: onnx.NodeProto, cann: Cann) -> tuple[str, int]:
    """Domain and opset of an operator, as the parser of this release finds them."""
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if cann.has_one_domain and not node.domain:
        if len(opsets) != 1:
            raise AtcError("E16005", count=len(opsets))
        [(domain, opset)] = opsets.items()
        return domain or _STANDARD, opset
    if not cann.has_one_domain:
        opsets = {domain or _STANDARD: opset for domain, opset in opsets.items()}
    domain = node.domain or _STANDARD
    if domain not in opsets:
        raise AtcError(INNER, reason=f"The opset of domain[{domain}] has no responding version.")
    return domain, opsets[domain]


def _check_names(model: onnx.ModelProto) -> None:
    """Inputs become nodes, too, so their names count."""
    names = Counter([*(value.name for value in graph_inputs(model)), *(name for name, _ in _named_nodes(model.graph))])
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise AtcError("E13009", name=twice)


def _check_parameters(model: onnx.ModelProto) -> None:
    """What the plugins of ops-math (clip_onnx_plugin.cpp) and ops-nn (topk_onnx_plugin.cpp) want besides ONNX."""
    opset = opset_of(model)
    for _, node in _all_nodes(model.graph):
        if node.op_type == "Clip" and opset >= 11 and not any(node.input[1:]):
            raise AtcError(INNER_OF_PLUGINS, reason="At least 'min' or 'max' must not be None or Empty")
        if node.op_type == "TopK" and opset < 10 and "k" not in {attribute.name for attribute in node.attribute}:
            raise AtcError(INNER_OF_PLUGINS, reason="onnx TopK has no K attr.")


def _check_suppression(name: str, node: onnx.NodeProto, cann: Cann) -> None:
    """Play what two people saw atc of CANN 9.0.1 do (ultralytics#25436); all five inputs compile."""
    inputs = len(node.input)
    if inputs == _MOST_INPUTS_OF_SUPPRESSION and all(node.input):
        return
    if not (cann.titles_errors and all(node.input)):
        reason = (
            f"what CANN {cann.name} does with the {inputs} inputs of {name} is not known. CANN 9.0.1 fails on "
            f"{_SUPPRESSION} with two, and crashes with three or four. Give it all five"
        )
        raise AtcError("E10055", reason=reason)
    lowered = f"{_SUPPRESSION}V6"
    if inputs == 2:
        raise AtcError(INNER_OF_PLUGINS, reason=f"Call InferShapeAndType for node:{name}_{lowered}({lowered}) failed")
    raise AtcCrash(
        f"{_SUPPRESSION} with {inputs} inputs crashes the real one (seen with CANN 9.0.1, ultralytics#25436). "
        f"Give all five to node {name}"
    )


def _check_computable(model: onnx.ModelProto) -> None:
    """Raise AtcError E10055 where CANN's parser goes on and ONNX Runtime would not."""
    opset = opset_of(model)
    for name, node in _all_nodes(model.graph):
        if not (_is_standard(node, opset) or is_fused(node) or is_quantised(node)):
            reason = (
                f"the emulated atc cannot compute {node.op_type} (node {name}), which ONNX does not have at opset "
                f"{opset}. CANN's parser takes it"
            )
            raise AtcError("E10055", reason=reason)
    made = {"", *(value.name for value in (*model.graph.input, *model.graph.initializer))}
    made.update(tensor.values.name for tensor in model.graph.sparse_initializer)
    made.update(output for node in model.graph.node for output in node.output)
    for name, node in _named_nodes(model.graph):
        missing = next((tensor for tensor in node.input if tensor not in made), None)
        if missing is not None:
            reason = f"nothing computes {missing}, an input of node {name}. CANN's parser takes that"
            raise AtcError("E10055", reason=f"{reason}, the emulated atc does not")


def _is_standard(node: onnx.NodeProto, opset: int) -> bool:
    if node.domain not in ("", _STANDARD):
        return False
    try:
        return not onnx.defs.get_schema(node.op_type, opset, "").deprecated
    except onnx.defs.SchemaError:
        return False
