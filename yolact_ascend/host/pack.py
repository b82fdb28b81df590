"""A packed model: a folder (or its zip) with all that running a model needs, and a manifest that hashes every file.

It can be moved, renamed and zipped. Nothing in it needs PyTorch, and no file of it leads out of it.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from yolact_ascend.errors import ArtifactError, UsageError, show_name, show_value
from yolact_ascend.files import atomic_path, read_json, sha256_bytes, sha256_file, write_bytes, write_json
from yolact_ascend.folders import LEDGER, LOCK, Ledger, hold_results
from yolact_ascend.models.description import Description
from yolact_ascend.targets.compiled import SideCar, files_of_model
from yolact_ascend.targets.described import read_host_part
from yolact_ascend.targets.folder import sidecar_file

SCHEMA = 1
MANIFEST = "pack.json"  # written last: a folder with it is whole
LABELS, README, LICENSES = "labels.txt", "README.md", "LICENSES.md"
SELF_TEST = "self_test"
EXPECTED = f"{SELF_TEST}/expected.json"
PACK_AGAIN = "Copy the pack again, or make it again (pack MODEL OUT)."
ADVICE = "another OUT"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can have: the same pack gives the same bytes


@dataclass(frozen=True)
class Manifest:
    """What is in a pack; the fields of pack.json (docs/formats.md)."""

    producer: str
    model: str  # file name
    target: str
    made_for: dict[str, str]
    precision: str
    batch_size: int | None  # None: any
    config: str
    files: dict[str, str]  # path in the pack, with / -> SHA-256; all but the manifest itself
    schema: int = SCHEMA


def is_pack(folder: Path) -> bool:
    """Whether a folder has a manifest."""
    return (folder / MANIFEST).is_file()


def model_files(model: Path, description: Description) -> dict[str, Path]:
    """Return the files that a model needs beside each other, by name; raises ArtifactError when one is missing."""
    read_host_part(model, description)
    paths = list(files_of_model(model))
    paths += [sidecar_file(model)] if sidecar_file(model).is_file() else []
    part = description.host_part
    paths += [] if part is None else [model.with_name(part.file)]
    for path in paths:
        if not path.is_file():
            raise ArtifactError(f"There is no {path}, which belongs to {model.name}. Compile the model again.")
    return {path.name: path for path in paths}


def describe_pack(
    model: Path, target: str, sidecar: SideCar | None, description: Description, producer: str
) -> Manifest:
    """Return the manifest of a model, without its files."""
    facts = (target, {}, "fp32", None) if sidecar is None else _facts_of(sidecar)
    return Manifest(producer, model.name, *facts, description.config.name, {})


def _facts_of(sidecar: SideCar) -> tuple[str, dict[str, str], str, int | None]:
    return sidecar.target, sidecar.made_for, sidecar.precision, sidecar.batch_size


def write_pack(folder: Path, manifest: Manifest, contents: Mapping[str, bytes], with_zip: bool) -> list[Path]:
    """Write a pack, in place of one that was made in that folder before; return the folder, and the zip if asked for.

    `contents` are its files by their paths in it. Raises UsageError when the folder or the zip is somebody else's.
    """
    _require_free(folder)
    files = {name: sha256_bytes(data) for name, data in contents.items()}
    paths = {name: folder / name for name in (*contents, MANIFEST)}
    archive = folder.with_name(f"{folder.name}.zip")
    with hold_results(folder, [*paths.values(), *([archive] if with_zip else [])], ADVICE):
        ledger = Ledger(folder)
        earlier = [*ledger.within(folder), *ledger.within(folder / SELF_TEST)]
        (folder / MANIFEST).unlink(missing_ok=True)
        ledger.remove([path for path in earlier if path not in paths.values()])
        for name, data in contents.items():
            write_bytes(paths[name], data)
        write_json(paths[MANIFEST], {"schema": manifest.schema, **asdict(manifest), "files": files})
        if with_zip:
            _write_zip(archive, folder.name, {name: path.read_bytes() for name, path in paths.items()})
    return [folder, *([archive] if with_zip else [])]


def _require_free(folder: Path) -> None:
    """Raise UsageError for a folder with something inside that no earlier pack made."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file. Choose {ADVICE}, a folder to make.")
    others = sorted(path.name for path in folder.iterdir() if path.name != LOCK) if folder.is_dir() else []
    if others and LEDGER not in others:
        raise UsageError(f"{folder} is not empty ({others[0]}), and no pack was made there. Choose {ADVICE}.")
    if others and not Ledger(folder).owns(folder / MANIFEST):
        raise UsageError(f"{folder} holds results of another command. Choose {ADVICE}.")


def _write_zip(path: Path, folder: str, contents: Mapping[str, bytes]) -> None:
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(f"{folder}/{name}", _ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o640 << 16  # ais_bench refuses files that group or others may write
            archive.writestr(entry, contents[name])


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a pack; raises ArtifactError when it is missing, damaged or newer."""
    path = folder / MANIFEST
    fields = read_json(path, "the list of a pack's files")
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise ArtifactError(
            f"{path} has schema {schema}, expected {SCHEMA}: a newer yolact-ascend made this pack "
            f"({show_value(fields.get('producer'))}). Install that version."
        )
    try:
        manifest = Manifest(**(fields if isinstance(fields, dict) else {}))
    except TypeError as error:
        raise ArtifactError(f"{path} is damaged: {error}. {PACK_AGAIN}") from error
    if schema != SCHEMA or not _is_sound(manifest):
        raise ArtifactError(f"{path} is damaged: it does not name the model and the pack's files. {PACK_AGAIN}")
    return manifest


def _is_sound(manifest: Manifest) -> bool:
    texts = (manifest.producer, manifest.model, manifest.target, manifest.precision, manifest.config)
    if not (isinstance(manifest.files, dict) and all(isinstance(text, str) for text in texts)):
        return False
    names = [PurePosixPath(name) for name in manifest.files]
    is_inside = all(not name.is_absolute() and ".." not in name.parts for name in names)
    return is_inside and all(isinstance(text, str) for text in manifest.files.values()) and _has_model(manifest)


def _has_model(manifest: Manifest) -> bool:
    return {manifest.model, EXPECTED} <= set(manifest.files)


def differing_files(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Say what each file of a pack is that is not as it was packed."""
    for name, sha256 in manifest.files.items():
        path, is_file = folder / name, False
        with contextlib.suppress(OSError):  # a name that no file can have
            is_file = path.is_file()
        if not is_file:
            yield f"{show_name(name)} is missing"
        elif sha256_file(path) != sha256:
            yield f"{name} is not the packed file"


def require_whole(folder: Path) -> Path:
    """Return the model of a pack; raises ArtifactError when a file of it is missing, or is not the packed one."""
    manifest = read_manifest(folder)
    for said in differing_files(folder, manifest):
        raise ArtifactError(f"The pack {folder} is not whole: {said}. {PACK_AGAIN}")
    return folder / manifest.model
