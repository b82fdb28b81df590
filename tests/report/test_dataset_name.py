"""A data set is called what it is: a newcomer's 12 pictures of bolts were reported as instances_val2017."""

import json

import pytest

from yolact_ascend.images import archives
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, COCO_CLASSES
from yolact_ascend.report.dataset_name import name_dataset, name_in_words
from yolact_ascend.report.texts import Texts

COCO = [{"id": number, "name": name} for number, name in zip(COCO_CATEGORY_IDS, COCO_CLASSES)]
BOLTS = [{"id": 7, "name": "nut"}, {"id": 3, "name": "bolt"}]
IDS = (139, 285)


@pytest.fixture
def named(tmp_path):
    """A function that names a data set of two images with these categories, urls and folder."""

    def name(categories, urls=(None, None), split="val2017"):
        annotations = tmp_path / "instances_val2017.json"
        images = [
            {"id": number, "file_name": f"{number:012d}.jpg", "width": 9, "height": 9, "coco_url": url}
            for number, url in zip(IDS, urls)
        ]
        annotations.write_text(json.dumps({"images": images, "annotations": [], "categories": categories}))
        folder = tmp_path / "bolts" / split
        folder.mkdir(parents=True, exist_ok=True)
        return name_dataset(load_dataset(annotations, folder))

    return name


def urls_of(split):
    return [f"http://images.cocodataset.org/{split}/{number:012d}.jpg" for number in IDS]


def test_own_pictures_are_named_by_folder_and_classes(named):
    assert named(BOLTS) == "bolts/val2017, 2 classes (bolt, nut)"
    assert named(BOLTS[:1], split="pictures") == "pictures, 1 class (nut)"
    assert named(COCO) == "bolts/val2017, 80 classes (person, bicycle, car, motorcycle, airplane, …)"


@pytest.mark.parametrize("split", ["val2017", "train2017"])
def test_coco_is_what_its_own_file_states(named, monkeypatch, split):
    """Each entry of COCO's own files has its `coco_url`."""
    assert named(COCO, urls_of(split)) == f"a part of COCO {split}"
    monkeypatch.setitem(archives.FILES, f"{split}.zip", (f"{split}/*.jpg", 2))
    assert named(COCO, urls_of(split)) == f"COCO {split}"


@pytest.mark.parametrize(
    ("name", "chinese"),
    [
        ("bolts/val2017, 2 classes (bolt, nut)", "bolts/val2017，2 个类别（bolt, nut）"),
        ("pictures, 1 class (nut)", "pictures，1 个类别（nut）"),
        ("a part of COCO val2017", "COCO val2017 的一部分"),
        ("COCO val2017", "COCO val2017"),
        ("drawn scenes", "合成场景"),
    ],
)
def test_a_chinese_report_names_it_in_chinese(name, chinese):
    assert name_in_words(name, Texts("zh")) == chinese
    assert name_in_words(name, Texts("en")) == name


def test_other_classes_and_other_pictures_are_not_coco(named):
    assert named(BOLTS, urls_of("val2017")) == "bolts/val2017, 2 classes (bolt, nut)"
    mixed = [urls_of("val2017")[0], urls_of("train2017")[1]]
    assert named(COCO, mixed).startswith("bolts/val2017, 80 classes")
    exchanged = urls_of("val2017")[::-1]
    assert named(COCO, exchanged).startswith("bolts/val2017, 80 classes")
