"""The recipe of a training as a value, and the learning rate of each of its steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from yolact_ascend.training.augment import Augmentation
from yolact_ascend.training.samples import Phase

REFERENCE_BATCH = 8  # images; the learning rate grows in proportion to the batch


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on besides the data: the same recipe gives the same curve.

    `learning_rate` is for batches of 8 and in proportion for others; it rises over `warmup_steps`, then falls as a
    cosine to zero ("cosine") or tenfold at each of the shares of all steps in `decay_at` ("steps").
    """

    phases: tuple[Phase, ...]
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_steps: int = 500
    decay: str = "steps"
    decay_at: tuple[float, ...] = (0.35, 0.75, 0.875, 0.9375)  # upstream: 280, 600, 700, 750 of 800 thousand
    clip_norm: float = 0.0  # of all gradients together; 0: no limit
    augmentation: Augmentation = field(default_factory=Augmentation)
    most_masks: int = 100  # anchors an image whose masks are scored, drawn from the positive ones
    background_negatives: int = 24  # anchors that an image without objects teaches; 0: none, as in upstream
    bfloat16: bool = False
    seed: int = 0

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    rate = recipe.learning_rate * phase_of(recipe.phases, step).batch_size / REFERENCE_BATCH
    if step < recipe.warmup_steps:
        return rate * (step + 1) / recipe.warmup_steps
    if recipe.decay == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return rate * 0.1 ** sum(step >= share * recipe.steps for share in recipe.decay_at)


def phase_of(phases: tuple[Phase, ...], step: int) -> Phase:
    """Return the phase that a step, counted from 0, belongs to."""
    for phase in phases:
        if step < phase.steps:
            return phase
        step -= phase.steps
    raise ValueError(f"The phases end {step + 1} steps before this one.")
