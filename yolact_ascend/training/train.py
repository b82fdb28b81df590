"""Training: a family's method, from scratch or from given weights, with checkpoints that resume.

Source: haotian-liu/yolact_edge @ a9a0028, train.py and data/config.py; Bolya et al., "YOLACT" (2019), section 5.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from yolact_ascend import flags
from yolact_ascend.detection.evaluate import Evaluation
from yolact_ascend.disk import free_bytes, in_gb, size_of
from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.files import atomic_path, sha256_file
from yolact_ascend.folders import Ledger, lock_folder
from yolact_ascend.images.coco import CocoDataset, CocoImage, require_images
from yolact_ascend.models.classes import require_weights
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.weights import load_backbone, load_fitting, write_weights
from yolact_ascend.progress import bar
from yolact_ascend.training.curve import draw_curve
from yolact_ascend.training.recipe import Recipe
from yolact_ascend.training.samples import TrainingSet, load_batches
from yolact_ascend.training.score import score_network
from yolact_ascend.training.trainer import Trainer

LOG_STEPS = 20


def adopt_classes(config: ModelConfig, dataset: CocoDataset) -> ModelConfig:
    """Return the config with a data set's categories as its classes, in the order of their ids.

    Raises DatasetError when there are none, when an id occurs twice, or when a category has no name.
    """
    categories = sorted(dataset.annotations["categories"], key=lambda category: category["id"])
    if not categories:
        raise DatasetError(f'{dataset.annotation_file} names no classes: its "categories" are empty.')
    for category, following in zip(categories, categories[1:]):
        if category["id"] == following["id"]:
            raise DatasetError(f"{dataset.annotation_file} lists category {category['id']} twice. Remove one of them.")
    unnamed = [category["id"] for category in categories if not isinstance(category.get("name"), str)]
    if unnamed:
        raise DatasetError(
            f'{dataset.annotation_file}: category {unnamed[0]} has no "name". Add a name to each category.'
        )
    return dataclasses.replace(
        config,
        class_names=tuple(category["name"] for category in categories),
        category_ids=tuple(category["id"] for category in categories),
    )


def use_device(name: str, threads: int | None = None) -> str:
    """Prepare the device of that name and return it; raises UsageError when it is missing."""
    if threads:
        torch.set_num_threads(threads)
    try:
        if name.startswith("npu"):
            import torch_npu  # noqa: F401  makes PyTorch know the device
        torch.zeros(1, device=name)
    except (ImportError, RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"PyTorch cannot use --device {name} here: {reason}") from error
    return name


class TrainingFiles(NamedTuple):
    """What a training folder holds."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Everything that is needed to resume."""
        return self.folder / "checkpoint.pth"

    @property
    def weights(self) -> Path:
        """The network's weights alone, as upstream's files have them."""
        return self.folder / "weights.pth"

    @property
    def log(self) -> Path:
        """One JSON object per line: losses or scores, with their step."""
        return self.folder / "log.jsonl"

    @property
    def curve(self) -> Path:
        return self.folder / "curve.png"

    @property
    def all(self) -> tuple[Path, ...]:
        return self.checkpoint, self.weights, self.log, self.curve


@dataclass(frozen=True)
class Validation:
    """What to score a network on: the first `limit` images (None: all), after every `every` steps (0: at the end)."""

    dataset: CocoDataset
    limit: int | None = None
    every: int = 0
    config: ModelConfig | None = None  # with the data set's ids for the classes; None: those that are trained

    @property
    def images(self) -> tuple[CocoImage, ...]:
        return self.dataset.select(limit=self.limit)


def train(
    config: ModelConfig,
    recipe: Recipe,
    training_set: TrainingSet,
    save_path: Path,
    *,
    validation: Validation | None = None,
    checkpoint_every: int = 500,
    pretrained: Path | None = None,
    backbone_weights: Path | None = None,
    device: str = "cpu",
    workers: int = 1,
) -> Evaluation | None:
    """Train a network and write its weights, log and loss curve to `save_path`; an interrupted run resumes.

    A finished run only writes files that are missing. Returns the scores on `validation` at the end. Raises
    TrainingError, DatasetError, WeightsError, ArtifactError; problems with the data are raised before any work, as is
    the UsageError for a folder in use, or with files of these names that no training there made.
    """
    training_set.require_whole()
    if validation:
        require_images(validation.images)
    origin = {**training_set.identify(), **identify_start(config, pretrained, backbone_weights)}
    files, another_folder = TrainingFiles(save_path), flags.SAVE_PATH.word("DIR")
    with lock_folder(save_path, another_folder):
        trainer = Trainer(config, recipe, torch.device(device), origin)
        is_begun = files.checkpoint.exists()
        if is_begun:
            trainer.resume(files.checkpoint)
        else:
            load_start(trainer, pretrained, backbone_weights)
        Ledger(save_path, trusts_all=is_begun).claim(files.all, another_folder)
        require_room(trainer, files)
        batches = load_batches(training_set, config, trainer.method, recipe, trainer.step, workers)
        return take_steps(trainer, batches, files, validation, checkpoint_every)


