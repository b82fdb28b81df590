"""OpenVINO beside ONNX Runtime and OpenVINO's own benchmark_app: differences, and speed in turns.

    python benchmarks/openvino_speed.py --out FOLDER [--rounds 5] [--models demo resnet50] [--images 100]

For the demo's network and for YOLACT's ResNet-50 with random weights, at `cut=heads` and batch size 1:

- how far each IR is from ONNX Runtime on the same photographs or scenes, of the largest value of each output,
- images/s of benchmark_app, of our `infer` (with its files), of `benchmark` on ONNX Runtime, with preprocessing inside
  or not, all on the same cores, one after the other in each round; medians, and ratios within a round,
- `stream` with the engine on one core and the host on another, beside benchmark_app on one core and the host alone.

For an idle machine. Host alone is 1 over the CPU time that the host's steps of that stream took per image.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from tabulate import tabulate  # noqa: E402

from yolact_ascend.images.decode import decode_image  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.images.transforms import prepare_pixels  # noqa: E402
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG, ModelConfig  # noqa: E402
from yolact_ascend.models.export import export_onnx  # noqa: E402
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, FLOAT32, input_tensor  # noqa: E402
from yolact_ascend.pipeline.demo import SEED, WEIGHTS  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine  # noqa: E402
from yolact_ascend.targets.openvino.benchmark import benchmark_app_command, read_report  # noqa: E402
from yolact_ascend.targets.openvino.compile import compile_ir  # noqa: E402
from yolact_ascend.targets.openvino.engine import OpenVinoEngine  # noqa: E402
from yolact_ascend.targets.openvino.runtime import capabilities, instruction_sets  # noqa: E402

CUT = "heads"
COMPARED = 4  # images
LOOP = 24  # batches of a measurement


@dataclass(frozen=True)
class Model:
    """One network: its files in the output folder."""

    name: str
    config: ModelConfig
    weights: Path
    folder: Path

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    def ir(self, precision: str, embed: str) -> Path:
        return self.folder / f"{precision}_{embed}.xml"


def main() -> None:
    """Prepare, compare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=["demo", "resnet50"])
    parser.add_argument("--images", type=int, default=100, help="scenes that are streamed")
    arguments = parser.parse_args()
    precisions = [name for name in ("fp32", "bf16", "fp16") if name != "bf16" or "BF16" in capabilities("CPU")]
    draw_dataset(arguments.out / "scenes", 0, arguments.images, SEED)
    print(f"instruction sets: {', '.join(instruction_sets())}; precisions: {', '.join(precisions)}\n")
    for name in arguments.models:
        model = prepare(name, arguments.out, precisions)
        print(f"## {name}\n\n{compare(model, arguments.out / 'scenes', precisions)}\n", flush=True)
        print(f"{measure(model, arguments.rounds, precisions)}\n", flush=True)
        print(f"{measure_stream(model, arguments.out / 'scenes', arguments.rounds)}\n", flush=True)


