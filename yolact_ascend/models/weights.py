"""Reading upstream's `.pth` files: strictly, safely, and with a useful message when they do not fit."""

from __future__ import annotations

import math
import re
import sys
from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import torch
from torch import nn

from yolact_ascend.errors import WeightsError
from yolact_ascend.files import atomic_path
from yolact_ascend.models.class_record import add_classes
from yolact_ascend.models.classes import count_classes, read_config, require_weights, with_numbers
from yolact_ascend.models.config import CONFIGS, ModelConfig
from yolact_ascend.models.families import FAMILIES, family_of
from yolact_ascend.models.family import to_network_names
from yolact_ascend.models.file_names import config_by_name, note_other_name
from yolact_ascend.models.unreadable import explain_unreadable
from yolact_ascend.models.weights_arrays import Array, is_array_pickle, read_arrays
from yolact_ascend.models.weights_file import describe_format, find_state_dict, list_keys, require_sound
from yolact_ascend.models.weights_values import COUNTER, VARIANCE, require_dense, require_floats, to_float32, to_tensor

VALUE_BYTES = 4  # of float32

Shapes = dict  # state-dict key -> tuple of ints


class StateDict(NamedTuple):
    """The tensors of a file, and notes on what had to be done to find them."""

    tensors: dict[str, torch.Tensor]
    notes: list[str]


class Contents(NamedTuple):
    """What is in a weights file that fits its config."""

    format: str
    tensors: int  # also those that only training uses
    values: int
    notes: tuple[str, ...]


def read_tensors(path: Path, expected: Shapes) -> StateDict:
    """Read the state dict of a file; the notes name floats other than float32, which `to_float32` makes of them.

    Raises WeightsError when the file is damaged or cannot be read, unpacks to far more than the `expected` tensors
    take, or holds no state dict or several.
    """
    require_sound(path, VALUE_BYTES * sum(math.prod(shape) for shape in expected.values()))
    try:
        # weights_only: a .pth is a pickle, and a pickle from the internet may run code.
        is_arrays = is_array_pickle(path)
        loaded = read_arrays(path) if is_arrays else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file fails in any of a dozen ways, and all mean the same
        raise WeightsError(explain_unreadable(path, error)) from error
    found, notes = find_state_dict(loaded, path, lambda value: isinstance(value, (torch.Tensor, Array)))
    found = {key: to_tensor(path, key, value) if isinstance(value, Array) else value for key, value in found.items()}
    require_dense(path, found)
    other = {key for key, value in found.items() if value.is_floating_point() and value.dtype != torch.float32}
    if other:
        dtypes = sorted({str(found[key].dtype).replace("torch.", "") for key in other})
        notes.append(f"{len(other)} of {len(found)} tensors are {' and '.join(dtypes)}: read as float32")
    return StateDict(found, notes)


def load_network(path: Path, config: ModelConfig) -> nn.Module:
    """Build the config's network with the file's weights, ready for inference.

    Raises WeightsError when the file is missing, broken or does not fit the config.
    """
    network = family_of(config).build(config)
    network.load_state_dict(read_state_dict(path, config))
    return network.eval()


def read_state_dict(path: Path, config: ModelConfig) -> dict[str, torch.Tensor]:
    """Read the weights of `config` from an upstream file, training-only keys dropped; prints notes.

    Raises WeightsError that names missing, extra and misshapen keys, or the config that would fit.
    """
    expected = expected_shapes(config)
    raw = read_file(path, config, expected)
    weights, notes = _take_weights(path, raw, config, expected)
    say_notes(path, notes)
    _require_fit(path, weights, config, expected, raw)
    return to_float32(path, weights)


def examine_weights(path: Path, config: ModelConfig) -> Contents:
    """Read a file as `read_state_dict` does, and return what is in it; prints nothing.

    Raises WeightsError like `read_state_dict`.
    """
    expected = expected_shapes(config)
    raw = read_file(path, config, expected)
    weights, notes = _take_weights(path, raw, config, expected)
    _require_fit(path, weights, config, expected, raw)
    to_float32(path, weights)
    return Contents(
        describe_format(path), len(raw.tensors), sum(value.numel() for value in raw.tensors.values()), tuple(notes)
    )


