"""A compiled model on disk: the names that atc gives it, its side-car, and whether it fits a run."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.artifacts import (
    TensorSpec,
    bin_folder,
    input_bin,
    read_json,
    recipe_file,
    sha256_file,
    sidecar_file,
    write_json,
)
from yolact_ascend.errors import ArtifactError

SCHEMA = 3
ARCHITECTURES = ("aarch64", "x86_64")
WRITABLE_BY_OTHERS = 0o022
COMPILE_AGAIN = "Compile it again: from=compile force=compile."


@dataclass(frozen=True)
class SideCar:
    """What a `.om` was compiled from and how; one without a side-car was not finished, or compiled by hand."""

    soc_version: str
    cann: str
    flags: list[str]  # of atc, with names in place of paths
    onnx_sha256: str
    weights_sha256: str  # of the .pth that the ONNX was exported from
    om_sha256: str
    batch_size: int
    cut: str
    precision: str
    input: dict[str, Any]  # TensorSpec.of_batch
    outputs: list[dict[str, Any]]  # the same, in the model's order
    command: str
    schema: int = SCHEMA


@dataclass(frozen=True)
class Need:
    """What a run expects of its compiled model, and what it has compiled it for."""

    soc_version: str
    cann: str
    onnx_sha256: str
    weights_sha256: str
    batch_size: int
    cut: str
    precision: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


def describe_model(om: Path, need: Need, flags: list[str], command: str) -> SideCar:
    """Return the side-car of a model that was just compiled for `need`."""
    return SideCar(
        soc_version=need.soc_version,
        cann=need.cann,
        flags=flags,
        onnx_sha256=need.onnx_sha256,
        weights_sha256=need.weights_sha256,
        om_sha256=sha256_file(om),
        batch_size=need.batch_size,
        cut=need.cut,
        precision=need.precision,
        input=need.input.of_batch(need.batch_size),
        outputs=[output.of_batch(need.batch_size) for output in need.outputs],
        command=command,
    )


def write_sidecar(path: Path, sidecar: SideCar) -> None:
    """Write a side-car."""
    write_json(path, {"schema": sidecar.schema, **asdict(sidecar)})


def read_sidecar(om: Path, path: Path) -> SideCar:
    """Read the side-car `path` of `om`; raises ArtifactError that says what to do when it is missing or of no use."""
    if not path.is_file():
        raise ArtifactError(
            f"There is no {path}, so nothing says what {om.name} was compiled from. A model that was compiled by hand "
            f"is for ais_bench and postprocess.py by hand; for a run, {COMPILE_AGAIN[0].lower()}{COMPILE_AGAIN[1:]}"
        )
    fields = _read(path, "what the model was compiled from", COMPILE_AGAIN)
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {schema}, expected {SCHEMA}. {COMPILE_AGAIN}")
    try:
        sidecar = SideCar(**fields)
        _describe(sidecar.input)
        return sidecar
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}. {COMPILE_AGAIN}") from error


def require_model(om: Path, sidecar_path: Path, need: Need) -> SideCar:
    """Return the side-car of `om`; raises ArtifactError that names the first thing in which the model does not fit.

    To be called before a device is opened: a card would refuse some of it late, and compute wrong without a word the
    rest.
    """
    sidecar = read_sidecar(om, sidecar_path)
    compared: dict[str, tuple[Any, Any]] = {
        "soc_version": (sidecar.soc_version, need.soc_version),
        "cann": (sidecar.cann, need.cann),
        "batch_size": (sidecar.batch_size, need.batch_size),
        "cut": (sidecar.cut, need.cut),
        "precision": (sidecar.precision, need.precision),
        "input": (_describe(sidecar.input), _describe(need.input.of_batch(need.batch_size))),
        "weights_sha256": (sidecar.weights_sha256, need.weights_sha256),
        "onnx_sha256": (sidecar.onnx_sha256, need.onnx_sha256),
    }
    for name, (found, expected) in compared.items():
        if found != expected:
            raise ArtifactError(
                f"{om} was compiled for something else: {name} is {found}, expected {expected}. {COMPILE_AGAIN}"
            )
    require_plain(om, COMPILE_AGAIN)
    om_sha256 = sha256_file(om)
    if om_sha256 != sidecar.om_sha256:
        raise ArtifactError(
            f"{om} is not the file that {sidecar_path.name} describes: om_sha256 is {om_sha256}, expected "
            f"{sidecar.om_sha256}. {COMPILE_AGAIN}"
        )
    return sidecar


def find_weights_sha256(om: Path) -> str | None:
    """Return the SHA-256 of the weights that `om` was compiled from; None when no side-car of today's tells of it."""
    with contextlib.suppress(ArtifactError):
        sidecar = read_sidecar(om, sidecar_file(om))
        if sidecar.om_sha256 == sha256_file(om):
            return sidecar.weights_sha256
    return None


