"""The keys of a run: `bash scripts/run_all.sh KEY=VALUE …`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from yolact_ascend.flags import (
    CANVAS,
    COUNT,
    DEVICE,
    FIT,
    MAX_BATCH_SIZE,
    MAX_WORKERS,
    OPERATORS,
    OUTPUT_TYPE,
    RECIPE,
    THREADS,
    read_npus,
)
from yolact_ascend.models.canvas import read_canvas
from yolact_ascend.models.config import DEFAULT_CONFIG, DEFAULT_WEIGHTS
from yolact_ascend.models.families import all_cuts, all_operators
from yolact_ascend.models.output_type import OUTPUT_TYPES
from yolact_ascend.models.values import FITS
from yolact_ascend.pipeline.ways import ALL_STAGES, MODES
from yolact_ascend.targets.registry import DEFAULT_TARGET, TARGETS
from yolact_ascend.targets.target import BATCH_CONTENTS
from yolact_ascend.words import listed, one_of, optional, path, switch, whole_number

LANGUAGES = ("en", "zh")  # of the report
MAX_LOOP = 100_000  # ais_bench's own limit of --loop


@dataclass(frozen=True)
class Key:
    """One key: its default as a word, how its value is read, and its help."""

    default: str
    read: Callable[[str], Any]
    help: str
    alias: str = ""  # another name


def _force(word: str) -> frozenset[str]:
    if word in ("", "0"):
        return frozenset()
    if word in ("1", "all"):
        return frozenset(ALL_STAGES)
    return frozenset(one_of(ALL_STAGES)(part) for part in word.split(","))


read_batch_sizes = listed(
    whole_number(1, MAX_BATCH_SIZE), f"whole numbers from 1 to {MAX_BATCH_SIZE}, separated by commas"
)

KEYS = {
    "bs": Key("1", read_batch_sizes, "batch size, or several: bs=1,4,8"),
    "config": Key(
        "",
        optional(str),
        "model config, by its name in YolactEdge, YOLACT or Detectron2, or your own Detectron2 config file, FILE.yaml "
        f"(default: what the weights state, by what they hold or by their file's name, else {DEFAULT_CONFIG})",
    ),
    "weights": Key(DEFAULT_WEIGHTS, path, "weights file (.pth, .pkl); not needed once the model is exported"),
    "classes": Key("", optional(str), "class names of weights that name none: a file, or names separated by commas"),
    "coco": Key("data/coco", path, "COCO folder with val2017/ (or images/val2017/, images/) and annotations/"),
    "images": Key("", optional(path), "folder of the images, with annotations=, for a data set of another layout"),
    "annotations": Key("", optional(path), "COCO annotation file, in place of annotations/instances_val2017.json"),
    "out": Key("results", path, "work folder, for all that a run writes"),
    "limit": Key("", optional(COUNT), "use only the first N images"),
    "target": Key(DEFAULT_TARGET, one_of(TARGETS), f"where the model runs: {', '.join(TARGETS)}"),
    "device": Key(
        DEVICE.default,
        str,
        "ascend: auto (the NPU, or the CPU emulation where neither Ascend's toolkit CANN nor a card is found), npu, "
        "emulation; "
        "onnxruntime: auto, cpu; openvino: auto, cpu, gpu, npu; torch: auto, cpu, cuda",
    ),
    "soc": Key("", optional(str), "chip to compile for (atc --soc_version), if npu-smi does not report it"),
    "npus": Key("0", read_npus, "device number, or several that share the images: npus=0,1"),
    "precision": Key(
        "",
        str,
        "ascend: fp16 (default), fp32, int8; onnxruntime: fp32 (default), int8; openvino: fp32 (default), bf16, fp16, "
        "int8; torch: fp32",
    ),
    "recipe": Key("", str, f"precision=int8: {RECIPE.help} (default: {RECIPE.default})"),
    "calibration": Key(
        "",
        optional(path),
        "precision=int8: folder of training images, or a COCO folder with train2017/ (default: that of coco=)",
    ),
    "embed": Key(
        "0",
        str,
        "1: the model takes uint8 images (a quarter of the bytes) and normalises them itself, on ascend by AIPP; "
        "resize (openvino): images of any size, which it also resizes",
        alias="aipp",
    ),
    "threads": Key("", optional(whole_number(1, MAX_WORKERS)), THREADS.help),
    "cut": Key(
        "",
        optional(one_of(all_cuts())),
        "where the graph on the device ends: fpn (default, before the prediction heads), heads (after them), boxes "
        "(with scores and boxes decoded, for other programs, too), candidates (the best 1000 anchors), or detections",
    ),
    "output_type": Key("", optional(one_of(tuple(OUTPUT_TYPES))), OUTPUT_TYPE.help),
    "operators": Key("", optional(one_of(all_operators())), OPERATORS.help),
    "canvas": Key("", optional(read_canvas), CANVAS.help),
    "fit": Key("", optional(one_of(FITS)), FIT.help),
    "mode": Key("full", one_of(MODES), "full: all stages, up to mAP; perf: throughput only, needs no data set"),
    "stream": Key(
        "0", switch, "1: images to mAP in memory, in overlapping stages; writes no inputs and outputs to disk"
    ),
    "workers": Key("", optional(whole_number(1, MAX_WORKERS)), "processes for the host's work (default: all cores)"),
    "loop": Key("100", whole_number(1, MAX_LOOP), "mode=perf: how many times the batch runs"),
    "input": Key(
        "",
        optional(one_of(BATCH_CONTENTS)),
        "mode=perf: what the batch holds: zeros (default), random or dataset; openvino: random",
    ),
    "from": Key("", optional(one_of(ALL_STAGES)), "first stage to run; earlier stages must already have run"),
    "to": Key("", optional(one_of(ALL_STAGES)), "last stage to run"),
    "force": Key("", _force, "rerun these stages even if nothing changed: comma-separated names, or 1 for all"),
    "lang": Key("en", one_of(LANGUAGES), "language of report.html and report.md: en, zh (Chinese)"),
    "upstream": Key(
        "",
        optional(path),
        "export the network of this checkout of YolactEdge or YOLACT (cloned and patched if it is missing)",
    ),
}
ALIASES = {setting.alias: name for name, setting in KEYS.items() if setting.alias}


def describe_keys() -> str:
    """Return the help text: one line a key."""
    width = max(map(len, KEYS))
    return "\n".join(
        f"  {name:<{width}}  {key.help}"
        + (f" (default: {key.default})" if key.default else "")
        + (f"; also {key.alias}=" if key.alias else "")
        for name, key in KEYS.items()
    )
