"""The settings of one run: a frozen value, made from its key=value words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import CONFIGS, ModelConfig
from yolact_ascend.models.description import Description
from yolact_ascend.models.families import choose_operators, default_cut, family_of
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, RESIZE, require_embeddable
from yolact_ascend.models.rcnn.yaml_config import is_config_file
from yolact_ascend.pipeline.keys import ALIASES, KEYS
from yolact_ascend.pipeline.model_source import choose_model
from yolact_ascend.pipeline.quantization import Quantization, read_quantization
from yolact_ascend.pipeline.ways import ALL_STAGES, STAGES_OF_WAY, WITHOUT_DATASET, WORK_OF_STAGE
from yolact_ascend.targets.registry import TARGETS, read_device, read_embed, read_precision
from yolact_ascend.targets.target import DeviceRequest, Target
from yolact_ascend.words import one_of


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
    output_type: str | None  # of models.output_type; None: the config's
    canvas: tuple[int, int] | None  # height and width in px; None: the config's
    fit: str | None  # of models.canvas; None: the config's
    input: str
    lang: str = "en"  # of the report; of keys.LANGUAGES
    given: frozenset[str] = frozenset()  # the keys that the user wrote
    is_demo: bool = False  # see `demo`
    quantization: Quantization | None = None  # for precision=int8
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
    _refuse_contradictions(values)
    exported, config = choose_model(values, "weights" in given, _must_export(values))
    target = TARGETS[values["target"]]
    embed = _read("embed", values["embed"], lambda word: read_embed(target, word))
    require_embeddable(config, embed)
    if embed == RESIZE:
        _require_single_images(values, way)
    precision = _read("precision", values["precision"], lambda word: read_precision(target, word))
    return RunSettings(
        batch_sizes=values["bs"],
        config=config.name,
        config_file=values["config"] if is_config_file(values["config"] or "") and config.name not in CONFIGS else None,
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
        precision=precision,
        quantization=read_quantization(values, precision, target),
        cut=exported.cut if exported else _read_cut(values["cut"], config),
        operators=choose_operators(config, values["operators"], target.name == "ascend"),
        output_type=values["output_type"],
        canvas=values["canvas"],
        fit=values["fit"],
        embed=embed,
        threads=values["threads"],
        input=_benchmark_input(values, target),
        lang=values["lang"],
        given=given,
        exported=exported,
    )


def _refuse_contradictions(values: dict[str, Any]) -> None:
    if values["mode"] == "full" and values["input"] not in (None, "dataset"):
        raise UsageError(
            f"input={values['input']}: mode=full runs the images of coco=. Leave out input=, or set mode=perf."
        )
    if values["images"] and not values["annotations"]:
        raise UsageError(f"images={values['images']} needs annotations=FILE, which lists these images.")


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