def require_inputs(save_path: Path, spec: TensorSpec, count: int) -> None:
    """Raise ArtifactError unless the inputs 0..count-1 are, by their recipe and sizes, what the model takes.

    ais_bench compares bytes alone, and would take one float32 image for four of uint8.
    """
    remedy = "Make them again: from=preprocess force=preprocess."
    takes = f"{spec.dtype} {spec.layout} {list(spec.shape)}"
    recipe = _read(recipe_file(save_path), "what the inputs were made from", remedy)
    found = recipe.get("input") if isinstance(recipe, dict) else None
    if found != [spec.name, list(spec.shape), spec.dtype]:
        raise ArtifactError(
            f"{bin_folder(save_path)} holds inputs of {found}, expected {takes}, which the model takes. {remedy}"
        )
    for index in range(count):
        path = input_bin(save_path, index)
        require_plain(path, remedy)
        size = path.stat().st_size if path.is_file() else 0
        if size != spec.size_bytes:
            raise ArtifactError(f"{path} holds {size} bytes, expected {spec.size_bytes} for {takes}. {remedy}")


def require_plain(path: Path, remedy: str) -> None:
    """Raise ArtifactError for a link, or a file that group or others may write: ais_bench refuses both, but late."""
    if path.is_symlink():
        raise ArtifactError(f"{path} is a link, which ais_bench refuses. {remedy}")
    if path.exists() and path.stat().st_mode & WRITABLE_BY_OTHERS:
        raise ArtifactError(
            f"{path} has mode {path.stat().st_mode & 0o777:04o}, and ais_bench refuses files that group or others may "
            f"write. chmod 640 {path}"
        )


def remove_models(prefix: Path) -> None:
    """Remove what an earlier atc left under any of the names that it gives: it must not be taken for a new file."""
    for path in (_om(prefix), *_other_names(prefix)):
        path.unlink(missing_ok=True)


def adopt_model(prefix: Path) -> Path:
    """Return `<prefix>.om`, the name that every later stage uses; it may still not be there.

    atc for another system than its own appends that: `<prefix>_linux_aarch64.om`. Such a file is renamed.
    """
    om = _om(prefix)
    for path in _other_names(prefix):
        if path.is_file() and not om.exists():
            path.replace(om)
            print(f"{path.name} renamed to {om.name}: atc appends the system that it compiled for.", file=sys.stderr)
    return om


def _read(path: Path, what: str, remedy: str) -> Any:
    try:
        return read_json(path, what)
    except ArtifactError as error:
        raise ArtifactError(f"{error} {remedy}") from error


def _om(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.om")


def _other_names(prefix: Path) -> list[Path]:
    return [prefix.with_name(f"{prefix.name}_linux_{architecture}.om") for architecture in ARCHITECTURES]


def _describe(tensor: dict[str, Any]) -> str:
    return "{name} {dtype} {layout} {shape}".format_map(tensor)
