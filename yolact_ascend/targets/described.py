"""The description of any model file, and the host's part behind it: what running a model needs beside the engine.

Nothing here imports PyTorch, and reading a description needs neither ONNX Runtime nor OpenVINO.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS, DetectionSettings
from yolact_ascend.errors import ArtifactError, NotDescribedError
from yolact_ascend.files import sha256_bytes
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, ModelConfig
from yolact_ascend.models.description import EXPORT_AGAIN, KEY, Description, parse_description
from yolact_ascend.models.families import family_of
from yolact_ascend.models.family import Detector
from yolact_ascend.models.host_part import HOST, PART_KEY
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.onnx_metadata import read_metadata
from yolact_ascend.models.weights_file import read_text
from yolact_ascend.targets.compiled import read_sidecar, require_described
from yolact_ascend.targets.folder import sidecar_file
from yolact_ascend.tensors import TensorSpec

# Where an OpenVINO IR states it: by our compile, or by OpenVINO's converter, which keeps the metadata of an ONNX.
TORCH_DESCRIPTION = "description"  # and a model of target=torch
RT_INFO = "yolact_ascend"
RT_INFO_DESCRIPTION = "description"
_RT_INFO_PLACES = (f"rt_info/{RT_INFO}/{RT_INFO_DESCRIPTION}", f"rt_info/framework/{KEY}")
BY_FLAGS = "Or name its config and weights: --config=NAME --weights=FILE."


def read_description(model: Path) -> Description:
    """Return what a model (.onnx, .om, .xml) states about itself: in the file, or in the side-car beside it.

    Raises NotDescribedError for a model that states nothing, as older versions made them, and ArtifactError when there
    is no such file, or what it states is damaged, newer, or of another model.
    """
    if not model.is_file():
        raise ArtifactError(f"There is no model {model}. Pass an exported .onnx or a compiled model: --model=FILE.")
    text = _IN_FILE.get(model.suffix, lambda _: None)(model)
    if text is not None:
        return parse_description(text, str(model))
    if model.suffix == ".onnx":
        if read_metadata(model).get(PART_KEY) == HOST:
            raise ArtifactError(f"{model} is the heads of a model, its part on the host. Pass the model beside it.")
        raise NotDescribedError(
            f"{model} does not state its config, classes and weights: an older version exported it, or another "
            f"program made it. {EXPORT_AGAIN} {BY_FLAGS}"
        )
    if not sidecar_file(model).is_file():
        raise NotDescribedError(
            f"There is no {sidecar_file(model)}, which states the config, classes and weights of {model.name}. Copy "
            f"it beside the model (its name is that of the model, and .json). {BY_FLAGS}"
        )
    sidecar = read_sidecar(model)
    require_described(model, sidecar)
    return sidecar.description


def read_input(model: Path) -> TensorSpec:
    """Return what a model takes for one image: as its side-car states it, or of an exported ONNX as its config has it.

    Raises like `read_description`.
    """
    if model.suffix == ".onnx" and not sidecar_file(model).is_file():  # ONNX Runtime's compiled models have one, too
        return input_tensor(read_description(model).config)
    return TensorSpec.of_sample(read_sidecar(model).input)


def config_of_onnx(path: Path) -> ModelConfig:
    """Return the config of an exported ONNX; of one that has no description, the one it names, else the default."""
    try:
        return read_description(path).config
    except NotDescribedError:
        return CONFIGS.get(read_metadata(path).get("config", ""), CONFIGS[DEFAULT_CONFIG])


def open_detector(
    model: Path,
    description: Description,
    settings: DetectionSettings = EVALUATION_SETTINGS,
    threads: int = 1,
) -> Detector:
    """Return the host's part behind a model; `threads` is for callers that have one image at a time.

    Raises ArtifactError when the file with the host's part is not beside the model, or is another's.
    """
    return family_of(description.config).make_detector(
        description.config, description.cut, read_host_part(model, description), settings, threads
    )


def read_host_part(model: Path, description: Description) -> bytes | None:
    """Return the ONNX of the host's part, from beside the model; None when the device runs the whole network.

    Raises ArtifactError like `open_detector`.
    """
    part = description.host_part
    if part is None:
        return None
    path = model.with_name(part.file)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            f"There is no {path}, the heads of {model.name}, which run on the host. Export writes it: copy it beside "
            "the model, under that name, or export the model again."
        ) from None
    except OSError as error:
        raise ArtifactError(f"Cannot read {path}, the heads of {model.name}: {error.strerror}.") from error
    found = sha256_bytes(data)
    if found != part.sha256:
        raise ArtifactError(
            f"{path} is not the heads of {model.name}: its sha256 is {found}, expected {part.sha256}. Copy the file "
            "that was exported with this model, or export and compile the model again."
        )
    return data


def _in_onnx(model: Path) -> str | None:
    return read_metadata(model).get(KEY)


def _in_ir(model: Path) -> str | None:
    """Return the description in an IR whose side-car is missing; None when the side-car is there, or it has none."""
    if sidecar_file(model).is_file():
        return None
    try:
        root = ElementTree.parse(model).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError, OSError) as error:
        raise ArtifactError(f"{model} cannot be read as OpenVINO IR: {error}. Compile it again.") from error
    places = (root.find(place) for place in _RT_INFO_PLACES)
    return next((place.get("value") for place in places if place is not None), None)


def _in_torch(model: Path) -> str | None:
    """Return the description in a model of `target=torch` whose side-car is missing, like `_in_ir`."""
    return None if sidecar_file(model).is_file() else read_text(model, TORCH_DESCRIPTION)


_IN_FILE: dict[str, Callable[[Path], str | None]] = {".onnx": _in_onnx, ".xml": _in_ir, ".torch": _in_torch}
