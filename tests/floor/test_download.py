"""Fetching files from a server on this machine that does what servers and networks do."""

import dataclasses
import hashlib
import http.server
import pickle
import shutil
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from factories import CHECKOUT

from yolact_ascend import download as download_module
from yolact_ascend.cli.main import main
from yolact_ascend.download import Published, fetch, unpack
from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.images import archives
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG

CONTENT = bytes(range(256)) * 4000  # a megabyte
DEMO_WEIGHTS = CHECKOUT / CONFIGS[DEMO_CONFIG].source.url


class Server(http.server.ThreadingHTTPServer):
    """Answers GET with `files`, in the way that the test asks for; notes what it is asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = {"/a.bin": CONTENT}, []
        self.continues, self.breaks_after, self.breaks, self.steps_back = True, 0, 0, 0
        self.headers = {}

    def url(self, name="a.bin"):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        content = server.files.get(self.path.split("127.0.0.1:9")[-1])
        if content is None:
            self.send_error(404)
            return
        begin = int(wanted[6:-1]) if wanted and server.continues else 0
        if begin and begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        begin = max(0, begin - server.steps_back)
        if wanted and server.continues:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        for name, value in {"Content-Length": str(len(content) - begin), **server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        rest = content[begin:]
        if server.breaks:
            server.breaks -= 1
            rest = rest[: server.breaks_after]
        self.wfile.write(rest)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def published(*urls, content=CONTENT, **more):
    hashes = {name: hashlib.new(name, content).hexdigest() for name in ("sha256", "md5")}
    return Published("a.bin", urls, **{"size_bytes": len(content), "hashes": hashes, **more})


def test_a_file_is_fetched_checked_and_not_fetched_again(server, tmp_path):
    path = fetch(published(server.url()), tmp_path / "new")
    assert path == tmp_path / "new" / "a.bin" and path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]
    assert fetch(published(server.url()), path.parent) == path
    assert server.asked == [("/a.bin", None)]


def test_a_connection_that_breaks_is_made_again_where_it_broke(server, tmp_path):
    server.breaks, server.breaks_after = 2, 300_000
    assert fetch(published(server.url()), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-", "bytes=600000-"]


def test_a_run_that_was_killed_continues(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(published(server.url()), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/a.bin", "bytes=1000-")]


def test_a_server_that_cannot_continue_begins_anew(server, tmp_path):
    server.continues = False
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    assert fetch(published(server.url()), tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert fetch(published(server.url()), tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_of_a_longer_file_is_dropped(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 2 * len(CONTENT))
    assert fetch(published(server.url()), tmp_path).read_bytes() == CONTENT


def test_a_server_that_begins_earlier_than_asked_is_followed(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    server.steps_back = 300
    assert fetch(published(server.url()), tmp_path).read_bytes() == CONTENT


def test_a_length_that_is_no_number_is_not_counted_on(server, tmp_path):
    server.headers["Content-Length"] = "abc"
    assert fetch(published(server.url()), tmp_path).read_bytes() == CONTENT


def test_a_packed_answer_is_not_taken_for_the_file(server, tmp_path):
    server.headers["Content-Encoding"] = "gzip"
    with pytest.raises(ToolError, match="the server sends the file packed, as gzip"):
        fetch(published(server.url()), tmp_path)


def test_a_connection_that_always_breaks_ends_with_the_part_kept(server, tmp_path):
    server.breaks, server.breaks_after = 99, 1000
    with pytest.raises(ToolError, match="the connection broke"):
        fetch(published(server.url()), tmp_path)
    assert (tmp_path / "a.bin.part").stat().st_size == 1000 * download_module.TRIES
    server.breaks = 0
    assert fetch(published(server.url()), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"hashes": {"sha256": "0" * 64}}, "its sha256 is [0-9a-f]{64}, expected 0{64}"),
        ({"size_bytes": 7}, "1024000 bytes, expected 7"),
    ],
    ids=["hash", "size"],
)
def test_another_file_is_never_used(server, tmp_path, more, said):
    with pytest.raises(ToolError, match=rf"a\.bin cannot be fetched. http://127.*gives another file: {said}"):
        fetch(published(server.url(), **more), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_mirrors_are_tried_in_their_order(server, tmp_path):
    server.files["/wrong"] = b"<html>"
    path = fetch(published(server.url("none"), server.url("wrong"), server.url()), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [name for name, _ in server.asked] == ["/none", "/wrong", "/a.bin"]


def test_without_any_server_it_is_one_sentence_with_every_address(server, tmp_path):
    closed = "http://127.0.0.1:9/a.bin"
    with pytest.raises(ToolError) as caught:
        fetch(published(server.url("none"), closed), tmp_path)
    said = str(caught.value)
    assert f"{server.url('none')}: the server answers 404" in said
    assert f"{closed}: no connection (" in said
    assert f"fetch it on another machine and put it at {tmp_path / 'a.bin'}" in said


def test_another_file_of_that_name_is_kept(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"a\.bin is there, and is another file: 4 bytes, expected 1024000"):
        fetch(published(server.url()), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"mine" and server.asked == []


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UsageError, match=r"a\.bin takes 0\.00 GB more at .*choose another folder: --to"):
        fetch(published(server.url()), tmp_path)
    assert not (tmp_path / "a.bin.part").exists()


def test_a_proxy_is_used_as_curl_would(server, tmp_path, monkeypatch):
    """The server plays the proxy: it is asked for the whole address."""
    monkeypatch.setenv("http_proxy", server.url("")[:-1])
    server.files["http://example.invalid/a.bin"] = CONTENT
    assert fetch(published("http://example.invalid/a.bin"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("http://example.invalid/a.bin", None)]


def zip_of(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return path


def test_unpacking_takes_what_is_wanted_and_keeps_what_is_there(tmp_path):
    archive = zip_of(tmp_path / "a.zip", val2017__1_dot_jpg=b"one", val2017__2_dot_jpg=b"two", other__3=b"three")
    assert unpack(archive, tmp_path / "coco", ["val2017/"]) == 2
    first = tmp_path / "coco" / "val2017" / "1.jpg"
    first.write_bytes(b"ONE")  # the same size: kept
    (tmp_path / "coco" / "val2017" / "2.jpg").write_bytes(b"half")
    assert unpack(archive, tmp_path / "coco", ["val2017/"]) == 1
    assert {p.name: p.read_bytes() for p in first.parent.iterdir()} == {"1.jpg": b"ONE", "2.jpg": b"two"}
    assert not (tmp_path / "coco" / "other").exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "val2017/../../evil"])
def test_members_that_would_land_elsewhere_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("fine", b"")
        archive.writestr(name, b"")
    with pytest.raises(ArtifactError, match="would land outside of"):
        unpack(tmp_path / "a.zip", tmp_path / "coco")
    assert not (tmp_path / "coco").exists()


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    with pytest.raises(ArtifactError, match=r"a\.zip is damaged .*fetch it again"):
        unpack(tmp_path / "a.zip", tmp_path)


@pytest.fixture
def coco_server(server, tmp_path, monkeypatch):
    """COCO's archives, small, with the sizes and hashes of these."""
    packed = {
        "val2017": zip_of(tmp_path / "v.zip", val2017__1_dot_jpg=b"one").read_bytes(),
        "annotations": zip_of(
            tmp_path / "n.zip", annotations__instances_val2017_dot_json=b"{}", annotations__captions_dot_json=b"{}"
        ).read_bytes(),
    }
    made = {}
    for part, content in packed.items():
        server.files[f"/{part}.zip"] = content
        sha256 = hashlib.sha256(content).hexdigest()
        made[part] = Published(f"{part}.zip", (server.url(f"{part}.zip"),), len(content), {"sha256": sha256})
    monkeypatch.setattr(archives, "ANNOTATIONS", made["annotations"])
    monkeypatch.setattr(archives, "IMAGES", {"val2017": made["val2017"]})
    monkeypatch.setitem(archives.FILES, "annotations.zip", ("annotations/instances_*.json", 2))
    return server


