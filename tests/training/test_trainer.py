"""One training in memory: initial weights, batches, steps that lower the losses, and checkpoints."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from yolact_ascend.errors import TrainingError
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.training.augment import Augmentation
from yolact_ascend.training.methods import method_of
from yolact_ascend.training.recipe import Phase, Recipe
from yolact_ascend.training.samples import load_batches
from yolact_ascend.training.train import TrainingFiles
from yolact_ascend.training.trainer import Trainer, made_from, read_checkpoint
from yolact_ascend.training.yolact.losses import compute_losses
from yolact_ascend.training.yolact.samples import Sample, stack_samples

DEMO = CONFIGS[DEMO_CONFIG]
METHOD = method_of(DEMO)
CPU = torch.device("cpu")
PHASES = (Phase(64, 2, 3), Phase(96, 1, 3))
RECIPE = Recipe(PHASES, learning_rate=0.02, warmup_steps=2, decay="cosine", clip_norm=10, seed=4)


def test_initial_weights_depend_on_the_seed_alone():
    def weights(seed):
        return METHOD.make_trainee(DEMO, seed).state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    key = "network.proto_net.0.weight"
    assert not torch.equal(first[key], other[key])
    assert not first["network.proto_net.0.bias"].any()


def test_samples_are_padded_to_the_most_scored_anchors():
    def sample(anchors):
        return Sample(
            np.full((3, 8, 8), anchors, dtype=np.float32),
            np.zeros(6, dtype=np.int64),
            np.zeros((6, 4), dtype=np.float32),
            np.zeros((2, 1, 1), dtype=np.uint8),
            np.arange(anchors),
            np.ones((anchors, 2, 2), dtype=np.uint8),
            np.ones((anchors, 4), dtype=np.float32),
            1.5,
        )

    images, targets = stack_samples([sample(1), sample(3), sample(0)], CPU)
    assert images[:, 0, 0, 0].tolist() == [1, 3, 0]
    assert targets.anchor_ids.tolist() == [[0, 0, 0], [0, 1, 2], [0, 0, 0]]
    assert targets.mask_weights.tolist() == [[1.5, 0, 0], [1.5, 1.5, 1.5], [0, 0, 0]]
    assert targets.masks.sum(dim=(2, 3)).tolist() == [[4, 0, 0], [4, 4, 4], [0, 0, 0]]


@pytest.fixture(scope="module")
def batch(training_set):
    return next(load_batches(training_set, DEMO, METHOD, dataclasses.replace(RECIPE, phases=(Phase(64, 2, 1),))))


@pytest.mark.parametrize(
    ("loss", "layers"),
    [
        ("box", {"network.prediction_layers.0.bbox_layer"}),
        ("conf", {"network.prediction_layers.0.conf_layer"}),
        ("mask", {"network.prediction_layers.0.mask_layer", "network.proto_net.10"}),
        ("segmentation", {"semantic_seg_conv"}),
    ],
)
def test_each_loss_teaches_its_own_layers_and_the_backbone(batch, loss, layers):
    trainee = Trainer(DEMO, RECIPE, CPU).trainee
    images, targets = stack_samples(batch, CPU)
    getattr(compute_losses(*trainee(images), targets), loss).backward()
    taught = {name for name, module in trainee.named_modules() if is_taught(module)}
    last = {f"network.prediction_layers.0.{part}_layer" for part in ("bbox", "conf", "mask")}
    last |= {"network.proto_net.10", "semantic_seg_conv"}
    assert taught & last == layers
    assert "network.backbone.layers.0.0" in taught


def is_taught(module):
    return isinstance(module, torch.nn.Conv2d) and module.weight.grad is not None and bool(module.weight.grad.any())


def test_steps_on_the_same_images_lower_every_loss(training_set):
    plain = Augmentation(1, 1, photometric=False, mirror=False)
    recipe = dataclasses.replace(
        RECIPE, phases=(Phase(96, 4, 10),), learning_rate=0.08, decay="steps", augmentation=plain
    )
    trainer = Trainer(DEMO, recipe, CPU)
    batch = next(load_batches(training_set, DEMO, METHOD, recipe))
    images, targets = stack_samples(batch, CPU)
    curve = [[value.item() for value in trainer.take_step(images, targets).values()] for _ in range(recipe.steps)]
    # Seen with three seeds: 0.52 to 0.82 of the first value.
    assert all(last < 0.9 * first for first, last in zip(curve[0], curve[-1])), (curve[0], curve[-1])


@pytest.mark.parametrize(
    ("config", "recipe", "origin", "said"),
    [
        (DEMO, dataclasses.replace(RECIPE, learning_rate=0.01), {}, "learning_rate"),
        (dataclasses.replace(DEMO, class_names=("a",) * 8), RECIPE, {}, "class_names"),
        (dataclasses.replace(DEMO, category_ids=tuple(range(8))), RECIPE, {}, "category_ids"),
        (DEMO, RECIPE, {"annotations": "1"}, "annotations"),
        (DEMO, RECIPE, {"images": "1"}, "images"),
        (DEMO, RECIPE, {"pretrained": "1"}, "pretrained"),
        (DEMO, dataclasses.replace(RECIPE, seed=5), {"images": "1"}, "seed, images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, config, recipe, origin, said):
    path = TrainingFiles(tmp_path).checkpoint
    before = {"annotations": "0", "images": "0", "pretrained": None}
    state = {"made_from": made_from(DEMO, RECIPE, before), "step": 0, "trainee": {}, "optimiser": {}, "log": []}
    torch.save(state, path)
    trainer = Trainer.__new__(Trainer)  # without its network: this is compared before that is loaded
    trainer.made_from = made_from(config, recipe, {**before, **origin})
    with pytest.raises(TrainingError, match=f"a training that differs in {said}. Rerun .* pass another --save_path"):
        trainer.resume(path)


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(b""), "File is not a zip file"),
        (lambda path: path.write_bytes(b"garbage" * 99), "File is not a zip file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9000]), "File is not a zip file"),
        (damage, "data/. in it has changed"),
        (lambda path: torch.save({"a": torch.ones(1)}, path), "it has no made_from, step, trainee"),
        (lambda path: torch.save([1], path), "it has no made_from, step, trainee"),
    ],
    ids=["empty", "garbage", "cut short", "a flipped bit", "weights", "a list"],
)
def test_a_checkpoint_of_no_use_is_one_sentence(tmp_path, harm, said):
    path = tmp_path / "checkpoint.pth"
    state = {"trainee": {"a": torch.ones(9999)}, "made_from": {}, "step": 1, "optimiser": {}, "log": []}
    torch.save(state, path)
    assert read_checkpoint(path)["step"] == 1
    harm(path)
    with pytest.raises(
        TrainingError, match=rf"checkpoint.pth is damaged, or was not .*{said}.*\. Delete it to start over"
    ):
        read_checkpoint(path)


def test_a_gradient_that_is_not_finite_changes_no_weight(batch):
    trainer = Trainer(DEMO, dataclasses.replace(RECIPE, clip_norm=0), CPU)
    bias = trainer.trainee.semantic_seg_conv.bias
    bias.register_hook(lambda gradient: gradient * math.inf)
    before = [parameter.clone() for parameter in trainer.trainee.parameters()]
    with pytest.raises(TrainingError, match=r"The gradient of step 0 is not finite \(box .*Lower --learning_rate"):
        trainer.take_step(*stack_samples(batch, CPU))
    assert all(map(torch.equal, trainer.trainee.parameters(), before)) and trainer.step == 0


@pytest.mark.parametrize(("clip_norm", "moves"), [(0, True), (1e-6, False)])
def test_the_norm_of_all_gradients_is_limited(batch, clip_norm, moves):
    recipe = dataclasses.replace(RECIPE, clip_norm=clip_norm, warmup_steps=0, learning_rate=1.0, weight_decay=0)
    trainer = Trainer(DEMO, recipe, CPU)
    before = [parameter.clone() for parameter in trainer.trainee.parameters()]
    trainer.take_step(*stack_samples(batch, CPU))
    distances = [(new - old).norm().item() ** 2 for new, old in zip(trainer.trainee.parameters(), before)]
    # The learning rate is 1 for a batch of 8: a quarter for these two images.
    assert (math.sqrt(sum(distances)) > 0.26e-6) == moves


def test_bfloat16_gives_nearly_the_same_losses(training_set):
    batch = next(load_batches(training_set, DEMO, METHOD, dataclasses.replace(RECIPE, phases=PHASES[1:])))
    first, second = (
        Trainer(DEMO, dataclasses.replace(RECIPE, bfloat16=flag), CPU).take_step(*stack_samples(batch, CPU))
        for flag in (False, True)
    )
    for value, other in zip(first.values(), second.values()):
        assert value.item() == pytest.approx(other.item(), rel=0.1) and value.item() != other.item()


def test_the_losses_of_the_first_steps_are_those_that_were_seen(training_set):
    """With torch 2.13, on CPUs with and without AVX2 and AVX-512. Another PyTorch or OpenCV may round otherwise."""
    expected = [(10.6124, 17.2431, 6.0479, 9.7167), (15.1606, 15.8713, 5.7771, 9.2057)]
    trainer = Trainer(DEMO, RECIPE, CPU)
    for batch, losses in zip(load_batches(training_set, DEMO, METHOD, RECIPE), expected):
        found = trainer.take_step(*METHOD.stack_samples(batch, CPU))
        assert [value.item() for value in found.values()] == pytest.approx(losses, rel=0.02)
