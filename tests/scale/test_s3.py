"""Images and results in S3, by moto's server on 127.0.0.1: the files of `stream`; a store that is lost is said."""

import pytest

from yolact_ascend.cli.main import main
from yolact_ascend.scale.places import find_place

pytestmark = pytest.mark.needs("moto")


@pytest.fixture(scope="module")
def bucket():
    """What gives the URI of a name in a bucket, and what stops the server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = f"scheme=http&endpoint_override={host}:{port}&region=us-east-1&allow_bucket_creation=true"
    yield lambda name: f"s3://KEY:SECRET@bucket/{name}?{options}", server.stop
    server.stop()


def test_images_and_results_in_a_bucket(bucket, streamed, capsys):
    uri, stop = bucket
    images = find_place(uri("images"))
    images.system.create_dir("bucket")
    for path in streamed.images.iterdir():
        (images / path.name).write(path.read_bytes())
    words = [
        *("scale", uri("images"), f"--out={uri('out')}", f"--model={streamed.model}", "--bs=2", "--shard_size=2"),
        *("--workers=1", f"--json_file={streamed.annotations}"),
    ]
    assert main(words) == 0
    out = find_place(uri("out"))
    assert (out / "bbox_detections.json").read() == streamed.box
    assert (out / "mask_detections.json").read() == streamed.mask
    said = capsys.readouterr()
    assert "Results of 4 images are in s3://bucket/out." in said.out
    assert "SECRET" not in said.out + said.err + (out / "plan.json").read().decode()
    (out / "parts/part-000001.parquet").system.delete_file((out / "parts/part-000001.parquet").path)
    assert main(words) == 0
    assert "1 of them done before" in capsys.readouterr().out
    stop()
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: Cannot look at s3://bucket/images: ") and said.count("\n") == 1
