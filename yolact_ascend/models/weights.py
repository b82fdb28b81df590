"""Reading upstream's `.pth` files: strictly, safely, and with a useful message when they do not fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from yolact_ascend.errors import WeightsError
from yolact_ascend.files import atomic_path
from yolact_ascend.models.classes import add_classes, require_weights
from yolact_ascend.models.config import CONFIGS, ModelConfig
from yolact_ascend.models.families import family_of

NAMED_KEYS = 4  # how many keys of a kind a message lists

Shapes = dict  # state-dict key -> tuple of ints


def load_network(path: Path, config: ModelConfig) -> nn.Module:
    """Build the config's network with the file's weights, ready for inference.

    Raises WeightsError when the file is missing, broken or does not fit the config.
    """
    network = family_of(config).build(config)
    network.load_state_dict(read_state_dict(path, config))
    return network.eval()


def read_state_dict(path: Path, config: ModelConfig) -> dict[str, torch.Tensor]:
    """Read the weights of `config` from an upstream file, training-only keys dropped.

    Raises WeightsError that names missing, extra and misshapen keys, or the config that would fit.
    """
    weights = _inference_weights(path, config)
    _require_fit(path, weights, config)
    return weights


def _inference_weights(path: Path, config: ModelConfig) -> dict[str, torch.Tensor]:
    require_weights(path, config)
    keys = family_of(config).keys
    weights = _rename_keys(_read_pth(path), keys.renamed_prefixes)
    return {key: value for key, value in weights.items() if not key.startswith(keys.training_only_prefixes)}


def _require_fit(path: Path, weights: dict[str, torch.Tensor], config: ModelConfig) -> None:
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    problems = compare_shapes(shapes, expected_shapes(config))
    if problems:
        fitting = [name for name, other in CONFIGS.items() if not compare_shapes(shapes, expected_shapes(other))]
        hint = (
            f"These are the weights of {fitting[0]}: use --config={fitting[0]} (config={fitting[0]} in run_all.sh)."
            if fitting
            else (f"They fit none of the configs either: {', '.join(CONFIGS)}.")
        )
        raise WeightsError(f"{path} does not fit {config.name}: {'; '.join(problems)}. {hint}")


def write_weights(network: nn.Module, config: ModelConfig, path: Path) -> None:
    """Write a network's weights as upstream's files have them; config and classes travel inside (`classes`)."""
    weights = OrderedDict((key, value.detach().cpu().contiguous()) for key, value in network.state_dict().items())
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:  # by a path, PyTorch would write its name, which holds a process id, inside
            torch.save(weights, file)
        add_classes(temporary, config)


def load_fitting(network: nn.Module, path: Path, config: ModelConfig) -> list[str]:
    """Load a file's weights into a network of `config`, but for the class layer when that is of other classes.

    Returns the keys that keep their values. Raises WeightsError when anything else does not fit.
    """
    weights = _inference_weights(path, config)
    expected = network.state_dict()
    class_layer = family_of(config).keys.class_layer_prefix
    kept = [key for key in expected if key.startswith(class_layer) and key in weights]
    kept = [key for key in kept if weights[key].shape != expected[key].shape]
    weights.update({key: expected[key] for key in kept})
    _require_fit(path, weights, config)
    network.load_state_dict(weights)
    return kept


def expected_shapes(config: ModelConfig) -> Shapes:
    """Return the state dict's keys and shapes of a config, without allocating its weights."""
    with torch.device("meta"):
        network = family_of(config).build(config)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def compare_shapes(found: Shapes, expected: Shapes) -> list[str]:
    """Describe each kind of difference between two state dicts in a phrase; empty when they agree."""
    missing = [key for key in expected if key not in found]
    extra = [key for key in found if key not in expected]
    misshapen = [
        f"{key} {list(found[key])} instead of {list(expected[key])}"
        for key in expected
        if key in found and found[key] != expected[key]
    ]
    kinds = (("missing", missing), ("extra", extra), ("misshapen", misshapen))
    return [f"{len(keys)} {kind} ({_list_some(keys)})" for kind, keys in kinds if keys]


def _read_pth(path: Path) -> dict[str, torch.Tensor]:
    try:
        # weights_only: a .pth is a pickle, and a pickle from the internet may run code.
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file fails in any of a dozen ways, and all mean the same
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{path} cannot be read as PyTorch weights ({path.stat().st_size} bytes): {reason} "
            "Is it truncated? Compare its size with the source and download it again."
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()
    ):
        raise WeightsError(f"{path} holds no state dict: expected names with tensors, found {_describe(loaded)}.")
    return loaded


def _rename_keys(weights: dict[str, torch.Tensor], prefixes: Mapping[str, str]) -> dict[str, torch.Tensor]:
    def renamed(key: str) -> str:
        for old, new in prefixes.items():
            if key.startswith(old):
                return new + key[len(old) :]
        return key

    return {renamed(key): value for key, value in weights.items()}


def _list_some(keys: list[str]) -> str:
    rest = len(keys) - NAMED_KEYS
    return ", ".join(keys[:NAMED_KEYS]) + (f" and {rest} more" if rest > 0 else "")


def _describe(value: object) -> str:
    if isinstance(value, dict):
        return f"a dict with {_list_some([str(key) for key in value])}" if value else "an empty dict"
    return f"a {type(value).__name__}"
