"""The `cuts` verb: what each cut leaves to the card, to the disk and to the host, counted and measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from yolact_ascend.analysis.layers import totals_of
from yolact_ascend.files import shipped
from yolact_ascend.images.decode import decode_image, find_images
from yolact_ascend.images.transforms import prepare_inputs
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.families import family_of
from yolact_ascend.models.family import Detector
from yolact_ascend.models.inputs import FLOAT32, INPUT_DTYPES, UINT8, input_tensors
from yolact_ascend.models.network_layers import count_network
from yolact_ascend.models.weights import load_network
from yolact_ascend.pipeline import demo
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.timings import Timings
from yolact_ascend.workers import open_workers

SCRATCH_IMAGES = 5000  # as many as val2017 has
HOST_STEPS = ("decode", "resize", "heads", "detect", "masks", "RLE")  # of the host, in order
Outputs = Sequence[np.ndarray]


@dataclass(frozen=True)
class Measured:
    """What one core of the host spent: medians over images, in ms, by step of each cut."""

    weights: Path
    images: int
    source: str
    detections: float  # per image, in the mean: masks and RLE take in proportion
    core_ms: dict[str, dict[str, float]]  # by cut, then by step


@dataclass(frozen=True)
class CutCosts:
    """What the network costs at one cut, whatever its weights."""

    cut: str
    device_flop: int  # per image
    host_flop: int  # per image, in the part of the network that the host runs
    input_bytes: dict[str, int]  # per image, by the dtype of the picture; float32 alone where pictures are padded
    output_bytes: int  # per image

    def scratch_bytes(self, dtype: str) -> int:
        """Return what inputs of a dtype and outputs take on disk for `SCRATCH_IMAGES`, at one batch size."""
        return SCRATCH_IMAGES * (self.input_bytes[dtype] + self.output_bytes)


def choose_weights(config: ModelConfig, trained_model: Path | None) -> Path | None:
    """Return the weights to measure with: the named ones, else those that come with the repository, else none."""
    return trained_model or (shipped(config.source.url) if config.source.is_shipped else None)


def count_cuts(config: ModelConfig) -> list[CutCosts]:
    """Count what each cut of the network costs; needs no weights."""
    family = family_of(config)
    flop = {cut: totals_of(count_network(config, cut))["flop"] for cut in family.cuts}
    whole = max(flop.values())
    return [
        CutCosts(
            cut,
            flop[cut],
            whole - flop[cut],
            {dtype: sum(spec.size_bytes for spec in input_tensors(config, dtype)) for dtype in _input_dtypes(config)},
            sum(output.size_bytes for output in family.outputs(config, cut)),
        )
        for cut in family.cuts
    ]


def _input_dtypes(config: ModelConfig) -> tuple[str, ...]:
    """Return the dtypes that a model's input may have: no model pads pixels by itself."""
    return INPUT_DTYPES if config.preprocessing.is_stretched else (FLOAT32,)


def measure_cuts(config: ModelConfig, weights: Path, image_path: Path | None, limit: int) -> Measured:
    """Measure the host's work on the first images of a folder, or, without one, on drawn scenes.

    The network runs once on each image, for all cuts; a worker with one thread does what `preprocess` and
    `postprocess` do. Raises DatasetError where there are no images.
    """
    with _images(image_path, limit) as (images, source):
        cuts, network = family_of(config).cuts, load_network(weights, config)
        detectors = {cut: load_detector(weights, config, cut) for cut in cuts}
        timings: list[dict[str, Timings]] = []
        counts: list[int] = []
        with open_workers(1, _take_detectors, detectors) as pool:
            for path in tqdm([images[0], *images], desc="cuts", unit="image"):  # the first one warms up
                inputs, size, prepared = pool.result(pool.submit(_prepare_file, path, config))
                found, spent = pool.result(pool.submit(_detect_at_cuts, _run_network(network, config, inputs), size))
                for one in spent.values():
                    one.add(prepared)
                timings.append(spent)
                counts.append(found)
    core_ms = {cut: _medians([spent[cut] for spent in timings[1:]]) for cut in cuts}
    return Measured(weights, len(images), source, mean(counts[1:]), core_ms)


