"""Where a run's model comes from: weights to export, or the ONNX in the work folder, which states what it was made of.

The ONNX stands in where the weights are not there, as on a card's host that got the work folder alone, and where
PyTorch is not installed and the ONNX was made of these very weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolact_ascend.errors import ArtifactError, NotDescribedError, NotInstalledError, UsageError, WeightsError
from yolact_ascend.extras import describe_missing, is_installed
from yolact_ascend.files import sha256_file, shipped
from yolact_ascend.models.canvas import show_canvas, with_canvas
from yolact_ascend.models.classes import config_of, read_listed, require_weights
from yolact_ascend.models.config import CONFIGS, ModelConfig, require_upstream
from yolact_ascend.models.description import Description
from yolact_ascend.models.families import require_batch_sizes
from yolact_ascend.models.family import ONNX
from yolact_ascend.models.onnx_metadata import own_operators
from yolact_ascend.models.output_type import output_type_of, with_output_type
from yolact_ascend.pipeline.records import Records
from yolact_ascend.targets.described import read_description, read_host_part
from yolact_ascend.targets.folder import WorkFolder

EXPORT = "export"  # the step
SHIPPED = tuple(config.source.file_name for config in CONFIGS.values() if config.source.is_shipped)


def find_exported(weights: Path, is_named: bool, out: Path) -> Description | None:
    """Return what the ONNX of a work folder states, where it stands in for the weights; None where it does not.

    Weights that the user named and that are not there may be a slip of the pen: then the ONNX stands in only if it was
    exported from a file of that name. It never does for weights that come with this repository, which are there.
    Raises ArtifactError when the ONNX is needed and its description is damaged. Without a record of its weights it is
    not known to be needed, and `Records` protect what other people put there.
    """
    if weights.is_file():
        if has_torch():
            return None
        found = _read_known(out, "PyTorch is not installed", (None,))
        return found if found and found.weights_sha256 == sha256_file(weights) else None
    if is_named and name_of_exported(out) != weights.name:
        return None
    found = _read_known(out, "There are no weights to export", (None, *SHIPPED))
    return None if found is None or _is_of_shipped_weights(found) else found


def _is_of_shipped_weights(found: Description) -> bool:
    source = found.config.source
    if not source.is_shipped:
        return False
    weights = shipped(source.url)
    return weights.is_file() and sha256_file(weights) == found.weights_sha256


def has_torch() -> bool:
    """Whether PyTorch is installed, so that weights can be exported."""
    return is_installed("torch")


def require_exporter(weights: Path) -> None:
    """Raise NotInstalledError, before any work, when PyTorch is missing to export weights with."""
    if not has_torch():
        raise NotInstalledError(
            f"{weights} must be exported, and {describe_missing('torch')} Or export on another host, and copy the "
            "model and its heads (docs/host.md, After the export)."
        )


def name_of_exported(out: Path) -> str | None:
    """Return the name of the weights file that the ONNX of a work folder was exported from, if a run did that."""
    record = Records(WorkFolder(out)).load(EXPORT)
    return record.note if record and record.note else None


def require_source(weights: Path, config: ModelConfig, exported: Description | None, out: Path) -> None:
    """Raise WeightsError when there is nothing to make the model from, ArtifactError when the heads are missing."""
    onnx = WorkFolder(out).onnx
    if exported is not None:
        read_host_part(onnx, exported)
        return
    try:
        require_weights(weights, config)
    except WeightsError as error:
        found = _read(out, "There are no weights to export")
        if found is None:
            raise
        if _is_of_shipped_weights(found):
            how = f"pass weights={shipped(found.config.source.url)}, of which {onnx} is"
        else:
            how = "leave out weights=, upstream=, and export in from= and force=, to go on with "
            how += describe_exported(onnx, found)
        raise WeightsError(f"{error} Or {how}.") from error


def describe_exported(onnx: Path, exported: Description) -> str:
    """Return a few words on an exported model: what it states."""
    return (
        f"{onnx}, which states config {exported.config.name}, cut {exported.cut}, {exported.config.num_classes} "
        f"classes and weights with sha256 {exported.weights_sha256[:12]}"
    )


def choose_model(
    values: Mapping[str, Any], has_named_weights: bool, must_export: bool
) -> tuple[Description | None, ModelConfig]:
    """Return the exported model that stands in for the weights, if one does, and the config with its canvas.

    `values` are those of a run's keys. Raises UsageError for what the model, or networks of the config, cannot do.
    """
    exported = None
    if values["upstream"] is None and not must_export:
        exported = find_exported(values["weights"], has_named_weights, values["out"])
    config = choose_config(values["config"], values["weights"], exported)
    if exported is not None:
        require_exported_fits(exported, values["canvas"], values["fit"], values["cut"], values["classes"])
        require_operators(WorkFolder(values["out"]).onnx, values["operators"])
        require_output_type(exported, values["output_type"])
    config = with_canvas(config, values["canvas"], values["fit"])
    config = with_output_type(config, values["output_type"])
    if values["upstream"] is not None:
        require_upstream(config)
    require_batch_sizes(config, values["bs"])
    return exported, config


def choose_config(word: str | None, weights: Path, exported: Description | None) -> ModelConfig:
    """Return the config of a run: the one that is named, else that of the exported model or of the weights.

    Raises UsageError for a name that is not known, or not the exported model's.
    """
    if exported is None:
        return config_of(word, weights)
    stated = exported.config.name
    if word not in (None, stated) and config_of(word, weights).name != stated:
        raise UsageError(f"config={word}: the exported model is one of {stated}. Leave out config=, or export again.")
    return exported.config


def require_output_type(exported: Description, output_type: str | None) -> None:
    """Raise UsageError when prototypes of another type are asked for than the exported model gives."""
    found = output_type_of(exported.config)
    if output_type not in (None, found):
        raise UsageError(
            f"output_type={output_type}: the exported model gives prototypes as {found}. Leave out output_type=, or "
            "export again."
        )


def require_exported_fits(
    exported: Description, canvas: tuple[int, int] | None, fit: str | None, cut: str | None, classes: str | None
) -> None:
    """Raise UsageError when a canvas, cut or class names are asked for that the exported model does not have."""
    own = exported.config.preprocessing
    given = [f"canvas={show_canvas(canvas)}"] if canvas not in (None, (own.height_px, own.width_px)) else []
    given += [f"fit={fit}"] if fit not in (None, own.fit) else []
    if given:
        has = f"canvas={show_canvas((own.height_px, own.width_px))} fit={own.fit}"
        has = "no canvas" if own.is_stretched else has
        raise UsageError(
            f"{' '.join(given)}: the exported model has {has}. Leave out canvas= and fit=, or export again."
        )
    if cut not in (None, exported.cut):
        raise UsageError(f"cut={cut}: the exported model ends at {exported.cut}. Leave out cut=, or export again.")
    if classes is not None and read_listed(classes).names != exported.config.class_names:
        raise UsageError(
            f"classes={classes}: the exported model names other classes, and they are chosen at its export. Leave out "
            "classes=, or export again."
        )


def require_operators(onnx: Path, word: str | None) -> None:
    """Raise UsageError when other operators are asked for than the exported model has."""
    has = own_operators(onnx) or ONNX
    if word not in (None, has):
        raise UsageError(
            f"operators={word}: the exported model has operators={has}. Leave out operators=, or export again."
        )


def _read_known(out: Path, why: str, unknown: Sequence[str | None]) -> Description | None:
    """Read like `_read`; None for a damaged ONNX whose record names no weights that it may stand in for."""
    try:
        return _read(out, why)
    except ArtifactError:
        if name_of_exported(out) in unknown:
            return None
        raise


def _read(out: Path, why: str) -> Description | None:
    onnx = WorkFolder(out).onnx
    if not onnx.is_file():
        return None
    try:
        return read_description(onnx)
    except NotDescribedError:
        return None
    except ArtifactError as error:
        raise ArtifactError(f"{why}, and: {error}") from error
