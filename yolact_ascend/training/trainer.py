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

import torch
from torch import nn

from yolact_ascend.errors import TrainingError
from yolact_ascend.files import atomic_path
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.weights import save_by_torch
from yolact_ascend.training.method import Losses
from yolact_ascend.training.methods import method_of
from yolact_ascend.training.recipe import ADAMW, Recipe, learning_rate

CHECKPOINT_KEYS = ("made_from", "step", "trainee", "optimiser", "log")
# Convolutions of bfloat16 run 3 to 5 times as fast with the channels last on the CPU. NPUs have layouts of their own.
CHANNELS_LAST_DEVICES = {"cpu", "cuda"}


class Trainer:
    """One training run: network, optimiser, and the step that it is at.

    `origin` holds what the result depends on beside config and recipe: hashes of data and weights, by name.
    """

    def __init__(
        self, config: ModelConfig, recipe: Recipe, device: torch.device, origin: Mapping[str, str | None] | None = None
    ) -> None:
        self.config, self.recipe, self.device = config, recipe, device
        self.made_from = made_from(config, recipe, origin or {})
        self.method = method_of(config)
        self.trainee = self.method.make_trainee(config, recipe.seed)
        self.trainee.train().to(device)
        if device.type in CHANNELS_LAST_DEVICES:
            self.trainee.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stubs lack it
        if starts_from_weights(origin or {}):
            self.method.freeze(self.trainee)
        self.optimiser = make_optimiser(self.trainee, recipe)
        self.step = 0
        self.is_changing = False  # the weights are between two steps: not to be saved
        self.log: list[dict[str, Any]] = []
        self.unlogged: list[Losses] = []  # of the steps since the last log line

    @property
    def is_finished(self) -> bool:
        return self.step == self.recipe.steps

    def take_step(self, images: torch.Tensor, targets: Any) -> Losses:
        """Do one step of gradient descent; raises TrainingError, before any change, for a loss or gradient not finite.

        Otherwise every weight, and every later checkpoint, would hold values that are not finite.
        """
        rate = learning_rate(self.recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        if self.device.type in CHANNELS_LAST_DEVICES:
            images = images.contiguous(memory_format=torch.channels_last)
        losses = self.method.compute_losses(self.trainee, images, targets, self.recipe, self.step)
        total = torch.stack(list(losses.values())).sum()
        self._require_finite("loss", total, losses)
        total.backward()
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
            parts = ", ".join(f"{name} {loss.item():g}" for name, loss in losses.items())
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


def starts_from_weights(origin: Mapping[str, str | None]) -> bool:
    """Whether a training with these hashes starts from weights, of the whole network or of its backbone."""
    return any(origin.get(name) is not None for name in ("pretrained", "backbone_weights"))


def make_optimiser(trainee: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser, for all that is not frozen."""
    trained = [parameter for parameter in trainee.parameters() if parameter.requires_grad]
    if recipe.optimiser == ADAMW:
        return torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(trained, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


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
    widths = {"widths": dict(config.widths)} if config.widths else {}
    return json.loads(json.dumps({**dataclasses.asdict(recipe), **classes, **widths, **origin}))


def mean_losses(steps: list[Losses]) -> dict[str, float]:
    """Return the mean of each loss over some steps, with four decimals."""
    return {name: round(torch.stack([losses[name].detach() for losses in steps]).mean().item(), 4) for name in steps[0]}
