"""The type of the prototypes that a model gives: float32, or float16, which halves most of what leaves the device.

It is chosen at the export, as a Cast at the end of the graph, so that each target gives it; the model states it.
"""

from __future__ import annotations

import dataclasses

from yolact_ascend.errors import UsageError
from yolact_ascend.models.values import ModelConfig

OUTPUT_TYPES = {"fp32": "float32", "fp16": "float16"}


def output_type_of(config: ModelConfig) -> str:
    """Return the word for the type of a config's prototypes."""
    return next(word for word, dtype in OUTPUT_TYPES.items() if dtype == config.proto_dtype)


def with_output_type(config: ModelConfig, word: str | None) -> ModelConfig:
    """Return the config with prototypes of another type, one of `OUTPUT_TYPES`; None: the config's own.

    Raises UsageError for a config without prototypes.
    """
    if word is None or OUTPUT_TYPES[word] == config.proto_dtype:
        return config
    if config.rcnn is not None:
        raise UsageError(f"output_type={word}: {config.name} has no prototypes. Leave out output_type=.")
    return dataclasses.replace(config, proto_dtype=OUTPUT_TYPES[word])