def test_coco_is_unpacked_where_a_run_finds_it(coco_server, tmp_path, capsys):
    from yolact_ascend.images.layout import find_split

    folder = tmp_path / "coco"
    assert main(["download", "coco", "val2017", "--to", str(folder)]) == 0
    assert find_split(folder) == (folder / "val2017", folder / "annotations" / "instances_val2017.json")
    assert {path.name for path in folder.iterdir()} == {"annotations", "val2017"}
    assert [path.name for path in (folder / "annotations").iterdir()] == ["instances_val2017.json"]
    assert f"coco={folder}" in capsys.readouterr().out


def test_what_is_unpacked_is_not_fetched_again_and_a_users_archive_stays(coco_server, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "coco"
    folder.mkdir()
    (folder / "val2017.zip").write_bytes(coco_server.files["/val2017.zip"])
    words = ["download", "coco", "val2017", "--to", str(folder)]
    assert main(words) == 0
    assert [name for name, _ in coco_server.asked] == ["/annotations.zip"] and (folder / "val2017.zip").exists()
    monkeypatch.setattr(archives, "FILES", {name: (pattern, 1) for name, (pattern, _) in archives.FILES.items()})
    monkeypatch.setitem(archives.FILES, "annotations.zip", ("annotations/instances_*.json", 1))
    assert main(words) == 0
    assert len(coco_server.asked) == 1 and "val2017.zip: unpacked already" in capsys.readouterr().out


def test_a_mirror_of_the_users_is_tried_first_and_checked(coco_server, tmp_path, capsys):
    coco_server.files["/mirror.zip"] = b"something else"
    words = ["download", "coco", "annotations", "--to", str(tmp_path / "coco"), "--url", coco_server.url("mirror.zip")]
    assert main(words) == 0
    assert [name for name, _ in coco_server.asked] == ["/mirror.zip", "/annotations.zip"]


def test_weights_are_fetched_by_the_name_of_their_config(server, tmp_path, capsys):
    name = "yolact_edge_resnet50_config"
    words = ["download", "weights", name, "--to", str(tmp_path), "--url", server.url()]
    server.files["/a.bin"] = DEMO_WEIGHTS.read_bytes()
    assert main(words) == 0
    path = tmp_path / "yolact_edge_resnet50_54_800000.pth"
    assert path.read_bytes() == DEMO_WEIGHTS.read_bytes()
    assert f"{path.stat().st_size} bytes. No size or hash of it is published" in capsys.readouterr().out


def test_weights_with_a_published_hash_are_checked_by_it(server, tmp_path, monkeypatch, capsys):
    """For yolact_resnet50_config; its file is 127 MB, so a smaller one stands in for it at the end."""
    name, content = "yolact_resnet50_config", DEMO_WEIGHTS.read_bytes()
    config = CONFIGS[name]
    server.files["/a.bin"] = content
    monkeypatch.setattr(download_module, "TRIES", 1)
    words = ["download", "weights", name, "--to", str(tmp_path), "--url", server.url()]

    def published(**others):
        source = dataclasses.replace(config.source, url="http://127.0.0.1:9/none", **others)
        monkeypatch.setitem(CONFIGS, name, dataclasses.replace(config, source=source))

    published()
    assert main(words) == 1
    assert f"{len(content)} bytes, expected 127300392" in capsys.readouterr().err
    published(size_bytes=len(content), sha384="0" * 96)
    assert main(words) == 1
    assert f"its sha384 is {hashlib.sha384(content).hexdigest()}, expected 000" in capsys.readouterr().err
    published(size_bytes=len(content), sha384=hashlib.sha384(content).hexdigest())
    assert main(words) == 0
    assert "Its size and SHA-384 are the published ones" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["faster_rcnn_R_50_FPN_1x", "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"])
