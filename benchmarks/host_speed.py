"""Time the guide's preprocess.py and postprocess.py and ours in turn, on the same images, and print the ratios.

    python benchmarks/host_speed.py --coco DIR [--guide DIR --upstream DIR] [--before COMMIT] [--rounds 5] [--images N]
        [--config NAME --trained_model FILE] [--json FILE]

DIR of --guide is ACL_PyTorch/built-in/cv/YolactEdge_for_PyTorch of Ascend/ModelZoo-PyTorch, DIR of --upstream a
checkout that scripts/apply_patch.sh has patched. The guide's files run unedited, by this Python. Every command runs on
all images and on a few, in every round: the difference is the time per image, without the start of the program.
Without --guide, ours alone are timed. --before times the scripts of an older commit of this checkout, too; new cuts are
compared with its `heads`. A second table has the CPU time of each step, as our commands tell it themselves.
CPU time is that of all cores; other load on the machine changes it less than the clock's.

The network's outputs are computed here, in float32 on ONNX Runtime, from random ResNet-50 weights unless
--trained_model names others; random ones find about 100 instances in every image, which is the most there can be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

import torch  # noqa: E402  (needs the paths above)
from compare_with_guide import write_first_images  # noqa: E402
from factories import random_state_dict  # noqa: E402
from tabulate import tabulate  # noqa: E402
from tqdm import tqdm  # noqa: E402

from yolact_ascend.cores import count_cores  # noqa: E402
from yolact_ascend.files import write_json  # noqa: E402
from yolact_ascend.host.infer import infer_folder  # noqa: E402
from yolact_ascend.host.preprocess import preprocess  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, load_dataset  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.models.config import DEFAULT_CONFIG, get_config  # noqa: E402
from yolact_ascend.models.export import export_onnx  # noqa: E402
from yolact_ascend.targets.folder import bin_folder, output_bin  # noqa: E402
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine  # noqa: E402

FEW = 8  # images of the short runs
LIBRARIES = ("torch", "onnxruntime", "numpy", "opencv-python-headless", "pycocotools")
GUIDE, BEFORE, OURS = "guide", "before", "ours"


class Goal(NamedTuple):
    """The project's goals for one of our commands."""

    guide: float  # times as fast as the guide's, by the clock
    before: float | None = None  # times as fast as the commit of --before, by CPU time
    of_before: str = ""  # what it is compared with there, where that has another name


HEADS = "postprocess, cut heads"
GOALS = {
    "preprocess, float32": Goal(4.5),
    "preprocess, uint8": Goal(9.0, 1.2),
    "postprocess, cut fpn": Goal(2.2),
    HEADS: Goal(20.0),
    "postprocess, cut candidates": Goal(20.0, 1.8, HEADS),
    "postprocess, cut detections": Goal(20.0, 1.8, HEADS),
}
DTYPES = ("float32", "uint8")
CUTS = ("fpn", "heads", "candidates", "detections")
CUTS_BEFORE = ("heads",)  # that an older commit is timed with
HEADINGS = (
    "",
    "guide ms/image",
    "ours ms/image",
    "ratio",
    "goal",
    "ratio with start",
    "core-ms guide",
    "core-ms before",
    "core-ms ours",
    "guide/ours",
    "before/ours",
    "goal",
)


@dataclass(frozen=True)
class Job:
    """One command on the first `images` images."""

    name: str  # of GOALS; for the guide's commands, the stage
    who: str
    images: int
    command: tuple[str, ...]
    timings: Path | None = None  # where it tells the CPU time of its steps


@dataclass
class Times:
    """What the rounds of one command took."""

    seconds: list[tuple[float, float]] = field(default_factory=list)  # wall and CPU
    steps: list[dict[str, float]] = field(default_factory=list)  # CPU milliseconds an image


@dataclass(frozen=True)
class Speed:
    """Medians of one command: the whole command, and per image without the start of the program."""

    command_s: float
    image_ms: float
    cpu_ms: float  # of all cores, for one image


def main() -> int:
    """Measure in a temporary folder; 0 when every goal is reached."""
    args = parse_args()
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder, older_checkout(args.before) as before:
        jobs = prepare(args, Path(folder), before)
        env = {**os.environ, **({"PYTHONPATH": str(args.upstream.resolve())} if args.upstream else {})}
        times = measure(jobs, args.rounds, env, Path(folder))
    speeds = {name: summarise(times, name) for name in dict.fromkeys((job.who, job.name) for job in jobs)}
    rows, result = compare(speeds)
    print(tabulate(rows, HEADINGS, floatfmt=".2f", missingval="-"))
    steps = median_steps(times)
    print(tabulate(steps, "keys", floatfmt=".2f", missingval="-"))
    images = max(job.images for job in jobs)
    print(f"{images} images, {args.rounds} rounds, medians; {platform.processor() or 'CPU'}, {count_cores()} cores")
    if args.json:
        write_json(args.json, {**describe(args, images, result, times), "steps": steps})
    return 0 if all(is_reached(row) for row in result) else 1


