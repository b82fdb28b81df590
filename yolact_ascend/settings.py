"""The key=value words of `run_all.sh`: one table of keys, and one frozen value that they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.config import CUTS, DEFAULT_CONFIG, DEFAULT_CUT, DEFAULT_WEIGHTS, get_config, require_upstreams
from yolact_ascend.errors import UsageError

DEVICES = ("auto", "npu", "cpu")
FULL_STAGES = ("patch", "export", "compile", "preprocess", "infer", "postprocess", "report")
STREAM_STAGES = ("patch", "export", "compile", "stream", "report")
PERF_STAGES = ("patch", "export", "compile", "benchmark", "report")
# The ways of a run: the word that chooses one, and its stages.
STAGES_OF_WAY = {"mode=full": FULL_STAGES, "stream=1": STREAM_STAGES, "mode=perf": PERF_STAGES}
MODES = ("full", "perf")
MAX_BATCH_SIZE = 4096  # ais_bench's own limit of --batchsize
MAX_LOOP = 100_000  # and of --loop
MAX_DEVICE = 255  # and of --device
MAX_WORKERS = 1024
PRECISIONS = ("fp16", "fp32")
BENCHMARK_INPUTS = ("zeros", "random", "dataset")


@dataclass(frozen=True)
class RunSettings:
    """What one run was asked to do."""

    batch_sizes: tuple[int, ...]
    config: str
    weights: Path
    coco: Path
    out: Path
    limit: int | None
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
    aipp: bool
    cut: str
    input: str
    given: frozenset[str] = frozenset()  # the keys that the user wrote
    is_demo: bool = False  # see `demo`

    @property
    def input_dtype(self) -> str:
        """What one value of the model's input is; artifacts.INPUTS has the rest."""
        return "uint8" if self.aipp else "float32"

    @property
    def needs_dataset(self) -> bool:
        return self.input == "dataset"

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


def _positive(maximum: int) -> Callable[[str], int]:
    def read(word: str) -> int:
        # isascii: isdigit alone accepts "²" and digits that int() or a reader would not.
        if not (word.isascii() and word.isdigit() and 1 <= int(word) <= maximum):
            raise ValueError(f"a whole number from 1 to {maximum}")
        return int(word)

    return read


def _batch_sizes(word: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(_positive(MAX_BATCH_SIZE)(part) for part in word.split(",")))
    except ValueError:
        raise ValueError(f"whole numbers from 1 to {MAX_BATCH_SIZE}, separated by commas") from None


def _device_ids(word: str) -> tuple[int, ...]:
    parts = word.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) <= MAX_DEVICE for part in parts):
        raise ValueError(f"numbers of devices, 0 to {MAX_DEVICE}, separated by commas")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _one_of(words: Sequence[str]) -> Callable[[str], str]:
    def read(word: str) -> str:
        if word not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return word

    return read


def _switch(word: str) -> bool:
    return _one_of(("0", "1"))(word) == "1"


def _path(word: str) -> Path:
    if not word:
        raise ValueError("a path")
    try:
        return Path(word).expanduser()
    except RuntimeError as error:
        raise ValueError(f"a path ({error})") from None


def _config(word: str) -> str:
    return get_config(word).name


ALL_STAGES = tuple(dict.fromkeys((*FULL_STAGES, *STREAM_STAGES, *PERF_STAGES)))


def _force(word: str) -> frozenset[str]:
    if word in ("", "0"):
        return frozenset()
    if word in ("1", "all"):
        return frozenset(ALL_STAGES)
    return frozenset(_one_of(ALL_STAGES)(part) for part in word.split(","))


