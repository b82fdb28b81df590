"""Speed of an R-CNN on OpenVINO: benchmark_app, ours, and the loop of OpenVINO's Detectron2 tutorial, in turns.

    python benchmarks/rcnn_speed.py --out FOLDER [--rounds 3] [--config NAME] [--weights FILE] [--canvas HxW]
                                    [--images 100] [--loop 60] [--json FILE]

Of the network alone, on the same CPU in float32: benchmark_app (`-hint throughput`), our `infer`, which reads and
writes files meanwhile, and `compiled_model(image)` one by one, as the tutorial calls it. From image files to detections
with masks: our `stream`, and the tutorial's loop: read, resize, `compiled_model(image)`, paste, image after image.
Images/s are medians of the rounds, ratios are within a round. CPU time is that of all threads, for each image.

Without weights of the config (`--weights`, or those that come with this repository), random ones are made, which spread
scores. For an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tabulate import tabulate

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from journal import commit_of  # noqa: E402

from yolact_ascend.files import make_folder, write_json  # noqa: E402
from yolact_ascend.images.decode import decode_image  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.images.transforms import prepare_pixels, resized_size  # noqa: E402
from yolact_ascend.models.canvas import read_canvas, with_canvas  # noqa: E402
from yolact_ascend.models.config import CONFIGS, ModelConfig  # noqa: E402
from yolact_ascend.models.inputs import FLOAT32, input_tensors  # noqa: E402
from yolact_ascend.models.rcnn.detect import RcnnDetector  # noqa: E402
from yolact_ascend.pipeline.demo import SEED  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.targets.folder import WorkFolder, bin_folder  # noqa: E402
from yolact_ascend.targets.openvino.benchmark import benchmark_app_command, read_report  # noqa: E402
from yolact_ascend.timings import Timings  # noqa: E402

DEMO = "mask_rcnn_demo_config"
APP, INFER, ONE_BY_ONE = "benchmark_app", "our infer", "compiled_model(image), one by one"
STREAM, TUTORIAL = "our stream", "the tutorial's loop"


@dataclass(frozen=True)
class Speed:
    """Images/s, and the CPU time of all threads for one image in ms."""

    images_per_s: float
    cpu_ms: float


@dataclass(frozen=True)
class Model:
    """One compiled network, its inputs and its images."""

    config: ModelConfig
    ir: Path
    inputs: Path  # what preprocess wrote
    scenes: Path
    work: Path
    loop: int

    @property
    def images(self) -> list[Path]:
        return sorted(find_split(self.scenes)[0].iterdir())


def main() -> None:
    """Prepare, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--config", default=DEMO)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--canvas", default="")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--loop", type=int, default=60, help="images of a measurement without files")
    parser.add_argument("--json", type=Path, help="default: speed.json in --out")
    parser.add_argument("--one_by_one", choices=(ONE_BY_ONE, TUTORIAL), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    model = prepare(arguments)
    if arguments.one_by_one:  # in a process of its own, whose CPU time is counted
        loop = call_one_by_one if arguments.one_by_one == ONE_BY_ONE else loop_as_the_tutorial
        print(json.dumps(loop(model)))
        return
    ways: dict[str, Callable[[], Speed]] = {
        APP: lambda: run_app(model),
        INFER: lambda: run_infer(model),
        ONE_BY_ONE: lambda: run_loop(ONE_BY_ONE),
        STREAM: lambda: run_stream(model),
        TUTORIAL: lambda: run_loop(TUTORIAL),
    }
    rounds = [{name: run() for name, run in ways.items()} for _ in range(arguments.rounds)]
    print(table_of(rounds))
    speeds = [{name: [speed.images_per_s, speed.cpu_ms] for name, speed in each.items()} for each in rounds]
    write_json(
        arguments.json or arguments.out / "speed.json",
        {
            "commit": commit_of(CHECKOUT),
            "config": model.config.name,
            "canvas": [model.config.preprocessing.height_px, model.config.preprocessing.width_px],
            "cores": os.cpu_count(),
            "images_per_s and cpu_ms by round": speeds,
        },
    )


def prepare(arguments: argparse.Namespace) -> Model:
    """Draw scenes, and export, compile and preprocess by a run; what an earlier call left is taken."""
    config, scenes = CONFIGS[arguments.config], arguments.out / "scenes"
    if not scenes.is_dir():
        draw_dataset(scenes, 0, arguments.images, SEED)
    weights = arguments.weights or CHECKOUT / config.source.url
    if not weights.is_file():
        weights = arguments.out / f"{config.name}_random.pth"
        if not weights.is_file():
            import torch
            from factories import random_rcnn_state_dict

            torch.save(random_rcnn_state_dict(config), weights)
    annotations = write_annotations(config, scenes, arguments.out / "annotations.json")
    out = arguments.out / f"{config.name}_{arguments.canvas or 'own'}"
    words = [f"config={config.name}", f"weights={weights}", "target=openvino", "precision=fp32", "to=preprocess"]
    words += [f"images={find_split(scenes)[0]}", f"annotations={annotations}", f"out={out}"]
    words += [f"canvas={arguments.canvas}"] if arguments.canvas else []
    run_verb("run", *words)
    folder = WorkFolder(out)
    ir = next(iter(sorted(out.glob("*_bs1.xml"))))
    config = with_canvas(config, read_canvas(arguments.canvas), None) if arguments.canvas else config
    make_folder(out / "speed")
    return Model(config, ir, folder.inputs, scenes, out / "speed", arguments.loop)


def write_annotations(config: ModelConfig, scenes: Path, path: Path) -> Path:
    """Write the scenes' annotations with the config's own classes in place of the drawn ones."""
    data = json.loads(find_split(scenes)[1].read_text())
    new_ids = dict(zip((entry["id"] for entry in data["categories"]), config.category_ids))
    for entry in data["annotations"]:
        entry["category_id"] = new_ids[entry["category_id"]]
    data["categories"] = [{"id": n, "name": name} for n, name in zip(config.category_ids, config.class_names)]
    write_json(path, data)
    return path


def run_verb(verb: str, *words: object) -> float:
    """Run one of our verbs; return the CPU time in s of its process and its children."""
    return timed_child([sys.executable, "-m", "yolact_ascend", verb, *map(str, words)])[1]


def timed_child(command: list[str]) -> tuple[str, float]:
    """Run a command; return what it printed, and the CPU time in s of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_app(model: Model) -> Speed:
    """Measure benchmark_app on the first image, over and over; the CPU time of its start is that of one image."""
    report, specs = model.work / "app", input_tensors(model.config)
    make_folder(report)
    arrays = {spec.name: report / f"{spec.name}.npy" for spec in specs}
    for spec, values in zip(specs, prepare_image(model, model.images[0])[1]):
        np.save(arrays[spec.name], values)

    def run(loop: int) -> float:
        command = benchmark_app_command(model.ir, "CPU", specs[0], 1, "fp32", loop, report, arrays=arrays)
        return timed_child(command)[1]

    start, whole = run(1), run(model.loop)
    return Speed(float(read_report(report)["throughput"]), 1000 * (whole - start) / (model.loop - 1))


def run_infer(model: Model) -> Speed:
    """Measure our `infer` on the files that preprocess wrote."""
    output, one = model.work / "run" / "output", model.work / "one"
    inputs = sorted(folder for folder in model.inputs.iterdir() if folder.is_dir())
    words = [f"--model={model.ir}", f"--output={output}", "--device=cpu"]
    if not one.is_dir():
        for folder in inputs:
            make_folder(one / folder.name)
            (one / folder.name / "0.bin").symlink_to((folder / "0.bin").resolve())
    start = run_verb("infer", *words, f"--input={bin_folder(one)}")
    whole = run_verb("infer", *words, f"--input={bin_folder(model.inputs)}")
    summary = json.loads((model.work / "run" / "output_summary.json").read_text())
    return Speed(float(summary["throughput"]), 1000 * (whole - start) / (len(model.images) - 1))


def run_stream(model: Model) -> Speed:
    """Measure our `stream`, from image files to scored detections; CPU time includes start and scoring."""
    scores = model.work / "scores.json"
    images, annotations = find_split(model.scenes)[0], model.work.parent.parent / "annotations.json"
    words = [f"--model={model.ir}", f"--image_path={images}", f"--json_file={annotations}", "--device=cpu"]
    words += [f"--{kind}_det_file={model.work / kind}.json" for kind in ("bbox", "mask")]
    cpu = run_verb("stream", *words, f"--scores_file={scores}")
    found = json.loads(scores.read_text())
    return Speed(found["images"] / found["stream_seconds"], 1000 * cpu / found["images"])


def run_loop(way: str) -> Speed:
    """Measure one of the tutorial's loops in a process of its own."""
    printed, _ = timed_child([sys.executable, *sys.argv, f"--one_by_one={way}"])
    return Speed(*json.loads(printed.splitlines()[-1]))


def compile_as_the_tutorial(model: Model):
    """Return OpenVINO's compiled model with the device's defaults, but float32, which the others compute in."""
    import openvino

    return openvino.Core().compile_model(str(model.ir), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def prepare_image(model: Model, path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """Read an image, and resize it as the tutorial does, onto our canvas: image [h,w,3], the network's inputs."""
    image, preprocessing = decode_image(path), model.config.preprocessing
    size = resized_size(*image.shape[:2], preprocessing)
    return image, [prepare_pixels(image, preprocessing, FLOAT32)[np.newaxis], np.array([size], np.float32)]


def call_one_by_one(model: Model) -> tuple[float, float]:
    """Call the compiled model for one prepared image after the other; return images/s and CPU ms for each."""
    compiled = compile_as_the_tutorial(model)
    inputs = [prepare_image(model, path)[1] for path in model.images[: min(8, len(model.images))]]
    compiled(inputs[0])
    start, cpu = time.perf_counter(), time.process_time()
    for i in range(model.loop):
        compiled(inputs[i % len(inputs)])
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return model.loop / seconds, 1000 * cpu / model.loop


def loop_as_the_tutorial(model: Model) -> tuple[float, float]:
    """Read, resize, call, paste: one image after the other; return images/s and CPU ms for each."""
    compiled, detector, timings = compile_as_the_tutorial(model), RcnnDetector(model.config), Timings()
    paths = model.images
    compiled(prepare_image(model, paths[0])[1])
    start, cpu = time.perf_counter(), time.process_time()
    for path in paths:
        image, inputs = prepare_image(model, path)
        found = compiled(inputs)
        outputs = [found[i][0] for i in range(len(compiled.outputs))]
        detector.detect(outputs, *image.shape[:2], str(path), "", timings)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return len(paths) / seconds, 1000 * cpu / len(paths)


def table_of(rounds: list[dict[str, Speed]]) -> str:
    """Return the table: medians, and ratios within a round to benchmark_app and to the tutorial's way."""
    rows = []
    for name in rounds[0]:
        other = ONE_BY_ONE if name in (APP, INFER, ONE_BY_ONE) else TUTORIAL

        def ratio(to: str, way: str = name) -> str:
            return f"{statistics.median(each[way].images_per_s / each[to].images_per_s for each in rounds):.3f}"

        speed = statistics.median(each[name].images_per_s for each in rounds)
        cpu_ms = statistics.median(each[name].cpu_ms for each in rounds)
        rows.append([name, f"{speed:.2f}", f"{cpu_ms:.1f}", ratio(APP) if other == ONE_BY_ONE else "", ratio(other)])
    heads = ["bs=1, float32", "images/s", "CPU ms per image", "of benchmark_app", "of the tutorial's way"]
    return str(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    main()