def is_reached(row: dict) -> bool:
    """Whether a row of the result reaches its goals."""
    faster = row.get("cpu_ratio_to_before")
    pairs = ((row.get("ratio"), row["goal"]), (faster, row["goal_before"]))
    return all(None in pair or pair[0] >= pair[1] for pair in pairs)


@contextlib.contextmanager
def older_checkout(commit: str | None) -> Iterator[Path | None]:
    """Check out a commit beside this checkout for the time of the block."""
    if commit is None:
        yield None
        return
    git = ("git", "-C", str(CHECKOUT), "worktree")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "before"
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guide", type=Path, help="folder of the guide's scripts")
    parser.add_argument("--upstream", type=Path, help="patched checkout of yolact_edge, for the guide")
    parser.add_argument("--coco", type=Path, required=True, help="COCO folder with val2017 and annotations")
    parser.add_argument("--before", metavar="COMMIT", help="also time this older commit")
    parser.add_argument("--images", type=int, help="only the first N annotated images (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--config", default=DEFAULT_CONFIG)
    parser.add_argument("--trained_model", type=Path, help="weights (default: random ones)")
    parser.add_argument("--scratch", type=Path, help="where the files between the stages go, about 25 MB an image")
    parser.add_argument("--json", type=Path, help="also write the result here")
    args = parser.parse_args()
    if (args.guide is None) != (args.upstream is None):
        parser.error("pass --guide and --upstream together")
    return args


def prepare(args: argparse.Namespace, folder: Path, before: Path | None) -> list[Job]:
    """Compute the outputs that are post-processed; return all commands. `before` is an older checkout."""
    image_folder, annotation_file = find_split(args.coco)
    dataset = load_dataset(annotation_file, image_folder)
    count = len(dataset.select(annotated_only=True, limit=args.images))  # the guide takes no others
    weights = args.trained_model
    if weights is None:
        weights = folder / "weights.pth"
        torch.save(random_state_dict(get_config(args.config)), weights)
    checkouts = {OURS: CHECKOUT, **({BEFORE: before} if before else {})}
    jobs = []
    for images in (count, FEW):
        part = folder / str(images)
        part.mkdir()
        annotations = write_first_images(dataset, images, part / "instances.json")
        write_json(part / "ids.json", {"ids": [image.image_id for image in dataset.select(limit=images)]})
        data = (f"--image_path={image_folder.resolve()}", f"--json_file={annotations}")
        scores = part / "scores.json"
        model = (f"--trained_model={weights}", f"--config={args.config}", f"--ids_path={part / 'ids.json'}")
        if args.guide:
            guide = args.guide.resolve()
            to_guide = command(guide / "preprocess.py", *data, f"--save_path={part / 'guide'}")
            of_guide = command(guide / "postprocess.py", *data, *model, f"--file_path={part / 'fpn'}")
            jobs += [Job("preprocess", GUIDE, images, to_guide), Job("postprocess", GUIDE, images, of_guide)]
        for who, scripts in checkouts.items():
            for dtype in DTYPES:
                words = (*data, f"--save_path={part / dtype}", f"--dtype={dtype}")
                timed = command(scripts / "preprocess.py", *words)
                jobs.append(Job(f"preprocess, {dtype}", who, images, timed, part / dtype / "timings.json"))
            for cut in CUTS if who == OURS else CUTS_BEFORE:
                files = (f"--bbox_det_file={part / 'bbox.json'}", f"--mask_det_file={part / 'mask.json'}")
                words = (*data, *model, f"--file_path={part / cut}", f"--cut={cut}", *files, f"--scores_file={scores}")
                timed = command(scripts / "postprocess.py", *words)
                jobs.append(Job(f"postprocess, cut {cut}", who, images, timed, scores))
    write_outputs(args, weights, dataset, folder, count)
    return jobs


def command(script: Path, *words: str) -> tuple[str, ...]:
    """Return the command that runs a script by this Python."""
    return (sys.executable, "-W", "ignore", str(script), *words)


def write_outputs(args: argparse.Namespace, weights: Path, dataset: CocoDataset, folder: Path, count: int) -> None:
    """Write the network's outputs for each image, at each cut, as ais_bench names them."""
    config = get_config(args.config)
    inputs = folder / "network_inputs"
    preprocess(dataset.select(limit=count), inputs, config, workers=count_cores())
    for cut in CUTS:
        model, all_outputs, few_outputs = folder / f"{cut}.onnx", folder / str(count) / cut, folder / str(FEW) / cut
        export_onnx(weights, config, model, cut=cut)
        with OnnxEngine(model) as engine:
            infer_folder(engine, bin_folder(inputs), all_outputs)
        few_outputs.mkdir()
        for index in range(FEW):
            for k in range(len(engine.outputs)):
                output_bin(few_outputs, index, k).symlink_to(output_bin(all_outputs, index, k))