def read_file(path: Path, config: ModelConfig, expected: Shapes) -> StateDict:
    """Read the state dict of a file as `read_tensors` does; a missing file's error says where to get the weights."""
    require_weights(path, config)
    return read_tensors(path, expected)


def say_notes(path: Path, notes: Sequence[str]) -> None:
    """Print what had to be done to a file's tensors, each note once in a process, to stderr."""
    for note in notes:
        _say_once(path, note)


@cache
def _say_once(path: Path, note: str) -> None:
    print(f"note: {path.name}: {note}.", file=sys.stderr, flush=True)


def _take_weights(path: Path, raw: StateDict, config: ModelConfig, expected: Shapes) -> StateDict:
    """Return a file's tensors by the network's names, without those that only training, or no network, uses.

    Raises WeightsError for tensors of the network that are not floating point.
    """
    notes = [*raw.notes, *note_other_name(path, config)]
    keys = family_of(config).keys
    found = to_network_names(raw.tensors, keys)
    surplus = _surplus(found, expected, keys.surplus_patterns)
    if surplus:
        notes.append(f"{len(surplus)} tensors of older code are not used, as in upstream ({list_keys(surplus)})")
    uncounted = [key for key in expected if key not in found and _sibling(key) in found]
    if uncounted:
        notes.append(f"{len(uncounted)} batch-norm counters are missing, which only training uses: they begin with 0")
    found.update({key: torch.zeros((), dtype=torch.int64) for key in uncounted})
    weights = {key: value for key, value in found.items() if key not in surplus}
    weights = family_of(config).complete_weights(weights, raw.tensors, expected)
    require_floats(path, {key: value for key, value in weights.items() if key in expected})
    return StateDict(weights, notes)


def _surplus(found: Iterable[str], expected: Container[str], patterns: Sequence[str]) -> list[str]:
    """Return the keys that no network uses, and that files may have all the same."""
    return [key for key in found if key not in expected and any(re.match(pattern, key) for pattern in patterns)]


def _sibling(key: str) -> str | None:
    """Return the variance of the batch norm that a counter belongs to; None for what is no counter."""
    return f"{key[: -len(COUNTER)]}{VARIANCE}" if key.endswith(COUNTER) else None


def _require_fit(
    path: Path, weights: dict[str, torch.Tensor], config: ModelConfig, expected: Shapes, raw: StateDict
) -> None:
    problems = compare_shapes(_shapes_of(weights), expected)
    if problems:
        raise WeightsError(
            f"{path} does not fit {config.name}: {'; '.join(problems)}. {_hint_at_config(path, raw, config)}"
        )


def _hint_at_config(path: Path, raw: StateDict, config: ModelConfig) -> str:
    """Return which configs would fit, with as many classes as the file has, and what to do."""
    fitting = [name for name, other in {**CONFIGS, config.name: config}.items() if _fits(path, raw, other)]
    if config.name in fitting:
        found = count_classes(_shapes_of(raw.tensors), config)
        return f"The file has {found} classes, expected {config.num_classes}: are its classes named wrongly?"
    named = config_by_name(path)
    if named is not None and named.name in fitting:
        fitting = [named.name]
    if not fitting:
        shapes = _shapes_of(raw.tensors)
        explained = next(filter(None, (family.explain_foreign(shapes) for family in FAMILIES.values())), "")
        return explained or f"They fit none of the configs either: {', '.join(CONFIGS)}."
    if len(fitting) > 1:
        return f"They fit {', '.join(fitting)}: use --config=NAME (config=NAME in a run) with the one they are of."
    return f"These are the weights of {fitting[0]}: use --config={fitting[0]} (config={fitting[0]} in a run)."


def _fits(path: Path, raw: StateDict, config: ModelConfig) -> bool:
    """Whether a file fits a config with as many classes as the file has."""
    count = count_classes(_shapes_of(raw.tensors), config)
    if count is None:
        return False
    expected = expected_shapes(with_numbers(config, count))
    return not compare_shapes(_shapes_of(_take_weights(path, raw, config, expected).tensors), expected)