def test_the_zoos_weights_are_fetched_by_their_names(server, tmp_path, monkeypatch, capsys, word):
    """A small pickle of arrays stands in for the 167 MB."""
    server.files["/a.bin"] = pickle.dumps({"model": {"a": np.ones(3, np.float32)}, "__author__": "a"}, 2)
    words = ["download", "weights", word, "--to", str(tmp_path), "--url", server.url()]
    assert main(words) == 0
    file = tmp_path / "faster_rcnn_R_50_FPN_1x_model_final_b275ba.pkl"
    assert file.read_bytes() == server.files["/a.bin"]
    said = capsys.readouterr().out
    assert "No size or hash of it is published" in said and "Licence: CC BY-SA 3.0." in said
    file.unlink()
    server.files["/a.bin"] = pickle.dumps({"model": {"a": Path("/")}}, 2)
    monkeypatch.setattr(download_module, "TRIES", 1)
    assert main(words) == 1
    assert "holds Python objects (pathlib" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_the_zoos_addresses_are_those_of_detectron2():
    """Source: facebookresearch/detectron2 @ 02b5c4e2, detectron2/model_zoo/model_zoo.py."""
    zoo = "https://dl.fbaipublicfiles.com/detectron2"
    url = f"{zoo}/COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x/138205316/model_final_a3ec72.pkl"
    assert CONFIGS["mask_rcnn_R_101_FPN_3x"].source.url == url


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><title>Quota exceeded</title>", "It is a web page."),
        (b"", "cannot be read as PyTorch weights (0 bytes)"),
        (DEMO_WEIGHTS.read_bytes()[:-1000], " cannot be read as PyTorch weights ("),
        (DEMO_WEIGHTS.read_bytes()[:-1000] + b"x" * 1000, " cannot be read as PyTorch weights ("),
        (DEMO_WEIGHTS.read_bytes()[:100_000] + b"x" + DEMO_WEIGHTS.read_bytes()[100_001:], " is damaged: its record"),
    ],
    ids=["a web page", "nothing", "cut short", "another end", "a byte changed"],
)
def test_what_is_no_weights_file_is_not_kept(server, tmp_path, monkeypatch, capsys, content, said):
    """Without a published hash, the content has to tell."""
    server.files["/a.bin"] = content
    monkeypatch.setattr(download_module, "TRIES", 1)
    source = CONFIGS["yolact_edge_resnet50_config"].source
    monkeypatch.setattr(type(source), "url", "http://127.0.0.1:9/none", raising=False)
    words = ["download", "weights", "yolact_edge_resnet50_config", "--to", str(tmp_path), "--url", server.url()]
    assert main(words) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["example.org/w.pth", "ftp://example.org/w.pth", "https://example.org/ü", "https://"])
