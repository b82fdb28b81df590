"""A drawn data set to train on."""

import pytest

from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.labels import DRAWN_CATEGORY_IDS
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.training.samples import TrainingSet


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, train_images=4, val_images=2, seed=3)
    return folder


@pytest.fixture(scope="session")
def dataset(drawn):
    return load_dataset(drawn / "annotations" / "instances_train2017.json", drawn / "train2017")


@pytest.fixture(scope="session")
def training_set(dataset):
    return TrainingSet(dataset, DRAWN_CATEGORY_IDS)
