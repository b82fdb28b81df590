"""The training method of each family."""

from __future__ import annotations

from yolact_ascend.models.config import ModelConfig
from yolact_ascend.training.method import Method
from yolact_ascend.training.rcnn.method import RcnnMethod
from yolact_ascend.training.yolact.method import YolactMethod

METHODS: dict[str, Method] = {"yolact": YolactMethod(), "rcnn": RcnnMethod()}  # by the name of the family


def method_of(config: ModelConfig) -> Method:
    """Return how networks of a config's family are trained."""
    return METHODS[config.family]
