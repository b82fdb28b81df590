"""`quantize`: an exported ONNX as INT8, for ONNX Runtime, OpenVINO and Ascend."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flag, add_flags, add_switch, say_warnings
from yolact_ascend.compression.recipe import BEST, HELD_OUT_IMAGES, METHODS, require_no_score
from yolact_ascend.environment import is_stage_of_a_run
from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.flags import COUNT, RECIPE, SCORED, Flag
from yolact_ascend.folders import hold_results
from yolact_ascend.targets.folder import QuantizedFiles
from yolact_ascend.words import decimal, path, whole_number

if TYPE_CHECKING:  # not for `--help`
    from yolact_ascend.compression.quantized import QuantizedModel
    from yolact_ascend.compression.recipe import Recipe
    from yolact_ascend.compression.trials import Score

HELP = "Make INT8 models of an exported ONNX: calibrate on images, and choose by mAP what stays in float32."
IMAGE_PATH = Flag("image_path", path, "folder of training images, or of inputs (.bin) that preprocess made")
JSON_FILE = Flag(
    "json_file",
    path,
    "COCO annotation file of these images: the mAP is measured on some that are not calibrated on",
)
SAVE_PATH = Flag("save_path", path, "folder for the INT8 models (default: that of the model)", is_held=True)
HELD_OUT = Flag("held_out", COUNT, f"images that the mAP is measured on (default: {HELD_OUT_IMAGES})")
# In place of the recipe's keys of these names.
METHOD = Flag("method", str, "how ranges are chosen: minmax, percentile, search, or best of these by mAP")
IMAGES = Flag("images", COUNT, "images to calibrate on")
MAP_BUDGET = Flag(
    "map_budget", decimal(0, 100), "points of mAP that may be lost; layers stay in float32 until it is met"
)
SEED = Flag("seed", whole_number(0, flags.MAX_SEED), "random seed of the choice of images")
OVERRIDES = (METHOD, IMAGES, MAP_BUDGET, SEED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.MODEL, help="exported ONNX file")
    add_flags(parser, flags.ONNX_MODEL)
    add_flag(parser, IMAGE_PATH, required=True)
    add_flags(parser, JSON_FILE, RECIPE, SAVE_PATH, HELD_OUT, SCORED)
    add_flag(parser, METHOD, choices=METHODS, metavar=None)
    add_flags(parser, IMAGES, MAP_BUDGET, SEED)
    add_switch(parser, "reduce_range", "keep weights within ±63: on CPUs without VNNI sums of 8-bit products saturate")
    add_switch(parser, "sensitivity", "measure what each layer costs alone, also where the budget is met")
    add_flags(parser, flags.THREADS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.compression.calibration import find_candidates
    from yolact_ascend.compression.quantize import quantize_model
    from yolact_ascend.images.decode import find_images
    from yolact_ascend.targets.described import read_description

    config = read_description(arguments.model).config
    recipe = _chosen_recipe(arguments)
    files = QuantizedFiles(arguments.model, arguments.save_path or arguments.model.parent)
    images, score = _images_and_score(arguments, recipe, find_candidates(arguments.image_path, config))
    with _hold(files):
        done = quantize_model(
            arguments.model,
            images,
            config,
            recipe,
            files.folder,
            score,
            () if arguments.scored is None else find_images(arguments.scored),
            lambda line: print(line, file=sys.stderr, flush=True),
            arguments.sensitivity,
            arguments.onnx_model,
        )
    print(format_quantization(done))


def _hold(files: QuantizedFiles) -> contextlib.AbstractContextManager[None]:
    """Hold the folder, unless the run that started this does; see `hold_results`."""
    if is_stage_of_a_run():
        return contextlib.nullcontext()
    return hold_results(files.folder, [*files.all, files.progress], SAVE_PATH.word("DIR"))


def _chosen_recipe(arguments: argparse.Namespace) -> Recipe:
    """Return the recipe, with the flags in place of its keys."""
    from yolact_ascend.compression.recipe import read_recipe

    recipe = read_recipe(arguments.recipe)
    if recipe.quantize is None:
        raise UsageError(
            f"--recipe={arguments.recipe} quantises nothing. Pass one with the key quantize, such as int8."
        )
    given = {flag.name: getattr(arguments, flag.name) for flag in OVERRIDES}
    chosen = {name: value for name, value in given.items() if value is not None}
    if arguments.reduce_range:
        chosen["reduce_range"] = True
    return dataclasses.replace(recipe, quantize=dataclasses.replace(recipe.quantize, **chosen))


def _images_and_score(
    arguments: argparse.Namespace, recipe: Recipe, candidates: list[Path]
) -> tuple[list[Path], Score | None]:
    """Return what calibration draws from, and what measures the mAP; None without annotations."""
    part = recipe.quantize
    assert part is not None  # `_chosen_recipe` asks for it
    if arguments.json_file is None:
        is_given = {
            "--sensitivity": arguments.sensitivity,
            "--map_budget": arguments.map_budget is not None,
            "--held_out": arguments.held_out is not None,
        }
        for flag in (name for name, given in is_given.items() if given):
            raise UsageError(f"{flag} is for measuring the mAP, which needs annotated images. Pass --json_file=FILE.")
        require_no_score(part)
        return candidates, None
    from yolact_ascend.compression.calibration import choose_images
    from yolact_ascend.compression.held_out import HeldOutScore, held_out_images
    from yolact_ascend.images.coco import load_dataset

    dataset = load_dataset(arguments.json_file, arguments.image_path)
    say_warnings(dataset)
    images = [image.path for image in dataset.images if image.path.is_file()]
    if not images:
        raise DatasetError(
            f"{arguments.image_path} has none of the {len(dataset.images)} images that {arguments.json_file} lists. "
            "Pass the folder that it belongs to."
        )
    used = choose_images(images, part.images, part.seed).images
    try:
        chosen = held_out_images(dataset, used, arguments.held_out or HELD_OUT_IMAGES, part.seed)
    except DatasetError as error:
        if part.method == BEST or part.map_budget is not None or arguments.sensitivity or arguments.held_out:
            raise
        print(f"warning: the mAP is not measured: {error}", file=sys.stderr)
        return images, None
    return images, HeldOutScore(arguments.onnx_model or arguments.model, dataset, chosen, arguments.threads)


def format_quantization(done: QuantizedModel) -> str:
    """Return the result for reading: how many layers are INT8, what stays in float32 and why, mAP, files."""
    size = done.files.onnx.stat().st_size
    lines = [f"{len(done.int8_layers)} of {len(done.layers)} layers in INT8, ranges by {done.method}"]
    lines += [f"  float32: {name} ({why})" for name, why in done.kept.items()]
    lines += [
        f"  float32 on Ascend: {name} ({why})" for name, why in done.kept_on_ascend.items() if name not in done.kept
    ]
    if done.sensitivity:
        from yolact_ascend.tables import markdown_table  # `--help` needs no package beside Python

        rows = [[layer.name, f"{layer.sqnr_db:.1f}", f"{layer.map:.2f}"] for layer in done.sensitivity]
        lines += ["", markdown_table(["layer in INT8 alone", "SQNR dB", "mAP"], rows), ""]
    lines += [f"mAP, {name}: {value:.2f}" for name, value in done.scores.items()]
    for file in done.files.all:
        smaller = f", {size / file.stat().st_size:.2f} times smaller" if file.suffix == ".onnx" else ""
        lines.append(f"{file}: {file.stat().st_size} bytes{smaller}")
    return "\n".join(lines)
