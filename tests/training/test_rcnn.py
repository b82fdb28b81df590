"""Training R-CNN: its samples, what each loss teaches, what stays frozen, and that an interrupted run resumes."""

import dataclasses

import numpy as np
import pytest
import torch
from factories import tiny_rcnn

from yolact_ascend.cli.main import main
from yolact_ascend.errors import UsageError
from yolact_ascend.models.classes import config_of
from yolact_ascend.models.config import CONFIGS, get_config, with_classes
from yolact_ascend.models.labels import DRAWN_CATEGORY_IDS, DRAWN_CLASSES
from yolact_ascend.models.weights import load_network, write_weights
from yolact_ascend.training.augment import Augmentation
from yolact_ascend.training.methods import method_of
from yolact_ascend.training.objects import Objects
from yolact_ascend.training.rcnn.samples import at_size, make_sample
from yolact_ascend.training.recipe import ADAMW, Phase, Recipe
from yolact_ascend.training.samples import load_batches
from yolact_ascend.training.train import TrainingFiles, train
from yolact_ascend.training.trainer import Trainer

CPU = torch.device("cpu")
PLAIN = Augmentation(expand_most=1, crop_least=1, photometric=False, mirror=False)


@pytest.fixture(scope="module")
def config():
    tiny = tiny_rcnn()
    pixels = dataclasses.replace(tiny.preprocessing, height_px=64, width_px=64, shortest_edge_px=64, longest_edge_px=64)
    rcnn = dataclasses.replace(tiny.rcnn, anchor_sizes_px=((8,), (16,), (32,), (64,), (128,)))
    return with_classes(dataclasses.replace(tiny, preprocessing=pixels, rcnn=rcnn), DRAWN_CLASSES, DRAWN_CATEGORY_IDS)


@pytest.fixture(scope="module")
def recipe():
    return Recipe((Phase(64, 2, 4),), 0.02, warmup_steps=0, clip_norm=10, regions_per_image=16, seed=4)


@pytest.fixture(scope="module")
def batch(training_set, config, recipe):
    method = method_of(config)
    return method.stack_samples(next(load_batches(training_set, config, method, recipe)), CPU)


def test_a_sample_is_resized_in_proportion_and_padded(config):
    image = np.full((100, 200, 3), 200, dtype=np.uint8)
    mask = np.ones((50, 40), dtype=np.uint8)
    objects = Objects([mask], np.array([[20, 10, 60, 60]]), np.array([3]), np.array([[100, 0, 200, 50]], np.float32))
    sample = make_sample(image, objects, 64, config, PLAIN, np.random.default_rng(0))
    assert sample.image.shape == (3, 64, 64) and sample.size == (32, 64)
    assert sample.image[:, :32].min() > 0 and not sample.image[:, 32:].any()
    np.testing.assert_allclose(sample.boxes_xyxy_px, [[6.4, 3.2, 19.2, 19.2]], rtol=1e-6)
    np.testing.assert_allclose(sample.ignored_xyxy_px, [[32, 0, 64, 16]])
    assert sample.masks.shape == (1, 32, 64) and sample.class_ids.tolist() == [3]
    # The mask covers the cells of its box whose centres it covers.
    assert np.argwhere(sample.masks[0]).min(axis=0).tolist() == [3, 6]
    assert np.argwhere(sample.masks[0]).max(axis=0).tolist() == [18, 18]


@pytest.mark.parametrize(("size", "canvas", "edges"), [(64, 64, (64, 64)), (48, 64, (48, 48)), (33, 64, (33, 33))])
def test_smaller_inputs_have_a_canvas_that_the_levels_divide(config, size, canvas, edges):
    found = at_size(config.preprocessing, size)
    assert (found.height_px, found.width_px) == (canvas, canvas)
    assert (found.shortest_edge_px, found.longest_edge_px) == edges


@pytest.mark.parametrize(
    ("loss", "layers"),
    [
        ("objectness", {"proposal_generator.rpn_head.objectness_logits"}),
        ("rpn_box", {"proposal_generator.rpn_head.anchor_deltas"}),
        ("class", {"roi_heads.box_predictor.cls_score"}),
        ("box", {"roi_heads.box_predictor.bbox_pred"}),
        ("mask", {"roi_heads.mask_head.predictor"}),
    ],
)
def test_each_loss_teaches_its_own_layers_and_the_backbone(batch, config, recipe, loss, layers):
    trainer = Trainer(config, recipe, CPU)
    trainer.method.compute_losses(trainer.trainee, *batch, recipe, 0)[loss].backward()
    network = trainer.trainee.network
    taught = {name for name, module in network.named_modules() if is_taught(module)}
    last = ("objectness_logits", "anchor_deltas", "cls_score", "bbox_pred", "predictor")
    assert {name for name in taught if name.endswith(last)} == layers
    assert "backbone.bottom_up.stem.conv1" in taught


