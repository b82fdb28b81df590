"""Training: the YOLACT recipe, from scratch or from given weights, with checkpoints that resume.

Source: haotian-liu/yolact_edge @ a9a0028, train.py and data/config.py; Bolya et al., "YOLACT" (2019), section 5.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from yolact_ascend.artifacts import atomic_path, make_folder, require_weights, sha256_file
from yolact_ascend.augment import Augmentation
from yolact_ascend.coco import CocoDataset, CocoImage, require_images
from yolact_ascend.config import ModelConfig
from yolact_ascend.curve import draw_curve
from yolact_ascend.detections import bbox_results, detect, mask_results
from yolact_ascend.errors import DatasetError, TrainingError, UsageError
from yolact_ascend.evaluate import Evaluation, evaluate
from yolact_ascend.heads import HeadOutputs
from yolact_ascend.losses import Losses, Targets, compute_losses
from yolact_ascend.network import YolactEdge
from yolact_ascend.samples import Phase, Sample, TrainingSet, load_batches
from yolact_ascend.transforms import decode_image, normalise_image
from yolact_ascend.weights import load_fitting, write_weights

REFERENCE_BATCH = 8  # images; the learning rate grows in proportion to the batch
LOG_STEPS = 20
CHECKPOINT_KEYS = ("made_from", "step", "trainee", "optimiser", "log")
# Convolutions of bfloat16 run 3 to 5 times as fast with the channels last on the CPU. NPUs have layouts of their own.
CHANNELS_LAST_DEVICES = {"cpu", "cuda"}


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on beside the data: the same recipe gives the same curve.

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
    bfloat16: bool = False
    seed: int = 0

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


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


def adopt_classes(config: ModelConfig, dataset: CocoDataset) -> ModelConfig:
    """Return the config with a data set's categories as its classes, in the order of their ids.

    Raises DatasetError when there is none, or when ids or names do not tell them apart.
    """
    categories = sorted(dataset.annotations["categories"], key=lambda category: category["id"])
    if not categories:
        raise DatasetError(f'{dataset.annotation_file} names no classes: its "categories" are empty.')
    for category, following in zip(categories, categories[1:]):
        if category["id"] == following["id"]:
            raise DatasetError(f"{dataset.annotation_file} lists category {category['id']} twice. Remove one of them.")
    unnamed = [category["id"] for category in categories if not isinstance(category.get("name"), str)]
    if unnamed:
        raise DatasetError(f'{dataset.annotation_file}: category {unnamed[0]} has no "name". Give each category one.')
    return dataclasses.replace(
        config,
        class_names=tuple(category["name"] for category in categories),
        category_ids=tuple(category["id"] for category in categories),
    )


def use_device(name: str, threads: int | None = None) -> str:
    """Make a device of that name usable and return it; raises UsageError when it is not there."""
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


class TrainingFiles(NamedTuple):
    """What a training folder holds."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Everything that is needed to go on."""
        return self.folder / "checkpoint.pth"

    @property
    def weights(self) -> Path:
        """The network's weights alone, as upstream's files have them."""
        return self.folder / "weights.pth"

    @property
    def log(self) -> Path:
        """One JSON object a line: losses, or scores, and the step that they are of."""
        return self.folder / "log.jsonl"

    @property
    def curve(self) -> Path:
        return self.folder / "curve.png"


