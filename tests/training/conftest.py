"""A drawn data set to train on, and a kill."""

import contextlib

import pytest

from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.labels import DRAWN_CATEGORY_IDS
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.training import train as train_module
from yolact_ascend.training.samples import TrainingSet
from yolact_ascend.training.trainer import Trainer


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


@pytest.fixture
def killed_in_the_fourth_step(monkeypatch):
    """A context in which a training dies in its fourth step and saves nothing more, as by SIGKILL."""
    take_step = Trainer.take_step

    def die_in_the_fourth(trainer, images, targets):
        if trainer.step == 3:
            raise MemoryError
        return take_step(trainer, images, targets)

    @contextlib.contextmanager
    def killed():
        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "take_step", die_in_the_fourth)
            patched.setattr(train_module, "save_when_ended", lambda *_: contextlib.nullcontext())
            with pytest.raises(MemoryError):
                yield

    return killed
