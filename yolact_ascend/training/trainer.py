"""One training run in memory: network, optimiser, steps, and the checkpoint that it resumes from."""

from __future__ import annotations

import dataclasses
import json
import math
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from yolact_ascend.errors import TrainingError
from yolact_ascend.files import atomic_path
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.weights import save_by_torch
from yolact_ascend.models.yolact.network import YolactEdge
from yolact_ascend.training.losses import Losses, Targets, compute_losses
from yolact_ascend.training.recipe import Recipe, learning_rate
from yolact_ascend.training.samples import Sample

CHECKPOINT_KEYS = ("made_from", "step", "trainee", "optimiser", "log")
# Convolutions of bfloat16 run 3 to 5 times as fast with the channels last on the CPU. NPUs have layouts of their own.
CHANNELS_LAST_DEVICES = {"cpu", "cuda"}


class Trainee(nn.Module):
    """The network and the layer that only training has: per-class logits on P3 (upstream's `semantic_seg_conv`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.network = YolactEdge(config)
        self.semantic_seg_conv = nn.Conv2d(config.fpn_channels, config.num_classes, 1)

    def forward(self, images: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Map images [B,3,S,S] to the head's outputs, prototypes [B,p,p,M] and per-class logits [B,K,s,s]."""
        *levels, protos = self.network(images)
        return self.network.head.predict_levels(levels), protos, self.semantic_seg_conv(levels[0])


def initialise(trainee: Trainee, seed: int) -> None:
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


def stack_samples(samples: list[Sample], device: torch.device) -> tuple[torch.Tensor, Targets]:
    """Return images [B,3,S,S] and targets of samples of one size, on the device."""
    most = max(len(sample.anchor_ids) for sample in samples)

    def padded(arrays: list[np.ndarray]) -> np.ndarray:
        stacked = np.zeros((len(arrays), most, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
        for row, array in zip(stacked, arrays):
            row[: len(array)] = array
        return stacked

    weights = [np.full(len(sample.anchor_ids), sample.mask_weight, dtype=np.float32) for sample in samples]
    arrays = (
        np.stack([sample.classes for sample in samples]),
        np.stack([sample.loc for sample in samples]),
        np.stack([sample.class_map for sample in samples]),
        padded([sample.anchor_ids for sample in samples]),
        padded([sample.masks for sample in samples]),
        padded([sample.boxes_xyxy_rel for sample in samples]),
        padded(weights),
    )
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device)
    return images, Targets(*(torch.from_numpy(array).to(device) for array in arrays))


class Trainer:
    """One training run: network, optimiser, and the step that it is at.

    `origin` holds what the result depends on beside config and recipe: hashes of data and weights, by name.
    """

    def __init__(
        self, config: ModelConfig, recipe: Recipe, device: torch.device, origin: Mapping[str, str | None] | None = None
    ) -> None:
        self.config, self.recipe, self.device = config, recipe, device
        self.made_from = made_from(config, recipe, origin or {})
        self.trainee = Trainee(config)
        initialise(self.trainee, recipe.seed)
        self.trainee.train().to(device)
        if device.type in CHANNELS_LAST_DEVICES:
            self.trainee.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stubs lack it
        self.optimiser = torch.optim.SGD(
            self.trainee.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.step = 0
        self.is_changing = False  # the weights are between two steps: not to be saved
        self.log: list[dict[str, Any]] = []
        self.unlogged: list[Losses] = []  # of the steps since the last log line

    @property
    def is_finished(self) -> bool:
        return self.step == self.recipe.steps

    def take_step(self, images: torch.Tensor, targets: Targets) -> Losses:
        """Do one step of gradient descent; raises TrainingError, before any change, for a loss or gradient not finite.

        Otherwise every weight, and every later checkpoint, would hold values that are not finite.
        """
        rate = learning_rate(self.recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        if self.device.type in CHANNELS_LAST_DEVICES:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            head, protos, class_logits = self.trainee(images)
        losses = compute_losses(head, protos, class_logits, targets, self.recipe.background_negatives)
        self._require_finite("loss", losses.total(), losses)
        losses.total().backward()
        norm = nn.utils.clip_grad_norm_(self.trainee.parameters(), self.recipe.clip_norm or math.inf)
        self._require_finite("gradient", norm, losses)
        self.is_changing = True
        self.optimiser.step()
        self.is_changing = False
        self.step += 1
        self.unlogged.append(losses)
        return losses

    def _require_finite(self, what: str, value: torch.Tensor, losses: Losses) -> None:
        if not torch.isfinite(value):
            parts = ", ".join(f"{name} {loss.item():g}" for name, loss in losses._asdict().items())
            raise TrainingError(
                f"The {what} of step {self.step} is not finite ({parts}). Lower --learning_rate, or set --clip_norm."
            )

    def log_losses(self) -> dict[str, float]:
        """Log the mean losses of the steps since the last line, and return them; none when there was no step."""
        if not self.unlogged:
            return {}
        means = mean_losses(self.unlogged)
        self.unlogged.clear()
        self.log.append({"step": self.step, "unix_time_s": round(time.time(), 1), **means})
        return means

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "made_from": self.made_from,
            "step": self.step,
            "trainee": self.trainee.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "log": self.log,
        }
        with atomic_path(path) as temporary:
            save_by_torch(state, temporary)

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint; raises TrainingError when it is damaged, or belongs to another training."""
        state = read_checkpoint(path)
        theirs = state["made_from"]
        differing = [key for key in {**self.made_from, **theirs} if self.made_from.get(key) != theirs.get(key)]
        if differing:
            raise TrainingError(
                f"{path} belongs to a training that differs in {', '.join(differing)}. Rerun the original command on "
                "the same data, or pass another --save_path."
            )
        self.trainee.load_state_dict(state["trainee"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.log = state["step"], state["log"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `Trainer.save`; raises TrainingError for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # PyTorch compares no checksums
        if damaged:
            raise ValueError(f"{damaged} in it has changed")
        state = torch.load(path, map_location="cpu", weights_only=True)
        missing = [key for key in CHECKPOINT_KEYS if key not in state]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
    except Exception as error:  # a broken file fails in any of a dozen ways, and all mean the same
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(
            f"{path} is damaged, or was not written by this version: {reason}. Delete it to start over, or pass "
            "another --save_path."
        ) from error
    return state


def made_from(config: ModelConfig, recipe: Recipe, origin: Mapping[str, str | None]) -> dict[str, Any]:
    """Return everything that a training's result depends on, by name, as lists, numbers and strings."""
    classes = {"config": config.name, "class_names": config.class_names, "category_ids": config.category_ids}
    return json.loads(json.dumps({**dataclasses.asdict(recipe), **classes, **origin}))


def mean_losses(steps: list[Losses]) -> dict[str, float]:
    """Return the mean of each loss over some steps, with four decimals."""
    return {
        name: round(torch.stack([value.detach() for value in values]).mean().item(), 4)
        for name, values in zip(Losses._fields, zip(*steps))
    }
