"""The recipe of a training as a value, and the learning rate of each of its steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from yolact_ascend.training.augment import Augmentation

REFERENCE_BATCH = 8  # images; the learning rate grows in proportion to the batch
# Upstream's training on COCO: 800 000 batches of 8, of 118 287 images.
PASSES = 800_000 * REFERENCE_BATCH / 118_287
LEAST_STEPS, MOST_WARMUP_STEPS = 300, 500
LARGE_SET = 10_000  # images; from here on the recipe is upstream's
COARSE_SHARE = 0.8
SGD, ADAMW = OPTIMISERS = ("sgd", "adamw")


@dataclass(frozen=True)
class Phase:
    """A part of the training: `steps` batches of `batch_size` images at `image_size` pixels."""

    image_size: int
    batch_size: int
    steps: int


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
    background_negatives: int = 6  # anchors that an image without objects teaches; 0: none, as in upstream
    regions_per_image: int = 512  # R-CNN: proposals that the heads learn from, a quarter of them objects at most
    optimiser: str = SGD
    bfloat16: bool = False
    seed: int = 0

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


class Length(NamedTuple):
    """How long to train: how often each image is seen, and the images of a step."""

    passes: float
    batch_size: int


def choose_phases(
    images: int, size_px: int, passes: float = PASSES, batch_size: int = REFERENCE_BATCH
) -> tuple[Phase, ...]:
    """Return how long to train on so many images, for a network whose input has `size_px` pixels a side.

    Each image is seen `passes` times on average; the default is that of upstream's training on COCO. A small data set
    is trained at half size for most of the time, which takes a quarter of the time, and has at least LEAST_STEPS.
    """
    steps = max(LEAST_STEPS, round(passes * images / batch_size))
    if images > LARGE_SET:
        return (Phase(size_px, batch_size, steps),)
    coarse, half = round(steps * COARSE_SHARE), max(1, batch_size // 2)
    fine = round((steps - coarse) * batch_size / half)  # of half as many images, at four times the cost
    return Phase(size_px // 2, batch_size, coarse), Phase(size_px, half, fine)


def choose_warmup(phases: tuple[Phase, ...]) -> int:
    """Return over how many steps the learning rate rises: a tenth of all, and no more than upstream's 500."""
    return min(MOST_WARMUP_STEPS, sum(phase.steps for phase in phases) // 10)


def describe_phases(phases: tuple[Phase, ...], warmup_steps: int, images: int) -> str:
    """Return the length of a training in words, with the flags that would ask for it."""
    words = ",".join(f"{phase.image_size}x{phase.batch_size}:{phase.steps}" for phase in phases)
    passes = sum(phase.steps * phase.batch_size for phase in phases) / images
    return f"--phases={words} --warmup_steps={warmup_steps}: {images} images, {passes:.3g} times each"


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
