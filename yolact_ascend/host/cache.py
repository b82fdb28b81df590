"""Models that were made from a .pth once, in the user's cache folder, by what they were made of."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.environment import CACHE_VARIABLE, cache_folder, shell_environment
from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.extras import require_module
from yolact_ascend.files import as_json, make_folder, read_json, sha256_bytes, sha256_file, write_json
from yolact_ascend.folders import wait_for_folder
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.families import default_cut
from yolact_ascend.models.host_part import heads_file
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.process import capture, describe_exit, format_command, own_command
from yolact_ascend.sources import made_by
from yolact_ascend.targets.compiled import files_of_model
from yolact_ascend.targets.folder import WorkFolder, sidecar_file
from yolact_ascend.targets.target import COMPILE, CompileJob, Target

MADE = "made.json"  # beside the work folder: what is in it, with hashes; written when all is there
MOST_SHOWN = 2000  # letters of a failed command's output
ERROR = "error: "  # how the sentence of a failed command begins
_one_at_a_time = threading.Lock()  # in this process; between processes the folder is locked


@dataclass(frozen=True)
class Recipe:
    """A model to make from weights, for a target that was found; `batch_size` is for models that are compiled."""

    weights: Path
    config: ModelConfig
    classes: str | None  # as the user named them
    target: Target
    device: str
    soc: str | None
    batch_size: int
    config_file: Path | None = None  # that the config was read from; None: it is found by its name


def made_once(recipe: Recipe) -> Path:
    """Return the model of a recipe from the cache; it is exported and compiled there first where it is missing.

    A run makes it (`run to=compile`), in processes of its own, and says so. Two processes that want the same model make
    it once. Raises ArtifactError when the folder cannot be written, ToolError with the run's sentence when it fails,
    NotInstalledError without PyTorch.
    """
    facts = _facts(recipe)
    key = sha256_bytes(json.dumps(facts, sort_keys=True).encode())[:16]
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", recipe.weights.stem)[:60]
    folder = cache_folder() / "models" / f"{stem}-{recipe.target.name}-{key}"
    if not folder.is_dir():
        require_module("torch")  # before a folder is made that stays empty
    try:
        make_folder(folder)
    except ArtifactError as error:
        raise ArtifactError(f"{error} {CACHE_VARIABLE} names another one for caches.") from error
    work = WorkFolder(folder / "work")
    model = work.onnx if _is_exported_only(recipe) else work.model(recipe.batch_size, recipe.target.model_suffix)
    with _one_at_a_time, wait_for_folder(folder):
        if not _is_whole(folder, model):
            print(
                f"Exporting {recipe.weights} for {recipe.target.name}, once, into {folder}", file=sys.stderr, flush=True
            )
            _make(recipe, work.root)
            write_json(folder / MADE, {"made_from": facts, "files": _hashes(folder, model)})
    return model


def _is_exported_only(recipe: Recipe) -> bool:
    """Whether the exported ONNX is the model: ONNX Runtime runs it, in batches of any size."""
    return recipe.target.model_suffix == WorkFolder(Path()).onnx.suffix


def _facts(recipe: Recipe) -> dict[str, Any]:
    """Return all that the files depend on."""
    facts: dict[str, Any] = {
        "weights_sha256": sha256_file(recipe.weights),
        "config": dataclasses.asdict(recipe.config),
        "cut": default_cut(recipe.config),
        "target": recipe.target.name,
        **made_by("models.export"),
    }
    if not _is_exported_only(recipe):
        inputs, precision = input_tensors(recipe.config), recipe.target.precisions[0]
        job = CompileJob(
            Path("onnx"), Path("model"), recipe.batch_size, precision, inputs, inputs, recipe.config.preprocessing
        )
        facts["precision"] = precision
        facts["tools"] = recipe.target.identity(COMPILE)
        facts["compile"] = recipe.target.compile_inputs(job)
    return as_json(facts)


def _make(recipe: Recipe, folder: Path) -> None:
    words = [
        f"weights={recipe.weights.absolute()}",
        f"config={recipe.config_file.absolute() if recipe.config_file else recipe.config.name}",
        f"target={recipe.target.name}",
        f"out={folder}",
        "to=export" if _is_exported_only(recipe) else "to=compile",
        f"bs={recipe.batch_size}",
        "force=1",  # what is there is damaged; a run replaces its own files, and leaves others
    ]
    optional = {"classes": recipe.classes, "soc": recipe.soc, "device": recipe.device}
    words += [f"{key}={value}" for key, value in optional.items() if value is not None]
    command = own_command("run", *words)
    done = capture(command, shell_environment())
    if done.returncode != 0:
        _, *said = f"\n{done.stderr}".split(f"\n{ERROR}")  # a stage's sentence comes first, then the run's
        why = (said[0] if said else done.stderr[-MOST_SHOWN:]).strip()
        how = f"{format_command(command)} {describe_exit(done.returncode)}"
        raise ToolError(f"{recipe.weights} cannot be made a model: {why}\n(The command was {how}.)")


def _hashes(folder: Path, model: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a model, of its side-car and of its heads, by its name in the folder."""
    work = WorkFolder(model.parent)
    files: Sequence[Path] = [*files_of_model(model), sidecar_file(model), heads_file(work.onnx)]
    return {str(file.relative_to(folder)): sha256_file(file) for file in files if file.is_file()}


def _is_whole(folder: Path, model: Path) -> bool:
    """Whether the model was finished, and is as it was then."""
    try:
        made = read_json(folder / MADE, "what a cached model consists of")
    except ArtifactError:
        return False
    return model.is_file() and isinstance(made, dict) and made.get("files") == _hashes(folder, model)
