"""The families there are, and what follows from a config through its family."""

from __future__ import annotations

from collections.abc import Sequence

from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.models.config import CONFIGS, ModelConfig, is_alike
from yolact_ascend.models.family import Family
from yolact_ascend.models.rcnn.family import RcnnFamily
from yolact_ascend.models.yolact.family import YolactFamily
from yolact_ascend.tensors import TensorSpec

FAMILIES: dict[str, Family] = {family.name: family for family in (YolactFamily(), RcnnFamily())}


def family_of(config: ModelConfig) -> Family:
    """Return the family that a config belongs to."""
    return FAMILIES[config.family]


def default_cut(config: ModelConfig) -> str:
    """Return the cut that a config's family takes where none is named."""
    return family_of(config).cuts[0]


def all_cuts() -> tuple[str, ...]:
    """Return the cuts of all families, for help texts and the parsing of words."""
    configs = {config.family: config for config in CONFIGS.values()}
    return tuple(dict.fromkeys(cut for config in configs.values() for cut in family_of(config).cuts))


def cut_outputs(config: ModelConfig, cut: str) -> tuple[TensorSpec, ...]:
    """Return the output tensors of a config's model at a cut, in the model's order."""
    return family_of(config).outputs(config, cut)


def all_operators() -> tuple[str, ...]:
    """Return the kinds of operators that graphs of any family may have."""
    return tuple(dict.fromkeys(kind for family in FAMILIES.values() for kind in family.operators))


def choose_operators(config: ModelConfig, word: str | None, is_for_ascend: bool) -> str:
    """Return the operators that a graph gets: the named ones, else those that fit the target best.

    Raises UsageError when the config's graphs cannot have them, or the target does not know them.
    """
    usual, *others = family_of(config).operators
    if word not in (None, usual, *others):
        raise UsageError(f"operators={word}: {config.name} is exported with operators={usual} only.")
    if word not in (None, usual) and not is_for_ascend:
        raise UsageError(f"operators={word}: only target=ascend has these operators. Pass operators={usual}.")
    return word or (others[0] if others and is_for_ascend else usual)


def require_batch_sizes(config: ModelConfig, batch_sizes: Sequence[int]) -> None:
    """Raise UsageError when graphs of the config cannot take these numbers of images at once."""
    allowed = family_of(config).batch_sizes
    refused = [size for size in batch_sizes if allowed is not None and size not in allowed]
    if refused:
        raise UsageError(
            f"{config.name} takes one image at a time, because the number of proposals differs by image; expected "
            f"bs=1, found {refused[0]}. Set bs=1 (--batch_size=1): onnxruntime and openvino then run parallel "
            "requests."
        )


def find_cut(outputs: Sequence[TensorSpec], config: ModelConfig, stated: str | None = None) -> str:
    """Return the cut at which a model with these outputs ends; raises ArtifactError when no cut of the config fits.

    `stated` is the config that the model itself states, if it does.
    """
    found = [(spec.shape, spec.dtype) for spec in outputs]
    expected = {cut: [(spec.shape, spec.dtype) for spec in cut_outputs(config, cut)] for cut in family_of(config).cuts}
    fitting = [cut for cut, shapes in expected.items() if shapes == found]
    is_others = stated not in (None, config.name) and not (stated in CONFIGS and is_alike(CONFIGS[stated], config))
    if fitting and not is_others:  # with three classes two cuts have the same shapes: names tell them apart
        return next((cut for cut in fitting if _names_fit(outputs, cut_outputs(config, cut))), fitting[0])
    if stated not in (None, config.name):
        raise ArtifactError(
            f"The model was exported for {stated}, not for {config.name}. Pass --config={stated} and its weights."
        )
    listed = " or ".join(f"{shapes} (cut {cut})" for cut, shapes in expected.items())
    raise ArtifactError(
        f"The model's outputs are {found}, expected {listed} for {config.name}. Does it belong to another --config, "
        "or was it compiled with --output_type?"
    )


def _names_fit(found: Sequence[TensorSpec], expected: Sequence[TensorSpec]) -> bool:
    """Whether outputs have the expected names; a compiled model writes `<node>:<index>:<name>`."""
    return all(wanted.name == spec.name.rsplit(":", 1)[-1] for spec, wanted in zip(found, expected))
