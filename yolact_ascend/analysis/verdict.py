"""What `verify` found: its last line, and the record that a user pastes into an issue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from yolact_ascend.checks import FAIL, WARN, Check
from yolact_ascend.targets.compiled import SideCar, read_sidecar
from yolact_ascend.targets.folder import WorkFolder
from yolact_ascend.targets.target import Target

SCHEMA_VERSION = 1
CAUSE = "cause"  # in the facts of a check
RUN, POSTPROCESS = "run", "postprocess"  # checks that hold the error of a stage: nothing could be compared


@dataclass(frozen=True)
class Verdict:
    """All checks of a verification, and what ran."""

    checks: tuple[Check, ...]
    device_line: str  # a few words on what computed
    device: Mapping[str, Any]
    versions: Mapping[str, Any]
    models: tuple[Mapping[str, Any], ...]  # what each compiled model was compiled for and how
    right: str = "the golden values"  # what was compared with

    @cached_property
    def wrong(self) -> list[Check]:
        return [check for check in self.checks if check.status == FAIL]

    @property
    def cause(self) -> Mapping[str, str] | None:
        """The likely cause of the first thing that went wrong; what comes after it may follow from it."""
        return next((check.facts[CAUSE] for check in self.wrong if CAUSE in check.facts), None)

    def line(self) -> str:
        """Return the one line that says it all."""
        if not self.wrong:
            differing = [check.name for check in self.checks if check.status == WARN]
            noted = f" ({', '.join(differing)}: see above)" if differing else ""
            return f"EQUAL to {self.right} within the precision, on {self.device_line}{noted}."
        first = self.wrong[0]
        if first.name.split()[0] in (RUN, POSTPROCESS):
            said = first.text.splitlines() or [""]  # a tool's last lines are shown with the checks
            if len(said) > 1:
                said = [said[0].split(" The command was: ")[0], f"{said[-1].rstrip('.')}."]
            return f"NOT VERIFIED on {self.device_line}: '{first.name}' failed. {' '.join(said)}"
        likely = f" Likely cause: {self.cause['kind']} ({self.cause['text']})." if self.cause else f" {first.text}"
        return f"NOT EQUAL to {self.right} on {self.device_line}, from '{first.name}' on.{likely}"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "is_equal": not self.wrong,
            "cause": self.cause,
            "line": self.line(),
            "device": dict(self.device),
            "versions": dict(self.versions),
            "models": [dict(model) for model in self.models],
            "checks": [check.to_json() for check in self.checks],
        }


def describe_model(folder: WorkFolder, batch_size: int, target: type[Target], embed: str) -> tuple[SideCar, dict]:
    """Return the side-car of a compiled model, and what of it the record states."""
    sidecar = read_sidecar(folder.model(batch_size, target.model_suffix))
    return sidecar, describe_sidecar(sidecar, embed)


def describe_sidecar(sidecar: SideCar, embed: str) -> dict[str, Any]:
    """Return what the record states of a compiled model."""
    kept = ("target", "made_for", "flags", "precision", "batch_size", "model_sha256", "onnx_sha256")
    return {"embed": embed, **{name: getattr(sidecar, name) for name in kept}}
