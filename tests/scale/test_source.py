"""Sources: each kind lists the same pictures, and reads the same bytes; what is none is said."""

import io
import json
import tarfile
from types import SimpleNamespace

import cv2
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factories import TINY_CONFIG
from pyarrow import fs

from yolact_ascend.errors import ArtifactError, DatasetError, UsageError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.scale import places
from yolact_ascend.scale.manifest import match_images, number_images
from yolact_ascend.scale.places import find_place, without_secrets
from yolact_ascend.scale.reading import Reader
from yolact_ascend.scale.source import Entry, folder_of, list_source
from yolact_ascend.scale.truths import read_truths

SIZE = (12, 16)  # height and width


def encoded(shade, suffix=".png"):
    return cv2.imencode(suffix, np.full((*SIZE, 3), shade, np.uint8))[1].tobytes()


PICTURES = {"a.png": encoded(10), "b/c.png": encoded(20), "d.png": encoded(30)}


def as_folder(root):
    for name, data in PICTURES.items():
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).write_bytes(data)
    (root / "images" / "notes.json").write_text("{}")
    return root / "images"


def as_list(root):
    as_folder(root)
    (root / "list.txt").write_text(f"images/d.png\n{root / 'images' / 'a.png'}\n\nimages/b/c.png\n")
    return root / "list.txt"


def as_archives(root):
    """Two archives as WebDataset has them, with other members beside the pictures."""
    (root / "tars").mkdir()
    for archive, names in (("0.tar", ["a.png", "b/c.png"]), ("1.tar", ["d.png"])):
        with tarfile.open(root / "tars" / archive, "w") as file:
            for name in names:
                for member, data in ((name, PICTURES[name]), (name.replace("png", "json"), b"{}")):
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    file.addfile(info, io.BytesIO(data))
    return root / "tars"


def as_table(root, columns):
    pq.write_table(pa.table(columns), root / "table.parquet", row_group_size=2)
    return root / "table.parquet"


def as_table_of_bytes(root):
    return as_table(root, {"bytes": list(PICTURES.values()), "label": [0, 1, 2]})


def as_table_of_datasets(root):
    """As Hugging Face's `datasets` writes images: datasets 4.4, features/image.py, `pa.struct` of bytes and path."""
    return as_table(root, {"image": [{"bytes": data, "path": name} for name, data in PICTURES.items()]})


def as_table_of_paths(root):
    as_folder(root)
    return as_table(root, {"path": [f"images/{name}" for name in PICTURES]})


def in_memory(root):
    store = fsspec.filesystem("memory")
    for name, data in PICTURES.items():
        store.pipe(f"/{root.name}/{name}", data)
    return f"memory://{root.name}"


KINDS = [
    *(as_folder, as_list, as_archives, as_table_of_bytes, as_table_of_datasets, as_table_of_paths, in_memory),
]


@pytest.mark.parametrize("make", KINDS)
def test_each_kind_of_source_gives_the_same_pictures(make, tmp_path):
    source = str(make(tmp_path))
    entries = list_source(source)
    assert len({entry.name for entry in entries}) == len(PICTURES)
    reader = Reader(folder_of(source), TINY_CONFIG.preprocessing)
    read = list(reader.read_all(number_images(entries)))
    assert [each.failure for each in read] == ["", "", ""]
    shades = [int(each.read()[0, 0, 0]) for each in read]
    assert sorted(shades) == [10, 20, 30]
    assert list_source(source) == entries


def test_a_store_is_a_place_for_results_too(tmp_path):
    out = find_place(f"memory://{tmp_path.name}/out")
    (out / "parts/a.bin").write(b"first")
    (out / "parts/a.bin").write(b"second")
    assert (out / "parts/a.bin").read() == b"second"
    assert [path.rpartition("/")[2] for path in out.files()] == ["a.bin"]
    assert (out / "elsewhere").files() == []
    (tmp_path / "local.json").write_bytes(b"[]")
    (out / "copied.json").copy_from(tmp_path / "local.json")
    assert (out / "copied.json").read() == b"[]"
    with pytest.raises(ArtifactError, match="Cannot read memory://.*/none: .* Is the store reachable"):
        (out / "none").read()


@pytest.mark.parametrize("uri", ["gs://anonymous@b/a", "gs://anonymous@b/a?scheme=http"])
def test_a_store_of_google_may_be_silent_for_a_minute(uri, monkeypatch):
    """Arrow 26 asks for 15 minutes where the URI has no limit: nothing was said for 4 minutes without a network."""
    seen, really = [], fs.FileSystem.from_uri
    played = SimpleNamespace(from_uri=lambda word: seen.append(word) or really(word))
    monkeypatch.setattr(places.fs, "FileSystem", played)
    assert find_place(uri).path == "b/a"
    find_place("gs://anonymous@b/a?retry_limit_seconds=5")
    mark = "&" if "?" in uri else "?"
    assert seen == [f"{uri}{mark}retry_limit_seconds=60", "gs://anonymous@b/a?retry_limit_seconds=5"]


