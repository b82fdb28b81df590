"""The preprocess stage: what it writes, what it keeps, what it refuses."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolact_ascend import cli
from yolact_ascend.artifacts import INPUT, UINT8_INPUT, input_bin
from yolact_ascend.coco import load_dataset
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.preprocess import preprocess
from yolact_ascend.transforms import decode_image, normalise_image, resize_image


@pytest.fixture
def dataset(small_coco, annotation_file):
    return load_dataset(annotation_file, small_coco / "val2017")


def bins(folder):
    return sorted(path.name for path in (folder / "bin_file").iterdir())


def test_writes_one_input_an_image_and_the_ids(dataset, tmp_path):
    save_path = tmp_path / "inputs"
    assert preprocess(dataset.images, save_path) == 4
    assert bins(save_path) == ["0.bin", "1.bin", "2.bin", "3.bin"]
    assert json.loads((save_path / "ids.json").read_text()) == {"ids": [3, 1, 2, 4]}
    written = np.fromfile(input_bin(save_path, 1), np.float32).reshape(INPUT.shape)
    assert np.array_equal(written, normalise_image(decode_image(dataset.images[1].path)))


def test_inputs_for_aipp_are_the_resized_images(dataset, tmp_path):
    assert preprocess(dataset.images, tmp_path, "uint8") == 4
    assert bins(tmp_path) == ["0.bin", "1.bin", "2.bin", "3.bin"]
    written = np.fromfile(input_bin(tmp_path, 1), np.uint8).reshape(UINT8_INPUT.shape)
    assert np.array_equal(written, resize_image(decode_image(dataset.images[1].path)))
    assert json.loads((tmp_path / "recipe.json").read_text())["input"] == ["image", [550, 550, 3], "uint8"]


def test_another_dtype_makes_every_input_again(dataset, tmp_path):
    sizes = []
    for dtype in ("float32", "uint8", "uint8", "float32"):
        made = preprocess(dataset.images[:2], tmp_path, dtype)
        sizes.append((made, input_bin(tmp_path, 1).stat().st_size))
    assert sizes == [(2, 3_630_000), (2, 907_500), (0, 907_500), (2, 3_630_000)]


@pytest.mark.parametrize(("words", "dtype"), [([], "float32"), (["--dtype", "uint8"], "uint8")])
def test_the_flag_chooses_the_dtype(monkeypatch, small_coco, annotation_file, tmp_path, words, dtype):
    seen = []
    monkeypatch.setattr("yolact_ascend.preprocess.preprocess", lambda *arguments: seen.append(arguments) or 0)
    paths = [f"--image_path={small_coco}/val2017", f"--json_file={annotation_file}", f"--save_path={tmp_path}"]
    assert cli.run_script("preprocess", [*paths, *words]) == 0
    assert [arguments[1:] for arguments in seen] == [(tmp_path, dtype)]


def test_an_existing_empty_folder_is_fine(dataset, tmp_path):
    """The guide's script fails when save_path exists without bin_file."""
    (tmp_path / "inputs").mkdir()
    assert preprocess(dataset.images[:1], tmp_path / "inputs") == 1


def test_a_second_run_makes_nothing(dataset, tmp_path):
    preprocess(dataset.images, tmp_path)
    times = [path.stat().st_mtime_ns for path in (tmp_path / "ids.json", *(tmp_path / "bin_file").iterdir())]
    assert preprocess(dataset.images, tmp_path) == 0
    assert [path.stat().st_mtime_ns for path in (tmp_path / "ids.json", *(tmp_path / "bin_file").iterdir())] == times


def test_a_run_that_was_cut_short_continues(dataset, tmp_path, monkeypatch):
    calls = []

    def decode_two(path):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode_image(path)

    monkeypatch.setattr("yolact_ascend.preprocess.decode_image", decode_two)
    with pytest.raises(KeyboardInterrupt):
        preprocess(dataset.images, tmp_path)
    assert bins(tmp_path) == ["0.bin", "1.bin"]
    assert not (tmp_path / "ids.json").exists()
    assert preprocess(dataset.images, tmp_path) == 2


def test_a_half_written_input_is_made_again(dataset, tmp_path):
    preprocess(dataset.images, tmp_path)
    input_bin(tmp_path, 2).write_bytes(b"half")
    assert preprocess(dataset.images, tmp_path) == 1
    assert input_bin(tmp_path, 2).stat().st_size == INPUT.size_bytes


def test_a_changed_image_is_made_again_and_no_other(dataset, tmp_path):
    preprocess(dataset.images, tmp_path)
    Image.new("RGB", (640, 480)).save(dataset.images[1].path)
    assert preprocess(dataset.images, tmp_path) == 1
    assert np.ptp(np.fromfile(input_bin(tmp_path, 1), np.float32).reshape(INPUT.shape)[0]) == 0


def test_fewer_images_leave_no_stale_input(dataset, tmp_path):
    preprocess(dataset.images, tmp_path)
    (tmp_path / "bin_file" / "notes.txt").write_text("mine")
    assert preprocess(dataset.images[:2], tmp_path) == 0
    assert bins(tmp_path) == ["0.bin", "1.bin", "notes.txt"]
    assert json.loads((tmp_path / "ids.json").read_text()) == {"ids": [3, 1]}


@pytest.mark.parametrize("recipe", [None, "", "{", "{}", "[]", '{"images": 7}'], ids=repr)
def test_inputs_of_unknown_origin_are_made_again(dataset, tmp_path, recipe):
    preprocess(dataset.images, tmp_path)
    (tmp_path / "recipe.json").unlink()
    if recipe is not None:
        (tmp_path / "recipe.json").write_text(recipe)
    assert preprocess(dataset.images, tmp_path) == 4


