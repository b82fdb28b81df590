"""The `doctor` verb: checks what is missing for a run with these settings, and says how to fix it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from yolact_ascend import __version__
from yolact_ascend.checks import FAIL, OK, WARN, Check, run_check
from yolact_ascend.detection.run_lengths import load_library
from yolact_ascend.disk import existing_folder, free_bytes, in_gb
from yolact_ascend.errors import ArtifactError, DatasetError, UsageError
from yolact_ascend.extras import CORE, EXPORT, ONNXRUNTIME, extra_of_package, how_to_install
from yolact_ascend.folders import has_locks
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.images.pictures import verify
from yolact_ascend.models.classes import ClassChoice, choose_classes
from yolact_ascend.models.families import family_of
from yolact_ascend.pipeline.context import find_classes_word, find_dataset
from yolact_ascend.pipeline.demo import IMAGES, NOTE, demo_scenes, with_demo
from yolact_ascend.pipeline.disk import describe_remedies, plan_disk
from yolact_ascend.pipeline.model_source import describe_exported, require_source
from yolact_ascend.pipeline.settings import RunSettings
from yolact_ascend.slots import SHARED_MEMORY
from yolact_ascend.sources import OPTIONAL, library_versions
from yolact_ascend.targets.folder import WorkFolder
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget
from yolact_ascend.targets.registry import TARGETS
from yolact_ascend.targets.torch.target import TorchTarget

SCHEMA_VERSION = 1
VAL2017_IMAGES = 5000
LEAST_SCRATCH_BYTES = 64 * 2**20  # docker's default for /dev/shm: too little for many images in flight


def examine(settings: RunSettings) -> list[Check]:
    """Make every check that a run of these settings depends on; a failed one does not keep the next from being made."""
    settings = with_demo(settings)
    checks = [
        run_check("libraries", lambda: check_libraries(settings)),
        *TARGETS[settings.target].check(settings.devices),
    ]
    dataset = run_check("data set", lambda: check_dataset(settings))
    return [
        *checks,
        run_check("weights", lambda: check_weights(settings)),
        dataset,
        run_check("work folder", lambda: check_work_folder(settings)),
        run_check("scratch", check_scratch),
        run_check("disk", lambda: check_disk(settings, dataset.facts.get("images"))),
    ]


def render_text(checks: list[Check]) -> str:
    """Render one line a check, and one that counts."""
    width = max(len(check.name) for check in checks)
    lines = [f"{check.status:<4}  {check.name:<{width}}  {check.text}" for check in checks]
    counts = ", ".join(f"{sum(check.status == status for check in checks)} {status}" for status in (OK, WARN, FAIL))
    return "\n".join([*lines, counts])


def render_json(checks: list[Check]) -> str:
    """Render the checks as JSON; more keys may come."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "is_ready": not failed(checks),
        "checks": [check.to_json() for check in checks],
    }
    return json.dumps(value, indent=2)


def failed(checks: list[Check]) -> list[str]:
    """Return the names of the checks that failed."""
    return [check.name for check in checks if check.status == FAIL]


def check_libraries(settings: RunSettings | None = None) -> Check:
    """Our own Python and the libraries whose versions can change a result; all are needed without `settings`."""
    versions = library_versions()
    facts = {"yolact_ascend": __version__, "python": platform.python_version(), **versions}
    absent = [name for name, version in versions.items() if version is None]
    missing = [name for name in absent if name not in OPTIONAL and (settings is None or _needs(settings, name))]
    if missing:
        extra = EXPORT if EXPORT in map(extra_of_package, missing) else extra_of_package(missing[0])
        text = f"{sys.executable} is missing {', '.join(missing)}. {how_to_install(extra)}"
        return Check("libraries", FAIL, text, facts)
    load_library()
    text = ", ".join(f"{name} {version}" for name, version in facts.items() if name not in absent)
    rest = f"; not needed for these stages and missing: {', '.join(absent)}" if absent else ""
    return Check("libraries", OK, text + rest, facts)


def _needs(settings: RunSettings, library: str) -> bool:
    """Whether the stages of these settings use a library."""
    extra, is_onnxruntime = extra_of_package(library), settings.target == OnnxRuntimeTarget.name
    if extra == CORE or (settings.exported is None and "export" in settings.stages):
        return True
    if library == "torch" and settings.target == TorchTarget.name:
        return True
    if extra == ONNXRUNTIME:
        return is_onnxruntime or family_of(settings.model_config).has_host_part(settings.cut)
    return library == "onnx" and is_onnxruntime and "compile" in settings.stages


