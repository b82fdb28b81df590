"""What a family supplies for its training; loop, checkpoints, scoring and log are shared."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from yolact_ascend.models.config import ModelConfig
from yolact_ascend.training.objects import Objects
from yolact_ascend.training.recipe import Recipe

Losses = dict[str, torch.Tensor]  # the weighted losses of a batch by name, each a scalar; their sum is minimised


class Trainee(nn.Module):
    """What is trained: a family's network, and layers that only training has."""

    network: nn.Module


class Method(Protocol):
    """How the networks of one family are trained. Samples and targets are its own."""

    def make_trainee(self, config: ModelConfig, seed: int) -> Trainee:
        """Return what is trained, with initial weights of that seed."""

    def freeze(self, trainee: Any) -> None:
        """Freeze what is not trained when a training starts from weights."""

    def make_sample(
        self,
        image: np.ndarray,
        objects: Objects,
        image_size: int,
        config: ModelConfig,
        recipe: Recipe,
        generator: np.random.Generator,
    ) -> Any:
        """Augment an image (BGR uint8 [H,W,3]) and its objects; return a sample of `image_size` pixels a side."""

    def stack_samples(self, samples: list[Any], device: torch.device) -> tuple[torch.Tensor, Any]:
        """Return images [B,3,H,W] and targets of samples of one size, on the device."""

    def compute_losses(self, trainee: Any, images: torch.Tensor, targets: Any, recipe: Recipe, step: int) -> Losses:
        """Return the losses of a batch; what is drawn at random depends on the recipe's seed and the step alone."""


def autocast(device: torch.device, recipe: Recipe) -> torch.autocast:
    """Return the context in which the network runs, in bfloat16 if the recipe says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16)
