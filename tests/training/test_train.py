"""A training: what it leaves behind, how it resumes, what it begins from, and what it refuses."""

import dataclasses
import json
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from yolact_ascend.errors import DatasetError, TrainingError, UsageError
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.classes import read_config
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG, with_classes
from yolact_ascend.models.families import family_of
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, COCO_CLASSES, DRAWN_CATEGORY_IDS
from yolact_ascend.models.weights import load_network, save_by_torch, write_weights
from yolact_ascend.models.yolact.backbones import imagenet_prefixes
from yolact_ascend.training import train as train_module
from yolact_ascend.training.recipe import Phase, Recipe
from yolact_ascend.training.samples import TrainingSet
from yolact_ascend.training.train import TrainingFiles, Validation, adopt_classes, train, use_device
from yolact_ascend.training.trainer import Trainer
from yolact_ascend.training.yolact.losses import Losses
from yolact_ascend.training.yolact.method import YolactTrainee

DEMO = CONFIGS[DEMO_CONFIG]
OTHER_CLASSES = with_classes(DEMO, ("screw", "nut"), (7, 9))  # what a file without a record would leave
CPU = torch.device("cpu")
SHORT = Recipe((Phase(64, 1, 2),), warmup_steps=0, clip_norm=10)
PHASES = (Phase(64, 2, 3), Phase(96, 1, 3))
RECIPE = Recipe(PHASES, learning_rate=0.02, warmup_steps=2, decay="cosine", clip_norm=10, seed=4)


def losses_of(folder):
    lines = [json.loads(line) for line in TrainingFiles(folder).log.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "unix_time_s"} for line in lines]


@pytest.fixture
def log_every_step(monkeypatch):
    monkeypatch.setattr(train_module, "LOG_STEPS", 1)


@pytest.fixture(scope="module")
def short_weights(training_set, tmp_path_factory) -> Path:
    """What a training of two steps leaves."""
    folder = tmp_path_factory.mktemp("short")
    train(DEMO, SHORT, training_set, folder)
    return TrainingFiles(folder).weights


