"""Speed of `scale`: linear with the number of devices, and as fast as `stream`. Devices are simulated, or this CPU.

    python benchmarks/scale_speed.py --coco DIR [--measure scaling overhead card] [--seconds 64] [--json FILE]

`scaling`: 1, 2, 4 and 8 simulated devices of 8 images/s on a Ray cluster of two raylets of this machine. Each gives
outputs that YOLACT with random weights computed before, about 100 detections in an image; all else is real: images
are read, decoded and resized, detections matched, and parts written. The speed is the sum of the workers', each from
its first part to its last; core-ms are those of all processes, Ray's too, while all workers have their models open.

`overhead`: the demo model on ONNX Runtime over drawn scenes, by `stream`, by `scale`, and by `scale --cluster=local`,
each from the moment when the model is open to the end with files and scores; what comes before is `start`. `card`: the
same with a simulated device of 25 images/s and photographs; its time does not vary from run to run as a CPU's does.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import scale_devices  # noqa: E402  before Ray
from scale_devices import SPEED_FILE, SimulatedWorker, TimedWorker, choose_simulated, moments_of  # noqa: E402
from simulated_card import compute_outputs, cpu_seconds  # noqa: E402
from tabulate import tabulate  # noqa: E402

from yolact_ascend.cli.main import main as run_verb  # noqa: E402
from yolact_ascend.cores import count_cores  # noqa: E402
from yolact_ascend.files import write_json  # noqa: E402
from yolact_ascend.host import loading  # noqa: E402
from yolact_ascend.host.loading import ChosenModel, ModelRequest  # noqa: E402
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, DEMO_CONFIG  # noqa: E402
from yolact_ascend.pipeline.demo import SEED, WEIGHTS  # noqa: E402
from yolact_ascend.scale import cluster, driver  # noqa: E402
from yolact_ascend.scale.actor import Job  # noqa: E402
from yolact_ascend.scale.planning import ScaleRequest  # noqa: E402

BATCH_SIZE = 8
SPEED, CARD_SPEED = 8.0, 25.0  # images/s of a simulated device, of `scaling` and `card`
DEVICES = (1, 2, 4, 8)
SHARD_SIZE = 64  # eight seconds of a simulated device
VARIANTS = ("stream", "scale", "cluster")
MEASURES = ("scaling", "overhead", "card")
SCENES = 250  # drawn; links to them make more


def main() -> None:
    """Measure, print the tables, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, help="COCO folder with val2017 and annotations, for `scaling` and `card`")
    parser.add_argument("--measure", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--devices", type=int, nargs="+", default=DEVICES)
    parser.add_argument("--seconds", type=int, default=64, help="of each number of devices, multiples of a shard")
    parser.add_argument("--images", type=int, default=2000, help="of each run of `overhead` and `card`")
    parser.add_argument("--repeats", type=int, default=2, help="of these")
    parser.add_argument("--json", type=Path, help="also write the result here, beside what it has of others")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)  # of one measurement, in this process
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        print(json.dumps(measure_variant(args.variant, args.folder)))
        return
    found = json.loads(args.json.read_text()) if args.json and args.json.is_file() else {}
    measures = {"scaling": measure_scaling, "overhead": measure_overhead, "card": measure_card}
    for what in args.measure:
        with tempfile.TemporaryDirectory() as name:
            found[what] = measures[what](args, Path(name))
            if args.json:
                write_json(args.json, {"cores": count_cores(), **found})


