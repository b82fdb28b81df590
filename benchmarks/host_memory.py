"""Memory of `postprocess` over as many images as COCO has: the outputs of one run, repeated under new image ids.

    python benchmarks/host_memory.py RUN_FOLDER ANNOTATIONS [--images 5000] [FLAGS OF postprocess]

RUN_FOLDER is that of one batch size, such as results/bs8, beside results/inputs/ids.json. Prints, as JSON, the peak of
all processes together (PSS: shared pages count once), its course over the run, and the time that postprocess took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MB = 1024  # kB, as /proc has them
POINTS = 10  # of the course


def main() -> None:
    """Repeat the run's outputs, postprocess them, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--ids", type=Path, help="ids.json of the run, where it lies elsewhere")
    parser.add_argument("--images", type=int, default=5000)
    arguments, flags = parser.parse_known_args()
    ids_file = arguments.ids or arguments.run_folder.parent / "inputs" / "ids.json"
    with tempfile.TemporaryDirectory(prefix="host_memory-") as name:
        folder = Path(name)
        command = repeat_run(arguments.run_folder / "output", arguments.annotations, ids_file, arguments.images, folder)
        start = time.monotonic()
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([*command, *flags], stdout=log, stderr=log)
            course = watch(process)
        if process.returncode:
            sys.exit((folder / "log").read_text()[-2000:])
        seconds = time.monotonic() - start
        host = json.loads((folder / "scores.json").read_text())["host"]
    step = max(len(course) // POINTS, 1)
    shown = [[round(moment - start, 1), round(size / MB)] for moment, size in course[::step]]
    peak = round(max(size for _, size in course) / MB)
    print(json.dumps({"peak_pss_mb": peak, "seconds": round(seconds, 1), "host": host, "s_and_mb": shown}))


def repeat_run(output_folder: Path, annotations: Path, ids_file: Path, count: int, folder: Path) -> list[str]:
    """Lay out `count` images in `folder`, links to the run's outputs; return the command that postprocesses them."""
    data, ids = json.loads(annotations.read_text()), json.loads(ids_file.read_text())["ids"]
    images = {image["id"]: image for image in data["images"]}
    by_image: dict[int, list[dict]] = {}
    for entry in data["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(entry)
    paths = [sorted(output_folder.glob(f"{index}_*.bin")) for index in range(len(ids))]
    (folder / "output").mkdir()
    data["images"], data["annotations"] = [], []
    for index in range(count):
        original = ids[index % len(ids)]
        data["images"].append({**images[original], "id": index + 1})
        for entry in by_image.get(original, []):
            data["annotations"].append({**entry, "image_id": index + 1, "id": len(data["annotations"]) + 1})
        for path in paths[index % len(ids)]:
            k = path.stem.split("_")[1]
            (folder / "output" / f"{index}_{k}.bin").symlink_to(path.resolve())
    (folder / "annotations.json").write_text(json.dumps(data))
    (folder / "ids.json").write_text(json.dumps({"ids": list(range(1, count + 1))}))
    places = {
        "file_path": folder / "output",
        "image_path": folder,
        "json_file": folder / "annotations.json",
        "ids_path": folder / "ids.json",
        "bbox_det_file": folder / "bbox.json",
        "mask_det_file": folder / "mask.json",
        "scores_file": folder / "scores.json",
    }
    words = [f"--{flag}={path}" for flag, path in places.items()]
    return [sys.executable, "-m", "yolact_ascend", "postprocess", *words]


def watch(process: subprocess.Popen) -> list[tuple[float, int]]:
    """Return the moments of a process's life and the kB of it and its children, every fifth of a second."""
    course = []
    while process.poll() is None:
        course.append((time.monotonic(), sum(map(pss_kb, family(process.pid)))))
        time.sleep(0.2)
    return course


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def pss_kb(pid: int) -> int:
    """Return the memory of a process in kB, its part of what it shares; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