class Trainer:
    """One training run: network, optimiser, and the step that it is at.

    `origin` is what it was made from beside config and recipe: hashes of data and weights, by name.
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
        self.log: list[dict[str, Any]] = []
        self.unlogged: list[Losses] = []  # of the steps since the last log line

    @property
    def is_finished(self) -> bool:
        return self.step == self.recipe.steps

    def take_step(self, images: torch.Tensor, targets: Targets) -> Losses:
        """Do one step of gradient descent; raises TrainingError, nothing changed, when loss or gradient is not finite.

        Not finite, they would stay so in every weight, and in every checkpoint after this step.
        """
        rate = learning_rate(self.recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        if self.device.type in CHANNELS_LAST_DEVICES:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            head, protos, class_logits = self.trainee(images)
        losses = compute_losses(head, protos, class_logits, targets)
        self._require_finite("loss", losses.total(), losses)
        losses.total().backward()
        norm = nn.utils.clip_grad_norm_(self.trainee.parameters(), self.recipe.clip_norm or math.inf)
        self._require_finite("gradient", norm, losses)
        self.optimiser.step()
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
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; raises TrainingError when it is none, or made from anything else."""
        state = read_checkpoint(path)
        theirs = state["made_from"]
        differing = [key for key in {**self.made_from, **theirs} if self.made_from.get(key) != theirs.get(key)]
        if differing:
            raise TrainingError(
                f"{path} is of a training from something else: {', '.join(differing)}. Continue with the command and "
                "data that began it, or choose another --save_path."
            )
        self.trainee.load_state_dict(state["trainee"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.log = state["step"], state["log"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `Trainer.save` wrote; raises TrainingError when that is not what the file holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # PyTorch compares no checksums
        if damaged:
            raise ValueError(f"{damaged} in it has changed")
        state = torch.load(path, map_location="cpu", weights_only=True)
        lacking = [key for key in CHECKPOINT_KEYS if key not in state]
        if lacking:
            raise ValueError(f"it has no {', '.join(lacking)}")
    except Exception as error:  # a broken file fails in any of a dozen ways, and all mean the same
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(
            f"{path} is damaged, or no checkpoint of this version: {reason}. Delete it to begin anew, or choose "
            "another --save_path."
        ) from error
    return state


def made_from(config: ModelConfig, recipe: Recipe, origin: Mapping[str, str | None]) -> dict[str, Any]:
    """Return all that decides what a training gives, by name, as plain lists, numbers and words."""
    classes = {"config": config.name, "class_names": config.class_names, "category_ids": config.category_ids}
    return json.loads(json.dumps({**dataclasses.asdict(recipe), **classes, **origin}))


@dataclass(frozen=True)
class Validation:
    """What to score a network on: the first `limit` images (None: all), after every `every` steps (0: at the end)."""

    dataset: CocoDataset
    limit: int | None = None
    every: int = 0

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
    device: str = "cpu",
    workers: int = 1,
) -> Evaluation | None:
    """Train a network and write its weights, log and loss curve to `save_path`; a run that was killed goes on.

    A run that was finished only writes again what is missing. Returns the scores on `validation` at the end. Raises
    TrainingError, DatasetError, WeightsError, ArtifactError; what is wrong with the data, before any work.
    """
    training_set.require_whole()
    if validation:
        require_images(validation.images)
    origin = {**training_set.identify(), "pretrained": None}
    if pretrained is not None:
        require_weights(pretrained, config.name)
        origin["pretrained"] = sha256_file(pretrained)
    make_folder(save_path)
    files = TrainingFiles(save_path)
    trainer = Trainer(config, recipe, torch.device(device), origin)
    if files.checkpoint.exists():
        trainer.resume(files.checkpoint)
    elif pretrained is not None:
        load_fitting(trainer.trainee.network, pretrained, config)
    batches = load_batches(
        training_set,
        config.num_classes,
        recipe.phases,
        recipe.augmentation,
        recipe.most_masks,
        recipe.seed,
        first_step=trainer.step,
        workers=workers,
    )
    progress = tqdm(total=recipe.steps, initial=trainer.step, desc="train", unit="step")
    with progress, save_when_interrupted(trainer, files):
        evaluation = score_when_due(trainer, validation)  # a resumed run may have been killed while it was scored
        if trainer.is_finished:
            save_run(trainer, files)
        for samples in batches:
            images, targets = stack_samples(samples, trainer.device)
            with signals_held():
                trainer.take_step(images, targets)
            progress.update()
            is_saved = trainer.is_finished or trainer.step % checkpoint_every == 0
            if is_saved or trainer.step % LOG_STEPS == 0:
                progress.set_postfix(trainer.log_losses())
            evaluation = score_when_due(trainer, validation)
            if is_saved:
                save_run(trainer, files)
    return evaluation


@contextlib.contextmanager
def save_when_interrupted(trainer: Trainer, files: TrainingFiles) -> Iterator[None]:
    """Save the steps that were done when the user or the system ends the run."""
    try:
        yield
    except KeyboardInterrupt:
        if trainer.step:
            trainer.log_losses()
            save_run(trainer, files)
        raise


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait for the end of a step: half a step would give weights that no whole run has."""
    if threading.current_thread() is not threading.main_thread():  # only that one gets signals
        yield
        return
    arrived: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if arrived:
        signal.raise_signal(arrived[0])


def score_when_due(trainer: Trainer, validation: Validation | None) -> Evaluation | None:
    """Score the network and log it, after the last step and every so many; not again what the log has before that."""
    if validation is None or trainer.step == 0:
        return None
    logged = [entry for entry in trainer.log if entry["step"] == trainer.step and "mask_map" in entry]
    is_due = validation.every and trainer.step % validation.every == 0 and not logged
    if not is_due and not trainer.is_finished:
        return None
    evaluation = score_network(
        trainer.trainee.network, trainer.config, validation.dataset, validation.limit, trainer.device
    )
    entry = {"step": trainer.step, **summarise(evaluation)}
    trainer.log = [*(other for other in trainer.log if other not in logged), entry]
    tqdm.write(json.dumps(entry), file=sys.stderr)
    return evaluation


def mean_losses(steps: list[Losses]) -> dict[str, float]:
    """Return the mean of each loss over some steps, with four decimals."""
    return {
        name: round(torch.stack([value.detach() for value in values]).mean().item(), 4)
        for name, values in zip(Losses._fields, zip(*steps))
    }


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Return what a log line says of an evaluation: mAP in percent, and of how many images."""
    box, mask = evaluation.box.table["all"], evaluation.mask.table["all"]
    return {"box_map": box, "mask_map": mask, "images": evaluation.images}


def save_run(trainer: Trainer, files: TrainingFiles) -> None:
    """Write weights, log, loss curve and checkpoint, each whole or not at all.

    The checkpoint last: a run that is killed before goes on from an earlier one, and writes all of them anew.
    """
    write_weights(trainer.trainee.network, trainer.config, files.weights)
    write_log(trainer.log, files.log)
    draw_curve(trainer.log, files.curve)
    trainer.save(files.checkpoint)


def score_network(
    network: YolactEdge,
    config: ModelConfig,
    dataset: CocoDataset,
    limit: int | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Score a network on a data set as the pipeline does on the host: same preprocessing, detection and COCOeval."""
    was_training = network.training
    network.eval()
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    images = dataset.select(limit=limit)
    for image in images:
        tensor = torch.from_numpy(normalise_image(decode_image(image.path)))[None].to(device)
        with torch.inference_mode():
            *levels, protos = network(tensor)
            head = network.head.predict_levels(levels)
        outputs = HeadOutputs(*(values[0].cpu().numpy() for values in head))
        detections = detect(outputs, protos[0].cpu().numpy(), image.height, image.width)
        boxes += bbox_results(detections, image.image_id, config.category_ids)
        masks += mask_results(detections, image.image_id, config.category_ids)
    network.train(was_training)
    return evaluate(dataset.annotations, [image.image_id for image in images], boxes, masks)


def write_log(entries: list[dict[str, Any]], path: Path) -> None:
    """Write one JSON object a line."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
