"""How many cards, hosts, cores and hours many images take, by what the report of one run measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.disk import in_gb, size_of
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import read_json
from yolact_ascend.tables import counted, markdown_table
from yolact_ascend.targets.folder import WorkFolder

CPU = "cpu"  # kind of a device that is the host's own processor
CARDS = (1, 2, 4, 8, 16, 32, 64)
SECONDS_PER_HOUR = 3600
# An Atlas 800 (model 3000) takes no more: MindCluster 7.3.0, "Inference Server (with Atlas 300I Inference Cards)".
MOST_CARDS = 8
# Of the host per image, beside the steps that a report counts: reading, copies, hand-overs, parts and Ray. Measured
# with 8 simulated devices (benchmarks/scale_speed.py: 11.3 core-ms of all processes, 5.8 of the steps).
BESIDE_STEPS_CORE_MS = 5.5


@dataclass(frozen=True)
class Measured:
    """What one run measured."""

    card_images_per_s: float  # of one device's compute time
    core_ms_per_image: float  # of the host
    result_bytes_per_image: float  # of the results files
    device: str  # in words
    note: str  # what the figures are of; "" where they are a card's
    is_host: bool = False  # the device is the host's own CPU, which the host's work shares


@dataclass(frozen=True)
class Hosts:
    """What a host has; `cards` None: as many as its cores keep busy, `MOST_CARDS` at most."""

    cores: int
    cards: int | None = None


def read_measured(path: Path) -> Measured:
    """Read the report of a finished run; raises ArtifactError when it has no scores or no time per image."""
    report = read_json(path, "the report of a run")
    try:
        results = [each for each in report["results"] if each["way"] and each["images"]]
        if not results:
            raise ArtifactError(f"{path} scores no images (mode=perf?). Pass the report of a whole run.")
        best = max(results, key=lambda each: each["throughput_images_per_s"])
        core_ms = best["way"]["total_core_ms_per_image"]
        if core_ms is None:
            raise ArtifactError(f"{path} does not know the time of each step: stages were kept. Rerun with force=all.")
        device = report["device"]
        return Measured(
            best["throughput_images_per_s"] / len(best["npus"]),
            core_ms + BESIDE_STEPS_CORE_MS,
            _result_bytes(path.parent, best["batch_size"]) / best["images"],
            f"{device['target']}, {device['chip']}, bs={best['batch_size']}, {best['precision']}",
            device.get("note", ""),
            device["kind"] == CPU,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a report.json of a run ({error!r}). Pass the one in its work folder."
        ) from None


def _result_bytes(folder: Path, batch_size: int) -> int:
    return sum(map(size_of, WorkFolder(folder).detections(batch_size, (BOX, MASK)).values()))


def describe_capacity(images: int, measured: Measured, hosts: Hosts) -> str:
    """Return a table of cards, hosts, cores and hours for so many images, and what it is made from."""
    if measured.is_host:
        return _describe_hosts(images, measured, hosts)
    cores_per_card = measured.card_images_per_s * measured.core_ms_per_image / 1000
    per_host = hosts.cards or max(1, min(MOST_CARDS, int(hosts.cores / cores_per_card)))
    rows = [_row(images, cards, measured, hosts, per_host) for cards in CARDS]
    heads = ["cards", "hosts", "cores kept busy", "images/s", "hours"]
    lines = [
        f"{images} images by what {measured.device} measured: {measured.card_images_per_s:.2f} images/s per card, "
        f"{measured.core_ms_per_image:.2f} core-ms of the host per image, "
        f"{BESIDE_STEPS_CORE_MS} of them beside the report's steps ({cores_per_card:.2f} cores per card).",
        f"Hosts of {counted(hosts.cores, 'core')} with {counted(per_host, 'card')} each"
        + (": the cores are the limit." if per_host * cores_per_card > hosts.cores else "."),
        "",
        markdown_table(heads, rows),
        *_describe_results(images, measured),
    ]
    return "\n".join(lines)


def _describe_hosts(images: int, measured: Measured, hosts: Hosts) -> str:
    """Return the same for hosts without cards: each image takes the cores twice, for the model and for the rest."""
    model_ms = 1000 / measured.card_images_per_s
    ms = model_ms + measured.core_ms_per_image / hosts.cores
    rows = [[str(count), f"{1000 * count / ms:.1f}", _hours(images, 1000 * count / ms)] for count in CARDS]
    lines = [
        f"{images} images by what {measured.device} measured: the model takes {model_ms:.1f} ms of a host "
        f"like that per image, and the rest {measured.core_ms_per_image:.2f} core-ms, "
        f"{BESIDE_STEPS_CORE_MS} of them beside the report's steps, by {counted(hosts.cores, 'core')}.",
        "",
        markdown_table(["hosts", "images/s", "hours"], rows),
        *_describe_results(images, measured),
    ]
    return "\n".join(lines)


def _describe_results(images: int, measured: Measured) -> list[str]:
    size = in_gb(int(images * measured.result_bytes_per_image))
    said = ["", f"Results: {size} GB of JSON, and no more than that in parts."]
    return [*said, *([f"Note: {measured.note}"] if measured.note else [])]


def _hours(images: int, rate: float) -> str:
    return f"{images / rate / SECONDS_PER_HOUR:.2f}"


def _row(images: int, cards: int, measured: Measured, hosts: Hosts, per_host: int) -> list[Any]:
    count = math.ceil(cards / per_host)
    # The cores of a host are shared by its cards; full hosts are the slowest.
    by_cores = 1000 * hosts.cores / measured.core_ms_per_image / min(per_host, cards)
    rate = cards * min(measured.card_images_per_s, by_cores)
    cores = rate * measured.core_ms_per_image / 1000
    return [str(cards), str(count), f"{cores:.1f}", f"{rate:.1f}", _hours(images, rate)]