def measure(jobs: Sequence[Job], rounds: int, env: dict[str, str], folder: Path) -> dict[tuple[str, str, int], Times]:
    """Run all commands in turn, `rounds` times; return the times of each, by who, name and images."""
    times: dict[tuple[str, str, int], Times] = {}
    for _ in tqdm(range(rounds), desc="rounds"):
        for job in jobs:
            for made in ("guide", *DTYPES):  # otherwise preprocess keeps the inputs of the last round
                subprocess.run(["rm", "-rf", str(folder / str(job.images) / made)], check=True)
            os.sync()  # this command does not wait for the previous one's writes
            found = times.setdefault((job.who, job.name, job.images), Times())
            found.seconds.append(run(job.command, env, folder))
            if job.timings:
                told = json.loads(job.timings.read_text())
                found.steps.append(told.get("host", told)["core_ms_per_image"])
    return times


def run(command: Sequence[str], env: dict[str, str], folder: Path) -> tuple[float, float]:
    """Return the wall and CPU seconds of a command; ends the benchmark when it fails."""
    with (folder / "output.log").open("w+") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{log.read()[-3000:]}\nfailed with exit code {process.returncode}.")
    return seconds, usage.ru_utime + usage.ru_stime


def summarise(times: dict[tuple[str, str, int], Times], name: tuple[str, str]) -> Speed:
    """Return the medians over the rounds of one command."""
    measured = {images: found.seconds for (*key, images), found in times.items() if (*key,) == name}
    (few, short), (many, long) = sorted(measured.items())
    per_image = [[1000 * (after - before) / (many - few) for before, after in zip(*pair)] for pair in zip(short, long)]
    wall, cpu = (statistics.median(values) for values in zip(*per_image))
    return Speed(statistics.median(seconds for seconds, _ in long), wall, cpu)


def compare(speeds: dict[tuple[str, str], Speed]) -> tuple[list[list], list[dict]]:
    """Return the rows of the table, and the same as JSON has it."""
    rows, result = [], []
    for name, goal in GOALS.items():
        guide, ours = speeds.get((GUIDE, name.split(",")[0])), speeds[OURS, name]
        before = speeds.get((BEFORE, goal.of_before or name))
        row = {"name": name, "goal": goal.guide, "goal_before": goal.before, "ours": asdict(ours)}
        if guide:
            row.update(ratio=guide.image_ms / ours.image_ms, ratio_with_start=guide.command_s / ours.command_s)
            row.update(cpu_ratio=guide.cpu_ms / ours.cpu_ms, guide=asdict(guide))
        if before:
            row.update(before=asdict(before), cpu_ratio_to_before=before.cpu_ms / ours.cpu_ms)
        result.append(row)
        clock = [
            name,
            guide and guide.image_ms,
            ours.image_ms,
            row.get("ratio"),
            goal.guide,
            row.get("ratio_with_start"),
        ]
        cpu = [guide and guide.cpu_ms, before and before.cpu_ms, ours.cpu_ms, row.get("cpu_ratio")]
        rows.append([*clock, *cpu, row.get("cpu_ratio_to_before"), goal.before])
    return rows, result


def median_steps(times: dict[tuple[str, str, int], Times]) -> list[dict[str, Any]]:
    """Return a row for each of our commands on all images: the CPU milliseconds of its steps, medians of the rounds."""
    most = max(images for *_, images in times)
    return [
        {"": name, "who": who, **{step: statistics.median(one[step] for one in found.steps) for step in found.steps[0]}}
        for (who, name, images), found in sorted(times.items(), key=lambda item: (item[0][1], item[0][0]))
        if images == most and found.steps
    ]


def describe(args: argparse.Namespace, images: int, result: list[dict], times: dict) -> dict:
    """Return the whole result, with machine and versions."""

    def commit(folder: Path) -> str:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"

    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "machine": {"cpu": cpu[0].split(":", 1)[1].strip() if cpu else platform.machine(), "cores": count_cores()},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}},
        "before": args.before,
        "commits": {
            name: commit(folder) for name, folder in (("upstream", args.upstream), ("guide", args.guide)) if folder
        },
        "config": args.config,
        "weights": "random" if args.trained_model is None else args.trained_model.name,
        "images": images,
        "rounds": args.rounds,
        "results": result,
        "seconds": [
            {"who": who, "name": name, "images": count, "wall_and_cpu": found.seconds}
            for (who, name, count), found in times.items()
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
