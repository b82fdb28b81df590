"""Bad training pictures are found before the first step, all at once."""

import dataclasses
import json

import pytest
from factories import SMALL_CONFIG
from PIL import Image

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.images.pictures import verify_pictures
from yolact_ascend.training.learnable import require_learnable
from yolact_ascend.training.samples import TrainingSet


@pytest.fixture
def dataset(small_coco, annotation_file):
    return load_dataset(annotation_file, small_coco / "val2017")


@pytest.fixture
def harm(dataset):
    """Image 3 is cut short, 1 is a web page, 2 has another size; 4, which is not annotated, is whole."""
    three, one, two, _ = (image.path for image in dataset.images)
    three.write_bytes(three.read_bytes()[: three.stat().st_size // 2])
    one.write_text("<html>404 Not Found</html>")
    Image.new("RGB", (200, 500)).save(two)


def test_good_pictures_stay_as_they_are(dataset):
    verified = verify_pictures(dataset)
    assert require_learnable(verified, SMALL_CONFIG) == verified


def test_all_bad_pictures_are_named_with_their_reasons(dataset, harm):
    with pytest.raises(DatasetError) as caught:
        require_learnable(verify_pictures(dataset), SMALL_CONFIG)
    said = str(caught.value)
    assert said.startswith("3 of 4 training images are bad: ")
    for reason in ("3.jpg (cut short)", "1.jpg (no picture)", "2.jpg (200×500 pixels, annotated as 300×500)"):
        assert reason in said
    assert said.endswith("or leave them out with --skip_bad.")


def test_bad_pictures_are_skipped_on_request_and_said(dataset, harm):
    kept = require_learnable(verify_pictures(dataset), SMALL_CONFIG, skip_bad=True)
    assert ([image.image_id for image in kept.images], kept.annotated_count) == ([4], 0)
    assert "3 of 4 training images are skipped: " in kept.warnings[-1]
    assert len(TrainingSet(kept, SMALL_CONFIG.category_ids)) == 1


def test_when_no_picture_is_left_it_ends(dataset, harm):
    only = dataclasses.replace(verify_pictures(dataset, limit=2))
    with pytest.raises(DatasetError, match="No training image is left: all 2 are bad"):
        require_learnable(only, SMALL_CONFIG, skip_bad=True)


def test_an_area_of_0_is_that_of_the_mask(small_coco, annotation_file):
    """Some converters write it for all annotations."""
    data = json.loads(annotation_file.read_text())
    for annotation in data["annotations"]:
        annotation.update(area=0, iscrowd=0)
    annotation_file.write_text(json.dumps(data))
    dataset = verify_pictures(load_dataset(annotation_file, small_coco / "val2017"))
    assert require_learnable(dataset, SMALL_CONFIG) == dataset


@pytest.mark.parametrize(("side", "is_refused"), [(0.3, True), (3.0, False)])
def test_masks_of_which_nothing_is_left_are_refused(small_coco, annotation_file, side, is_refused):
    """In 640×480 pixels, resized to 550×550: an area of 4 there is one of 4.06 here."""
    data = json.loads(annotation_file.read_text())
    for annotation in data["annotations"]:
        annotation.update(area=side * side, iscrowd=0)
    annotation_file.write_text(json.dumps(data))
    dataset = verify_pictures(load_dataset(annotation_file, small_coco / "val2017"))
    if is_refused:
        with pytest.raises(DatasetError, match="4 of 4 masks have less than 4 pixels when .* 550×550"):
            require_learnable(dataset, SMALL_CONFIG)
    else:
        assert require_learnable(dataset, SMALL_CONFIG) == dataset
