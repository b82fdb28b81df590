"""The price of smaller models: mAP, size, operations and images/s of a model as it is, pruned, INT8, and both.

    python benchmarks/compression.py --out FOLDER [--config NAME] [--weights FILE] [--pruned FILE] [--recipe WORD]
        [--coco DIR] [--cut NAME] [--rounds 3] [--loop 60] [--speed_only] [--no_speed] [--json FILE]

Each row is a run (`python -m yolact_ascend run`) on the same held-out scenes, in a work folder in FOLDER: first all
mAP, then the speed of all, in turns, so that what else the machine does meets all alike. Images/s are medians of
the rounds. Without `--weights` it is the demo's; with weights of a network without data (`--speed_only`) only size
and speed are measured. For an idle machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT)]

from journal import commit_of  # noqa: E402

from yolact_ascend.analysis.layers import count_layers, totals_of  # noqa: E402
from yolact_ascend.files import read_json, write_json  # noqa: E402
from yolact_ascend.pipeline.demo import IMAGES, SEED, WEIGHTS  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.targets.folder import WorkFolder  # noqa: E402
from yolact_ascend.targets.openvino.runtime import capabilities, describe_chip, instruction_sets  # noqa: E402

CPU_TARGETS = {"onnxruntime": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}
EMULATED = ("fp16", "int8")


class Row(NamedTuple):
    """One variant: weights as they are or pruned, a target, a precision."""

    pruned: bool
    target: str
    precision: str

    @property
    def name(self) -> str:
        return "_".join(("pruned" if self.pruned else "whole", self.target, self.precision))


def main() -> None:
    """Score, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", default="")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pruned", type=Path, help="weights that `prune` wrote and fine-tuned")
    parser.add_argument("--recipe", default="int8")
    parser.add_argument("--coco", type=Path, help="COCO folder with val2017 to score and train2017 to calibrate on")
    parser.add_argument("--cut", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", type=int, default=60)
    parser.add_argument("--speed_only", action="store_true")
    parser.add_argument("--no_speed", action="store_true")
    parser.add_argument("--json", type=Path, help="default: compression.json in --out")
    arguments = parser.parse_args()
    rows = list_rows(arguments)
    results = {row.name: {} if arguments.speed_only else score(arguments, row) for row in rows}
    timed = [] if arguments.no_speed else [row for row in rows if row.target in CPU_TARGETS]
    for number in range(arguments.rounds if timed else 0):
        for row in timed:
            print(f"round {number + 1}: {row.name}", file=sys.stderr, flush=True)
            found = measure(arguments, row)
            results[row.name].update({key: value for key, value in found.items() if key != "images_per_s"})
            results[row.name].setdefault("images_per_s", []).append(found["images_per_s"])
    print(table_of(rows, results))
    write_json(
        arguments.json or arguments.out / "compression.json",
        {
            "commit": commit_of(CHECKOUT),
            "cpu": describe_chip("CPU"),
            "cores": os.cpu_count(),
            "instruction_sets": instruction_sets(),
            "results": results,
        },
    )


def list_rows(arguments: argparse.Namespace) -> list[Row]:
    """Return the rows; bf16 only where the CPU has it, the emulated card only where there is something to score."""
    rows = []
    for pruned in (False, True) if arguments.pruned else (False,):
        for target, precisions in CPU_TARGETS.items():
            rows += [
                Row(pruned, target, precision)
                for precision in precisions
                if precision != "bf16" or "BF16" in capabilities("CPU")
            ]
        if not arguments.speed_only:
            rows += [Row(pruned, "ascend", precision) for precision in EMULATED]
    return rows


def run(arguments: argparse.Namespace, row: Row, *more: str) -> tuple[dict[str, Any], Path]:
    """Run a row with further settings; return its report and its work folder."""
    # One folder for all targets: what is quantised once is up to date for the next.
    out = arguments.out / f"{'pruned' if row.pruned else 'whole'}_{row.precision}"
    words = [f"target={row.target}", f"precision={row.precision}", f"out={out}", *more]
    weights = (arguments.pruned if row.pruned else arguments.weights) or WEIGHTS
    words += [f"weights={weights}"]
    words += [f"coco={arguments.coco or demo_data(arguments)}"]
    words += [f"config={arguments.config}"] if arguments.config and not row.pruned else []
    words += [f"cut={arguments.cut}"] if arguments.cut else []
    words += ["device=emulation"] if row.target == "ascend" else []
    if row.precision == "int8":
        words += [f"recipe={arguments.recipe}"]
    command = [sys.executable, "-m", "yolact_ascend", "run", *words]
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return read_json(out / "report.json", "the report"), out


def demo_data(arguments: argparse.Namespace) -> Path:
    """Return the folder of the scenes: val2017 scored, train2017 calibrated on; drawn once, as the demo draws them."""
    folder = Path(arguments.out).absolute() / "scenes"
    if not (folder / "annotations").is_dir():
        draw_dataset(folder, 200, IMAGES, SEED)
    return folder


def score(arguments: argparse.Namespace, row: Row) -> dict[str, Any]:
    """Return mAP, size and operations of a row."""
    print(f"score: {row.name}", file=sys.stderr, flush=True)
    report, out = run(arguments, row)
    (result,) = report["results"]
    return {"box": result["box"]["all"], "mask": result["mask"]["all"], **size_of(report, out)}


def size_of(report: dict[str, Any], out: Path) -> dict[str, Any]:
    """Return the bytes of the ONNX that was compiled, its operations for an image, and how many layers are INT8."""
    int8, onnx = report["model"].get("int8"), WorkFolder(out).onnx
    flop = totals_of(count_layers(onnx))["flop"]
    if int8 is None:
        return {"bytes": onnx.stat().st_size, "flop": flop}
    return {"bytes": int8["int8_bytes"], "flop": flop, "layers": int8["layers"], "float_layers": len(int8["float32"])}


def measure(arguments: argparse.Namespace, row: Row) -> dict[str, Any]:
    """Return the images/s of a row's model alone, at batch 1."""
    report, out = run(arguments, row, "mode=perf", f"loop={arguments.loop}", "force=benchmark")
    (result,) = report["results"]
    return {"images_per_s": result["throughput_images_per_s"], **size_of(report, out)}


def table_of(rows: list[Row], results: dict[str, dict[str, Any]]) -> str:
    """Return the table: speeds also as ratios to the whole network in float32 on the same target."""
    lines = []
    for row in rows:
        found, first = (
            results[row.name],
            results[Row(False, row.target, "fp32").name] if row.target in CPU_TARGETS else {},
        )
        speed = statistics.median(found["images_per_s"]) if found.get("images_per_s") else None
        base = statistics.median(first["images_per_s"]) if first.get("images_per_s") else None
        lines.append(
            (
                row.name.replace("_", " "),
                *(found.get(task, "") for task in ("box", "mask")),
                f"{found['bytes'] / 1e6:.2f}",
                f"{found['flop'] / 1e9:.2f}",
                "" if speed is None else f"{speed:.2f}",
                "" if speed is None or not base else f"{speed / base:.2f}",
            )
        )
    heads = ("variant", "box mAP", "mask mAP", "ONNX MB", "GFLOP", "images/s", "of float32")
    return tabulate(lines, heads, "github", disable_numparse=True)


if __name__ == "__main__":
    sys.path[:0] = [str(CHECKOUT / "benchmarks")]
    main()
