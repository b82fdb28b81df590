"""`cuts`: what each cut of the graph leaves to card, disk and host."""

from __future__ import annotations

import argparse
import json

from yolact_ascend import flags
from yolact_ascend.cli.flags import LISTED_CONFIGS, add_flag, add_switch
from yolact_ascend.models.classes import config_name_of, read_config
from yolact_ascend.models.config import DEFAULT_CONFIG, get_config

HELP = "Show what each cut of the graph costs on card, disk and host."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.CONFIG, help=f"{LISTED_CONFIGS} (default: what the weights state, else {DEFAULT_CONFIG})")
    weights = "weights to measure the host's work with (default: none, or the demo's for the demo config)"
    add_flag(parser, flags.TRAINED_MODEL, help=weights)
    add_flag(parser, flags.IMAGE_PATH, default=None, help="folder of images to measure on, instead of drawn scenes")
    add_flag(parser, flags.LIMIT, default=8)
    add_switch(parser, "json", "print the figures as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    stated = config_name_of(arguments.trained_model) if arguments.trained_model else DEFAULT_CONFIG
    config = get_config(arguments.config or stated)
    from yolact_ascend.analysis.cuts import choose_weights, count_cuts, cuts_to_json, format_cuts, measure_cuts

    weights = choose_weights(config, arguments.trained_model)
    if weights:
        config = read_config(weights, config)
    costs = count_cuts(config)
    measured = measure_cuts(config, weights, arguments.image_path, arguments.limit) if weights else None
    if arguments.json:
        print(json.dumps(cuts_to_json(config, costs, measured), indent=2))
    else:
        print(format_cuts(config, costs, measured))
