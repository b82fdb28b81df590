"""OpenVINO beside ONNX Runtime and OpenVINO's own benchmark_app: differences, and speed in turns.

    python benchmarks/openvino_speed.py --out FOLDER [--rounds 5] [--models demo resnet50] [--images 100]

For the demo's network and for YOLACT's ResNet-50 with random weights, at `cut=heads` and batch size 1:

- how far each IR is from ONNX Runtime on the same scenes, of the largest value of each output, and how far float32 is
  from float64,
- images/s of benchmark_app, of our engine alone (`benchmark`), of our `infer`, which reads and writes files on the
  same cores, of `benchmark` on ONNX Runtime, with preprocessing inside or not, one after the other in each round;
  medians, and ratios within a round to benchmark_app at the same precision,
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
from yolact_ascend.models.weights import load_network  # noqa: E402
from yolact_ascend.models.yolact.network import WithHeads  # noqa: E402
from yolact_ascend.pipeline.demo import SEED, WEIGHTS  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine  # noqa: E402
from yolact_ascend.targets.openvino.benchmark import benchmark_app_command, read_report  # noqa: E402
from yolact_ascend.targets.openvino.compile import compile_ir  # noqa: E402
from yolact_ascend.targets.openvino.engine import OpenVinoEngine  # noqa: E402
from yolact_ascend.targets.openvino.runtime import capabilities, computed_precision, instruction_sets  # noqa: E402

CUT = "heads"
COMPARED = 4  # images
LOOPS = {"demo": 120, "resnet50": 40}  # batches of a measurement


@dataclass(frozen=True)
class Model:
    """One network: its files in the output folder."""

    name: str
    config: ModelConfig
    weights: Path
    folder: Path

    @property
    def loop(self) -> int:
        return LOOPS[self.name]

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
    parser.add_argument("--images", type=int, default=200, help="scenes that are streamed")
    arguments = parser.parse_args()
    precisions = [name for name in ("fp32", "bf16", "fp16") if name != "bf16" or "BF16" in capabilities("CPU")]
    draw_dataset(arguments.out / "scenes", 0, arguments.images, SEED)
    print(f"instruction sets: {', '.join(instruction_sets())}; precisions: {', '.join(precisions)}\n")
    for name in arguments.models:
        model = prepare(name, arguments.out, precisions)
        print(f"## {name}\n\n{compare(model, arguments.out / 'scenes', precisions)}\n", flush=True)
        print(f"{compare_with_float64(model, arguments.out / 'scenes')}\n", flush=True)
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
            compile_ir(model.onnx, model.ir(precision, embed), 1, precision, [image], preprocessing, embed)
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


def compare_with_float64(model: Model, scenes: Path) -> str:
    """Return a table of how far each engine's float32 is from PyTorch's float64, for one scene."""
    import torch

    path = min(find_split(scenes)[0].iterdir())
    image = prepare_pixels(decode_image(path), model.config.preprocessing, FLOAT32)[np.newaxis]
    network = WithHeads(load_network(model.weights, model.config)).eval()
    rows, engines = {}, {"ONNX Runtime": OnnxEngine(model.onnx), "OpenVINO": OpenVinoEngine(model.ir("fp32", "0"))}
    with torch.no_grad():
        rows["PyTorch"] = [output.numpy() for output in network(torch.from_numpy(image))]
        exact = [output.numpy() for output in network.double()(torch.from_numpy(image).double())]
    for name, engine in engines.items():
        with engine:
            rows[name] = engine.infer([image])
    differences = [
        [name, *(f"{np.abs(ours - right).max() / np.abs(right).max():.1e}" for ours, right in zip(found, exact))]
        for name, found in rows.items()
    ]
    names = [spec.name for spec in engine.outputs]
    return str(tabulate(differences, ["float32 against float64", *names], tablefmt="pipe"))


def measure(model: Model, rounds: int, precisions: list[str]) -> str:
    """Return a table of speeds, measured in turns."""
    bins = {embed: write_inputs(model, embed) for embed in ("0", "1")}
    ways: dict[tuple[str, str], Callable[[], float]] = {
        ("ONNX Runtime", "fp32"): lambda: run_benchmark(model, model.onnx)
    }
    for precision in precisions:
        ways["benchmark_app", precision] = lambda p=precision: run_app(model, p, "0")
        ways["our engine", precision] = lambda p=precision: run_benchmark(model, model.ir(p, "0"))
        ways["our infer", precision] = lambda p=precision: run_infer(model, p, "0", bins["0"])
        ways["benchmark_app, embed=1", precision] = lambda p=precision: run_app(model, p, "1")
        ways["our infer, embed=1", precision] = lambda p=precision: run_infer(model, p, "1", bins["1"])
    speeds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            speeds[way].append(run())
    rows = []
    for (name, precision), found in speeds.items():
        ratios = [one / other for one, other in zip(found, speeds["benchmark_app", precision])]
        rows.append([name, precision, f"{statistics.median(found):.2f}", f"{statistics.median(ratios):.3f}"])
    return str(tabulate(rows, ["bs=1", "precision", "images/s", "of benchmark_app"], tablefmt="pipe"))


def write_inputs(model: Model, embed: str) -> Path:
    """Write random inputs for `infer`."""
    spec = input_tensor(model.config, DTYPE_OF_EMBED[embed])
    folder = model.folder / f"inputs_{embed}" / "bin_file"
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for index in range(model.loop):
        values = generator.integers(0, 256, spec.shape).astype(spec.dtype)
        values.tofile(folder / f"{index}.bin")
    return folder


def write_annotations(model: Model, scenes: Path) -> Path:
    """Write the scenes' annotations with the config's own classes in place of the drawn ones."""
    data = json.loads((scenes / "annotations" / "instances_val2017.json").read_text())
    config = model.config
    new_ids = dict(zip((entry["id"] for entry in data["categories"]), config.category_ids))
    for entry in data["annotations"]:
        entry["category_id"] = new_ids[entry["category_id"]]
    data["categories"] = [{"id": n, "name": name} for n, name in zip(config.category_ids, config.class_names)]
    path = model.folder / "annotations.json"
    path.write_text(json.dumps(data))
    return path


def run_verb(*words: object) -> None:
    """Run one of our verbs."""
    command = [sys.executable, "-I", str(CHECKOUT / "yolact_ascend"), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


def run_benchmark(model: Model, file: Path) -> float:
    """Return images/s of one of the engines, without files."""
    run_verb("benchmark", f"--model={file}", f"--output={model.folder / 'perf'}", f"--loop={model.loop}")
    return float(json.loads((model.folder / "perf_summary.json").read_text())["throughput"])


def run_app(model: Model, precision: str, embed: str, threads: int | None = None) -> float:
    """Return images/s of benchmark_app."""
    spec = input_tensor(model.config, DTYPE_OF_EMBED[embed])
    report = model.folder / "app"
    report.mkdir(exist_ok=True)
    ir, computes_in = model.ir(precision, embed), computed_precision("CPU", precision)
    command = benchmark_app_command(ir, "CPU", spec, 1, computes_in, model.loop, report, threads)
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
    words += [f"--image_path={find_split(scenes)[0]}", f"--json_file={write_annotations(model, scenes)}"]
    words += ["--device=cpu", "--threads=1", "--workers=1", f"--scores_file={scores}"]
    words += [f"--{kind}_det_file={model.folder / kind}.json" for kind in ("bbox", "mask")]
    for _ in range(rounds):
        app = run_app(model, "fp32", "0", threads=1)
        run_verb("stream", *words)
        found = json.loads(scores.read_text())
        images = found["images"]
        steps = found["host"]["core_ms_per_image"]
        host = 1000 / sum(ms for name, ms in steps.items() if name != "eval")
        stream = images / found["stream_seconds"]
        row = {"benchmark_app": app, "host": host, "stream": stream, "ratio": stream / min(app, host)}
        for name, value in row.items():
            figures[name].append(value)
    medians = [f"{statistics.median(values):.2f}" for values in figures.values()]
    heads = ["benchmark_app, 1 thread", "host alone, 1 core", "stream=1, both", "of the smaller"]
    return str(tabulate([medians], heads, tablefmt="pipe"))


if __name__ == "__main__":
    main()
