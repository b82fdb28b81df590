"""From a source, a model and an annotation file to the plan that all workers of a run agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.cores import describe_cpu
from yolact_ascend.environment import cpu_limits
from yolact_ascend.errors import NotDescribedError, UsageError
from yolact_ascend.files import digest, sha256_file
from yolact_ascend.host.loading import ChosenModel
from yolact_ascend.host.pack import model_files
from yolact_ascend.images.coco import CocoDataset
from yolact_ascend.images.pictures import verify_annotations
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.config_json import config_to_json
from yolact_ascend.scale.manifest import Image, hash_images, match_images, number_images
from yolact_ascend.scale.places import absolute, without_secrets
from yolact_ascend.scale.plan import Plan
from yolact_ascend.scale.source import list_source
from yolact_ascend.scale.truths import ReadTruths, read_truths
from yolact_ascend.sources import library_versions, made_by
from yolact_ascend.targets.compiled import read_sidecar
from yolact_ascend.targets.described import read_description

SHARD_IMAGES = 256  # about, by default: some seconds of a card


@dataclass(frozen=True)
class ScaleRequest:
    """What a user asks to be done: the words of the command line."""

    source: str
    annotation_file: Path | None = None
    shard_size: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Prepared:
    """A plan that is not in its place yet, and what is odd about its annotation file."""

    plan: Plan
    images: Sequence[Image]
    warnings: tuple[str, ...]


def prepare_plan(request: ScaleRequest, chosen: ChosenModel) -> Prepared:
    """List the source and describe model and engine; no device is opened.

    Raises DatasetError for source and annotations, UsageError for a shard size that is no multiple of the batch size.
    """
    batch_size = batch_size_of(chosen)
    shard_size = request.shard_size or -(-SHARD_IMAGES // batch_size) * batch_size
    if shard_size % batch_size:
        raise UsageError(
            f"--shard_size={shard_size}: expected a multiple of the batch size, {batch_size}, such as "
            f"{-(-shard_size // batch_size) * batch_size}."
        )
    entries, name = list_source(request.source), without_secrets(absolute(request.source))
    config = chosen.config
    warnings: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = ()
    images: Sequence[Image]
    if request.annotation_file is None:
        images = number_images(entries[: request.limit])
    else:
        read = read_truths(request.annotation_file)
        config, warnings = _match_classes(read, request.annotation_file, config)
        images = match_images(entries, read, name, request.limit)
        if read.checked.is_scored:
            category_ids = tuple(sorted(category["id"] for category in read.checked.categories))
    plan = Plan(
        source=name,
        images=len(images),
        manifest_sha256=hash_images(images),
        model=hash_model(chosen),
        config=config.name,
        config_sha256=digest(config_to_json(config)),
        engine=describe_engine(chosen, batch_size),
        shard_size=shard_size,
        tasks=tuple(config.tasks),
        class_ids=tuple(config.category_ids),
        category_ids=category_ids,
    )
    return Prepared(plan, images, warnings)


def _match_classes(read: ReadTruths, file: Path, config: ModelConfig) -> tuple[ModelConfig, tuple[str, ...]]:
    """Return the config with the file's ids for its classes, and what is odd about the file."""
    checked = read.checked
    used = [{"category_id": category_id} for category_id in checked.used]  # one annotation of each says as much as all
    content = {"images": [], "annotations": used, "categories": checked.categories}
    dataset = CocoDataset(file, Path(), content, (), 0, checked.is_scored, checked.warnings, checked.mask_fault)
    verified, matched = verify_annotations(dataset, config)
    return matched, verified.warnings


def batch_size_of(chosen: ChosenModel) -> int:
    """Return the batch size that a model was compiled for, or else the one that is asked for."""
    try:
        return read_sidecar(chosen.path).batch_size
    except NotDescribedError:
        return chosen.request.batch_size or 1


def hash_model(chosen: ChosenModel) -> dict[str, str]:
    """Return the SHA-256 of each file that a model consists of, and of weights that are named beside it."""
    weights = chosen.request.weights
    files = {} if weights is None or not weights.is_file() else {weights.name: weights}
    try:
        files.update(model_files(chosen.path, read_description(chosen.path)))
    except NotDescribedError:
        files[chosen.path.name] = chosen.path
    return {name: sha256_file(path) for name, path in sorted(files.items())}


def describe_engine(chosen: ChosenModel, batch_size: int) -> dict[str, Any]:
    """Return what outputs depend on beside the model: two workers that differ in it may find other things."""
    target = chosen.target
    return {
        "target": target.name,
        "batch_size": batch_size,
        **target.identity(),
        "cpu": describe_cpu(),  # the host's part: libraries compute in another order with other instructions
        **cpu_limits(),
        **made_by("scale.work", "scale.plan", "targets.described", *target.engine_modules),
        **library_versions(["pyarrow"]),
    }
