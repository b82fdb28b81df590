"""`rehearse --soc`: which operators of an ONNX file a chip is known to compute, known not to, or neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from yolact_ascend.errors import UsageError
from yolact_ascend.models.exported import read_onnx
from yolact_ascend.tables import counted, markdown_table
from yolact_ascend.targets.ascend.cards import require_chip
from yolact_ascend.targets.ascend.kernels import KNOWN, NOT_KNOWN_TO, UNKNOWN, has_lists, kernel_fact

_ORDER = (NOT_KNOWN_TO, UNKNOWN, KNOWN)


@dataclass(frozen=True)
class OperatorFact:
    """One operator of a model, and what is known of it on a chip."""

    operator: str
    domain: str
    nodes: int
    state: str  # "known", "known not" or "unknown"
    source: str


def operators_on_chip(onnx_file: Path, soc_version: str) -> list[OperatorFact]:
    """Return the operators of any ONNX file, those of branches included; what is known not to run comes first.

    Raises ArtifactError for a file that is no ONNX, UsageError for a chip that atc does not compile for.
    """
    if not soc_version.startswith("Ascend"):
        raise UsageError(
            f"--soc={soc_version}: expected a chip as atc names it, such as Ascend310P3. Write 'Ascend' and the Name "
            "column of `npu-smi info`."
        )
    require_chip(soc_version, f"--soc={soc_version}")
    counts = Counter((node.op_type, node.domain) for node in _nodes(read_onnx(onnx_file).graph))
    facts = []
    for (operator, domain), nodes in sorted(counts.items()):
        known = kernel_fact(operator, domain, soc_version)
        facts.append(OperatorFact(operator, domain, nodes, known.state, known.source))
    return sorted(facts, key=lambda fact: _ORDER.index(fact.state))


def format_operators(facts: Sequence[OperatorFact], soc_version: str) -> str:
    """Return the table for reading, and what to do."""
    states = Counter(fact.state for fact in facts)
    summary = ", ".join(f"{states[state]} {state}" for state in reversed(_ORDER))
    lines = [f"{counted(len(facts), 'kind')} of operators on {soc_version}: {summary}"]
    if not has_lists(soc_version):
        lines.append(f"No public list of operators is known for {soc_version}.")
    rows = [[fact.state, fact.operator, fact.nodes, fact.source] for fact in facts]
    lines.append(markdown_table(["", "operator", "nodes", "source"], rows))
    if states[NOT_KNOWN_TO]:
        lines.append("Expect atc to refuse this model. Export it without the operators that are known not to run.")
    elif states[UNKNOWN]:
        lines.append("Unknown is no refusal: CANN's lists are incomplete. Only atc on a host with CANN decides.")
    return "\n\n".join(lines)


def operators_to_json(facts: Sequence[OperatorFact], soc_version: str) -> dict[str, Any]:
    """Return the facts as a JSON value."""
    return {"soc_version": soc_version, "operators": [asdict(fact) for fact in facts]}


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for branch in (attribute.g, *attribute.graphs):
                yield from _nodes(branch)
