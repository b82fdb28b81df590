"""A config as a JSON value: in what a model states about itself, and in weights of a config that no list has."""

from __future__ import annotations

import dataclasses
from typing import Any

from yolact_ascend.models.config import CONFIGS, describe_preprocessing
from yolact_ascend.models.description_fields import Fields, others_values, read_config_fields
from yolact_ascend.models.values import ModelConfig, Source

# What the public code or the weights file is found by: it comes back from CONFIGS.
_NOT_WRITTEN = ("source", "upstream_url")


def config_to_json(config: ModelConfig) -> dict[str, Any]:
    """Return a config as JSON has it, with tuples in place of lists; `read_config_value` reads it."""
    value = dataclasses.asdict(config)
    value["preprocessing"] = describe_preprocessing(config.preprocessing)
    value["widths"] = dict(config.widths)
    if not config.widths:  # as it was before there were any
        del value["widths"]
    if config.proto_dtype == ModelConfig.proto_dtype:  # the same
        del value["proto_dtype"]
    for name in (*_NOT_WRITTEN, *others_values(config.family)):
        del value[name]
    return value


def read_config_value(fields: Fields) -> ModelConfig:
    """Return the config that a JSON object holds; raises BadField when a field is not what `config_to_json` writes."""
    values = read_config_fields(fields)
    known = CONFIGS.get(values["name"])
    source, url = (Source("", ""), None) if known is None else (known.source, known.upstream_url)
    return ModelConfig(**values, source=source, upstream_url=url)
