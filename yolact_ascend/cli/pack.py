"""`pack`: a model with all that running it needs, as one folder."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact_ascend import __version__, flags
from yolact_ascend.cli.flags import add_flags, add_switch, chosen_devices, reader
from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.files import sha256_file
from yolact_ascend.words import path

if TYPE_CHECKING:
    from yolact_ascend.analysis.self_test import Computed
    from yolact_ascend.host.pack import Manifest
    from yolact_ascend.models.description import Description
    from yolact_ascend.targets.target import Target

HELP = "Pack a compiled model with its heads, labels and a self-test into one folder, for the host that runs it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument("model", type=reader(path), metavar="MODEL", help="a compiled model (.om, .xml) or an .onnx")
    parser.add_argument("folder", type=reader(path), metavar="OUT", help="folder to make")
    add_switch(parser, "zip", "also write OUT.zip")
    parser.add_argument(
        "--image", type=reader(path), metavar="FILE", help="picture of the self-test (default: a scene)"
    )
    add_flags(parser, flags.DEVICE, flags.NPUS, flags.SOC, flags.THREADS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.analysis import self_test
    from yolact_ascend.host import pack
    from yolact_ascend.targets.compiled import read_sidecar, require_described
    from yolact_ascend.targets.described import read_description
    from yolact_ascend.targets.folder import sidecar_file
    from yolact_ascend.targets.registry import target_of_model

    model: Path = arguments.model
    kind = target_of_model(model)
    description = read_description(model)
    sidecar = read_sidecar(model) if sidecar_file(model).is_file() else None
    if sidecar is not None:
        require_described(model, sidecar)
    files = pack.model_files(model, description)
    manifest = pack.describe_pack(model, kind.name, sidecar, description, f"yolact-ascend {__version__}")
    embed, target = self_test.embed_of_model(model), _find_target(arguments)
    onnx = _find_onnx(model, None if sidecar is None else sidecar.onnx_sha256)
    if onnx is None and target is None:
        raise ToolError(
            f"The self-test needs the ONNX that {model.name} was compiled from, beside it, or a device that runs the "
            "model. Copy the ONNX there, or pack on a host with the device."
        )
    image, right, detections = _choose_image(arguments, model, onnx, target, embed)
    own = None if target is None else self_test.compute(model, target, self_test.decode_image(image))
    name = f"image{image.suffix.lower()}"
    expected = self_test.describe_expected(right, detections, own, manifest.precision, name)
    contents = {
        **{name: path.read_bytes() for name, path in files.items()},
        pack.LABELS: "".join(f"{' '.join(label.split())}\n" for label in description.config.class_names).encode(),
        pack.LICENSES: _licences(description).encode(),
        pack.README: _readme(manifest, description).encode(),
        f"{pack.SELF_TEST}/{name}": image.read_bytes(),
        pack.EXPECTED: (json.dumps(expected, indent=1) + "\n").encode(),
    }
    written = pack.write_pack(arguments.folder, manifest, contents, arguments.zip)
    print(f"{' and '.join(map(str, written))}: {len(contents) + 1} files of {model.name}.")
    sure = sum(entry["score"] >= self_test.SURE for entry in detections)
    what = f"{sure} sure detections" if sure else "nothing sure, so that only outputs are compared"
    print(f"Self-test: {image.name}, {what}; expected values by {right.by}.")
    if own is None:
        print("The model did not run on this host; `verify OUT` on its own host is its first run.", file=sys.stderr)


def _find_target(arguments: argparse.Namespace) -> Target | None:
    """Return what runs the model on this host; None, with the reason on stderr, where nothing does."""
    from yolact_ascend.targets.registry import find_target, target_of_model

    try:
        return find_target(target_of_model(arguments.model), chosen_devices(arguments))
    except ToolError as error:
        print(f"Not run on this host: {error}", file=sys.stderr)
        return None


def _find_onnx(model: Path, sha256: str | None) -> Path | None:
    """Return the exported ONNX of a model, by the side-car's hash, from beside it.

    Of one that is INT8 in Ascend's form, it is the QDQ form with the same integers. None when it is not there, or has
    Ascend's operators, so that only the model itself computes what is expected.
    """
    from yolact_ascend.models.onnx_metadata import ASCEND_INT8, own_operators
    from yolact_ascend.targets.folder import find_qdq_twin

    if model.suffix == ".onnx" and sha256 is None:
        return model
    found = next((path for path in sorted(model.parent.glob("*.onnx")) if sha256_file(path) == sha256), None)
    kind = None if found is None else own_operators(found)
    if found is not None and kind == ASCEND_INT8:
        return find_qdq_twin(found)
    return None if kind else found


def _choose_image(
    arguments: argparse.Namespace, model: Path, onnx: Path | None, target: Target | None, embed: str
) -> tuple[Path, Computed, list[dict[str, Any]]]:
    """Return the picture of the self-test, and what is right for it.

    Without `--image` it is the first drawn scene in which the model is sure of something, else the first of all.
    """
    from yolact_ascend.analysis import self_test

    tried = []
    for image in _images(arguments.image):
        picture = self_test.decode_image(image)
        if onnx is not None:
            right = self_test.compute_reference(onnx, picture, embed)
            detections = self_test.detect(onnx, right, picture)
        elif target is not None:
            right = self_test.compute(model, target, picture)
            detections = self_test.detect(model, right, picture)
        tried.append((image, right, detections))
        if any(entry["score"] >= self_test.SURE for entry in detections):
            return tried[-1]
    return tried[0]


def _images(given: Path | None) -> Iterator[Path]:
    from yolact_ascend.analysis.golden import read_golden

    if given is not None:
        yield given
        return
    golden = read_golden()
    yield from (golden.image_folder / name for name in golden.images)


def _licences(description: Description) -> str:
    """Return the note on licences: only the demo's weights are known."""
    from yolact_ascend.analysis.golden import read_golden

    try:
        is_demo = read_golden().weights_sha256 == description.weights_sha256
    except ArtifactError:
        is_demo = False
    weights = (
        "Apache-2.0: they are the demo's, and come with yolact-ascend."
        if is_demo
        else "not known: the weights do not state it. Ask whoever you have them from before you pass this on."
    )
    return (
        f"# Licenses\n\n- The weights in the model files (SHA-256 of their `.pth`: {description.weights_sha256}): "
        f"{weights}\n- What yolact-ascend added (self-test of a drawn scene, texts): Apache-2.0.\n"
        "- A picture that was passed with `--image` keeps its own licence.\n"
    )


def _readme(manifest: Manifest, description: Description) -> str:
    """Return the ten lines for the host that runs the model."""
    made_for = ", ".join(f"{key} {value}" for key, value in manifest.made_for.items())
    batch = "any batch size" if manifest.batch_size is None else f"batches of {manifest.batch_size}"
    facts = (
        f"{manifest.config}, {len(description.config.class_names)} classes (labels.txt), {manifest.precision}, {batch}"
    )
    return f"""# {manifest.model}

{facts}. For {manifest.target}{f" ({made_for})" if made_for else ""}. Packed by {manifest.producer}.
On the host that runs it, with yolact-ascend installed (PyTorch is not needed), in this folder:

    python -m yolact_ascend verify .
    python -m yolact_ascend predict PHOTO --model=.

`verify` says EQUAL, or what differs and by how much. Keep all files together; pack.json has their SHA-256.
"""
