"""`cuts`: what each cut of the graph leaves to card, disk and host."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolact_ascend import flags
from yolact_ascend.cli.flags import LISTED_CONFIGS, add_flag, add_switch, chosen_cut
from yolact_ascend.errors import UsageError
from yolact_ascend.models.classes import config_of, read_config
from yolact_ascend.models.config import DEFAULT_CONFIG, DEFAULT_WEIGHTS
from yolact_ascend.models.values import ModelConfig

if TYPE_CHECKING:  # not for `--help`
    from yolact_ascend.models.layer import Layer

HELP = "Show what each cut of the graph costs on card, disk and host, or what each layer costs."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.CONFIG, help=f"{LISTED_CONFIGS} (default: what the weights state, else {DEFAULT_CONFIG})")
    weights = "weights to measure the host's work with (default: none, or the demo's for the demo config)"
    add_flag(parser, flags.TRAINED_MODEL, help=weights)
    add_flag(parser, flags.IMAGE_PATH, default=None, help="folder of images to measure on, instead of drawn scenes")
    add_flag(parser, flags.LIMIT, default=8)
    add_switch(parser, "layers", "list the layers instead: output, parameters, MAC and FLOP of each, and in all")
    add_flag(parser, flags.MODEL, default=None, help="with --layers: an ONNX file, in place of a config")
    add_flag(parser, flags.CUT, help="with --layers: of the network up to this cut (default: of the whole)")
    add_switch(parser, "json", "print the figures as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    if arguments.model is not None:
        _require_layers_alone(arguments)
        return _print_layers_of_model(arguments)
    config = config_of(arguments.config, arguments.trained_model or Path(DEFAULT_WEIGHTS))
    from yolact_ascend.analysis.cuts import choose_weights, count_cuts, cuts_to_json, format_cuts, measure_cuts

    weights = choose_weights(config, arguments.trained_model)
    if weights:
        config = read_config(weights, config)
    if arguments.layers:
        return _print_layers_of_config(arguments, config)
    if arguments.cut is not None:
        raise UsageError(f"--cut={arguments.cut} is for --layers: without it, all cuts are compared. Leave out one.")
    costs = count_cuts(config)
    measured = measure_cuts(config, weights, arguments.image_path, arguments.limit) if weights else None
    if arguments.json:
        print(json.dumps(cuts_to_json(config, costs, measured), indent=2))
    else:
        print(format_cuts(config, costs, measured))


def _require_layers_alone(arguments: argparse.Namespace) -> None:
    if not arguments.layers:
        raise UsageError(f"--model={arguments.model} is for --layers. Pass --layers, or --config for the cuts.")
    for flag in (flags.CONFIG, flags.TRAINED_MODEL, flags.CUT):
        if getattr(arguments, flag.name) is not None:
            raise UsageError(f"--{flag.name} beside --model: the ONNX is counted as it is. Leave out one of them.")


def _print_layers_of_model(arguments: argparse.Namespace) -> None:
    from yolact_ascend.analysis.layers import count_layers, count_others

    _print_layers(arguments, count_layers(arguments.model), str(arguments.model), count_others(arguments.model))


def _print_layers_of_config(arguments: argparse.Namespace, config: ModelConfig) -> None:
    from yolact_ascend.models.network_layers import count_network, whole_cut

    cut = chosen_cut(arguments, config) if arguments.cut else whole_cut(config)
    size = f"{config.preprocessing.height_px}x{config.preprocessing.width_px}"
    subject = f"{config.name}, {config.num_classes} classes, {size}, up to cut {cut}"
    _print_layers(arguments, count_network(config, cut), subject, Counter())


def _print_layers(
    arguments: argparse.Namespace, layers: Sequence[Layer], subject: str, others: Mapping[str, int]
) -> None:
    from yolact_ascend.analysis.layers import format_layers, layers_to_json

    if arguments.json:
        print(json.dumps(layers_to_json(layers, subject, others), indent=2))
    else:
        print(format_layers(layers, subject, others))