def format_cuts(config: ModelConfig, costs: Sequence[CutCosts], measured: Measured | None) -> str:
    """Return a table with a column for each cut, and what it was counted and measured on."""
    figures: list[tuple[str, Callable[[CutCosts], float]]] = [
        ("GFLOP per image on the device", lambda cut: cut.device_flop / 1e9),
        ("GFLOP per image on the host", lambda cut: cut.host_flop / 1e9),
        ("MB per image out of the device", lambda cut: cut.output_bytes / 1e6),
        (f"GB on disk, {SCRATCH_IMAGES} images, float32 in", lambda cut: cut.scratch_bytes(FLOAT32) / 1e9),
    ]
    if UINT8 in costs[0].input_bytes:
        figures.append(("the same, uint8 in (aipp=1)", lambda cut: cut.scratch_bytes(UINT8) / 1e9))
    rows = [[name, *(f"{value(cut):.1f}" for cut in costs)] for name, value in figures]
    notes = [f"{config.name}, {config.num_classes} classes; FLOP are 2 for each multiply-add of its layers (--layers)."]
    if measured is None:
        notes.append(
            "The host was not measured: how much it has to do depends on what the network finds, which "
            "random weights do not tell. Name weights of this config: --trained_model."
        )
    else:
        core_ms = [measured.core_ms[cut.cut] for cut in costs]
        for step in HOST_STEPS:
            rows.append([f"core-ms per image, {step}", *(f"{ms[step]:.1f}" if step in ms else "" for ms in core_ms)])
        rows.append(["core-ms per image on the host", *(f"{sum(ms.values()):.1f}" for ms in core_ms)])
        notes.append(
            f"Measured on one core with {measured.weights.name} on {measured.source}; medians; "
            f"{measured.detections:.1f} detections per image. The network ran in PyTorch on the CPU and is not "
            "counted, nor is reading and writing the files between the stages."
        )
    alignment = ("left", *("right" for _ in costs))
    table = tabulate(rows, ["", *(cut.cut for cut in costs)], "plain", disable_numparse=True, colalign=alignment)
    return "\n".join([table, "", *notes])


def cuts_to_json(config: ModelConfig, costs: Sequence[CutCosts], measured: Measured | None) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "schema_version": 1,
        "config": config.name,
        "classes": config.num_classes,
        "scratch_images": SCRATCH_IMAGES,
        "cuts": [
            {
                "cut": cut.cut,
                "device_flop": cut.device_flop,
                "host_flop": cut.host_flop,
                "output_bytes": cut.output_bytes,
                "scratch_bytes": {dtype: cut.scratch_bytes(dtype) for dtype in cut.input_bytes},
                "core_ms_per_image": measured and measured.core_ms[cut.cut],
            }
            for cut in costs
        ],
        "measured": measured
        and {
            "weights": measured.weights.name,
            "images": measured.images,
            "source": measured.source,
            "detections_per_image": measured.detections,
        },
    }


@contextmanager
def _images(folder: Path | None, limit: int) -> Iterator[tuple[list[Path], str]]:
    """Give image files, and a phrase on which they are."""
    if folder is not None:
        images = find_images(folder, limit)
        yield images, f"the first {len(images)} of {folder}"
        return
    with tempfile.TemporaryDirectory() as drawn:
        draw_dataset(Path(drawn), 0, limit, demo.SEED)
        images = find_images(Path(drawn) / "val2017", limit)
        yield (
            images,
            f"the first {len(images)} drawn scenes, which only the demo's weights were trained for (--image_path)",
        )


def _run_network(network: nn.Module, config: ModelConfig, inputs: Outputs) -> dict[str, Outputs]:
    """Return the outputs of one image at each cut."""
    family, batch = family_of(config), [torch.from_numpy(array)[None] for array in inputs]
    once = _Once(network)
    with torch.inference_mode():
        return {cut: _samples(family.at_cut(once, config, cut)(*batch)) for cut in family.cuts}


class _Once(nn.Module):
    """A network that computes one batch once, however often it is asked for it; its head is the network's."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._outputs: Sequence[torch.Tensor] | None = None

    @property
    def head(self) -> Any:
        return self.network.head

    def forward(self, *batch: torch.Tensor) -> Sequence[torch.Tensor]:
        if self._outputs is None:
            self._outputs = self.network(*batch)
        return self._outputs


def _samples(outputs: Sequence[torch.Tensor]) -> list[np.ndarray]:
    return [output[0].numpy() for output in outputs]


def _medians(timings: Sequence[Timings]) -> dict[str, float]:
    """Return the median ms of each step, in the order of `HOST_STEPS`; an image without detections makes no mask."""
    taken = {step for one in timings for step in one.seconds}
    return {step: 1000 * median(one.seconds.get(step, 0.0) for one in timings) for step in HOST_STEPS if step in taken}


_detectors: dict[str, Detector]  # of this worker


def _take_detectors(detectors: dict[str, Detector]) -> None:
    global _detectors
    _detectors = detectors


def _prepare_file(path: Path, config: ModelConfig) -> tuple[tuple[np.ndarray, ...], tuple[int, int], Timings]:
    timings = Timings()
    with timings.timed("decode"):
        pixels = decode_image(path)
    with timings.timed("resize"):
        inputs = prepare_inputs(pixels, config, FLOAT32)
    return inputs, pixels.shape[:2], timings


def _detect_at_cuts(outputs: dict[str, Outputs], size: tuple[int, int]) -> tuple[int, dict[str, Timings]]:
    """Detect at each cut; return how many instances were found, and what each cut took."""
    spent = {cut: Timings() for cut in outputs}
    found = [
        _detectors[cut].detect(values, *size, "the network's outputs", "Are the weights of this config?", spent[cut])
        for cut, values in outputs.items()
    ]
    return len(found[0].scores), spent
