"""The learning rate of each step, and the phases."""

import dataclasses
import math

import pytest

from yolact_ascend.training.recipe import (
    Phase,
    Recipe,
    choose_phases,
    choose_warmup,
    describe_phases,
    learning_rate,
    phase_of,
)

PHASES = (Phase(64, 2, 3), Phase(96, 1, 3))
STEPS = Recipe((Phase(550, 8, 1000),), learning_rate=0.8, warmup_steps=10, decay_at=(0.5, 0.75))
COSINE = dataclasses.replace(STEPS, decay="cosine")


@pytest.mark.parametrize(
    ("recipe", "step", "expected"),
    [
        (STEPS, 0, 0.08),
        (STEPS, 9, 0.8),
        (STEPS, 499, 0.8),
        (STEPS, 500, 0.08),
        (STEPS, 749, 0.08),
        (STEPS, 999, 0.008),
        (COSINE, 9, 0.8),
        (COSINE, 500, 0.4),
        (COSINE, 750, 0.4 * (1 - math.sqrt(0.5))),
        (dataclasses.replace(STEPS, phases=(Phase(275, 16, 100), Phase(550, 4, 900))), 99, 1.6),
        (dataclasses.replace(STEPS, phases=(Phase(275, 16, 100), Phase(550, 4, 900))), 100, 0.4),
    ],
)
def test_learning_rate_warms_up_and_decays(recipe, step, expected):
    assert learning_rate(recipe, step) == pytest.approx(expected)


def test_phases_follow_each_other():
    assert [phase_of(PHASES, step).image_size for step in range(6)] == [64, 64, 64, 96, 96, 96]
    with pytest.raises(ValueError, match="end 1 steps before"):
        phase_of(PHASES, 6)


@pytest.mark.parametrize(
    ("images", "phases", "warmup"),
    [
        (20, (Phase(275, 8, 240), Phase(550, 4, 120)), 36),
        (200, (Phase(275, 8, 1082), Phase(550, 4, 542)), 162),
        (118_287, (Phase(550, 8, 800_000),), 500),
    ],
)
def test_the_length_of_a_training_is_chosen_by_the_number_of_images(images, phases, warmup):
    """54 passes, as upstream's 800 000 batches of COCO, and at least 300 steps of 8."""
    assert choose_phases(images, 550) == phases
    assert choose_warmup(phases) == warmup


def test_phases_end_at_the_size_of_the_configs_input():
    assert [phase.image_size for phase in choose_phases(20, 700)] == [350, 700]
    assert [phase.image_size for phase in choose_phases(118_287, 400)] == [400]


def test_the_chosen_length_is_said_with_its_flags():
    said = describe_phases((Phase(275, 8, 240), Phase(550, 4, 120)), 36, 20)
    assert said == "--phases=275x8:240,550x4:120 --warmup_steps=36: 20 images, 120 times each"
