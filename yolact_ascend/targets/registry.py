"""The targets there are. A new target is its folder and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from yolact_ascend.errors import UsageError
from yolact_ascend.extras import is_installed
from yolact_ascend.flags import DEVICE, Flag
from yolact_ascend.targets.ascend.installation import sign_of_card
from yolact_ascend.targets.ascend.target import AscendTarget
from yolact_ascend.targets.ascend.tools import ON_EMULATION
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget
from yolact_ascend.targets.openvino.target import OpenVinoTarget
from yolact_ascend.targets.target import DeviceRequest, Target
from yolact_ascend.targets.torch.target import TorchTarget
from yolact_ascend.words import one_of

TARGETS: dict[str, type[Target]] = {
    target.name: target for target in (AscendTarget, OnnxRuntimeTarget, OpenVinoTarget, TorchTarget)
}
DEFAULT_TARGET = AscendTarget.name


def target_of_model(model: Path) -> type[Target]:
    """Return the target that runs a model file, by its ending; raises UsageError for another ending."""
    for target in TARGETS.values():
        if model.suffix == target.model_suffix:
            return target
    endings = " or ".join(f"{target.model_suffix} ({name})" for name, target in TARGETS.items())
    packed = " Is it a packed model? Unpack it, and pass the folder." if model.suffix == ".zip" else ""
    raise UsageError(f"--model={model}: expected a file that ends in {endings}.{packed}")


def target_of_host(device: str) -> type[Target]:
    """Return the target that runs weights on this host where none is named, for the user's word of a device.

    Ascend where there is a card, or where its emulation is asked for; else OpenVINO where it is installed, else ONNX
    Runtime. The emulation is never chosen: it computes as a card does, slowly.
    """
    if sign_of_card() is not None or device == ON_EMULATION:
        return AscendTarget
    return OpenVinoTarget if is_installed("openvino") else OnnxRuntimeTarget


def require_no_chosen_emulation(target: type[Target], device: str) -> None:
    """Raise UsageError for Ascend on a host without a card, unless its emulation is asked for."""
    is_asked_for = target.device_aliases.get(device, device) == ON_EMULATION
    if target is AscendTarget and sign_of_card() is None and not is_asked_for:
        raise UsageError(
            f'target={target.name}: this host has no NPU. Pass device="{ON_EMULATION}" (--device={ON_EMULATION}) for '
            "the CPU emulation of a card, which is slow, or leave out the target."
        )


def find_target(target: type[Target], request: DeviceRequest) -> Target:
    """Return a target found for a request whose `device` is the user's word.

    Raises UsageError for a device that the target does not have, and as its `find` does.
    """
    return target.find(replace(request, device=read_flag(DEVICE, request.device, target, read_device)))


def read_flag(flag: Flag, word: str, target: type[Target], read: Callable[[type[Target], str], str]) -> str:
    """Return the value of a flag whose values are the target's; raises UsageError that names them."""
    try:
        return read(target, word)
    except ValueError as error:
        raise UsageError(f"--{flag.name}={word}: expected {error}.") from None


def read_device(target: type[Target], word: str) -> str:
    """Return the value of `device=` for a target; raises ValueError that names the values there are."""
    return _read_of(target, target.devices, target.device_aliases.get(word, word))


def read_embed(target: type[Target], word: str) -> str:
    """Return the value of `embed=` for a target, like `read_device`."""
    try:
        return _read_of(target, target.embeds, word)
    except ValueError as error:
        others = [other.name for other in TARGETS.values() if word in other.embeds]
        has_it = f"; target={' and target='.join(others)} has it" if others else ""
        raise ValueError(f"{error}{has_it}") from None


def read_precision(target: type[Target], word: str) -> str:
    """Return the value of `precision=` for a target, "": its default; like `read_device`."""
    return _read_of(target, target.precisions, word or target.precisions[0])


def _read_of(target: type[Target], values: Sequence[str], word: str) -> str:
    try:
        return one_of(values)(word)
    except ValueError as error:
        raise ValueError(f"{error} (target={target.name})") from None
