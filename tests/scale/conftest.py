"""A drawn data set, a small model, and what `stream` finds in it, once for all tests of the room."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace

import pytest
from factories import TINY_CONFIG, write_coco

from yolact_ascend.cli.main import main
from yolact_ascend.environment import silence_ray

silence_ray(is_alone=True)  # Ray reads this when it is imported, as by a file of tests here


@pytest.fixture(scope="session")
def streamed(tiny_onnx, tmp_path_factory):
    """The data set's folder, the model, and the results files and scores of `stream`, in batches of two."""
    root = tmp_path_factory.mktemp("streamed")
    coco = write_coco(root / "coco", TINY_CONFIG)
    files = SimpleNamespace(box=root / "bbox.json", mask=root / "mask.json", scores=root / "scores.json")
    images, annotations = coco / "val2017", coco / "annotations" / "instances_val2017.json"
    words = [
        *("stream", f"--model={tiny_onnx}", f"--image_path={images}", f"--json_file={annotations}", "--bs=2"),
        *(f"--bbox_det_file={files.box}", f"--mask_det_file={files.mask}", f"--scores_file={files.scores}"),
        "--workers=1",
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(words) == 0
    return SimpleNamespace(
        images=images,
        annotations=annotations,
        model=tiny_onnx,
        **{name: p.read_bytes() for name, p in vars(files).items()},
    )


@pytest.fixture(scope="session")
def ray_cluster():
    """A head without cores, and two raylets of two cores each, as two hosts; all on 127.0.0.1."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    options = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**options, "num_cpus": 0})
    for _ in range(2):
        cluster.add_node(**options, num_cpus=2)
    yield cluster
    cluster.shutdown()