def _optional(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda word: None if word == "" else read(word)


KEYS = {
    "bs": Key("1", _batch_sizes, "batch size, or a comma list: bs=1,4,8"),
    "config": Key(DEFAULT_CONFIG, _config, "model config, by upstream's name"),
    "weights": Key(DEFAULT_WEIGHTS, _path, "weights file (.pth) of that config"),
    "coco": Key("data/coco", _path, "COCO folder: val2017/ or images/val2017/, and annotations/"),
    "out": Key("results", _path, "work folder"),
    "limit": Key("", _optional(_positive(10**9)), "only the first N images"),
    "device": Key("auto", _one_of(DEVICES), "auto: the NPU where CANN's tools are, else CPU emulation; npu; cpu"),
    "soc": Key("", _optional(str), "atc's --soc_version, when npu-smi does not tell it"),
    "npus": Key("0", _device_ids, "device, or devices by comma, which divide the images: npus=0,1"),
    "precision": Key("fp16", _one_of(PRECISIONS), "what the card computes in: fp16, as atc does by default, or fp32"),
    "aipp": Key("0", _switch, "1: uint8 inputs, a quarter of the bytes; the card normalises them (static AIPP)"),
    "cut": Key(DEFAULT_CUT, _one_of(CUTS), "where the card's part ends: fpn, as the guide does, or heads, after them"),
    "mode": Key("full", _one_of(MODES), "full: to mAP; perf: throughput only, no data set needed"),
    "stream": Key("0", _switch, "1: images to mAP in memory, in overlapping stages; no inputs and outputs on disk"),
    "workers": Key("", _optional(_positive(MAX_WORKERS)), "processes of the host's stages; all cores unless told"),
    "loop": Key("100", _positive(MAX_LOOP), "mode=perf: how often the batch is run"),
    "input": Key("", _optional(_one_of(BENCHMARK_INPUTS)), "mode=perf: zeros (the default there), random or dataset"),
    "from": Key("", _optional(_one_of(ALL_STAGES)), "first stage to run; the ones before must be done (stages: below)"),
    "to": Key("", _optional(_one_of(ALL_STAGES)), "last stage to run"),
    "force": Key("", _force, "redo these stages though nothing changed: names by comma, or 1 for all"),
    "upstream": Key("", _optional(_path), "export from this checkout of upstream (cloned and patched when absent)"),
}


def parse_words(words: Sequence[str]) -> RunSettings:
    """Read the words of a run; raises UsageError that names the bad word and what was expected."""
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in KEYS:
            raise UsageError(f"'{word}' is no setting of run_all.sh. Settings are KEY=VALUE, with {', '.join(KEYS)}.")
        if key in given:
            raise UsageError(f"{key}= is given twice: '{given[key]}' and '{value}'.")
        given[key] = value
    values = {}
    for name, setting in KEYS.items():
        try:
            values[name] = setting.read(given.get(name, setting.default))
        except ValueError as error:
            raise UsageError(f"{name}={given[name]}: expected {error}.") from None
    return _settings(values, frozenset(given))


def describe_keys() -> str:
    """Return the help text: one line a key."""
    width = max(map(len, KEYS))
    return "\n".join(
        f"  {name:<{width}}  {key.help}" + (f" (default: {key.default})" if key.default else "")
        for name, key in KEYS.items()
    )


def _settings(values: dict[str, Any], given: frozenset[str]) -> RunSettings:
    if values["stream"] and values["mode"] == "perf":
        raise UsageError("stream=1 with mode=perf: that runs one batch again and again, no images. Leave one out.")
    way = "stream=1" if values["stream"] else f"mode={values['mode']}"
    stages = STAGES_OF_WAY[way]
    first, last = values["from"] or stages[0], values["to"] or stages[-1]
    for key, stage in (("from", first), ("to", last)):
        if stage not in stages:
            raise UsageError(f"{key}={stage}: {way} has no such stage; it has {', '.join(stages)}.")
    if stages.index(first) > stages.index(last):
        raise UsageError(f"from={first} comes after to={last}; the order is {', '.join(stages)}.")
    if values["mode"] == "full" and values["input"] not in (None, "dataset"):
        raise UsageError(
            f"input={values['input']}: mode=full runs the images of coco=. Leave input= out, or give mode=perf."
        )
    if values["upstream"] is not None:
        require_upstreams(values["config"])
    return RunSettings(
        batch_sizes=values["bs"],
        config=values["config"],
        weights=values["weights"],
        coco=values["coco"],
        out=values["out"],
        limit=values["limit"],
        device=values["device"],
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
        precision=values["precision"],
        cut=values["cut"],
        aipp=values["aipp"],
        input=values["input"] or ("dataset" if values["mode"] == "full" else "zeros"),
        given=given,
    )
