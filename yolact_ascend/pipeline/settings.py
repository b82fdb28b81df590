"""The key=value words of `run_all.sh`: one table of keys, and one frozen value that they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.errors import UsageError
from yolact_ascend.flags import (
    CANVAS,
    COUNT,
    DEVICE,
    FIT,
    MAX_BATCH_SIZE,
    MAX_WORKERS,
    OPERATORS,
    THREADS,
    read_npus,
)
from yolact_ascend.models.canvas import read_canvas
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, DEFAULT_WEIGHTS, ModelConfig, get_config
from yolact_ascend.models.description import Description
from yolact_ascend.models.families import all_cuts, all_operators, choose_operators, default_cut, family_of
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, RESIZE, require_embeddable
from yolact_ascend.models.rcnn.yaml_config import is_config_file
from yolact_ascend.models.values import FITS
from yolact_ascend.pipeline.model_source import choose_model
from yolact_ascend.targets.registry import DEFAULT_TARGET, TARGETS, read_device, read_embed, read_precision
from yolact_ascend.targets.target import BATCH_CONTENTS, COMPILE, RUN, DeviceRequest, Target
from yolact_ascend.words import listed, one_of, optional, path, switch, whole_number

FULL_STAGES = ("patch", "export", "compile", "preprocess", "infer", "postprocess", "report")
STREAM_STAGES = ("patch", "export", "compile", "stream", "report")
PERF_STAGES = ("patch", "export", "compile", "benchmark", "report")
# What a stage needs a target's programs for; a stage that is not here needs none of them.
WORK_OF_STAGE = {"compile": COMPILE, "infer": RUN, "stream": RUN, "benchmark": RUN}
WITHOUT_DATASET = frozenset(("patch", "export", "compile"))
# The ways of a run: the word that chooses one, and its stages.
STAGES_OF_WAY = {"mode=full": FULL_STAGES, "stream=1": STREAM_STAGES, "mode=perf": PERF_STAGES}
MODES = ("full", "perf")
MAX_LOOP = 100_000  # ais_bench's own limit of --loop


@dataclass(frozen=True)
class RunSettings:
    """What one run was asked to do."""

    batch_sizes: tuple[int, ...]
    config: str
    config_file: str | None  # the user's Detectron2 config file that says it; None: it is found by its name
    model_config: ModelConfig  # of that name, with the canvas that is asked for and its published classes
    weights: Path
    classes: str | None  # where the names are from when the weights name none; see `classes.read_listed`
    coco: Path
    images: Path | None  # with `annotations`, in place of `coco`
    annotations: Path | None
    out: Path
    limit: int | None
    target: str
    device: str
    soc: str | None
    npus: tuple[int, ...]
    mode: str
    stream: bool
    workers: int | None
    loop: int
    first: str
    last: str
    force: frozenset[str]
    upstream: Path | None
    precision: str
    embed: str  # of models.inputs: what the compiled model does to its input by itself
    threads: int | None  # of a model that runs on the host's CPU
    cut: str
    operators: str
    canvas: tuple[int, int] | None  # height and width in px; None: the config's
    fit: str | None  # of models.canvas; None: the config's
    input: str
    given: frozenset[str] = frozenset()  # the keys that the user wrote
    is_demo: bool = False  # see `demo`
    exported: Description | None = None  # the model in the work folder, where it stands in for weights

    @property
    def has_batch_file(self) -> bool:
        """Whether a benchmark's batch is in a file, and not what the target's program fills it with by itself."""
        return self.input != TARGETS[self.target].batch_contents[0]

    @property
    def input_dtype(self) -> str:
        """The form of the compiled model's input, of `models.inputs`."""
        return DTYPE_OF_EMBED[self.embed]

    @property
    def devices(self) -> DeviceRequest:
        """Which devices of the target are asked for."""
        work = frozenset(WORK_OF_STAGE[stage] for stage in self.stages if stage in WORK_OF_STAGE)
        return DeviceRequest(self.device, self.soc, self.npus, self.threads, work, self.precision)

    @property
    def needs_dataset(self) -> bool:
        """Whether one of the stages to run uses images or annotations."""
        return self.input == "dataset" and not WITHOUT_DATASET.issuperset(self.stages)

    @property
    def image_limit(self) -> int | None:
        """How many images of the data set are used at most: a benchmark runs those of one batch."""
        if self.mode == "full":
            return self.limit
        return min(max(self.batch_sizes), self.limit or max(self.batch_sizes))

    @property
    def way(self) -> str:
        """Which of `STAGES_OF_WAY` it is."""
        return "stream=1" if self.stream else f"mode={self.mode}"

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages to run, from `from=` to `to=`."""
        stages = STAGES_OF_WAY[self.way]
        return stages[stages.index(self.first) : stages.index(self.last) + 1]


@dataclass(frozen=True)
class Key:
    """One key: its default as a word, how its value is read, and its help."""

    default: str
    read: Callable[[str], Any]
    help: str
    alias: str = ""  # another name


def _config(word: str) -> str:
    """Return the name of a config as the lists have it, or the word of a config file that says another one."""
    name = get_config(word).name
    return name if name in CONFIGS else word


ALL_STAGES = tuple(dict.fromkeys((*FULL_STAGES, *STREAM_STAGES, *PERF_STAGES)))


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
        optional(_config),
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
        "", str, "ascend: fp16 (default), fp32; onnxruntime, torch: fp32; openvino: fp32 (default), bf16, fp16"
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
        "where the graph on the device ends: fpn (default, before the prediction heads), heads (after them), or boxes "
        "(with scores and boxes decoded, for other programs, too)",
    ),
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
    "upstream": Key(
        "",
        optional(path),
        "export the network of this checkout of YolactEdge or YOLACT (cloned and patched if it is missing)",
    ),
}
ALIASES = {setting.alias: name for name, setting in KEYS.items() if setting.alias}


def parse_words(words: Sequence[str]) -> RunSettings:
    """Read the words of a run; raises UsageError that names the bad word and what was expected."""
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        key = ALIASES.get(name, name)
        if not equals or key not in KEYS:
            raise UsageError(f"'{word}' is not a setting of a run. Settings are KEY=VALUE; keys: {', '.join(KEYS)}.")
        if key in given:
            raise UsageError(f"{key}= is given twice: '{given[key]}' and '{value}'.")
        given[key] = value
    values = {}
    for name, setting in KEYS.items():
        values[name] = _read(name, given.get(name, setting.default), setting.read)
    return _settings(values, frozenset(given))


def describe_keys() -> str:
    """Return the help text: one line a key."""
    width = max(map(len, KEYS))
    return "\n".join(
        f"  {name:<{width}}  {key.help}"
        + (f" (default: {key.default})" if key.default else "")
        + (f"; also {key.alias}=" if key.alias else "")
        for name, key in KEYS.items()
    )


def _settings(values: dict[str, Any], given: frozenset[str]) -> RunSettings:
    if values["stream"] and values["mode"] == "perf":
        raise UsageError("stream=1 and mode=perf cannot be combined: mode=perf runs one batch repeatedly. Remove one.")
    way = "stream=1" if values["stream"] else f"mode={values['mode']}"
    stages = STAGES_OF_WAY[way]
    first, last = values["from"] or stages[0], values["to"] or stages[-1]
    for key, stage in (("from", first), ("to", last)):
        if stage not in stages:
            raise UsageError(f"{key}={stage}: {way} does not have this stage. Its stages: {', '.join(stages)}.")
    if stages.index(first) > stages.index(last):
        raise UsageError(f"from={first} comes after to={last}; the order is {', '.join(stages)}.")
    if values["mode"] == "full" and values["input"] not in (None, "dataset"):
        raise UsageError(
            f"input={values['input']}: mode=full runs the images of coco=. Leave out input=, or set mode=perf."
        )
    if values["images"] and not values["annotations"]:
        raise UsageError(f"images={values['images']} needs annotations=FILE, which lists these images.")
    exported, config = choose_model(values, "weights" in given, _must_export(values))
    target = TARGETS[values["target"]]
    embed = _read("embed", values["embed"], lambda word: read_embed(target, word))
    require_embeddable(config, embed)
    if embed == RESIZE:
        _require_single_images(values, way)
    return RunSettings(
        batch_sizes=values["bs"],
        config=config.name,
        config_file=values["config"] if is_config_file(values["config"] or "") else None,
        model_config=config,
        weights=values["weights"],
        classes=values["classes"],
        coco=values["coco"],
        images=values["images"],
        annotations=values["annotations"],
        out=values["out"],
        limit=values["limit"],
        target=target.name,
        device=_read("device", values["device"], lambda word: read_device(target, word)),
        soc=values["soc"],
        npus=values["npus"],
        mode=values["mode"],
        stream=values["stream"],
        workers=values["workers"],
        loop=values["loop"],
        first=first,
        last=last,
        force=values["force"],
        upstream=values["upstream"],
        precision=_read("precision", values["precision"], lambda word: read_precision(target, word)),
        cut=exported.cut if exported else _read_cut(values["cut"], config),
        operators=choose_operators(config, values["operators"], target.name == "ascend"),
        canvas=values["canvas"],
        fit=values["fit"],
        embed=embed,
        threads=values["threads"],
        input=_benchmark_input(values, target),
        given=given,
        exported=exported,
    )


def _must_export(values: dict[str, Any]) -> bool:
    """Whether the export itself is asked for, by name."""
    named = {values["from"], values["to"]} | (set() if values["force"] == set(ALL_STAGES) else values["force"])
    return not named.isdisjoint(("patch", "export"))


def _read_cut(word: str | None, config: ModelConfig) -> str:
    return str(_read("cut", word or default_cut(config), one_of(family_of(config).cuts)))


def _require_single_images(values: dict[str, Any], way: str) -> None:
    """Raise UsageError for a run that cannot feed images of any size to the model."""
    if values["bs"] != (1,):
        raise UsageError("embed=resize takes one image at a time, because images differ in size. Set bs=1.")
    if way == "mode=full" and values["to"] not in WITHOUT_DATASET:
        raise UsageError(
            "embed=resize cannot run from input files, which all have the network's size. Set stream=1, or embed=1."
        )


def _benchmark_input(values: dict[str, Any], target: type[Target]) -> str:
    if values["mode"] == "full":
        return "dataset"
    chosen: str = values["input"] or target.batch_contents[0]
    if chosen not in target.batch_contents:
        expected = " or ".join(target.batch_contents)
        raise UsageError(
            f"input={chosen}: expected {expected} (target={target.name}), whose benchmark program fills its batch."
        )
    return chosen


def _read(key: str, word: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(word)
    except ValueError as error:
        raise UsageError(f"{key}={word}: expected {error}.") from None