def test_a_training_leaves_weights_log_and_curve(training_set, dataset, tmp_path, log_every_step):
    evaluation = train(DEMO, RECIPE, training_set, tmp_path, validation=Validation(dataset, limit=2))
    files = TrainingFiles(tmp_path)
    assert evaluation.images == 2
    *lines, scores = losses_of(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(set(line) == {"step", *Losses._fields} and all(map(math.isfinite, line.values())) for line in lines)
    assert scores == {
        "step": 6,
        "box_map": evaluation.scores["box"].table["all"],
        "mask_map": evaluation.scores["mask"].table["all"],
        "images": 2,
    }
    assert files.curve.read_bytes().startswith(b"\x89PNG")
    assert load_network(files.weights, DEMO)
    assert read_config(files.weights, OTHER_CLASSES) == DEMO


def test_a_killed_training_goes_on_to_the_same_curve(training_set, tmp_path, killed_in_the_fourth_step, log_every_step):
    recipe = dataclasses.replace(RECIPE, phases=(Phase(64, 2, 1), Phase(96, 1, 3)))
    train(DEMO, recipe, training_set, tmp_path / "whole")
    with killed_in_the_fourth_step():
        train(DEMO, recipe, training_set, tmp_path / "killed", checkpoint_every=2)
    assert [line["step"] for line in losses_of(tmp_path / "killed")] == [1, 2]
    train(DEMO, recipe, training_set, tmp_path / "killed", workers=3)
    whole, killed = losses_of(tmp_path / "whole"), losses_of(tmp_path / "killed")
    assert [line["step"] for line in killed] == [line["step"] for line in whole] == [1, 2, 3, 4]
    for line, expected in zip(killed, whole):
        assert line == pytest.approx(expected, rel=1e-3)  # logged with four decimals
    whole, killed = (load_network(TrainingFiles(tmp_path / name).weights, DEMO) for name in ("whole", "killed"))
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(killed.state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_files_of_others_are_not_replaced(training_set, tmp_path):
    """Such as the weights that the training starts from."""
    files = TrainingFiles(tmp_path)
    write_weights(family_of(DEMO).build(DEMO), DEMO, files.weights)
    before = files.weights.read_bytes()
    with pytest.raises(UsageError, match=r"weights\.pth was not made by an earlier run in this folder"):
        train(DEMO, SHORT, training_set, tmp_path, pretrained=files.weights)
    assert files.weights.read_bytes() == before and not files.checkpoint.exists()


def test_a_disk_that_is_too_small_is_said_before_the_first_step(training_set, tmp_path, monkeypatch):
    monkeypatch.setattr("yolact_ascend.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=5 * 10**6))
    monkeypatch.setattr(Trainer, "take_step", None)  # it would be called
    with pytest.raises(UsageError, match=r"Weights and checkpoint take 0\.02 GB more .* 0\.01 GB are free"):
        train(DEMO, SHORT, training_set, tmp_path)


def test_a_disk_that_runs_full_is_an_error_of_the_file(tmp_path):
    """PyTorch's own is a RuntimeError: unexpected pos 64 vs 0."""
    with pytest.raises(OSError, match="No space left on device"):
        save_by_torch({"a": torch.zeros(100_000)}, Path("/dev/full"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_training_keeps_the_step_that_it_was_in(training_set, tmp_path, monkeypatch, number):
    take_step, forward = Trainer.take_step, YolactTrainee.forward

    def interrupted(trainee, images):
        os.kill(os.getpid(), number)  # in the midst of every step
        return forward(trainee, images)

    monkeypatch.setattr(YolactTrainee, "forward", interrupted)
    # As the command line has them, whatever the tests were started by.
    before = {n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with pytest.raises(KeyboardInterrupt):
            train(DEMO, SHORT, training_set, tmp_path)
        assert all(signal.getsignal(n) == signal.default_int_handler for n in before)
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert [line["step"] for line in losses_of(tmp_path)] == [1]
    monkeypatch.setattr(YolactTrainee, "forward", forward)
    steps = []

    def count(trainer, *batch):
        steps.append(trainer.step)
        return take_step(trainer, *batch)

    monkeypatch.setattr(Trainer, "take_step", count)
    train(DEMO, SHORT, training_set, tmp_path)
    assert steps == [1]


def test_weights_log_and_curve_are_there_before_the_checkpoint_says_so(training_set, tmp_path, monkeypatch):
    def die(trainer, path):
        raise MemoryError

    monkeypatch.setattr(Trainer, "save", die)
    with pytest.raises(MemoryError):
        train(DEMO, SHORT, training_set, tmp_path)
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left == {"weights.pth", "log.jsonl", "curve.png"}


def test_the_log_has_a_line_at_least_at_every_checkpoint(training_set, tmp_path):
    """So that the means after a resumed checkpoint are those of an uninterrupted run."""
    train(DEMO, RECIPE, training_set, tmp_path, checkpoint_every=4)
    assert [line["step"] for line in losses_of(tmp_path)] == [4, 6]


def test_scores_are_logged_as_often_as_asked(training_set, dataset, tmp_path):
    recipe = dataclasses.replace(RECIPE, phases=(Phase(64, 1, 3),))
    train(DEMO, recipe, training_set, tmp_path, validation=Validation(dataset, limit=1, every=2))
    assert [line["step"] for line in losses_of(tmp_path) if "mask_map" in line] == [2, 3]


def test_a_finished_training_is_not_repeated_but_writes_what_is_missing_and_its_scores(
    training_set, dataset, tmp_path, monkeypatch
):
    files, validation = TrainingFiles(tmp_path), Validation(dataset, limit=1)
    first = train(DEMO, SHORT, training_set, tmp_path, validation=validation)
    weights, log = files.weights.read_bytes(), losses_of(tmp_path)
    for path in (files.weights, files.log, files.curve):
        path.unlink()
    monkeypatch.setattr(Trainer, "take_step", lambda *_: pytest.fail("a step was taken"))
    again = train(DEMO, SHORT, training_set, tmp_path, validation=validation)
    assert again.to_json() == first.to_json()
    assert (files.weights.read_bytes(), losses_of(tmp_path)) == (weights, log)
    assert files.curve.is_file()


def test_a_loss_that_is_not_finite_ends_the_training(training_set, tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=1e9, clip_norm=0, warmup_steps=0)
    with pytest.raises(TrainingError, match="The (loss|gradient) of step . is not finite .*Lower --learning_rate"):
        train(DEMO, recipe, training_set, tmp_path)


def test_data_that_cannot_be_trained_on_ends_a_training_before_it_begins(drawn, dataset, training_set, tmp_path):
    crowds = [{**annotation, "iscrowd": 1} for annotation in dataset.annotations["annotations"]]
    nothing = dataclasses.replace(dataset, annotations={**dataset.annotations, "annotations": crowds})
    with pytest.raises(DatasetError, match="has no object to learn in 4 images; crowds are none"):
        train(DEMO, SHORT, TrainingSet(nothing, DRAWN_CATEGORY_IDS), tmp_path / "t")
    lost = dataclasses.replace(dataset, images=(dataclasses.replace(dataset.images[0], path=drawn / "none.jpg"),))
    with pytest.raises(DatasetError, match="1 of 1 images .* the first is none.jpg"):
        train(DEMO, SHORT, TrainingSet(lost, DRAWN_CATEGORY_IDS), tmp_path / "t")
    with pytest.raises(DatasetError, match="1 of 1 images .* the first is none.jpg"):
        train(DEMO, SHORT, training_set, tmp_path / "t", validation=Validation(lost))
    assert not (tmp_path / "t").exists()


def test_a_training_begins_from_the_given_weights_and_goes_on_with_the_same_alone(dataset, training_set, tmp_path):
    weights = tmp_path / "pretrained.pth"
    network = YolactTrainee(DEMO).network
    write_weights(network, DEMO, weights)
    still = dataclasses.replace(RECIPE, phases=(Phase(64, 1, 1),), learning_rate=1e-12)
    train(DEMO, still, training_set, tmp_path / "t", pretrained=weights)
    trained = load_network(TrainingFiles(tmp_path / "t").weights, DEMO)
    for old, new in zip(network.parameters(), trained.parameters()):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-6)
    fewer = TrainingSet(dataset, DRAWN_CATEGORY_IDS, limit=2)
    with pytest.raises(TrainingError, match="differs in images. Rerun"):
        train(DEMO, still, fewer, tmp_path / "t", pretrained=weights)
    with pytest.raises(TrainingError, match="differs in pretrained. Rerun"):
        train(DEMO, still, training_set, tmp_path / "t")
    write_weights(network, dataclasses.replace(DEMO, name="other"), weights)  # the same network in another file
    with pytest.raises(TrainingError, match="differs in pretrained. Rerun"):
        train(DEMO, still, training_set, tmp_path / "t", pretrained=weights)


def test_training_from_weights_of_other_classes_keeps_all_but_the_class_layer(short_weights):
    two = dataclasses.replace(DEMO, class_names=("ball", "rest"), category_ids=(101, 102))
    trainer = Trainer(two, RECIPE, CPU)
    fresh = {key: value.clone() for key, value in trainer.trainee.network.state_dict().items()}
    kept = train_module.load_fitting(trainer.trainee.network, short_weights, two)
    assert kept == ["prediction_layers.0.conf_layer.weight", "prediction_layers.0.conf_layer.bias"]
    trained = load_network(short_weights, DEMO).state_dict()
    for key, value in trainer.trainee.network.state_dict().items():
        assert torch.equal(value, fresh[key] if key in kept else trained[key]), key


def test_as_many_classes_of_another_data_set_are_other_classes(short_weights):
    """By name: the layer of the other data set's classes would begin with wrong ones."""
    others = dataclasses.replace(DEMO, class_names=tuple(f"part {n}" for n in range(DEMO.num_classes)))
    turned = dataclasses.replace(DEMO, class_names=DEMO.class_names[::-1])
    renumbered = dataclasses.replace(DEMO, category_ids=tuple(range(DEMO.num_classes)))
    for config, is_kept in ((others, True), (turned, True), (renumbered, False)):
        kept = train_module.load_fitting(Trainer(config, RECIPE, CPU).trainee.network, short_weights, config)
        assert bool(kept) == is_kept


def test_a_training_begins_from_a_backbone(training_set, tmp_path, capfd):
    state = {key: value + 1 for key, value in YolactTrainee(DEMO).network.backbone.state_dict().items()}
    back = {new: old for old, new in imagenet_prefixes(DEMO.backbone).items()}
    begins = {key: next(new for new in back if key.startswith(new)) for key in state}
    weights = tmp_path / "imagenet.pth"
    torch.save({back[begins[key]] + key[len(begins[key]) :]: value for key, value in state.items()}, weights)
    still = dataclasses.replace(RECIPE, phases=(Phase(64, 1, 1),), learning_rate=1e-12)
    train(DEMO, still, training_set, tmp_path / "t", backbone_weights=weights)
    trained = load_network(TrainingFiles(tmp_path / "t").weights, DEMO).backbone
    for key, value in trained.named_parameters():
        torch.testing.assert_close(value, state[key], rtol=0, atol=1e-6)
    assert "imagenet.pth: the backbone, " in capfd.readouterr().err
    with pytest.raises(TrainingError, match="differs in backbone_weights. Rerun"):
        train(DEMO, still, training_set, tmp_path / "t")


def test_classes_come_from_the_data_set_and_travel_with_the_weights(training_set, dataset, tmp_path):
    config = adopt_classes(CONFIGS["yolact_edge_mobilenetv2_config"], dataset)
    assert (config.class_names, config.category_ids) == (DEMO.class_names, DEMO.category_ids)
    recipe = dataclasses.replace(RECIPE, phases=(Phase(64, 2, 1),))
    train(config, recipe, training_set, tmp_path)
    weights = TrainingFiles(tmp_path).weights
    assert read_config(weights, CONFIGS["yolact_edge_mobilenetv2_config"]) == config
    assert load_network(weights, config).head.conf_layer.out_channels == 3 * 9


def test_cocos_own_annotations_give_cocos_classes(small_coco, annotation_file):
    config = adopt_classes(DEMO, load_dataset(annotation_file, small_coco / "val2017"))
    assert (config.class_names, config.category_ids) == (COCO_CLASSES, COCO_CATEGORY_IDS)


def with_categories(dataset, *categories):
    return dataclasses.replace(dataset, annotations={**dataset.annotations, "categories": list(categories)})


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        ([{"id": 3}], 'category 3 has no "name"'),
        ([], 'its "categories" are empty'),
        ([{"id": 3, "name": "a"}, {"id": 3, "name": "b"}], "lists category 3 twice"),
    ],
    ids=["nameless", "none", "the same id"],
)
def test_categories_that_make_no_classes_are_refused(dataset, categories, said):
    with pytest.raises(DatasetError, match=said):
        adopt_classes(DEMO, with_categories(dataset, *categories))


def test_classes_come_in_the_order_of_their_ids(dataset):
    config = adopt_classes(DEMO, with_categories(dataset, {"id": 9, "name": "nut"}, {"id": 7, "name": "screw"}))
    assert (config.class_names, config.category_ids) == (("screw", "nut"), (7, 9))


@pytest.mark.parametrize("name", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_said_so(name):
    with pytest.raises(UsageError, match=f"PyTorch cannot use --device {name} here: "):
        use_device(name)


def broken_picture(dataset, tmp_path, monkeypatch):
    path = tmp_path / "broken.jpg"
    path.write_text("<html>404 Not Found</html>")
    return dataclasses.replace(dataset, images=(dataclasses.replace(dataset.images[0], path=path),))


def raising(error):
    def fail(*_, **__):
        raise error

    def patch(dataset, tmp_path, monkeypatch):
        monkeypatch.setattr(train_module, "score_network", fail)
        return dataset

    return patch


FAILURES = {
    "a broken picture": (broken_picture, DatasetError),
    "the evaluation": (raising(ValueError("a fault of the library")), ValueError),
    "memory": (raising(MemoryError()), MemoryError),
    "Ctrl-C": (raising(KeyboardInterrupt()), KeyboardInterrupt),
}


@pytest.mark.parametrize(("spoil", "error"), FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("every", [0, 1], ids=["at the end", "on the way"])
def test_whatever_goes_wrong_in_scoring_the_trained_weights_are_kept(
    training_set, dataset, short_weights, tmp_path, monkeypatch, capfd, spoil, error, every
):
    """A validation picture that cannot be decoded ended a finished training with an empty folder: yolact#587."""
    folder, good = tmp_path / "t", dataset
    with monkeypatch.context() as patched:
        bad = spoil(dataset, tmp_path, patched)
        with pytest.raises(error):
            train(DEMO, SHORT, training_set, folder, validation=Validation(bad, limit=1, every=every))
    steps = 1 if every else 2
    assert f"The {steps} steps done are kept in {folder}: weights.pth holds the network" in capfd.readouterr().err
    assert load_network(TrainingFiles(folder).weights, DEMO)
    # The same command goes on, and scores what is missing.
    evaluation = train(DEMO, SHORT, training_set, folder, validation=Validation(good, limit=1, every=every))
    assert evaluation.images == 1
    assert [line["step"] for line in losses_of(folder) if "mask_map" in line] == ([1, 2] if every else [2])
    assert TrainingFiles(folder).weights.read_bytes() == short_weights.read_bytes()


def test_a_step_that_fails_half_way_through_the_weights_is_not_saved(training_set, tmp_path, monkeypatch):
    whole = Trainer.take_step

    def fail_in_the_second(trainer, images, targets):
        if trainer.step:
            monkeypatch.setattr(trainer.optimiser, "step", lambda: (_ for _ in ()).throw(MemoryError()))
        return whole(trainer, images, targets)

    monkeypatch.setattr(Trainer, "take_step", fail_in_the_second)
    with pytest.raises(MemoryError):
        train(DEMO, SHORT, training_set, tmp_path)
    assert not TrainingFiles(tmp_path).weights.exists()
    with pytest.raises(MemoryError):
        train(DEMO, SHORT, training_set, tmp_path, checkpoint_every=1)
    assert [line["step"] for line in losses_of(tmp_path)] == [1]