def is_taught(module):
    weight = getattr(module, "weight", None)
    return weight is not None and weight.grad is not None and bool(weight.grad.any())


def test_steps_on_the_same_images_lower_the_losses(batch, config, recipe):
    trainer = Trainer(config, dataclasses.replace(recipe, phases=(Phase(64, 2, 25),), optimiser=ADAMW), CPU)
    curve = [sum(trainer.take_step(*batch).values()).item() for _ in range(25)]
    assert curve[-1] < 0.8 * curve[0]  # seen: 0.45 to 0.65 with three seeds


def test_a_faster_rcnn_has_no_mask_loss(batch, config, recipe):
    boxes_only = dataclasses.replace(config, tasks=("box",))
    losses = Trainer(boxes_only, recipe, CPU).take_step(*batch)
    assert list(losses) == ["objectness", "rpn_box", "class", "box"]


def test_a_killed_training_goes_on_to_the_same_weights_bit_for_bit(
    training_set, config, recipe, tmp_path, killed_in_the_fourth_step
):
    train(config, recipe, training_set, tmp_path / "whole")
    with killed_in_the_fourth_step():
        train(config, recipe, training_set, tmp_path / "killed", checkpoint_every=2)
    train(config, recipe, training_set, tmp_path / "killed", workers=2)
    whole, killed = (load_network(TrainingFiles(tmp_path / name).weights, config) for name in ("whole", "killed"))
    for key, value in whole.state_dict().items():
        assert torch.equal(killed.state_dict()[key], value), key


TINY_FILE = """_BASE_: ../Base-RCNN-FPN.yaml
MODEL:
  MASK_ON: True
  RESNETS: {STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 16, WIDTH_PER_GROUP: 8}
  FPN: {OUT_CHANNELS: 16}
  RPN: {PRE_NMS_TOPK_TEST: 50, POST_NMS_TOPK_TEST: 30}
  ROI_HEADS: {NUM_CLASSES: 3}
  ROI_BOX_HEAD: {FC_DIM: 32}
  ROI_MASK_HEAD: {NUM_CONV: 1, CONV_DIM: 8}
INPUT: {MIN_SIZE_TEST: 96, MAX_SIZE_TEST: 96}
"""


def test_a_config_file_is_trained_and_its_weights_need_it_no_more(drawn, tmp_path, capsys):
    """By the command; the data set has its own classes, whatever number of them the file says."""
    file = tmp_path / "mine.yaml"
    file.write_text(TINY_FILE)
    words = [
        f"--config={file}",
        "--phases=96x1:1",
        "--threads=1",
        "--regions_per_image=16",
        f"--save_path={tmp_path / 't'}",
    ]
    for name, split in (("", "train2017"), ("val_", "val2017")):
        annotations = drawn / "annotations" / f"instances_{split}.json"
        words += [f"--{name}image_path={drawn / split}", f"--{name}json_file={annotations}"]
    assert main(["train", *words]) == 0
    assert "mAP in percent, 2 images" in capsys.readouterr().out
    name = get_config(str(file)).name
    file.unlink()
    for word in (None, name):
        config = config_of(word, tmp_path / "t" / "weights.pth")
        assert (config.name, config.class_names, config.fpn_channels) == (name, DRAWN_CLASSES, 16)
    load_network(tmp_path / "t" / "weights.pth", config)


def test_from_weights_batch_norms_stem_and_res2_stay_as_they_are(training_set, config, recipe, tmp_path):
    weights = tmp_path / "pretrained.pth"
    network = method_of(config).make_trainee(config, 1).network
    write_weights(network, config, weights)
    train(config, recipe, training_set, tmp_path / "t", pretrained=weights)
    before, after = network.state_dict(), load_network(TrainingFiles(tmp_path / "t").weights, config).state_dict()
    frozen = ("norm.weight", "norm.bias", "running_mean", "running_var")
    begins = ("backbone.bottom_up.stem.", "backbone.bottom_up.res2.")
    for key, value in before.items():
        is_frozen = key.endswith(frozen) or key.startswith(begins)
        assert torch.equal(after[key], value) == is_frozen, key


def test_a_config_of_the_older_dialect_is_refused():
    with pytest.raises(UsageError, match=r"resnet50_fpn_mask_rcnn is of Detectron's dialect.* mask_rcnn_R_50_FPN_3x"):
        Trainer(CONFIGS["resnet50_fpn_mask_rcnn"], Recipe((Phase(64, 1, 1),)), CPU)
