"""`prune`: fewer channels by a recipe, then fine-tuning."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from yolact_ascend import flags
from yolact_ascend.cli.flags import LISTED_CONFIGS, add_flag, add_switch
from yolact_ascend.cli.train import add_data, add_machine, add_tuning, add_validation, print_scores, train_network
from yolact_ascend.errors import UsageError
from yolact_ascend.models.classes import config_of, read_config, require_weights

if TYPE_CHECKING:  # not for `--help`
    from yolact_ascend.compression.recipe import PruneRecipe
    from yolact_ascend.models.config import ModelConfig

HELP = "Remove channels of a trained network by a recipe, and fine-tune what is left on data in COCO's format."
PRUNED = "pruned.pth"  # before the fine-tuning, in the folder of the training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.RECIPE, default="pruned")
    add_flag(parser, flags.CONFIG, help=f"{LISTED_CONFIGS} (default: what the weights state)")
    add_flag(parser, flags.TRAINED_MODEL, required=True, help="trained weights to prune")
    add_switch(parser, "only_prune", "write the pruned weights, and do not fine-tune")
    add_data(parser)
    add_validation(parser)
    add_tuning(parser)
    add_flag(
        parser,
        flags.SAVE_PATH,
        default=Path("pruned"),
        help=f"folder for {PRUNED} and the fine-tuned weights.pth; rerun the same command to resume",
    )
    add_machine(parser)
    parser.set_defaults(decay="cosine", clip_norm=10.0)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    recipe = _chosen_recipe(arguments.recipe)
    config = config_of(arguments.config, arguments.trained_model)
    require_weights(arguments.trained_model, config)
    pruned = arguments.save_path / PRUNED
    config = write_pruned(arguments.trained_model, read_config(arguments.trained_model, config), recipe, pruned)
    if arguments.only_prune:
        return
    from yolact_ascend.training.recipe import Length

    settings = {**vars(arguments), "trained_model": pruned, "backbone_weights": None, "phases": None}
    settings.update(learning_rate=recipe.learning_rate, warmup_steps=None, seed=recipe.seed)
    length = Length(recipe.passes, recipe.batch_size)
    print_scores(train_network(argparse.Namespace(**settings), config, length), arguments.save_path)


def _chosen_recipe(word: str) -> PruneRecipe:
    from yolact_ascend.compression.recipe import read_recipe

    recipe = read_recipe(word).prune
    if recipe is None:
        raise UsageError(f"--recipe={word} prunes nothing. Pass one with the key prune, such as pruned.")
    return recipe


def write_pruned(weights: Path, config: ModelConfig, recipe: PruneRecipe, path: Path) -> ModelConfig:
    """Prune the network of weights, print what changed, and write it to `path`; returns its config."""
    from yolact_ascend.compression.prune import format_pruned, prune_network
    from yolact_ascend.folders import hold_results
    from yolact_ascend.models.weights import load_network, write_weights

    pruned = prune_network(load_network(weights, config), config, recipe)
    print(format_pruned(pruned))
    with hold_results(path.parent, [path], flags.SAVE_PATH.word("DIR")):
        write_weights(pruned.network, pruned.config, path)
    print(f"pruned weights, not yet fine-tuned: {path}", flush=True)
    return pruned.config