def test_a_store_that_cannot_be_reached_is_said(monkeypatch):
    def fail(word):
        raise OSError("AWS Error NETWORK_CONNECTION during HeadBucket operation")

    monkeypatch.setattr(places.fs, "FileSystem", SimpleNamespace(from_uri=fail))
    with pytest.raises(ArtifactError, match=r"^Cannot use s3://b/a: AWS Error NETWORK.* Is the store reachable, with"):
        find_place("s3://KEY:SECRET@b/a?region=x")


def test_passwords_are_not_shown(tmp_path):
    assert without_secrets("s3://KEY:SECRET@bucket/a?endpoint_override=x") == "s3://bucket/a"
    with pytest.raises(UsageError, match="Cannot use nothing://bucket/a: .*Pass a path, or a URI"):
        find_place("nothing://KEY:SECRET@bucket/a")
    (tmp_path / "list.txt").write_text("s3://bucket/a@b:c.jpg\ns3://KEY:SECRET@bucket/d.jpg\n")
    with pytest.raises(DatasetError, match=r"list\.txt lists a URI with a password, .*: s3://bucket/d\.jpg\. "):
        list_source(str(tmp_path / "list.txt"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no images. Pass a folder or list"),
        ({"a.csv": b""}, "holds no images. Pass a folder or list"),
        ({"a.png": b"", "a.tar": b""}, "holds image and .tar files. Pass a folder with one kind"),
        ({"a.tar": b"\x1f\x8b compressed" * 99}, "a.tar is not a whole, uncompressed tar archive"),
        ({"a.parquet": b"none"}, "a.parquet is not a Parquet table"),
    ],
)
def test_what_is_no_source_is_said(files, said, tmp_path):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DatasetError, match=said):
        list_source(str(tmp_path))
    with pytest.raises(DatasetError, match="There is no .*nowhere"):
        list_source(str(tmp_path / "nowhere"))


def test_a_name_twice_and_a_table_without_pictures_are_said(tmp_path):
    (tmp_path / "list.txt").write_text("a.png\nb.png\na.png\n")
    with pytest.raises(DatasetError, match="has 1 names more than once: a.png"):
        list_source(str(tmp_path / "list.txt"))
    with pytest.raises(DatasetError, match="has the columns label, expected one of bytes"):
        list_source(str(as_table(tmp_path, {"label": [1]})))


def annotations_of(tmp_path, names, size=SIZE):
    images = [
        {"id": 10 * number, "file_name": name, "height": size[0], "width": size[1]}
        for number, name in enumerate(names, 1)
    ]
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1}]}))
    return read_truths(file)


def test_images_are_found_by_their_names_or_those_without_folders(tmp_path):
    entries = [Entry(name, name) for name in ("0.tar/a.jpg", "b.jpg", "x/000000000007.jpg", "y/two.jpg", "z/two.jpg")]
    found = match_images(entries, annotations_of(tmp_path, ["c/b.jpg", "COCO_val2014_000000000007.jpg", "a.jpg"]), "s")
    assert [image.entry.name for image in found] == ["b.jpg", "x/000000000007.jpg", "0.tar/a.jpg"]
    assert [image.image_id for image in found] == [10, 20, 30] and found[0].truth == "[]" and found[0].size == SIZE
    with pytest.raises(DatasetError, match="2 of 3 images that the annotation file lists are not in s: two.jpg, q.jpg"):
        match_images(entries, annotations_of(tmp_path, ["two.jpg", "b.jpg", "q.jpg"]), "s")


def test_a_missing_image_is_its_own_failure_and_a_lost_source_is_everybodys(tmp_path):
    source = as_folder(tmp_path)
    images = number_images(list_source(str(source)))
    reader = Reader(find_place(str(source)), TINY_CONFIG.preprocessing)
    (source / "a.png").unlink()
    assert reader.read(images[0]).failure == "There is no image a.png. Was it moved or removed?"
    source.rename(tmp_path / "unmounted")
    with pytest.raises(ArtifactError, match="There is no .*images any more: the source was lost"):
        reader.read(images[1])


def test_other_proportions_than_annotated_are_a_failure_where_boxes_would_be_wrong(tmp_path):
    """R-CNN pads, so that boxes are scaled by the picture's own proportions; YOLACT stretches."""
    source = as_folder(tmp_path)
    (image,) = match_images(list_source(str(source)), annotations_of(tmp_path, ["a.png"], (16, 40)), "s")
    folder = find_place(str(source))
    assert Reader(folder, TINY_CONFIG.preprocessing).read(image).failure == ""
    failure = Reader(folder, CONFIGS["mask_rcnn_R_50_FPN_3x"].preprocessing).read(image).failure
    assert "other proportions than the annotation file says" in failure