def check_weights(settings: RunSettings) -> Check:
    """Whether the weights file can be read and fits the config; what is in it, and where its classes are from."""
    path, config, onnx = settings.weights, settings.model_config, WorkFolder(settings.out).onnx
    if "export" not in settings.stages and not (path.is_file() or onnx.is_file()):
        neither = "" if settings.is_demo else f"no {path}, and "  # nobody has named the demo's
        text = (
            f"There is {neither}no {onnx}, which these stages take. Copy the work folder of the host that exports the "
            f"model to {settings.out}, or pass weights=FILE. A packed model needs neither: verify PACK."
        )
        return Check("weights", WARN, text)
    require_source(path, config, settings.exported, settings.out)
    if settings.exported is not None:
        text = f"not needed: a run takes {describe_exported(onnx, settings.exported)}"
        return Check("weights", OK, text, {"path": str(path), "weights_sha256": settings.exported.weights_sha256})
    choice = _choose_classes(settings)
    size, classes = path.stat().st_size, choice.config.num_classes
    facts = {"path": str(path), "size_bytes": size, "classes": classes, "classes_from": choice.source}
    file, found = f"{path}, {size / 10**6:.1f} MB", f"{classes} classes, from {choice.source}"
    try:
        from yolact_ascend.models.weights import examine_weights  # here: PyTorch may be what is missing
    except ImportError:
        status = WARN if "export" in settings.stages else OK
        return Check("weights", status, f"{file}: {found}; not read, because PyTorch is missing.", facts)
    contents = examine_weights(path, choice.config)
    facts.update(contents._asdict(), fits=config.name)
    text = (
        f"{file}, {contents.format}: {contents.tensors} tensors with {contents.values / 10**6:.1f} million values, "
        f"which fit {config.name}; {found}"
    )
    return Check("weights", OK, "; ".join((text, *contents.notes)), facts)


def _choose_classes(settings: RunSettings) -> ClassChoice:
    """Choose the classes as a run does, without the data set's if that cannot be read: its own check says so."""
    path, config = settings.weights, settings.model_config
    if settings.exported is not None:
        return ClassChoice(settings.exported.config, "the exported model")
    if not settings.classes:
        with contextlib.suppress(ArtifactError, DatasetError, UsageError):
            return choose_classes(path, config, find_classes_word(settings))
    return choose_classes(path, config, settings.classes)


def check_dataset(settings: RunSettings) -> Check:
    """Whether the data set is whole, and of the config's classes."""
    if not settings.needs_dataset:
        return Check("data set", OK, "not needed for these stages", {"images": 0})
    if settings.is_demo and not demo_scenes(settings)[0].are_drawn():
        scenes = min(IMAGES, settings.image_limit or IMAGES)
        return Check("data set", OK, f"none, so a run draws scenes of its own: {NOTE}", {"images": scenes})
    image_folder, annotation_file = find_dataset(settings)
    whole = load_dataset(annotation_file, image_folder)
    dataset, _ = verify(whole, _choose_classes(settings).config, limit=settings.image_limit)
    dataset.require_readable()
    count, annotated = len(dataset.images), dataset.annotated_count
    limited = f" of {len(whole.images)}" if count < len(whole.images) else ""
    text = f"{count}{limited} images, {annotated} of them annotated, {annotation_file}"
    facts = {
        "images": count,
        "annotated_images": annotated,
        "of_images": len(whole.images),
        "warnings": list(dataset.warnings),
    }
    return Check("data set", WARN if dataset.warnings else OK, "; warning: ".join((text, *dataset.warnings)), facts)


def check_work_folder(settings: RunSettings) -> Check:
    """Whether a run may write there, and the target takes its path."""
    folder = settings.out
    TARGETS[settings.target].require_usable_paths(folder)
    parent = existing_folder(folder)
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        text = f"{folder}: {parent} is not a folder that this user may write to. Choose another: out=DIR."
        return Check("work folder", FAIL, text)
    found = f"{folder}{'' if folder.exists() else ', to be made'}"
    if not has_locks(parent):
        text = f"{found}; its file system has no locks: start only one run in it at a time."
        return Check("work folder", WARN, text)
    return Check("work folder", OK, found)


def check_scratch() -> Check:
    """Whether there is room in shared memory and in the temporary folder, which workers and tools use."""
    free = {str(folder): free_bytes(folder) for folder in (SHARED_MEMORY, Path(tempfile.gettempdir()))}
    facts = {"free_bytes": free}
    found = ", ".join(f"{in_gb(size)} GB free at {folder}" for folder, size in free.items())
    tight = [folder for folder, size in free.items() if size < LEAST_SCRATCH_BYTES]
    if tight:
        text = f"{found}: less than {in_gb(LEAST_SCRATCH_BYTES)} GB at {' and '.join(tight)} may be too little."
        remedy = "Free some, or choose another temporary folder (TMPDIR=DIR; docker run --shm-size=1g)."
        return Check("scratch", WARN, f"{text} {remedy}", facts)
    return Check("scratch", OK, found, facts)


def check_disk(settings: RunSettings, images: int | None) -> Check:
    """Whether the stages to run have room for what they write; `images` None: as many as val2017, or the limit.

    What lies in the work folder already counts as written: a new run overwrites it.
    """
    is_guess = images is None
    if images is None:
        images = min(VAL2017_IMAGES, settings.limit or VAL2017_IMAGES)
    plan = plan_disk(settings, images)
    assumed = f" (for {images} images, as the data set could not be read)" if is_guess else ""
    text = f"{in_gb(plan.needed)} GB needed{assumed}, {in_gb(plan.free)} GB free at {settings.out}"
    facts = {**plan.to_json(), "images": images}
    if plan.is_refused:
        return Check("disk", FAIL, f"{text}. {describe_remedies(settings, images, plan)}", facts)
    if plan.is_tight:
        remedy = "Detections and logs need about 1 GB more. Free it, or choose another disk (out=DIR)."
        return Check("disk", WARN, f"{text}. {remedy}", facts)
    return Check("disk", OK, text, facts)
