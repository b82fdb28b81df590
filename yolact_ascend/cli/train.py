"""`train`: a config, from scratch or from weights."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact_ascend import flags
from yolact_ascend.cli.flags import LISTED_CONFIGS, add_flag, add_switch, chosen_dataset, reader, say_warnings
from yolact_ascend.errors import UsageError
from yolact_ascend.flags import COUNT, MAX_WORKERS, NUMBER
from yolact_ascend.models.classes import config_of
from yolact_ascend.models.config import DEFAULT_CONFIG, ModelConfig, get_config
from yolact_ascend.words import decimal, path, whole_number

if TYPE_CHECKING:  # not for `--help`
    from yolact_ascend.detection.evaluate import Evaluation
    from yolact_ascend.training.recipe import Length, Recipe
    from yolact_ascend.training.train import Validation

HELP = "Train a config, from scratch or from weights, on data in COCO's format."
# Below, the levels have single cells: little to learn from, and PyTorch 2.13 on the CPU leaves memory uninitialised in
# the bfloat16 gradient of the convolution that makes P7 of one.
LEAST_SIZE_PX, MOST_SIZE_PX = 96, 4096
# By family: settings of a recipe that no other family's training has.
OWN_SETTINGS = {"yolact": ("most_masks", "background_negatives"), "rcnn": ("regions_per_image",)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.CONFIG, help=f"{LISTED_CONFIGS} (default: what the weights state, else {DEFAULT_CONFIG})")
    add_flag(parser, flags.TRAINED_MODEL, help="weights to start from, instead of from scratch")
    parser.add_argument(
        "--backbone_weights",
        type=reader(path),
        help="weights of the backbone alone, trained on ImageNet, to start from, such as resnet50-19c8e357.pth",
    )
    add_data(parser)
    add_validation(parser)
    add_length(parser)
    add_tuning(parser)
    add_flag(
        parser,
        flags.SAVE_PATH,
        default=Path("training"),
        help="folder for the results; an interrupted training in it resumes",
    )
    add_machine(parser)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the flags for the training images."""
    add_flag(parser, flags.IMAGE_PATH, default=Path("data/coco/train2017"), help="training images")
    add_flag(
        parser,
        flags.JSON_FILE,
        default=Path("data/coco/annotations/instances_train2017.json"),
        help="their COCO annotation file; its categories become the classes",
    )
    add_switch(
        parser, "skip_bad", "leave out training images that are no pictures, cut short, or of another size than listed"
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the flags for checkpoints, device and threads, which change no result."""
    parser.add_argument("--checkpoint_every", type=reader(COUNT), default=500, help="steps between checkpoints")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, npu (with torch_npu) …")
    add_flag(parser, flags.WORKERS, default=2, help="threads that read and augment images")
    parser.add_argument(
        "--threads",
        type=reader(whole_number(1, MAX_WORKERS)),
        help="threads of PyTorch on the CPU (default: one per core)",
    )


def add_validation(parser: argparse.ArgumentParser) -> None:
    """Add the flags for scoring."""
    parser.add_argument("--val_image_path", type=reader(path), help="images to score the network on")
    parser.add_argument("--val_json_file", type=reader(path), help="their COCO annotation file")
    parser.add_argument("--val_limit", type=reader(COUNT), help="score only the first N of them")
    parser.add_argument("--val_every", type=reader(COUNT), help="also score after every N steps, not only at the end")


def add_length(parser: argparse.ArgumentParser) -> None:
    """Add the flags for steps, learning rate and seed."""
    parser.add_argument(
        "--phases",
        type=reader(read_phases),
        help="image size in pixels x batch size : steps; several phases with commas, such as 275x16:6000,550x4:1000 "
        "(default: chosen by the number of images, and printed)",
    )
    parser.add_argument(
        "--learning_rate",
        type=reader(decimal(0, above=True)),
        default=1e-3,
        help="for a batch of 8; scaled in proportion for others",
    )
    parser.add_argument(
        "--warmup_steps",
        type=reader(NUMBER),
        help="steps over which the learning rate rises (default: a tenth of all, at most 500)",
    )
    parser.add_argument(
        "--seed", type=reader(flags.SEED.read), default=0, help="random seed of initial weights, order and augmentation"
    )


def add_tuning(parser: argparse.ArgumentParser) -> None:
    """Add the flags for optimisation, losses and augmentation."""
    parser.add_argument(
        "--decay", choices=("steps", "cosine"), default="steps", help="how the learning rate falls after that"
    )
    parser.add_argument("--weight_decay", type=reader(decimal(0)), default=5e-4, help="weight decay, of all weights")
    parser.add_argument(
        "--clip_norm", type=reader(decimal(0)), default=0.0, help="clip the norm of all gradients to this; 0: no limit"
    )
    parser.add_argument(
        "--most_masks",
        type=reader(COUNT),
        help="YOLACT: largest number of anchors per image with a mask loss (default: 100)",
    )
    parser.add_argument(
        "--background_negatives",
        type=reader(NUMBER),
        help="YOLACT: anchors of each image without objects that count as background; 0: none, as in upstream "
        "(default: 6)",
    )
    parser.add_argument(
        "--regions_per_image",
        type=reader(COUNT),
        help="R-CNN: proposals of an image that the heads learn from (default: 512)",
    )
    parser.add_argument(
        "--optimiser", choices=("sgd", "adamw"), default="sgd", help="SGD with momentum, as upstream, or AdamW"
    )
    parser.add_argument("--bfloat16", action="store_true", help="run the network in bfloat16; the losses stay float32")
    add_augmentation(parser)


def add_augmentation(parser: argparse.ArgumentParser) -> None:
    """Add the flags for augmentation."""
    parser.add_argument(
        "--expand_most",
        type=reader(decimal(1, 16)),
        default=4.0,
        help="augmentation: place the image on a canvas up to this many times as large; 1: off",
    )
    parser.add_argument(
        "--crop_least",
        type=reader(decimal(0, 1, above=True)),
        default=0.3,
        help="augmentation: crop to no less than this share of width and height; 1: off",
    )
    parser.add_argument("--no_photometric", action="store_true", help="leave the colours as they are")
    parser.add_argument("--no_mirror", action="store_true", help="never mirror the image")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    if arguments.trained_model and arguments.backbone_weights:
        raise UsageError("--weights have a backbone of their own. Pass either --weights or --backbone_weights.")
    config = chosen_start(arguments.config, arguments.trained_model)
    print_scores(train_network(arguments, config), arguments.save_path)


def train_network(
    arguments: argparse.Namespace, config: ModelConfig, length: Length | None = None
) -> Evaluation | None:
    """Train a network of the config by the flags of this verb; returns its scores, if there is data for them.

    `length` is how often each image is seen, and the images of a step, where the flags do not say how long.
    """
    if (arguments.val_image_path is None) != (arguments.val_json_file is None):
        raise UsageError("--val_image_path and --val_json_file go together: pass both, or neither.")
    from yolact_ascend.images.pictures import verify
    from yolact_ascend.training.learnable import require_learnable
    from yolact_ascend.training.recipe import describe_phases
    from yolact_ascend.training.samples import TrainingSet
    from yolact_ascend.training.train import adopt_classes, train, use_device

    dataset = chosen_dataset(arguments)
    config = adopt_classes(config, dataset)
    dataset = require_learnable(verify(dataset, config)[0], config, arguments.skip_bad)
    say_warnings(dataset)
    recipe = make_recipe(arguments, len(dataset.images), config, length)
    print(describe_phases(recipe.phases, recipe.warmup_steps, len(dataset.images)), file=sys.stderr, flush=True)
    return train(
        config,
        recipe,
        TrainingSet(dataset, config.category_ids),
        arguments.save_path,
        validation=load_validation(arguments, config),
        checkpoint_every=arguments.checkpoint_every,
        pretrained=arguments.trained_model,
        backbone_weights=arguments.backbone_weights,
        device=use_device(arguments.device, arguments.threads),
        workers=arguments.workers,
    )


def print_scores(evaluation: Evaluation | None, save_path: Path) -> None:
    """Print the scores of a training, and where its results are."""
    if evaluation:
        from yolact_ascend.detection.evaluate import format_table

        print(f"mAP in percent, {evaluation.images} images:\n{format_table(evaluation)}")
    print(f"weights, log and loss curve in {save_path}")


def chosen_start(word: str | None, weights: Path | None) -> ModelConfig:
    """Return the config that is trained: the one that is named, else that of the weights to start from."""
    return get_config(word or DEFAULT_CONFIG) if weights is None else config_of(word, weights)


def load_validation(arguments: argparse.Namespace, config: ModelConfig) -> Validation | None:
    """Return the images to score on, if there are any."""
    if not arguments.val_json_file:
        return None
    from yolact_ascend.images.coco import load_dataset
    from yolact_ascend.images.pictures import verify
    from yolact_ascend.training.train import Validation

    held_out = load_dataset(arguments.val_json_file, arguments.val_image_path)
    held_out, scored_config = verify(held_out, config, limit=arguments.val_limit)
    say_warnings(held_out)
    held_out.require_readable()
    return Validation(held_out, arguments.val_limit, arguments.val_every or 0, scored_config)


def make_recipe(
    arguments: argparse.Namespace, images: int, config: ModelConfig, length: Length | None = None
) -> Recipe:
    """Return how to train a config on so many images."""
    from yolact_ascend.training.augment import Augmentation
    from yolact_ascend.training.recipe import Phase, Recipe, choose_phases, choose_warmup

    given = arguments.phases
    size_px = config.preprocessing.width_px
    phases = (
        choose_phases(images, size_px, *(length or ()))
        if given is None
        else tuple(Phase(*numbers) for numbers in given)
    )
    warmup = arguments.warmup_steps
    return Recipe(
        phases,
        learning_rate=arguments.learning_rate,
        warmup_steps=choose_warmup(phases) if warmup is None else warmup,
        decay=arguments.decay,
        weight_decay=arguments.weight_decay,
        clip_norm=arguments.clip_norm,
        augmentation=Augmentation(
            expand_most=arguments.expand_most,
            crop_least=arguments.crop_least,
            photometric=not arguments.no_photometric,
            mirror=not arguments.no_mirror,
        ),
        optimiser=arguments.optimiser,
        bfloat16=arguments.bfloat16,
        seed=arguments.seed,
        **own_settings(arguments, config),
    )


def own_settings(arguments: argparse.Namespace, config: ModelConfig) -> dict[str, Any]:
    """Return the given settings that only one family's training has; raises UsageError for those of another family."""
    given = {name: getattr(arguments, name) for names in OWN_SETTINGS.values() for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in OWN_SETTINGS[config.family]:
            raise UsageError(f"--{name} says nothing to {config.name}, a config of {config.family}. Leave it out.")
    return given


def read_phases(words: str) -> tuple[tuple[int, ...], ...]:
    """Read `SIZExBATCH:STEPS,…` as rows of image size, batch size, steps."""
    matches = [re.fullmatch(r"(\d{1,9})x(\d{1,9}):(\d{1,9})", word, re.ASCII) for word in words.split(",")]
    phases = tuple(tuple(int(number) for number in match.groups()) for match in matches if match)
    if len(phases) != len(matches) or not all(number > 0 for phase in phases for number in phase):
        raise ValueError("SIZExBATCH:STEPS, such as 275x16:6000,550x4:1000")
    if not all(LEAST_SIZE_PX <= size <= MOST_SIZE_PX for size, _, _ in phases):
        raise ValueError(f"image sizes of {LEAST_SIZE_PX} to {MOST_SIZE_PX} pixels")
    return phases