def measure_scaling(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure each number of simulated devices."""
    most = int(max(args.devices) * SPEED * args.seconds) // SHARD_SIZE * SHARD_SIZE
    images, annotations = make_simulated(args, folder, most, SPEED)
    model = ModelRequest(folder / "model.onnx", batch_size=BATCH_SIZE)
    rows = []
    for devices in args.devices:
        limit = most * devices // max(args.devices)
        request = ScaleRequest(str(images), annotations, SHARD_SIZE, limit)
        out = folder / f"devices{devices}" / "out"
        rows.append(measure_devices(Job(str(out), request, model, 1), devices, out))
    alone = rows[0]["images_per_s"] / rows[0]["devices"]
    for row in rows:
        row["of_linear"] = row["images_per_s"] / row["devices"] / alone
        row["of_devices"] = row["images_per_s"] / row["devices"] / SPEED
    heads = ["simulated devices", "images/s", "of linear", "of the devices'", "core-ms per image", "start s"]
    table = [
        [
            *(str(row["devices"]), f"{row['images_per_s']:.2f}", f"{row['of_linear']:.1%}", f"{row['of_devices']:.1%}"),
            *(f"{row['core_ms_per_image']:.1f}", f"{row['start_s']:.1f}"),
        ]
        for row in rows
    ]
    print(tabulate(table, heads, tablefmt="pipe", disable_numparse=True), flush=True)
    return {"simulation": True, "images_per_s_of_a_device": SPEED, "shard_size": SHARD_SIZE, "results": rows}


def make_simulated(args: argparse.Namespace, folder: Path, images: int, speed: float) -> tuple[Path, Path]:
    """Make model and outputs of a simulated device of so many images/s, and its data set; return folder and file."""
    if args.coco is None:
        raise SystemExit("Pass --coco=DIR for the photographs.")
    names = SimpleNamespace(config=DEFAULT_CONFIG, trained_model=None, cut="detections", coco=args.coco)
    compute_outputs(names, folder)
    (folder / SPEED_FILE).write_text(str(speed))
    return scale_devices.repeat_photographs(args.coco, images, folder / "many")


def measure_devices(job: Job, devices: int, out: Path) -> dict[str, Any]:
    """Measure one number of devices, on a cluster of its own."""
    out.parent.mkdir()
    spent: list[tuple[float, float]] = []  # moments, and the CPU time until then
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(2):
            spent.append((time.time(), cpu_seconds()))

    with scale_devices.two_hosts(count_cores()) as address:
        watching = threading.Thread(target=watch)
        watching.start()
        start = time.time()
        try:
            scale_devices.run_workers(SimulatedWorker, job, devices, address)
        finally:
            ended.set()
            watching.join()
    workers = list(moments_of(out).values())
    opened = max(moment for worker in workers for moment, what, _ in worker if what == "open")
    shards = [[(moment, images) for moment, what, images in worker if what == "shard"] for worker in workers]
    speeds = [sum(images for _, images in each[1:]) / (each[-1][0] - each[0][0]) for each in shards]
    end = min(each[-1][0] for each in shards)
    inside = [each for each in spent if opened <= each[0] <= end]
    done = sum(images for each in shards for moment, images in each if inside[0][0] < moment <= inside[-1][0])
    return {
        "devices": devices,
        "images": sum(images for each in shards for _, images in each),
        "images_per_s": sum(speeds),
        "core_ms_per_image": 1000 * (inside[-1][1] - inside[0][1]) / done,
        "core_ms_of_steps": core_ms_of_steps(out),
        "start_s": opened - start,
        "seconds": max(each[-1][0] for each in shards) - opened,
    }


def core_ms_of_steps(out: Path) -> float:
    """Return what the workers' logs say, as a run's report does: each step of the host's work, and nothing else."""
    logs = [json.loads(file.read_text()) for file in (out / "logs").iterdir()]
    total = sum(log["images"] * sum(log["host_work"]["core_ms_per_image"].values()) for log in logs)
    return total / sum(log["images"] for log in logs)


def measure_overhead(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure `stream` and `scale` on this CPU."""
    from yolact_ascend.models.export import export_onnx
    from yolact_ascend.scenes.scenes import draw_dataset

    draw_dataset(folder / "scenes", 0, min(SCENES, args.images), SEED)
    scale_devices.repeat_photographs(folder / "scenes", args.images, folder / "many")
    export_onnx(WEIGHTS, CONFIGS[DEMO_CONFIG], folder / "model.onnx", cut="detections")
    rows = measure_in_turn(args, folder)
    return {"images": args.images, "model": "demo, cut detections, ONNX Runtime", "results": rows}


def measure_card(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure `stream` and `scale` with a simulated device."""
    make_simulated(args, folder, args.images, CARD_SPEED)
    rows = measure_in_turn(args, folder)
    return {"simulation": True, "images": args.images, "images_per_s_of_the_device": CARD_SPEED, "results": rows}


def measure_in_turn(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Measure the three ways in turn, each in a process of its own."""
    found: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for variant in VARIANTS * args.repeats:
        command = [sys.executable, __file__, f"--variant={variant}", f"--folder={folder}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found[variant].append(json.loads(done.stdout))
    rows = [
        {"variant": variant, **{key: statistics.median(each[key] for each in runs) for key in runs[0]}, "runs": runs}
        for variant, runs in found.items()
    ]
    first = rows[0]
    for row in rows:
        row["seconds_more"] = row["seconds"] / first["seconds"] - 1
        row["cpu_more"] = row["cpu_s"] / first["cpu_s"] - 1
    table = [
        [
            *(row["variant"], f"{row['start_s']:.1f}", f"{row['seconds']:.1f}", f"{row['seconds_more']:+.1%}"),
            *(f"{1000 * row['cpu_s'] / args.images:.1f}", f"{row['cpu_more']:+.1%}"),
        ]
        for row in rows
    ]
    heads = ["", "start s", "then s", "", "core-ms per image", ""]
    print(tabulate(table, heads, tablefmt="pipe", disable_numparse=True), flush=True)
    return rows


def measure_variant(variant: str, folder: Path) -> dict[str, float]:
    """Run the model over all images in one of three ways."""
    is_simulated = (folder / SPEED_FILE).is_file()
    if is_simulated:
        loading.choose_model = choose_simulated
    images, annotations = folder / "many" / "images", folder / "many" / "annotations.json"
    with tempfile.TemporaryDirectory(dir=folder) as name:
        out = Path(name)
        words = [f"--model={folder / 'model.onnx'}", f"--json_file={annotations}", f"--batch_size={BATCH_SIZE}"]
        if variant == "stream":
            files = {"bbox_det_file": "bbox.json", "mask_det_file": "mask.json", "scores_file": "scores.json"}
            places = [f"--{flag}={out / file}" for flag, file in files.items()]
            return run_timed(["stream", *words, f"--image_path={images}", *places])
        words = ["scale", str(images), f"--out={out / 'out'}", *words]
        if variant == "scale":
            return run_timed(words)
        worker = SimulatedWorker if is_simulated else TimedWorker
        return run_timed_cluster([*words, "--cluster=local"], out / "out", worker)


def run_timed(words: list[str]) -> dict[str, float]:
    """Run a verb in this process."""
    opened: list[tuple[float, float]] = []
    really_open = ChosenModel.open

    def open_timed(*args: Any) -> Any:
        model = really_open(*args)
        opened.append(now())
        return model

    ChosenModel.open = open_timed  # type: ignore[method-assign]
    start, (end, cpu) = now(), run_quietly(words)
    return {"start_s": opened[0][0] - start[0], "seconds": end - opened[0][0], "cpu_s": cpu - opened[0][1]}


def run_timed_cluster(words: list[str], out: Path, worker: type[TimedWorker]) -> dict[str, float]:
    """Run `scale` on a cluster that it starts; the time in which that ends is counted as start, too."""
    opened, left, ended = [], [], []  # the model is open, the cluster is left, has ended
    really_join = cluster.joined

    @contextlib.contextmanager
    def join_timed(address: str) -> Iterator[None]:
        with really_join(address):
            yield
            left.append(now())
        ended.append(now())

    def wait_until_open() -> None:
        while not moments_of(out):
            time.sleep(0.05)
        opened.append(now())

    driver.ShardWorker = worker  # type: ignore[misc]
    cluster.joined = join_timed
    waiting = threading.Thread(target=wait_until_open, daemon=True)
    waiting.start()
    start, (end, cpu) = now(), run_quietly(words)
    return {
        "start_s": opened[0][0] - start[0] + ended[0][0] - left[0][0],
        "seconds": left[0][0] - opened[0][0] + end - ended[0][0],
        "cpu_s": left[0][1] - opened[0][1] + cpu - ended[0][1],
    }


def now() -> tuple[float, float]:
    """Return the time, and the CPU time of this process and all that it started."""
    return time.time(), cpu_seconds()


def run_quietly(words: list[str]) -> tuple[float, float]:
    """Run a verb, and return when it ended."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = run_verb(words)
    if code:
        raise SystemExit(said.getvalue())
    return now()


if __name__ == "__main__":
    main()