def _shapes_of(tensors: dict[str, torch.Tensor]) -> Shapes:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def write_weights(network: nn.Module, config: ModelConfig, path: Path) -> None:
    """Write a network's weights as upstream's files have them; config and classes travel inside (`classes`)."""
    weights = OrderedDict((key, value.detach().cpu().contiguous()) for key, value in network.state_dict().items())
    with atomic_path(path) as temporary:
        save_by_torch(weights, temporary)
        add_classes(temporary, config)


def save_by_torch(value: Any, path: Path) -> None:
    """Save by PyTorch; raises OSError when the disk is full, where PyTorch raises a RuntimeError about positions."""
    # By a path, PyTorch would write its name, which holds a process id, inside.
    with path.open("wb") as file:
        recorder = _Recorder(file)
        try:
            torch.save(value, cast(BinaryIO, recorder))
        except RuntimeError as error:
            if recorder.error is None:
                raise
            raise recorder.error from error


class _Recorder:
    """A file whose first error is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._file.flush()


def load_backbone(network: nn.Module, path: Path, config: ModelConfig) -> int:
    """Load weights of the backbone alone, trained on ImageNet, into a network of `config`; all of them must be there.

    Returns how many tensors were taken. Raises WeightsError that names what is missing, extra or misshapen.
    """
    if not path.is_file():
        named = f" Upstream's file is {config.backbone.imagenet_file}." if config.backbone.imagenet_file else ""
        raise WeightsError(f"There is no file {path} with weights of the backbone.{named}")
    backbone = network.get_submodule("backbone")
    expected = {key: value for key, value in backbone.state_dict().items() if not key.endswith(COUNTER)}
    tensors, notes = read_tensors(path, expected_shapes(config))
    say_notes(path, notes)
    keys = family_of(config).imagenet_keys(config)
    found = to_network_names(tensors, keys)
    found = {key: value for key, value in found.items() if not key.endswith(COUNTER)}
    surplus = _surplus(found, expected, keys.surplus_patterns)
    if surplus:
        say_notes(path, [f"{len(surplus)} tensors beside the backbone are not used ({list_keys(surplus)})"])
        found = {key: value for key, value in found.items() if key not in surplus}
    require_floats(path, found)
    shapes, wanted = ({key: tuple(value.shape) for key, value in state.items()} for state in (found, expected))
    problems = compare_shapes(shapes, wanted)
    if problems:
        named = f" Upstream's file is {config.backbone.imagenet_file}." if config.backbone.imagenet_file else ""
        raise WeightsError(f"{path} does not fit the backbone of {config.name}: {'; '.join(problems)}.{named}")
    backbone.load_state_dict(to_float32(path, found), strict=False)  # but for the counters
    return len(found)


def load_fitting(network: nn.Module, path: Path, config: ModelConfig) -> list[str]:
    """Load a file's weights into a network of `config`, but for the class layer when that is of other classes.

    Classes are compared by name: as many of another data set are other classes. Returns the keys that keep their
    values. Raises WeightsError when anything else does not fit.
    """
    expected = network.state_dict()
    shapes = {key: tuple(value.shape) for key, value in expected.items()}
    raw = read_file(path, config, shapes)
    weights, notes = _take_weights(path, raw, config, shapes)
    say_notes(path, notes)
    class_layer = family_of(config).keys.class_layer_prefix
    kept = [key for key in expected if key.startswith(class_layer) and key in weights]
    theirs = read_config(path, CONFIGS.get(config.name, config)).class_names
    kept = [key for key in kept if theirs != config.class_names or weights[key].shape != expected[key].shape]
    weights.update({key: expected[key] for key in kept})
    _require_fit(path, weights, config, shapes, raw)
    network.load_state_dict(to_float32(path, weights))
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
    return [f"{len(keys)} {kind} ({list_keys(keys)})" for kind, keys in kinds if keys]
