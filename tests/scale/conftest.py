"""A drawn data set, a small model, and what `stream` finds in it, once for all tests of the room; a cluster of Ray."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from types import SimpleNamespace

import pytest
from factories import TINY_CONFIG, compile_model, write_coco
from hosts import Hosts, parts_in

from yolact_ascend.cli.main import main
from yolact_ascend.environment import silence_ray
from yolact_ascend.files import sha256_file
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.yolact.cuts import cut_outputs
from yolact_ascend.targets.compiled import Need, describe_model, write_sidecar
from yolact_ascend.targets.described import read_description

silence_ray(is_alone=True)  # Ray reads this when it is imported, as by a file of tests here
COPIES = 6  # of each of the four images, where there are to be many shards


@pytest.fixture(scope="session")
def streamed(tiny_onnx, tmp_path_factory):
    """The data set's folder, the model, and the results files and scores of `stream`, in batches of two."""
    root = tmp_path_factory.mktemp("streamed")
    coco = write_coco(root / "coco", TINY_CONFIG)
    return _stream(coco / "val2017", coco / "annotations" / "instances_val2017.json", tiny_onnx, root)


@pytest.fixture(scope="session")
def described_om(tiny_heads_onnx, emulation):
    """The same network with its heads for the emulated card, in batches of two, as `compile` leaves it."""
    model, description = compile_model(tiny_heads_onnx, emulation, "described"), read_description(tiny_heads_onnx)
    hashes = sha256_file(tiny_heads_onnx), description.weights_sha256
    tensors = (input_tensor(TINY_CONFIG),), cut_outputs(TINY_CONFIG, "heads")
    need = Need("ascend", {}, *hashes, 2, TINY_CONFIG.name, "heads", "fp32", *tensors)
    write_sidecar(model, describe_model(model, need, description, [], "atc"))
    return model


@pytest.fixture(scope="session")
def many(streamed, described_om, tmp_path_factory):
    """`COPIES` of each image, what `stream` finds by the emulated card, and one process's parts, in shards of two."""
    root = tmp_path_factory.mktemp("many")
    (root / "images").mkdir()
    annotations, copied = json.loads(streamed.annotations.read_text()), {"images": [], "annotations": []}
    for copy in range(COPIES):
        for image in annotations["images"]:
            name = f"{copy}_{image['file_name']}"
            shutil.copyfile(streamed.images / image["file_name"], root / "images" / name)
            copied["images"].append({**image, "id": image["id"] + 100 * copy, "file_name": name})
        for entry in annotations["annotations"]:
            more = {"id": entry["id"] + 1000 * copy, "image_id": entry["image_id"] + 100 * copy}
            copied["annotations"].append({**entry, **more})
    (root / "annotations.json").write_text(json.dumps({**annotations, **copied}))
    found = _stream(root / "images", root / "annotations.json", described_om, root, "--device=emulation")
    found.shards = COPIES * 4 // 2
    found.words = lambda out, *more: [
        *("scale", str(found.images), f"--json_file={found.annotations}", f"--out={out}", f"--model={found.model}"),
        *("--device=emulation", "--bs=2", "--shard_size=2", "--workers=1", *more),
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(found.words(root / "out")) == 0
    found.parts = parts_in(root / "out")
    return found


def _stream(images, annotations, model, root, *more):
    files = {"box": root / "bbox.json", "mask": root / "mask.json", "scores": root / "scores.json"}
    words = [
        *("stream", f"--model={model}", f"--image_path={images}", f"--json_file={annotations}", "--bs=2"),
        *(f"--bbox_det_file={files['box']}", f"--mask_det_file={files['mask']}", f"--scores_file={files['scores']}"),
        *("--workers=1", *more),
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(words) == 0
    found = {name: path.read_bytes() for name, path in files.items()}
    return SimpleNamespace(images=images, annotations=annotations, model=model, **found)


@pytest.fixture(scope="session")
def hosts():
    """Two hosts; see `hosts.Hosts`."""
    pytest.importorskip("ray")
    cluster = Hosts()
    yield cluster
    cluster.shutdown()
