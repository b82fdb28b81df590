"""The classes that weights were trained for: a record inside the `.pth`, read without PyTorch.

A `.pth` is a zip archive. PyTorch passes over records that it does not know, so a state dict with classes loads
strictly, here and in upstream, and each command finds its classes in the file that it is given anyway.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zipfile
from pathlib import Path, PurePosixPath

from yolact_ascend.config import DEMO_CONFIG, ModelConfig
from yolact_ascend.errors import WeightsError

RECORD = "yolact_ascend.json"


def add_classes(path: Path, config: ModelConfig) -> None:
    """Write the record into a file that `torch.save` has just made."""
    record = {"config": config.name, "class_names": config.class_names, "category_ids": config.category_ids}
    with zipfile.ZipFile(path, "a") as archive:
        top = PurePosixPath(archive.namelist()[0]).parts[0]  # PyTorch refuses records outside of its one folder
        # A fixed time: the same weights give the same bytes.
        archive.writestr(zipfile.ZipInfo(f"{top}/{RECORD}"), json.dumps(record))


def read_config(path: Path, config: ModelConfig) -> ModelConfig:
    """Return `config` with the classes of the weights in `path`; as it is when there is no file, or none in it.

    Upstream's files name no classes. Raises WeightsError when the weights say that they are of another config, or when
    the record is damaged.
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
        demo = (
            " Without weights=, coco= and config=, run_all.sh runs the demo with them." if name == DEMO_CONFIG else ""
        )
        raise WeightsError(f"{path} holds weights of {name}: use --config={name} (config={name} in run_all.sh).{demo}")
    return dataclasses.replace(config, class_names=names, category_ids=ids)


def _read_record(path: Path) -> bytes | None:
    # No zip: an old or damaged .pth, of which whoever loads it says more.
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if PurePosixPath(name).name == RECORD:
                return archive.read(name)
    return None