def prepare(name: str, out: Path, precisions: list[str]) -> Model:
    """Export a network and compile it in every way."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "demo":
        model = Model(name, CONFIGS[DEMO_CONFIG], WEIGHTS, folder)
    else:
        import torch
        from factories import random_state_dict

        model = Model(name, CONFIGS["yolact_resnet50_config"], folder / "random.pth", folder)
        torch.save(random_state_dict(model.config), model.weights)
    export_onnx(model.weights, model.config, model.onnx, cut=CUT)
    for precision in precisions:
        for embed in DTYPE_OF_EMBED:
            image, preprocessing = input_tensor(model.config), model.config.preprocessing
            compile_ir(model.onnx, model.ir(precision, embed), 1, precision, image, preprocessing, embed)
    return model


def compare(model: Model, scenes: Path, precisions: list[str]) -> str:
    """Return a table of how far each IR's outputs are from ONNX Runtime's."""
    image_folder, _ = find_split(scenes)
    images = [decode_image(path) for path in sorted(image_folder.iterdir())[:COMPARED]]
    preprocessing = model.config.preprocessing
    with OnnxEngine(model.onnx) as engine:
        names = [spec.name for spec in engine.outputs]
        prepared = [prepare_pixels(image, preprocessing, FLOAT32)[np.newaxis] for image in images]
        expected = [engine.infer([array]) for array in prepared]
        pixels = [prepare_pixels(image, preprocessing, "uint8") for image in images]
        # What an embedded normalisation gets was resized to whole levels, on the host: compared on the same pixels.
        mean, std = (np.float32(values) for values in (preprocessing.mean_rgb, preprocessing.std_rgb))
        normalised = [((array - mean) / std).transpose(2, 0, 1)[np.newaxis] for array in pixels]
        expected_of_pixels = [engine.infer([array]) for array in normalised]
    rows = []
    for precision in precisions:
        for embed, dtype in DTYPE_OF_EMBED.items():
            reference = expected_of_pixels if embed == "1" else expected
            worst = dict.fromkeys(names, 0.0)
            with OpenVinoEngine(model.ir(precision, embed)) as engine:
                for image, right in zip(images, reference):
                    found = engine.infer([prepare_pixels(image, preprocessing, dtype)[np.newaxis]])
                    for name, ours, theirs in zip(names, found, right):
                        worst[name] = max(worst[name], float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
            rows.append([f"{precision}, embed={embed}", *(f"{value:.1e}" for value in worst.values())])
    return str(tabulate(rows, ["IR against ONNX Runtime", *names], tablefmt="pipe"))


def measure(model: Model, rounds: int, precisions: list[str]) -> str:
    """Return a table of speeds, measured in turns."""
    bins = {embed: write_inputs(model, embed) for embed in ("0", "1")}
    ways: dict[str, Callable[[], float]] = {"ONNX Runtime, fp32": lambda: run_benchmark(model.onnx, model.folder)}
    for precision in precisions:
        ways[f"benchmark_app, {precision}"] = lambda p=precision: run_app(model, p, "0")
        ways[f"our infer, {precision}"] = lambda p=precision: run_infer(model, p, "0", bins["0"])
        ways[f"benchmark_app, {precision}, embed=1"] = lambda p=precision: run_app(model, p, "1")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            times[name].append(run())
    base = times["benchmark_app, fp32"]
    rows = []
    for name, found in times.items():
        ratios = [one / other for one, other in zip(found, base)]
        rows.append([name, f"{statistics.median(found):.2f}", f"{statistics.median(ratios):.3f}"])
    return str(tabulate(rows, ["bs=1", "images/s", "of benchmark_app, fp32"], tablefmt="pipe"))


def write_inputs(model: Model, embed: str) -> Path:
    """Write random inputs for `infer`."""
    spec = input_tensor(model.config, DTYPE_OF_EMBED[embed])
    folder = model.folder / f"inputs_{embed}" / "bin_file"
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for index in range(LOOP):
        values = generator.integers(0, 256, spec.shape).astype(spec.dtype)
        values.tofile(folder / f"{index}.bin")
    return folder


def run_verb(*words: object) -> None:
    """Run one of our verbs."""
    command = [sys.executable, "-I", str(CHECKOUT / "yolact_ascend"), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


def run_benchmark(onnx: Path, folder: Path) -> float:
    """Return images/s of ONNX Runtime."""
    run_verb("benchmark", f"--model={onnx}", f"--output={folder / 'perf'}", f"--loop={LOOP}")
    return float(json.loads((folder / "perf_summary.json").read_text())["throughput"])


def run_app(model: Model, precision: str, embed: str, threads: int | None = None) -> float:
    """Return images/s of benchmark_app."""
    spec = input_tensor(model.config, DTYPE_OF_EMBED[embed])
    report = model.folder / "app"
    report.mkdir(exist_ok=True)
    command = benchmark_app_command(model.ir(precision, embed), "CPU", spec, 1, precision, LOOP, report, threads)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "CI": "true"})
    return float(read_report(report)["throughput"])


def run_infer(model: Model, precision: str, embed: str, bins: Path) -> float:
    """Return images/s of our `infer`, while its files are read and written."""
    output = model.folder / "run" / "output"
    run_verb("infer", f"--model={model.ir(precision, embed)}", f"--input={bins}", f"--output={output}", "--device=cpu")
    return float(json.loads((model.folder / "run" / "output_summary.json").read_text())["throughput"])


def measure_stream(model: Model, scenes: Path, rounds: int) -> str:
    """Return a table: benchmark_app on one core, the host alone on one, and the stream of both."""
    scores = model.folder / "scores.json"
    figures: dict[str, list[float]] = {name: [] for name in ("benchmark_app", "host", "stream", "ratio")}
    words = [f"--config={model.config.name}", f"--weights={model.weights}", f"--model={model.ir('fp32', '0')}"]
    words += ["--classes=" + ",".join(f"c{number}" for number in range(80))] if model.name != "demo" else []
    words += [f"--coco={scenes}", "--device=cpu", "--threads=1", "--workers=1", f"--scores_file={scores}"]
    words += [f"--{kind}_det_file={model.folder / kind}.json" for kind in ("bbox", "mask")]
    for _ in range(rounds):
        app = run_app(model, "fp32", "0", threads=1)
        run_verb("stream", *words)
        found = json.loads(scores.read_text())
        images = found["images"]
        host = images / sum(seconds for name, seconds in found["host"]["cpu_seconds"].items() if name != "eval")
        stream = images / found["stream_seconds"]
        row = {"benchmark_app": app, "host": host, "stream": stream, "ratio": stream / min(app, host)}
        for name, value in row.items():
            figures[name].append(value)
    medians = [f"{statistics.median(values):.2f}" for values in figures.values()]
    heads = ["benchmark_app, 1 thread", "host alone, 1 core", "stream=1, both", "of the smaller"]
    return str(tabulate([medians], heads, tablefmt="pipe"))


if __name__ == "__main__":
    main()
