"""Images and results in S3, by moto's server on 127.0.0.1: the files of `stream`, though the store is lost once."""

from types import SimpleNamespace

import pytest

from yolact_ascend.cli.main import main
from yolact_ascend.scale.places import find_place
from yolact_ascend.scale.plan import Planned

pytestmark = pytest.mark.needs("moto", "pyarrow")


@pytest.fixture
def store():
    """What gives the URI of a name in a bucket, and what stops the server and starts it again with all that it held."""
    from moto.server import ThreadedMotoServer

    servers = [ThreadedMotoServer("127.0.0.1", port=0, verbose=False)]
    servers[0].start()
    host, port = servers[0].get_host_and_port()
    options = f"scheme=http&endpoint_override={host}:{port}&region=us-east-1&allow_bucket_creation=true"

    def restart():
        servers.append(ThreadedMotoServer("127.0.0.1", port=port, verbose=False))
        servers[-1].start()

    yield SimpleNamespace(
        uri=lambda name: f"s3://KEY:SECRET@bucket/{name}?{options}", stop=lambda: servers.pop().stop(), restart=restart
    )
    servers[0].stop()


def test_images_and_results_in_a_bucket_that_is_lost_meanwhile(store, streamed, capsys, monkeypatch):
    images = find_place(store.uri("images"))
    images.system.create_dir("bucket")
    for path in streamed.images.iterdir():
        (images / path.name).write(path.read_bytes())
    words = [
        *("scale", store.uri("images"), f"--out={store.uri('out')}", f"--model={streamed.model}", "--workers=1"),
        *("--bs=2", "--shard_size=2", f"--json_file={streamed.annotations}"),
    ]
    commit = Planned.commit

    def lose(planned, shard, part):
        if shard == 1:
            store.stop()
        commit(planned, shard, part)

    monkeypatch.setattr(Planned, "commit", lose)
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: Cannot look at s3://bucket/out/plan.json: ") and said.err.count("\n") == 1
    assert said.err.endswith("Finished shards are kept; rerun the same command to resume.\n")
    store.restart()
    monkeypatch.undo()
    assert main(words) == 0
    again = capsys.readouterr()
    assert "4 images in 2 shards, 1 of them done before." in again.out
    assert "Results of 4 images are in s3://bucket/out." in again.out
    out = find_place(store.uri("out"))
    assert (out / "bbox_detections.json").read() == streamed.box
    assert (out / "mask_detections.json").read() == streamed.mask
    assert "SECRET" not in said.out + said.err + again.out + again.err + (out / "plan.json").read().decode()
