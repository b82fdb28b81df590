"""`compare`: outputs, mAP, speeds and settings of two runs or more."""

from __future__ import annotations

import argparse
import json

from yolact_ascend import flags
from yolact_ascend.analysis.gate_words import EXPECTED, read_gate
from yolact_ascend.cli.flags import add_flag, add_switch, reader
from yolact_ascend.words import path

HELP = "Compare outputs, mAP, speeds and settings of runs over the same images, with intervals and gates."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument("first", type=reader(path), help="run folder of one batch size, such as results/bs8")
    parser.add_argument("others", type=reader(path), nargs="+", help="others; each is compared with the first")
    text = f"fail (exit code 1) unless this holds, for each of the others; repeatable: {EXPECTED}"
    parser.add_argument(
        "--gate", type=reader(read_gate), action="append", default=[], metavar="CONDITION", help=text.replace("%", "%%")
    )
    text = "samples that the intervals are computed from"
    parser.add_argument("--samples", type=reader(flags.COUNT), default=1000, help=text)
    text = "the annotation file that the runs were scored against, where it does not lie there any more"
    add_flag(parser, flags.JSON_FILE, default=None, help=text)
    add_switch(parser, "json", "print the comparison as JSON; with several others, a list")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.analysis.compare import compare_runs
    from yolact_ascend.analysis.compare_text import format_comparison
    from yolact_ascend.analysis.gates import judge, require_gates

    values, texts, judged = [], [], []
    for other in arguments.others:
        names = (str(arguments.first), str(other))
        comparison = compare_runs(arguments.first, other, arguments.json_file, arguments.samples, names)
        gates = [judge(gate, comparison) for gate in arguments.gate]
        judged += gates
        values.append({**comparison.to_json(), "gates": [gate.to_json() for gate in gates]})
        texts.append("\n".join([format_comparison(comparison, names), *(f"\n{gate.describe()}" for gate in gates)]))
    if arguments.json:
        print(json.dumps(values[0] if len(values) == 1 else values, indent=2))
    else:
        print("\n\n".join(texts))
    require_gates(judged)
