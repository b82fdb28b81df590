"""The targets there are. A new target is its folder and one entry here."""

from __future__ import annotations

from pathlib import Path

from yolact_ascend.errors import UsageError
from yolact_ascend.targets.ascend.target import AscendTarget
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget
from yolact_ascend.targets.openvino.target import OpenVinoTarget
from yolact_ascend.targets.target import Target
from yolact_ascend.words import one_of

TARGETS: dict[str, type[Target]] = {target.name: target for target in (AscendTarget, OnnxRuntimeTarget, OpenVinoTarget)}
DEFAULT_TARGET = AscendTarget.name


def target_of_model(model: Path) -> type[Target]:
    """Return the target that runs a model file, by its ending; raises UsageError for another ending."""
    for target in TARGETS.values():
        if model.suffix == target.model_suffix:
            return target
    endings = " or ".join(f"{target.model_suffix} ({name})" for name, target in TARGETS.items())
    raise UsageError(f"--model={model}: expected a file that ends in {endings}.")


def read_device(target: type[Target], word: str) -> str:
    """Return the value of `device=` for a target; raises ValueError that names the values there are."""
    try:
        return one_of(target.devices)(target.device_aliases.get(word, word))
    except ValueError as error:
        raise ValueError(f"{error} (target={target.name})") from None


def read_embed(target: type[Target], word: str) -> str:
    """Return the value of `embed=` for a target, like `read_device`."""
    try:
        return one_of(target.embeds)(word)
    except ValueError as error:
        others = [other.name for other in TARGETS.values() if word in other.embeds]
        has_it = f"; target={' and target='.join(others)} has it" if others else ""
        raise ValueError(f"{error} (target={target.name}){has_it}") from None


def read_precision(target: type[Target], word: str) -> str:
    """Return the value of `precision=` for a target, "": its default; like `read_device`."""
    try:
        return one_of(target.precisions)(word or target.precisions[0])
    except ValueError as error:
        raise ValueError(f"{error} (target={target.name})") from None
