"""What `scale` costs beside the work: handing out shards, listing parts, planning. No device, drawn detections.

    python benchmarks/scale_orchestration.py [--measure handing listing planning] [--json FILE]

`handing`: 20000 images in shards of 10 by 16 workers on a Ray cluster of two raylets of this machine, each of which
writes the same detections under other ids. `listing`: from the start of `scale` on a place with 10000 parts to its
first word, without the merge; by `--s3`, too, where moto serves a bucket on 127.0.0.1. `planning`: an annotation file
of 7 objects an image.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import scale_devices  # noqa: E402  before Ray
from scale_devices import REPLAYED_PART, ReplayingWorker  # noqa: E402
from scale_merge import SIDE, draw_plan, draw_truth, peak_mb  # noqa: E402

from yolact_ascend.cores import count_cores  # noqa: E402
from yolact_ascend.files import write_json  # noqa: E402
from yolact_ascend.host.loading import ModelRequest  # noqa: E402
from yolact_ascend.scale.actor import Job  # noqa: E402
from yolact_ascend.scale.manifest import hash_images, match_images, read_shard, write_manifest  # noqa: E402
from yolact_ascend.scale.places import find_place  # noqa: E402
from yolact_ascend.scale.plan import Planned, read_plan  # noqa: E402
from yolact_ascend.scale.planning import SHARD_IMAGES, ScaleRequest  # noqa: E402
from yolact_ascend.scale.source import list_source  # noqa: E402
from yolact_ascend.scale.truths import read_truths  # noqa: E402

ACTORS, IMAGES, SHARD_SIZE, FOUND = 16, 20000, 10, 8
PARTS = 10000
MEASURES = ("handing", "listing", "planning")


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--images", type=int, default=IMAGES, help="of `handing`")
    parser.add_argument("--parts", type=int, default=PARTS, help="of `listing`")
    parser.add_argument("--s3", action="store_true", help="list a bucket, too")
    parser.add_argument("--planned", type=int, nargs="+", default=[20000, 100000], help="images of `planning`")
    parser.add_argument("--json", type=Path, help="also write the result here, beside what it has of others")
    parser.add_argument("--annotations", type=Path, help=argparse.SUPPRESS)  # of one planning, in this process
    args = parser.parse_args()
    if args.annotations:
        print(json.dumps(measure_plan(args.annotations)))
        return
    found = json.loads(args.json.read_text()) if args.json and args.json.is_file() else {}
    measures = {"handing": measure_handing, "listing": measure_listing, "planning": measure_planning}
    for what in args.measure:
        with tempfile.TemporaryDirectory() as name:
            found[what] = measures[what](args, Path(name))
        print(json.dumps({what: found[what]}, indent=2), flush=True)
        if args.json:
            write_json(args.json, {"cores": count_cores(), **found})


def measure_handing(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Have 16 workers write replayed parts; watch this process, the driver."""
    out = folder / "out"
    planned, table = draw_plan(str(out), args.images, FOUND, SHARD_SIZE)
    pq.write_table(table, folder / REPLAYED_PART)
    job = Job(str(out), ScaleRequest(""), ModelRequest(folder / "none.onnx"), 1)
    parts = out / "parts"
    course: list[tuple[float, int, float, float]] = []  # seconds, parts, MB and CPU seconds of the driver
    ended = threading.Event()
    start = time.perf_counter()

    def watch() -> None:
        while True:
            done = sum(1 for _ in parts.iterdir()) if parts.is_dir() else 0
            course.append((time.perf_counter() - start, done, resident_mb(), time.process_time()))
            if ended.wait(0.2):
                return

    with scale_devices.two_hosts(count_cores()) as address:
        watching = threading.Thread(target=watch)
        watching.start()
        try:
            scale_devices.run_workers(ReplayingWorker, job, ACTORS, address)
        finally:
            ended.set()
            watching.join()
    working = [each for each in course if each[1] > planned.plan.shards / 10]  # all workers were there by then
    first, last = working[0], next(each for each in working if each[1] == planned.plan.shards)
    shards = last[1] - first[1]
    return {
        **{"images": args.images, "shards": planned.plan.shards, "actors": ACTORS},
        "ms_per_shard": 1000 * (last[0] - first[0]) / shards,
        "driver_core_ms_per_shard": 1000 * (last[3] - first[3]) / shards,
        "driver_mb_by_parts": [[each[1], round(each[2], 1)] for each in working[:: max(1, len(working) // 10)]],
        "driver_mb_grown": last[2] - first[2],
    }


def resident_mb() -> float:
    """Return the memory (RSS) of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def measure_listing(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """List very many parts."""
    places = {"local": str(folder / "out")}
    with contextlib.ExitStack() as stack:
        if args.s3:
            places["s3"] = stack.enter_context(served_bucket())
        return {"parts": args.parts, **{name: measure_place(place, args.parts) for name, place in places.items()}}


def measure_place(place: str, parts: int) -> dict[str, float]:
    """Put a plan and parts into a place, and list them."""
    planned, _ = draw_plan(place, parts, FOUND, 1)
    for shard in range(parts - 1):
        planned.part(shard).write(b"part")
    start = time.perf_counter()
    out = find_place(place)
    plan = read_plan(out)
    read = time.perf_counter()
    missing = Planned(out, plan).missing()
    listed = time.perf_counter()
    assert missing == [parts - 1], missing
    return {"read_plan_s": read - start, "list_s": listed - read}


@contextlib.contextmanager
def served_bucket() -> Iterator[str]:
    """Give the URI of a folder in a bucket that moto serves on 127.0.0.1."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        os.environ.update(AWS_ACCESS_KEY_ID="moto", AWS_SECRET_ACCESS_KEY="moto", AWS_EC2_METADATA_DISABLED="true")
        words = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        system, _ = fs.FileSystem.from_uri(f"s3://parts?{words}&allow_bucket_creation=true")
        system.create_dir("parts")
        yield f"s3://parts/out?{words}"
    finally:
        server.stop()


def measure_planning(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Plan numbers of images, each in a process of its own."""
    rows = []
    for count in args.planned:
        file = folder / f"{count}.json"
        write_annotations(file, count)
        command = [sys.executable, __file__, f"--annotations={file}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        rows.append({"images": count, "annotations_gb": file.stat().st_size / 1e9, **json.loads(done.stdout)})
        file.unlink()
    return {"results": rows}


def write_annotations(file: Path, count: int) -> None:
    """Write an annotation file of so many images, and a list of them."""
    with file.with_suffix(".txt").open("w") as listed:
        listed.writelines(f"{n:012d}.jpg\n" for n in range(count))
    rng, number = np.random.default_rng(0), 0
    truths = [draw_truth(rng) for _ in range(1000)]
    with file.open("w") as opened:
        opened.write('{"categories": ' + json.dumps([{"id": n, "name": f"class {n}"} for n in range(80)]))
        names = ({"id": n, "file_name": f"{n:012d}.jpg", "height": SIDE, "width": SIDE} for n in range(count))
        opened.write(', "images": [')
        opened.writelines((", " if image["id"] else "") + json.dumps(image) for image in names)
        opened.write('], "annotations": [')
        for n in range(count):
            for entry in truths[n % len(truths)]:
                number += 1
                opened.write((", " if number > 1 else "") + json.dumps({**entry, "image_id": n, "id": number}))
        opened.write("]}")


def measure_plan(file: Path) -> dict[str, float]:
    """Do what planning does with a list and an annotation file, up to the manifest; and read a shard of that."""
    source, before = file.with_suffix(".txt"), peak_mb()
    start, core_start = time.perf_counter(), time.process_time()
    entries = list_source(str(source))
    listed, after_listing = time.perf_counter() - start, peak_mb()
    read = read_truths(file)
    read_s, after_reading = time.perf_counter() - start - listed, peak_mb()
    images = match_images(entries, read, "drawn")
    hash_images(images)
    manifest = find_place(str(file.parent / "manifest.parquet"))
    write_manifest(manifest, images, SHARD_IMAGES)
    planned = time.perf_counter() - start
    read_shard(manifest, 0)
    return {
        **{"list_s": listed, "read_s": read_s, "seconds": planned, "core_s": time.process_time() - core_start},
        **{"before_mb": before, "listed_mb": after_listing, "read_mb": after_reading, "peak_mb": peak_mb()},
        "shard_ms": 1000 * (time.perf_counter() - start - planned),
        "manifest_gb": Path(manifest.path).stat().st_size / 1e9,
    }


if __name__ == "__main__":
    main()