def test_what_is_no_address_is_refused(tmp_path, capsys, url):
    assert main(["download", "coco", "annotations", "--to", str(tmp_path), f"--url={url}"]) == 2
    assert f"--url={url}: expected an address such as" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["weights", "yolact_edge_demo_config"], 0, "come with the repository: weights/yolact_edge_demo.pth"),
        (["weights", "yolact_edge_config"], 2, "download them by hand (docs/weights.md)"),
        (["weights", "yolact_resnet50_pascal_config"], 2, "download them by hand (docs/weights.md)"),
        (["weights", "yolact_im400_config"], 2, "Nobody has published weights of yolact_im400_config. Train them"),
        (["weights", "yolact_plus_base_config"], 2, "use yolact_base_config and its weights instead"),
        (["weights", "yolov8"], 2, "Unknown config 'yolov8'"),
        (["coco", "val2014"], 2, "'val2014' is not a part of COCO that can be fetched. Choose one of: val2017, train"),
    ],
)
def test_what_cannot_be_fetched_is_said(tmp_path, monkeypatch, capsys, words, code, said):
    monkeypatch.chdir(tmp_path)
    assert main(["download", *words]) == code
    out, err = capsys.readouterr()
    assert said in (out if code == 0 else err)
    assert list(tmp_path.iterdir()) == []


def test_cocos_archives_have_their_published_sizes_and_hashes():
    """As mlcommons/ck and PaddlePaddle's tests have them; the sizes by the servers' headers in public notes."""
    assert archives.IMAGES["val2017"].hashes["md5"] == "442b8da7639aecaf257c1dceb8ba8c80"
    assert archives.ANNOTATIONS.hashes["md5"] == "f4bbac642086de4f52a3fdda2de5fa2c"
    assert archives.IMAGES["train2017"].hashes["md5"] == "cced6f7f71b7629ddf16f17bbcfab6b2"
    assert [p.urls[0].rpartition("/")[2] for p in archives.IMAGES.values()] == ["val2017.zip", "train2017.zip"]
