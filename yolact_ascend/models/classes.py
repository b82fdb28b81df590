"""The classes that weights were trained for: a record inside the `.pth`, read without PyTorch.

A `.pth` is a zip archive. PyTorch skips records that it does not know: a state dict with classes still loads strictly,
here and in upstream, and each command reads the classes from the weights file that it needs anyway.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path, PurePosixPath

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.config import CONFIGS, ModelConfig, with_classes

RECORD = "yolact_ascend.json"
DEMO_HINT = "Without weights=, coco= and config=, run_all.sh runs the demo with them."


def add_classes(path: Path, config: ModelConfig) -> None:
    """Write the record into a file that `torch.save` has just made."""
    record = {"config": config.name, "class_names": config.class_names, "category_ids": config.category_ids}
    with zipfile.ZipFile(path, "a") as archive:
        top = PurePosixPath(archive.namelist()[0]).parts[0]  # PyTorch refuses records outside of its one folder
        # A fixed time: the same weights give the same bytes.
        archive.writestr(zipfile.ZipInfo(f"{top}/{RECORD}"), json.dumps(record))


def read_config(path: Path, config: ModelConfig) -> ModelConfig:
    """Return `config` with the classes of the weights in `path`; unchanged without a file, or without classes in it.

    Upstream's files name no classes. Raises WeightsError when the record names another config, or is damaged.
    """
    record = _read_record(path)
    if record is None:
        return config
    try:
        fields = json.loads(record)
        names, ids = tuple(fields["class_names"]), tuple(fields["category_ids"])
        name = fields["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"The record of classes in {path} is damaged ({type(error).__name__}: {error}). Copy the file again."
        ) from error
    if name != config.name:
        demo = f" {DEMO_HINT}" if name in CONFIGS and CONFIGS[name].source.is_shipped else ""
        raise WeightsError(f"{path} holds weights of {name}: use --config={name} (config={name} in run_all.sh).{demo}")
    return with_classes(config, names, ids)


def _read_record(path: Path) -> bytes | None:
    # Not a zip: an old or damaged .pth. The code that loads it reports which.
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if PurePosixPath(name).name == RECORD:
                return archive.read(name)
    return None


def require_weights(path: Path, config: ModelConfig) -> None:
    """Raise WeightsError, saying where weights of that config can be had, when there is no such file."""
    if path.is_file():
        return
    yours = "pass your own (`weights=FILE` in run_all.sh, `--trained_model FILE` in the scripts)"
    source = config.source
    if source.is_shipped:
        where = (
            f"The weights of {config.name} come with the repository, {source.url}: pass them, or {yours}. {DEMO_HINT}"
        )
    elif source.file_name:
        where = f"The official weights are at {source.url} ; download them, or {yours}."
    else:
        where = f"Weights of {config.name} are linked at {source.url} ; download them, or {yours}."
    raise WeightsError(f"There is no weights file {path}. {where}")
