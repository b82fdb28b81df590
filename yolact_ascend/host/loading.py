"""From a file (.om, .onnx, .xml, .pth, .pkl) or a folder to a model that runs: what it is, and its engines."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolact_ascend.cores import count_cores
from yolact_ascend.detection.thresholds import PREDICTION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ArtifactError, NotDescribedError, UsageError, WeightsError, show_name, show_value
from yolact_ascend.files import sha256_file
from yolact_ascend.flags import MAX_BATCH_SIZE, MAX_COUNT, MAX_WORKERS
from yolact_ascend.host import arguments
from yolact_ascend.host.cache import Recipe, made_once
from yolact_ascend.host.model import Model
from yolact_ascend.host.pack import is_pack, require_whole
from yolact_ascend.models.classes import choose_classes, config_of, name_classes, require_weights
from yolact_ascend.models.config import DEFAULT_WEIGHTS, ModelConfig, get_config, is_alike
from yolact_ascend.models.description import Description
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.families import family_of, find_cut
from yolact_ascend.models.family import Detector
from yolact_ascend.models.host_part import PART_KEY
from yolact_ascend.models.onnx_metadata import read_metadata
from yolact_ascend.models.rcnn.yaml_config import is_config_file
from yolact_ascend.models.rcnn.yaml_file import find_file
from yolact_ascend.targets.described import read_description, read_host_part
from yolact_ascend.targets.registry import (
    TARGETS,
    find_target,
    require_no_chosen_emulation,
    target_of_host,
    target_of_model,
)
from yolact_ascend.targets.target import ALL_WORK, RUN, DeviceRequest, Engine, Target

RUNNING = DeviceRequest(work=frozenset((RUN,)))
WEIGHTS_SUFFIXES = (".pth", ".pkl")
MAX_NAMED = 5  # files that a sentence lists


@dataclass(frozen=True)
class ModelRequest:
    """What a user asks to run: a model, or the weights to make it from, and what it must agree with.

    `path` is a model, a folder with one, or weights; `weights` beside a model are those that it must be of.
    """

    path: Path
    weights: Path | None = None
    config: str | None = None
    classes: str | None = None  # names for weights or models that name none, see `classes.read_listed`
    target: str | None = None  # that weights are made for; None: this host's
    devices: DeviceRequest = RUNNING
    batch_size: int | None = None  # of a model that takes any; None: 1


@dataclass(frozen=True)
class ChosenModel:
    """A model file that fits a request; no device is open yet."""

    path: Path
    config: ModelConfig
    cut: str | None  # as the model states it; None: told by its outputs
    target: Target
    request: ModelRequest
    make_detector: Callable[[str, DetectionSettings], Detector]  # from the cut

    def open(self, settings: DetectionSettings = PREDICTION_SETTINGS) -> Model:
        """Open it on the devices; raises ArtifactError when it is not what it states, ToolError when a device fails."""
        with contextlib.ExitStack() as stack:
            engines = [stack.enter_context(self.target.open(self.path, npu)) for npu in self.target.npus]
            self._require_batch_size(engines[0])
            remark = self._compare_weights(engines[0])
            stated = engines[0].metadata.get("config")
            cut = find_cut(engines[0].outputs, self.config, None if self.cut else stated)
            detector = self.make_detector(self.cut or cut, settings)
            devices = [self.target.describe_device(npu) for npu in self.target.npus]
            given = (self.request.batch_size, self.path, devices, remark)
            model = Model(engines, detector, *given, stack.pop_all().close)
        return model

    def _require_batch_size(self, engine: Engine) -> None:
        """Raise UsageError when another batch size is asked for than the one that the model was compiled for."""
        asked = self.request.batch_size
        if engine.batch_size is not None and asked not in (None, engine.batch_size):
            raise UsageError(
                f"batch_size={asked}: {self.path} was compiled for batches of {engine.batch_size}. Leave out the batch "
                "size, or compile the model for that one."
            )

    def _compare_weights(self, engine: Engine) -> str:
        """Compare the weights of a model that has no description; an old ONNX names them.

        Returns a remark when that cannot be told, else nothing; raises ArtifactError when they are others.
        """
        weights = self.request.weights
        if self.cut is not None or weights is None:
            return ""
        stated = engine.metadata.get("weights_sha256")
        if stated is None:
            return f" (not checked against {weights}: neither the model nor a fitting side-car states its weights)"
        if not weights.is_file():  # a model that has its heads in it runs without them
            return f" (not checked against its weights: there is no {weights})"
        _require_weights(self.path, stated, weights)
        return ""


def load(
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    device: str = "auto",
    npus: Sequence[int] = (0,),
    soc: str | None = None,
    threads: int | None = None,
    batch_size: int | None = None,
    config: str | os.PathLike[str] | None = None,
    classes: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    score_threshold: float = PREDICTION_SETTINGS.score_threshold,
    max_detections: int = PREDICTION_SETTINGS.max_detections,
) -> Model:
    """Load a model: a compiled `.om` or `.xml`, an exported `.onnx`, a folder with one of them, or weights (`.pth`,
    `.pkl`).

    The model states its config, classes and weights; `config`, `classes` and `weights` are for models that do not, and
    are compared where they do. From weights it is exported, and compiled for `target`, once, into the user's cache
    folder; without `target` for this host: "ascend" where there is a card, else "openvino" where that is installed,
    else "onnxruntime". `device`, `npus`, `soc` and `threads` (of a CPU; default: all cores) are those of the verbs.
    `batch_size` is for a model that takes any number of images. Detections with `score_threshold` or less are left out,
    and no picture has more than `max_detections`.
    Raises UsageError for arguments that cannot be used, ArtifactError for a model, WeightsError for weights, and
    ToolError for a device or program.
    """
    settings = dataclasses.replace(
        PREDICTION_SETTINGS,
        score_threshold=arguments.read_number("score_threshold", score_threshold, 0, 1),
        max_detections=arguments.read_whole("max_detections", max_detections, 1, MAX_COUNT),
    )
    config = os.fspath(config) if isinstance(config, os.PathLike) else config  # a YAML file's path
    for name, word in (("target", target), ("device", device or ""), ("soc", soc), ("config", config)):
        arguments.read_text(name, word)
    threads = None if threads is None else arguments.read_whole("threads", threads, 1, MAX_WORKERS)
    request = ModelRequest(
        arguments.read_path("path", path),
        None if weights is None else arguments.read_path("weights", weights),
        config,
        arguments.read_text("classes", classes),
        target,
        DeviceRequest(device, soc, arguments.read_devices("npus", npus), threads, frozenset((RUN,))),
        None if batch_size is None else arguments.read_whole("batch_size", batch_size, 1, MAX_BATCH_SIZE),
    )
    with arguments.speaking_python():
        return choose_model(request).open(settings)


def choose_model(request: ModelRequest) -> ChosenModel:
    """Find the model of a request, and check it against what the request states, before a device is opened.

    Raises like `load`.
    """
    try:
        is_folder = request.path.is_dir()
    except OSError as error:  # longer than a path may be
        raise ArtifactError(f"There is no model {show_name(str(request.path))}: {error.strerror}.") from error
    if is_folder:
        request = dataclasses.replace(request, path=model_in(request.path))
    if request.path.suffix in WEIGHTS_SUFFIXES:
        request = _from_weights(request)
    elif request.target is not None:
        _require_target(request)
    path = request.path
    kind = target_of_model(path)
    try:
        description = read_description(path)
    except NotDescribedError:
        if request.config is None and request.weights is None:
            raise
        return _choose_by_flags(request, find_target(kind, request.devices))
    if request.config is not None:
        require_config(path, description.config, get_config(request.config))
    if request.weights is not None:
        require_weights_of(path, description, request.weights)
    config = name_classes(description.config, request.classes, str(path))
    host_part = read_host_part(path, description)
    target = find_target(kind, request.devices)

    def make_detector(cut: str, settings: DetectionSettings) -> Detector:
        return family_of(config).make_detector(config, cut, host_part, settings, count_cores())

    return ChosenModel(path, config, description.cut, target, request, make_detector)


def model_in(folder: Path) -> Path:
    """Return the one model of a folder; raises ArtifactError when there is none, or several.

    Of a pack it is the one that its manifest names, and every file is compared with the manifest.
    """
    if is_pack(folder):
        return require_whole(folder)
    suffixes = {target.model_suffix for target in TARGETS.values()}
    found = [path for path in sorted(folder.iterdir()) if path.suffix in suffixes and path.is_file()]
    found = [path for path in found if not _is_host_part(path)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ArtifactError(f"There is no model ({', '.join(sorted(suffixes))}) in the folder {folder}. Pass its path.")
    named = ", ".join(path.name for path in found[:MAX_NAMED])
    raise ArtifactError(f"{folder} has {len(found)} models ({named}), expected one. Pass the path of one of them.")


def require_weights_of(model: Path, description: Description, weights: Path) -> None:
    """Raise WeightsError when there are no such weights, ArtifactError when the model is of others."""
    if not weights.is_file():
        raise WeightsError(f"There is no weights file {weights}. Leave it out: {model} states what it was made from.")
    _require_weights(model, description.weights_sha256, weights)


def _require_weights(model: Path, found: str, weights: Path) -> None:
    if found != sha256_file(weights):
        raise ArtifactError(f"{model} was made from other weights than {weights}. Export or compile it from these.")


def _choose_by_flags(request: ModelRequest, target: Target) -> ChosenModel:
    """Choose a model that states nothing of its own: its config and weights are those that the request names."""
    weights = request.weights or Path(DEFAULT_WEIGHTS)
    request = dataclasses.replace(request, weights=weights)
    config = choose_classes(weights, config_of(request.config, weights), request.classes).config

    def make_detector(cut: str, settings: DetectionSettings) -> Detector:
        return load_detector(weights, config, cut, settings, count_cores())

    return ChosenModel(request.path, config, None, target, request, make_detector)


def _from_weights(request: ModelRequest) -> ModelRequest:
    """Make the model of weights, if it is not in the cache; returns the request for that model."""
    weights, devices = request.path, request.devices
    config = config_of(request.config, weights)
    require_weights(weights, config)
    config = choose_classes(weights, config, request.classes).config
    if request.target is not None and request.target not in TARGETS:
        raise UsageError(f"target={show_value(request.target)}: expected {', '.join(TARGETS)}.")
    kind = TARGETS[request.target] if request.target else target_of_host(devices.device)
    require_no_chosen_emulation(kind, devices.device)
    target = find_target(kind, dataclasses.replace(devices, work=ALL_WORK))
    recipe = Recipe(weights, config, request.classes, target, devices.device, devices.soc, request.batch_size or 1)
    if is_config_file(request.config or ""):
        recipe = dataclasses.replace(recipe, config_file=find_file(request.config or ""))
    return dataclasses.replace(request, path=made_once(recipe), weights=None, config=None, classes=None)


def _require_target(request: ModelRequest) -> None:
    """Raise UsageError for a model of another target than the one that is named."""
    found = target_of_model(request.path).name
    if request.target != found:
        raise UsageError(
            f"target={show_value(request.target)}: {request.path} is a model for target={found}. Leave out the target."
        )


def require_config(model: Path, found: ModelConfig, expected: ModelConfig) -> None:
    """Raise ArtifactError when a model is not one of the expected config."""
    if found.name != expected.name and not is_alike(found, expected):
        raise ArtifactError(
            f"{model} was exported for {found.name}, not for {expected.name}. Leave out --config, or pass "
            f"--config={found.name}."
        )


def _is_host_part(path: Path) -> bool:
    """Whether a file is the heads of another model."""
    try:
        return path.suffix == ".onnx" and PART_KEY in read_metadata(path)
    except ArtifactError:
        return False  # opening it says what is wrong