def take_steps(
    trainer: Trainer,
    batches: Iterable[list[Any]],
    files: TrainingFiles,
    validation: Validation | None,
    checkpoint_every: int,
) -> Evaluation | None:
    """Take the remaining steps, save and score; returns the last scores."""
    recipe = trainer.recipe
    progress = bar(total=recipe.steps, initial=trainer.step, desc="train", unit="step")
    with progress, save_when_ended(trainer, files):
        if trainer.is_finished:
            save_run(trainer, files)
        evaluation = score_when_due(trainer, validation, files)  # a resumed run may have been killed while scoring
        for samples in batches:
            images, targets = trainer.method.stack_samples(samples, trainer.device)
            with signals_held():
                trainer.take_step(images, targets)
            progress.update()
            is_saved = trainer.is_finished or trainer.step % checkpoint_every == 0
            if is_saved or trainer.step % LOG_STEPS == 0:
                progress.set_postfix(trainer.log_losses())
            if is_saved or is_due(trainer, validation):
                save_run(trainer, files)  # before scoring, which may fail
            evaluation = score_when_due(trainer, validation, files)
    return evaluation


def require_room(trainer: Trainer, files: TrainingFiles) -> None:
    """Raise UsageError, before the first step, when weights and checkpoint do not fit on the disk."""
    weights = sum(value.nbytes for value in trainer.trainee.network.state_dict().values())
    checkpoint = 2 * weights  # with the optimiser's momentum
    needed = weights + 2 * checkpoint - sum(map(size_of, files.all))  # a new one is whole before the old one goes
    free = free_bytes(files.folder)
    if needed > free:
        raise UsageError(
            f"Weights and checkpoint take {in_gb(needed)} GB more at {files.folder}, where {in_gb(free)} GB are free. "
            f"Free some, or choose another folder: {flags.SAVE_PATH.word('DIR')}."
        )


def identify_start(
    config: ModelConfig, pretrained: Path | None, backbone_weights: Path | None
) -> dict[str, str | None]:
    """Return hashes of the weights that a training starts from; raises WeightsError when they are not there."""
    if pretrained is not None:
        require_weights(pretrained, config)
    found = {"pretrained": None if pretrained is None else sha256_file(pretrained)}
    return found if backbone_weights is None else {**found, "backbone_weights": sha256_file(backbone_weights)}


def load_start(trainer: Trainer, pretrained: Path | None, backbone_weights: Path | None) -> None:
    """Load the weights that a training starts from, and say what was taken."""
    network, config = trainer.trainee.network, trainer.config
    if pretrained is not None:
        kept = load_fitting(network, pretrained, config)
        start = "all layers but the class layer, which was trained for other classes" if kept else "all layers"
        tqdm.write(f"{pretrained.name}: {start}.", file=sys.stderr)
    elif backbone_weights is not None:
        count = load_backbone(network, backbone_weights, config)
        tqdm.write(f"{backbone_weights.name}: the backbone, {count} tensors.", file=sys.stderr)


@contextlib.contextmanager
def save_when_ended(trainer: Trainer, files: TrainingFiles) -> Iterator[None]:
    """Save the finished steps, and say where, whatever ends the run: the user, the system, a picture, memory."""
    try:
        yield
    except BaseException:
        if trainer.step and not trainer.is_changing:
            with signals_held():
                trainer.log_losses()
                save_run(trainer, files)
            say = f"The {trainer.step} steps done are kept in {files.folder}: {files.weights.name} holds the network, "
            say += "and the same command goes on."
            tqdm.write(say, file=sys.stderr)
        raise


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Delay signals to the end of a step, or of writing: half a step leaves weights that no uninterrupted run has."""
    if threading.current_thread() is not threading.main_thread():  # only that one gets signals
        yield
        return
    arrived: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if arrived:
        signal.raise_signal(arrived[0])


def scores_of_step(trainer: Trainer) -> list[dict[str, Any]]:
    """Return the log's lines with scores of the present step."""
    return [entry for entry in trainer.log if entry["step"] == trainer.step and "images" in entry]


def is_due(trainer: Trainer, validation: Validation | None) -> bool:
    """Whether the network is to be scored now: after the last step, and at each interval that has no scores yet."""
    if validation is None or trainer.step == 0:
        return False
    is_interval = bool(validation.every) and trainer.step % validation.every == 0
    return trainer.is_finished or (is_interval and not scores_of_step(trainer))


def score_when_due(trainer: Trainer, validation: Validation | None, files: TrainingFiles) -> Evaluation | None:
    """Score the network if that is due, and save the log with the result."""
    if validation is None or not is_due(trainer, validation):
        return None
    logged = scores_of_step(trainer)
    evaluation = score_network(
        trainer.trainee.network,
        validation.config or trainer.config,
        validation.dataset,
        validation.limit,
        trainer.device,
    )
    entry = {"step": trainer.step, **summarise(evaluation)}
    trainer.log = [*(other for other in trainer.log if other not in logged), entry]
    tqdm.write(json.dumps(entry), file=sys.stderr)
    save_run(trainer, files)
    return evaluation


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as a log line: mAP in percent, and the number of images."""
    scores = {f"{task}_map": score.table["all"] for task, score in evaluation.scores.items()}
    return {**scores, "images": evaluation.images}


def save_run(trainer: Trainer, files: TrainingFiles) -> None:
    """Write weights, log, loss curve and checkpoint, each whole or not at all.

    The checkpoint comes last: a run that is killed before it resumes from an earlier one, and rewrites all files.
    """
    write_weights(trainer.trainee.network, trainer.config, files.weights)
    write_log(trainer.log, files.log)
    draw_curve(trainer.log, files.curve)
    trainer.save(files.checkpoint)


def write_log(entries: list[dict[str, Any]], path: Path) -> None:
    """Write one JSON object per line."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
