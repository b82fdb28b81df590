"""`preprocess`: COCO images to raw network inputs; also as preprocess.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    LISTED_CONFIGS,
    add_dataset,
    add_flag,
    add_flags,
    chosen_dataset,
    say_warnings,
)
from yolact_ascend.cores import count_cores
from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import DEFAULT_CONFIG, ModelConfig, get_config
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, INPUT_DTYPES, OWN_SIZE, embed_of

HELP = "Turn COCO images into raw network inputs (preprocess.py)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_dataset(parser)
    add_flag(parser, flags.SAVE_PATH, default=Path("inputs"), help="folder for bin_file/ and ids.json")
    add_flags(parser, flags.LIMIT)
    text = "the model that will run: it states its config, and which inputs it takes"
    add_flag(parser, flags.MODEL, default=None, help=f"{text} (default: --config and --dtype alone)")
    text = f"config whose preprocessing is applied: {LISTED_CONFIGS} (default: {DEFAULT_CONFIG})"
    add_flag(parser, flags.CONFIG, help=text)
    text = f"{flags.DTYPE.help} (default: {flags.DTYPE.default})"
    add_flag(parser, flags.DTYPE, default=None, choices=INPUT_DTYPES, metavar=None, help=text)
    add_flags(parser, flags.WORKERS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    config, dtype = chosen_inputs(arguments)
    from yolact_ascend.host.preprocess import preprocess
    from yolact_ascend.images.pictures import require_fitting, require_proportions, verify_pictures

    dataset = chosen_dataset(arguments, with_masks=False)  # who scores the detections reads them
    dataset = verify_pictures(dataset, arguments.annotated_only, arguments.limit)
    say_warnings(dataset)
    dataset.require_readable()
    require_fitting(dataset.images, config.preprocessing)
    if dataset.pictures is not None:
        require_proportions(dataset.pictures, config.preprocessing)
    images = dataset.images
    workers = arguments.workers or count_cores()
    made = preprocess(images, arguments.save_path, config, dtype, workers)
    print(f"{len(images)} inputs in {arguments.save_path} ({made} new)")


def chosen_inputs(arguments: argparse.Namespace) -> tuple[ModelConfig, str]:
    """Return the config and the dtype of the inputs: those of `--model`, which is checked against the other flags.

    Without it they are those of the flags alone. Raises UsageError and ArtifactError when they contradict each other.
    """
    model, dtype = arguments.model, arguments.dtype
    if model is None:
        return get_config(arguments.config or DEFAULT_CONFIG), dtype or flags.DTYPE.default
    from yolact_ascend.host.loading import require_config
    from yolact_ascend.targets.described import read_description, read_input

    config = read_description(model).config
    if arguments.config is not None:
        require_config(model, config, get_config(arguments.config))
    taken = DTYPE_OF_EMBED[embed_of(read_input(model))]
    if taken == OWN_SIZE:
        raise UsageError(
            f"--model={model}: it takes images of any size, and input files have one. Use `stream` or `predict`."
        )
    if dtype not in (None, taken):
        raise UsageError(f"--dtype={dtype}: {model} takes {taken}. Leave out --dtype.")
    return config, taken
