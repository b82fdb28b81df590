"""The pictures of a run, on drawn images with detections made by hand."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
from factories import SMALL_CONFIG, rectangle_rle

from yolact_ascend.detection.draw import GAP_PX
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.folders import Ledger
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.report import overlays
from yolact_ascend.report.findings import SHOWN_SCORE, read_findings
from yolact_ascend.report.overlays import remove_overlays, write_overlays

SIZES = {1: (640, 480), 2: (300, 500), 3: (100, 80), 4: (550, 550)}  # those of factories.write_coco
ORDER = (3, 1, 2, 4)


@pytest.fixture
def dataset(small_coco, annotation_file):
    return load_dataset(annotation_file, small_coco / "val2017")


def entries(image_id, score, box=(5, 40, 60, 30)):
    width, height = SIZES[image_id]
    x, y, w, h = box
    common = {"image_id": image_id, "category_id": 18, "score": score}
    segmentation = rectangle_rle(x, y, x + w, y + h, height, width)
    return {**common, "bbox": list(box)}, {**common, "segmentation": segmentation}


@pytest.fixture
def draw(dataset, tmp_path):
    def draw(*pairs, images=None, tasks=(BOX, MASK), worst=0):
        files = {BOX: tmp_path / "bbox.json", MASK: tmp_path / "mask.json"}
        for file, column in zip(files.values(), zip(*pairs) if pairs else ((), ())):
            file.write_text(json.dumps(column))
        images = dataset.images if images is None else images
        found = read_findings(images, dataset, {task: files[task] for task in tasks})
        pictures = write_overlays(tmp_path / "overlays", Ledger(tmp_path), found, SMALL_CONFIG, found[:worst])
        return list(pictures.values())

    return draw


def panels(path, width):
    picture = cv2.imread(str(path))
    assert picture.shape[1] == 2 * width + GAP_PX
    return picture[:, :width], picture[:, width + GAP_PX :]


def test_each_image_has_its_picture(draw, tmp_path):
    files = draw()
    assert files == [tmp_path / "overlays" / f"{image_id:012d}.jpg" for image_id in ORDER]
    for image_id, file in zip(ORDER, files):
        left, _ = panels(file, SIZES[image_id][0])
        assert left.shape[0] > SIZES[image_id][1]  # a title above


def test_annotations_are_left_and_detections_right_where_they_are(draw, dataset):
    image = next(image for image in dataset.images if image.image_id == 4)  # without annotations
    (plain,) = draw(images=[image])
    truth, empty = (panel.astype(int) for panel in panels(plain, 550))
    bar = truth.shape[0] - 550
    assert np.abs(truth[bar:] - empty[bar:]).max() < 60  # only JPEG's noise
    (file,) = draw(entries(4, 0.9, (200, 300, 100, 120)), images=[image])
    still, found = (panel.astype(int) for panel in panels(file, 550))
    changed = np.abs(found - empty)[bar:].sum(axis=-1) > 90
    assert changed[300:420, 200:300].mean() > 0.5 and changed[430:].mean() < 0.02 and changed[:, :190].mean() < 0.02
    assert np.abs(still - truth)[bar:].max() < 60


def test_without_a_file_of_masks_the_boxes_are_drawn(draw, dataset):
    """As of a network that finds boxes only; the file of an earlier run may still lie there."""
    image = [image for image in dataset.images if image.image_id == 4]
    empty = panels(draw(images=image)[0], 550)[1].astype(int)
    (file,) = draw(entries(4, 0.9, (200, 300, 100, 120)), images=image, tasks=(BOX,))
    found = panels(file, 550)[1].astype(int)
    changed = np.abs(found - empty)[found.shape[0] - 550 :].sum(axis=-1) > 90
    assert changed[295:305, 200:300].any(axis=0).all() and changed[415:425, 205:295].any(axis=0).all()  # its edges
    assert not changed[320:400, 220:280].any()  # and nothing inside, below the label


def test_what_scores_less_is_not_drawn(draw, dataset):
    image = dataset.images[:1]
    with_low = draw(entries(3, SHOWN_SCORE - 0.01), images=image)[0].read_bytes()
    assert with_low == draw(images=image)[0].read_bytes()
    assert with_low != draw(entries(3, SHOWN_SCORE), images=image)[0].read_bytes()


def test_only_the_first_images_are_drawn(draw, monkeypatch):
    monkeypatch.setattr(overlays, "OVERLAY_IMAGES", 2)
    assert [file.stem for file in draw(entries(2, 0.9))] == ["000000000003", "000000000001"]


def test_pictures_of_an_earlier_run_go(draw, dataset, tmp_path):
    draw()
    (tmp_path / "overlays" / "notes.txt").touch()
    draw(images=dataset.images[:1])
    assert {path.name for path in (tmp_path / "overlays").iterdir()} == {"000000000003.jpg", "notes.txt"}
    remove_overlays(tmp_path / "overlays", Ledger(tmp_path))
    assert [path.name for path in (tmp_path / "overlays").iterdir()] == ["notes.txt"]
    (tmp_path / "overlays" / "notes.txt").unlink()
    remove_overlays(tmp_path / "overlays", Ledger(tmp_path))
    assert not (tmp_path / "overlays").exists()
    remove_overlays(tmp_path / "overlays", Ledger(tmp_path))


def test_an_image_of_another_size_is_drawn_in_the_annotations_frame(draw, dataset, small_coco):
    path = small_coco / "val2017" / "000000000003.jpg"
    cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (200, 160)))
    (file,) = draw(entries(3, 0.9), images=dataset.images[:1])
    panels(file, 100)


def test_pictures_of_images_elsewhere_are_drawn_into_the_folder(draw, dataset, tmp_path):
    """Whatever a `file_name` is, no more than its stem makes a path that is written."""
    outside = tmp_path / "outside"
    outside.mkdir()
    images = []
    for image, name in zip(dataset.images, ("a\nb.jpg", f"{'long' * 62}.jpg")):
        path = outside / ".." / "outside" / name
        shutil.copy(image.path, path)
        images.append(dataclasses.replace(image, path=path))
    files = draw(images=images)
    assert files == [tmp_path / "overlays" / "a_b.jpg", tmp_path / "overlays" / f"{'long' * 50}.jpg"]
    assert sorted((tmp_path / "overlays").iterdir()) == sorted(files)
    assert len(list(outside.iterdir())) == 2