def test_inputs_of_another_transform_are_made_again(dataset, tmp_path, monkeypatch):
    preprocess(dataset.images, tmp_path)
    other = tmp_path / "transforms.py"
    other.write_text("# other code\n")
    monkeypatch.setattr("yolact_ascend.transforms.__file__", str(other))
    assert preprocess(dataset.images, tmp_path) == 4


@pytest.mark.parametrize("content", ["", "[]", '{"ids": [3, 1]}'])
def test_a_damaged_ids_file_is_written_again(dataset, tmp_path, content):
    preprocess(dataset.images, tmp_path)
    (tmp_path / "ids.json").write_text(content)
    assert preprocess(dataset.images, tmp_path) == 0
    assert json.loads((tmp_path / "ids.json").read_text()) == {"ids": [3, 1, 2, 4]}


def test_what_a_killed_run_left_half_written_goes(dataset, tmp_path):
    """ais_bench looks at every entry of the folder and refuses it for one that group may write."""
    preprocess(dataset.images[:2], tmp_path)
    for name in (".1.bin.99.part", ".7.bin.99.part"):
        (tmp_path / "bin_file" / name).write_text("half")
    (tmp_path / "bin_file").chmod(0o775)
    preprocess(dataset.images[:2], tmp_path)
    assert bins(tmp_path) == ["0.bin", "1.bin"]
    assert (tmp_path / "bin_file").stat().st_mode & 0o777 == 0o750


def test_a_jpeg_that_is_cut_short_is_warned_of(dataset, tmp_path, capfd):
    path = dataset.images[1].path
    path.write_bytes(path.read_bytes()[:-3000])
    preprocess(dataset.images, tmp_path)
    warnings = [line for line in capfd.readouterr().err.splitlines() if "looks cut short" in line]
    assert len(warnings) == 1 and str(path) in warnings[0]


def test_a_missing_image_is_found_before_any_work(dataset, tmp_path):
    dataset.images[3].path.unlink()
    with pytest.raises(DatasetError, match=r"1 of 4 images .* are not in .*val2017, the first is 000000000004.jpg"):
        preprocess(dataset.images, tmp_path / "inputs")
    assert not (tmp_path / "inputs").exists()


def test_an_image_that_cannot_be_decoded_keeps_what_was_made(dataset, tmp_path, capfd):
    dataset.images[2].path.write_text("no image")
    with pytest.raises(DatasetError, match="000000000002.jpg .* cannot be decoded"):
        preprocess(dataset.images, tmp_path)
    assert bins(tmp_path) == ["0.bin", "1.bin"]
    assert not (tmp_path / "ids.json").exists()


def test_an_image_of_another_size_than_annotated_is_warned_of(dataset, tmp_path, capsys):
    Image.new("RGB", (480, 640)).save(dataset.images[1].path)
    preprocess(dataset.images, tmp_path)
    assert "000000000001.jpg decodes to 480×640 pixels, but the annotation file says 640×480" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="Cannot create the folder"):
        preprocess(dataset.images, tmp_path / "file")


def test_a_full_disk_ends_in_a_sentence_and_leaves_no_half_input(dataset, tmp_path, monkeypatch):
    write_whole = Path.write_bytes

    def fill_up(path, data):
        if ".2.bin" in path.name:
            write_whole(path, b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(ArtifactError, match=r"No room to write .*2\.bin.*what was finished before is kept"):
        preprocess(dataset.images, tmp_path)
    assert bins(tmp_path) == ["0.bin", "1.bin"]
    assert not (tmp_path / "ids.json").exists()
    monkeypatch.undo()
    assert preprocess(dataset.images, tmp_path) == 2


def test_real_photographs(coco_mini, tmp_path):
    folder = shutil.copytree(coco_mini / "annotations", tmp_path / "annotations")
    dataset = load_dataset(folder / "instances_val2017.json", coco_mini / "val2017")
    assert (len(dataset.images), dataset.annotated_count) == (108, 106)
    assert preprocess(dataset.images[:5], tmp_path / "inputs") == 5


@pytest.mark.upstream
def test_inputs_are_upstreams_on_real_photographs(coco_mini, upstream_dir, tmp_path):
    """Every photograph, annotated or not; in a process of its own, as upstream keeps its config in globals.

    Tolerance: the issue's 1e-5; seen: 0.
    """
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np\n"
        "from yolact_edge.data import COCODetection\n"
        "from yolact_edge.utils.augmentations import BaseTransform\n"
        "data = COCODetection(sys.argv[2], sys.argv[3], transform=BaseTransform(), has_gt=False)\n"
        "for image_id, index in zip(data.ids, range(len(data))):\n"
        "    np.save(f'{sys.argv[4]}/{image_id}.npy', data.pull_item(index)[0].numpy())\n"
    )
    (tmp_path / "theirs").mkdir()
    annotations = coco_mini / "annotations" / "instances_val2017.json"
    arguments = [upstream_dir, coco_mini / "val2017", annotations, tmp_path / "theirs"]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True)
    dataset = load_dataset(annotations, coco_mini / "val2017")
    preprocess(dataset.images, tmp_path)
    ids = json.loads((tmp_path / "ids.json").read_text())["ids"]
    assert len(ids) == 108
    largest = 0.0
    for index, image_id in enumerate(ids):
        ours = np.fromfile(input_bin(tmp_path, index), np.float32).reshape(INPUT.shape)
        largest = max(largest, float(np.abs(ours - np.load(tmp_path / "theirs" / f"{image_id}.npy")).max()))
    print(f"largest difference of {len(ids)} inputs: {largest}")
    assert largest <= 1e-5
