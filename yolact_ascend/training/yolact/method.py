"""The method of the YOLACT family: what is trained, from which initial weights, on which samples, by which losses."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import nn

from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.families import family_of
from yolact_ascend.models.yolact.cuts import level_channels
from yolact_ascend.models.yolact.network import YolactEdge
from yolact_ascend.training.method import Losses, Trainee, autocast
from yolact_ascend.training.objects import Objects
from yolact_ascend.training.recipe import Recipe
from yolact_ascend.training.yolact.losses import Targets, compute_losses
from yolact_ascend.training.yolact.samples import Sample, make_sample, stack_samples


class YolactTrainee(Trainee):
    """The network and the layer that only training has: per-class logits on P3 (upstream's `semantic_seg_conv`)."""

    network: YolactEdge

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.network = cast(YolactEdge, family_of(config).build(config))
        self.semantic_seg_conv = nn.Conv2d(level_channels(config), config.num_classes, 1)

    def forward(self, images: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Map images [B,3,S,S] to the head's outputs, prototypes [B,p,p,M] and per-class logits [B,K,s,s]."""
        *levels, protos = self.network(images)
        return self.network.head.predict_levels(levels), protos, self.semantic_seg_conv(levels[0])


def initialise(trainee: YolactTrainee, seed: int) -> None:
    """Set initial weights: Xavier's for what upstream adds to the backbone, He's for the backbone; no biases."""
    torch.manual_seed(seed)
    for name, module in trainee.named_modules():
        if isinstance(module, nn.Conv2d):
            if name.startswith("network.backbone."):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class YolactMethod:
    """How networks of the YOLACT family are trained."""

    def make_trainee(self, config: ModelConfig, seed: int) -> YolactTrainee:
        trainee = YolactTrainee(config)
        initialise(trainee, seed)
        return trainee

    def freeze(self, trainee: YolactTrainee) -> None:
        """Freeze nothing: batch norms always train."""

    def make_sample(
        self,
        image: np.ndarray,
        objects: Objects,
        image_size: int,
        config: ModelConfig,
        recipe: Recipe,
        generator: np.random.Generator,
    ) -> Sample:
        return make_sample(image, objects, image_size, config, recipe.augmentation, recipe.most_masks, generator)

    def stack_samples(self, samples: list[Sample], device: torch.device) -> tuple[torch.Tensor, Targets]:
        return stack_samples(samples, device)

    def compute_losses(
        self, trainee: YolactTrainee, images: torch.Tensor, targets: Targets, recipe: Recipe, step: int
    ) -> Losses:
        with autocast(images.device, recipe):
            head, protos, class_logits = trainee(images)
        return compute_losses(head, protos, class_logits, targets, recipe.background_negatives)._asdict()
