"""Holds conditions against a comparison; they set the exit code of `compare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yolact_ascend.analysis.compare import Comparison
from yolact_ascend.analysis.gate_words import HIGH, LOW, OPERATORS, SPEED, Gate
from yolact_ascend.errors import YolactAscendError


class GateError(YolactAscendError):
    """A condition on a comparison does not hold."""


@dataclass(frozen=True)
class Judged:
    """A gate, the value that it was held against (None: there is none), and why not."""

    gate: Gate
    value: float | None
    reason: str = ""

    @property
    def holds(self) -> bool:
        return self.value is not None and OPERATORS[self.gate.operator](self.value, self.gate.limit)

    def to_json(self) -> dict[str, Any]:
        return {"gate": self.gate.text, "value": self.value, "holds": self.holds}

    def describe(self) -> str:
        """Return the gate and its outcome in words."""
        if self.value is None:
            return f"gate {self.gate.text}: fails, {self.reason}"
        return f"gate {self.gate.text}: {'holds' if self.holds else 'fails'}, it is {self.value:+.3f}"


def judge(gate: Gate, comparison: Comparison) -> Judged:
    """Hold a gate against a comparison; one whose value is not known fails."""
    first, _, rest = gate.name.partition(".")
    if first == SPEED:
        speed = next((speed for speed in comparison.speeds if speed.key == rest), None)
        if speed is None or speed.factor is None:
            return Judged(gate, None, "the runs' speeds are not known or must not be compared")
        return Judged(gate, speed.factor)
    if first not in comparison.paired:
        return Judged(gate, None, f"the runs have no {first} mAP on the same images. {comparison.unpaired}".rstrip())
    task = comparison.paired[first]
    known = {**task.classes, **task.columns}
    name, _, end = rest.rpartition(".")
    is_end = end in (LOW, HIGH) and name in known
    difference = known.get(name if is_end else rest)
    if difference is None:
        return Judged(gate, None, f"there is no {rest}; the names are {', '.join(known)}")
    value = {LOW: difference.low, HIGH: difference.high}[end] if is_end else difference.points
    return Judged(gate, value, "there is nothing to score")


def require_gates(judged: list[Judged]) -> None:
    """Raise GateError that lists the gates that do not hold."""
    failed = [each.describe() for each in judged if not each.holds]
    if failed:
        raise GateError(f"{len(failed)} of {len(judged)} gates do not hold:\n" + "\n".join(failed))
