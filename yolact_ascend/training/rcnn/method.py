"""The method of the R-CNN family: what is trained, from which initial weights, on which samples, by which losses.

Source: facebookresearch/detectron2 @ 02b5c4e2, modeling/meta_arch/rcnn.py, and the initial weights of its layers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.rcnn.anchors import make_anchors
from yolact_ascend.models.rcnn.cuts import rcnn_of
from yolact_ascend.models.rcnn.network import RcnnNetwork
from yolact_ascend.models.rcnn.select import propose
from yolact_ascend.models.values import DETECTRON1, Rcnn
from yolact_ascend.training.method import Losses, Trainee, autocast
from yolact_ascend.training.objects import Objects
from yolact_ascend.training.rcnn.losses import Regions, draw_regions, head_losses, mask_loss, rpn_losses
from yolact_ascend.training.rcnn.samples import Sample, Truth, make_sample, stack_samples
from yolact_ascend.training.recipe import Recipe

REGIONS_DRAW = 2  # the stream of random numbers of a step; samples have 1, the images' order 0


class RcnnTrainee(Trainee):
    """The network alone: its training has no layers beside it."""

    network: RcnnNetwork

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.network = RcnnNetwork(config)


def initialise(network: RcnnNetwork, seed: int) -> None:
    """Set initial weights as Detectron2 does; no biases."""
    torch.manual_seed(seed)
    for name, module in network.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            continue
        if name.startswith(("backbone.bottom_up.", "roi_heads.mask_head.")):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        else:
            nn.init.kaiming_uniform_(module.weight, a=1)
        for begin, deviation in SMALL_WEIGHTS.items():
            if name.startswith(begin):
                nn.init.normal_(module.weight, std=deviation)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# Layers whose weights begin small, so that no box moves and no class is likely.
SMALL_WEIGHTS = {
    "proposal_generator.rpn_head.": 0.01,
    "roi_heads.box_predictor.cls_score": 0.01,
    "roi_heads.box_predictor.bbox_pred": 0.001,
    "roi_heads.mask_head.predictor": 0.001,
}
FROZEN_LAYERS = ("backbone.bottom_up.stem.", "backbone.bottom_up.res2.")


class RcnnMethod:
    """How networks of the R-CNN family are trained."""

    def make_trainee(self, config: ModelConfig, seed: int) -> RcnnTrainee:
        if rcnn_of(config).dialect == DETECTRON1:
            raise UsageError(
                f"{config.name} is of Detectron's dialect, which cannot be trained here. Choose a config of "
                "Detectron2's, such as mask_rcnn_R_50_FPN_3x."
            )
        trainee = RcnnTrainee(config)
        initialise(trainee.network, seed)
        return trainee

    def freeze(self, trainee: RcnnTrainee) -> None:
        """Freeze what Detectron2 does when it starts from weights: batch norms, the stem and res2."""
        for module in trainee.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().requires_grad_(False)
        for name, parameter in trainee.network.named_parameters():
            if name.startswith(FROZEN_LAYERS):
                parameter.requires_grad_(False)

    def make_sample(
        self,
        image: np.ndarray,
        objects: Objects,
        image_size: int,
        config: ModelConfig,
        recipe: Recipe,
        generator: np.random.Generator,
    ) -> Sample:
        return make_sample(image, objects, image_size, config, recipe.augmentation, generator)

    def stack_samples(self, samples: list[Sample], device: torch.device) -> tuple[torch.Tensor, list[Truth]]:
        return stack_samples(samples, device)

    def compute_losses(
        self, trainee: RcnnTrainee, images: torch.Tensor, targets: list[Truth], recipe: Recipe, step: int
    ) -> Losses:
        generator = step_generator(recipe.seed, step)
        network = trainee.network
        rcnn, num_classes = network.rcnn, network.config.num_classes
        with autocast(images.device, recipe):
            levels = network.features(images)
            logits, deltas = network.score_anchors(levels)
        levels, logits, deltas = ([each.float() for each in maps] for maps in (levels, logits, deltas))
        anchors = [torch.from_numpy(each.copy()).to(images.device) for each in make_anchors(rcnn, *images.shape[2:])]
        losses: Losses = {}
        losses["objectness"], losses["rpn_box"] = rpn_losses(
            by_anchor(logits, rcnn)[:, :, 0], by_anchor(deltas, rcnn), torch.cat(anchors), targets, rcnn, generator
        )
        regions = []
        for image, truth in enumerate(targets):
            proposals = propose_for(image, truth, anchors, logits, deltas, rcnn)
            regions.append(draw_regions(proposals, truth, num_classes, recipe.regions_per_image, generator))
        with autocast(images.device, recipe):
            class_logits, box_deltas = network.score_boxes(levels, *boxes_and_images(regions))
        losses["class"], losses["box"] = head_losses(
            class_logits.float(), box_deltas.float(), regions, targets, num_classes, rcnn
        )
        if network.roi_heads.mask_head is not None:
            shown = [positive_regions(each, num_classes) for each in regions]
            with autocast(images.device, recipe):
                mask_logits = network.roi_heads.mask_head(network.mask_features(levels, *boxes_and_images(shown)))
            losses["mask"] = mask_loss(mask_logits.float(), shown, targets, rcnn)
        return losses


@torch.no_grad()
def propose_for(
    image: int,
    truth: Truth,
    anchors: list[torch.Tensor],
    logits: list[torch.Tensor],
    deltas: list[torch.Tensor],
    rcnn: Rcnn,
) -> torch.Tensor:
    """Return the proposals [n,4] of one image of a batch; of each level twice as many candidates as in inference."""
    chosen = propose(
        anchors,
        [each[image] for each in logits],
        [each[image] for each in deltas],
        torch.tensor(truth.size, dtype=torch.float32, device=anchors[0].device),
        rcnn,
        candidates=2 * rcnn.rpn_candidates,
    )
    return chosen.boxes[chosen.is_real]


def boxes_and_images(regions: list[Regions]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the boxes [R,4] of a batch's regions, and which of its images each is of [R]."""
    ids = [torch.full_like(each.rows, image) for image, each in enumerate(regions)]
    return torch.cat([each.boxes for each in regions]), torch.cat(ids)


def positive_regions(regions: Regions, num_classes: int) -> Regions:
    """Return the regions that show an object."""
    positive = regions.classes < num_classes
    return Regions(*(each[positive] for each in regions))


def by_anchor(maps: list[torch.Tensor], rcnn: Rcnn) -> torch.Tensor:
    """Return a head's maps, one [B,a·n,h,w] a level, as values [B,A,n] in the order of all levels' anchors."""
    ordered = [each.unflatten(1, (rcnn.anchors_per_cell, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3) for each in maps]
    return torch.cat(ordered, dim=1)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return random numbers that depend on seed and step alone, so that a resumed training draws the same."""
    (state,) = np.random.SeedSequence([seed, REGIONS_DRAW, step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
