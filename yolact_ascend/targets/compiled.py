"""A compiled model on disk: its side-car, and whether it fits a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from yolact_ascend.errors import ArtifactError, NotDescribedError
from yolact_ascend.files import as_json, read_json, sha256_file, write_json
from yolact_ascend.models.description import Description, from_json, to_json
from yolact_ascend.models.inputs import IMAGE_SIZE, require_on_canvas
from yolact_ascend.models.values import Preprocessing
from yolact_ascend.targets.folder import (
    bin_folder,
    input_folders,
    read_recipe,
    recipe_file,
    sidecar_file,
)
from yolact_ascend.tensors import TensorSpec, read_tensor

SCHEMA = 6
COMPILE_AGAIN = "Compile it again: from=compile force=compile."
# Of a side-car.
_TEXTS = ("target", "onnx_sha256", "weights_sha256", "model_sha256", "config", "cut", "precision", "command")
# The remedy when outputs are not finite; the sentence continues.
COMPILE_IN_FLOAT32 = (
    "Compile with precision=fp32 (by hand: atc --precision_mode must_keep_origin_dtype), or export again"
)


@dataclass(frozen=True)
class SideCar:
    """What a model was compiled from and how; a model without a side-car is unfinished, or was compiled by hand."""

    target: str
    made_for: dict[str, str]  # by the target: on ascend soc_version and cann
    flags: list[str]  # of the compiler, with names in place of paths
    onnx_sha256: str
    weights_sha256: str  # of the .pth that the ONNX was exported from
    model_sha256: str
    batch_size: int
    config: str
    cut: str
    precision: str
    input: dict[str, Any]  # TensorSpec.of_batch
    outputs: list[dict[str, Any]]  # the same, in the model's order
    command: str
    description: Description  # the model's own, as the ONNX states it
    other_inputs: list[dict[str, Any]] = field(default_factory=list)  # beside the picture; written if there are any
    recipe: dict[str, str] = field(default_factory=dict)  # name and sha256; written for an INT8 model
    schema: int = SCHEMA


@dataclass(frozen=True)
class Need:
    """What a run expects of its compiled model, and what it has compiled it for."""

    target: str
    made_for: dict[str, str]
    onnx_sha256: str
    weights_sha256: str
    batch_size: int
    config: str
    cut: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    recipe: Mapping[str, str] = field(default_factory=dict)  # of an INT8 model: name and sha256


def weights_of(model: Path) -> Path:
    """Return the file beside an OpenVINO IR (.xml) that holds its weights."""
    return model.with_suffix(".bin")


def files_of_model(model: Path) -> list[Path]:
    """Return the files that a compiled model consists of, the one that names it first."""
    return [model, weights_of(model)] if model.suffix == ".xml" else [model]


def sha256_model(model: Path) -> str:
    """Return the SHA-256 of a model: of its file, or, of several, that of their hashes; raises ArtifactError."""
    hashes = [sha256_file(file) for file in files_of_model(model)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def describe_model(model: Path, need: Need, description: Description, flags: list[str], command: str) -> SideCar:
    """Return the side-car of a model that was just compiled for `need` from the ONNX of that description."""
    return SideCar(
        target=need.target,
        made_for=need.made_for,
        flags=flags,
        onnx_sha256=need.onnx_sha256,
        weights_sha256=description.weights_sha256,
        model_sha256=sha256_model(model),
        batch_size=need.batch_size,
        config=description.config.name,
        cut=description.cut,
        precision=need.precision,
        input=need.inputs[0].of_batch(need.batch_size),
        other_inputs=[spec.of_batch(need.batch_size) for spec in need.inputs[1:]],
        outputs=[output.of_batch(need.batch_size) for output in need.outputs],
        command=command,
        description=description,
        recipe=dict(need.recipe),
    )


def write_sidecar(model: Path, sidecar: SideCar) -> None:
    """Write the side-car of a model beside it."""
    fields = {"schema": sidecar.schema, **asdict(sidecar), "description": to_json(sidecar.description)}
    for name in ("other_inputs", "recipe"):
        if not fields[name]:
            del fields[name]
    write_json(sidecar_file(model), fields)


def read_sidecar(model: Path) -> SideCar:
    """Read the side-car of a compiled model; raises ArtifactError when it is missing or cannot be used."""
    path = sidecar_file(model)
    if not path.is_file():
        raise NotDescribedError(
            f"There is no {path}, which states what {model.name} was compiled from. A run needs it; ais_bench and "
            f"postprocess.py by hand do not. {COMPILE_AGAIN}"
        )
    fields = _read(path, "what the model was compiled from", COMPILE_AGAIN)
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if type(schema) is int and 0 < schema < SCHEMA:
        raise NotDescribedError(f"{path} has schema {schema}, expected {SCHEMA}. {COMPILE_AGAIN}")
    if type(schema) is int and schema > SCHEMA:
        raise ArtifactError(
            f"{path} has schema {schema}, expected {SCHEMA}: a newer yolact-ascend compiled this model. Install that "
            f"version, or compile the model again with this one: from=compile force=compile."
        )
    if schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {schema}, expected {SCHEMA}. {COMPILE_AGAIN}")
    try:
        sidecar = SideCar(**fields)
        _require_sound(sidecar)
        found = replace(sidecar, description=from_json(fields["description"], str(path), COMPILE_AGAIN))
        _require_consistent(found)
        return found
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged: {error}. {COMPILE_AGAIN}") from error


def _require_sound(sidecar: SideCar) -> None:
    """Raise ValueError for a field that is not what `write_sidecar` writes: a file may be damaged and still be JSON."""
    is_sound = {
        **{name: isinstance(getattr(sidecar, name), str) for name in _TEXTS},
        "made_for": isinstance(sidecar.made_for, dict),
        "flags": isinstance(sidecar.flags, list),
        "batch_size": type(sidecar.batch_size) is int and sidecar.batch_size > 0,
        "outputs": isinstance(sidecar.outputs, list) and len(sidecar.outputs) > 0,
        "other_inputs": isinstance(sidecar.other_inputs, list),
        "recipe": isinstance(sidecar.recipe, dict),
    }
    for name, is_right in is_sound.items():
        if not is_right:
            raise ValueError(f"{name} is {str(getattr(sidecar, name))[:60]!r}")
    for tensor in (sidecar.input, *sidecar.other_inputs, *sidecar.outputs):
        TensorSpec.of_sample(tensor)


def _require_consistent(sidecar: SideCar) -> None:
    """Raise ValueError when a field contradicts the description."""
    stated = sidecar.description
    for name, value in (("config", stated.config.name), ("cut", stated.cut), ("weights_sha256", stated.weights_sha256)):
        if getattr(sidecar, name) != value:
            raise ValueError(f"{name} is {getattr(sidecar, name)[:64]!r}, but its description has {value!r}")


def require_model(model: Path, need: Need) -> SideCar:
    """Return the side-car of a model; raises ArtifactError that names the first property that does not fit.

    Call it before a device is opened: a card refuses some mismatches late, and computes wrong results with others.
    """
    sidecar = read_sidecar(model)
    compared: dict[str, tuple[Any, Any]] = {
        "target": (sidecar.target, need.target),
        **{name: (sidecar.made_for.get(name), value) for name, value in need.made_for.items()},
        "batch_size": (sidecar.batch_size, need.batch_size),
        "config": (sidecar.config, need.config),
        "cut": (sidecar.cut, need.cut),
        "precision": (sidecar.precision, need.precision),
        "input": (
            _describe(sidecar.input, *sidecar.other_inputs),
            _describe(*(spec.of_batch(need.batch_size) for spec in need.inputs)),
        ),
        "weights_sha256": (sidecar.weights_sha256, need.weights_sha256),
        "onnx_sha256": (sidecar.onnx_sha256, need.onnx_sha256),
    }
    for name, (found, expected) in compared.items():
        if found != expected:
            raise ArtifactError(
                f"{model} was compiled for something else: {name} is {found}, expected {expected}. {COMPILE_AGAIN}"
            )
    require_described(model, sidecar)
    return sidecar


def require_described(model: Path, sidecar: SideCar) -> None:
    """Raise ArtifactError when a model is not the one of its side-car."""
    found, expected = sha256_model(model), sidecar.model_sha256
    if found == expected:
        return
    name = sidecar_file(model).name
    if len(files_of_model(model)) == 1:
        what = f"{model} is not the file that {name} describes: its sha256 is"
    else:  # each may be whole, and be of another model
        what = f"{model} and {weights_of(model).name} are not the files that {name} describes: their sha256 together is"
    raise ArtifactError(f"{what} {found}, expected {expected}. {COMPILE_AGAIN}")


def find_made_for(model: Path) -> dict[str, str]:
    """Return what a model was compiled for, by its side-car; nothing when no current side-car states it."""
    try:
        return read_sidecar(model).made_for
    except ArtifactError:
        return {}


def require_inputs(save_path: Path, specs: Sequence[TensorSpec], count: int) -> None:
    """Raise ArtifactError unless the inputs 0..count-1 are, by their recipe and sizes, what the model takes.

    ais_bench compares only bytes, and would accept one float32 image in place of four uint8 ones.
    """
    remedy = "Make them again: from=preprocess force=preprocess."
    takes = " with ".join(f"{spec.dtype} {spec.layout} {list(spec.shape)}".replace("  ", " ") for spec in specs)
    recipe = _read(recipe_file(save_path), "what the inputs were made from", remedy)
    stated = recipe if isinstance(recipe, dict) else {}
    found = [stated.get("input"), *stated.get("other_inputs", [])]
    if found != [[spec.name, list(spec.shape), spec.dtype] for spec in specs]:
        holds = found[0] if len(found) == 1 else found
        raise ArtifactError(
            f"{bin_folder(save_path)} holds inputs of {holds}, expected {takes}, which the model takes. {remedy}"
        )
    for spec, folder in zip(specs, input_folders(bin_folder(save_path), specs)):
        for index in range(count):
            path = folder / f"{index}.bin"
            size = path.stat().st_size if path.is_file() else 0
            if size != spec.size_bytes:
                raise ArtifactError(f"{path} holds {size} bytes, expected {spec.size_bytes} for {takes}. {remedy}")
            if spec == IMAGE_SIZE:
                require_on_canvas(read_tensor(path, spec), specs[0], path)


def require_made_for(save_path: Path, preprocessing: Preprocessing, model: str, remedy: str) -> None:
    """Raise ArtifactError when inputs were made, by their recipe, in another way than a model needs them.

    Files of one canvas have one size, and outputs of all canvases have one: without this their boxes would be wrong.
    Inputs of other programs have no recipe, and are not checked.
    """
    stated = (read_recipe(save_path) or {}).get("preprocessing")
    needed = as_json(asdict(preprocessing))
    found = {**as_json(asdict(Preprocessing())), **stated} if isinstance(stated, dict) else needed
    key = next((key for key in (*needed, *found) if found.get(key) != needed.get(key)), None)
    if key is None:
        return
    raise ArtifactError(
        f"The inputs in {save_path} were made with {key} {found.get(key)}, expected {needed.get(key)}, as {model} "
        f"needs it. {remedy}"
    )


def _read(path: Path, what: str, remedy: str) -> Any:
    try:
        return read_json(path, what)
    except ArtifactError as error:
        raise ArtifactError(f"{error} {remedy}") from error


def _describe(*tensors: dict[str, Any]) -> str:
    return " with ".join("{name} {dtype} {layout} {shape}".format_map(tensor) for tensor in tensors)
