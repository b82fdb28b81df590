"""Classes that travel inside a `.pth`."""

import dataclasses
import json
import zipfile

import pytest
import torch

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.classes import RECORD, add_classes, read_config
from yolact_ascend.models.config import CONFIGS

PLAIN = CONFIGS["yolact_edge_mobilenetv2_config"]
OWN = dataclasses.replace(PLAIN, class_names=("screw", "nut"), category_ids=(7, 9))


@pytest.fixture
def weights(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def test_the_classes_of_the_weights_come_back(weights):
    add_classes(weights, OWN)
    assert read_config(weights, PLAIN) == OWN


@pytest.mark.parametrize("mmap", [False, True])
def test_pytorch_reads_the_file_as_before(weights, mmap):
    add_classes(weights, OWN)
    loaded = torch.load(weights, weights_only=True, mmap=mmap)
    assert list(loaded) == ["a"]
    assert torch.equal(loaded["a"], torch.ones(3))


def test_the_same_weights_give_the_same_bytes(weights):
    before = weights.read_bytes()
    add_classes(weights, OWN)
    after = weights.read_bytes()
    weights.write_bytes(before)
    add_classes(weights, OWN)
    assert weights.read_bytes() == after


def test_files_without_a_record_keep_the_configs_classes(weights, tmp_path):
    assert read_config(weights, PLAIN) == PLAIN
    (tmp_path / "old.pth").write_bytes(b"a pickle, no archive")
    assert read_config(tmp_path / "old.pth", PLAIN) == PLAIN
    assert read_config(tmp_path / "missing.pth", PLAIN) == PLAIN


def test_weights_say_which_config_they_are_of(weights):
    add_classes(weights, OWN)
    with pytest.raises(WeightsError, match=f"holds weights of {PLAIN.name}: use --config={PLAIN.name}"):
        read_config(weights, CONFIGS["yolact_edge_config"])


@pytest.mark.parametrize("record", ["{", "[]", json.dumps({"config": PLAIN.name})], ids=["no JSON", "list", "lacks"])
def test_a_damaged_record_is_said(weights, record):
    with zipfile.ZipFile(weights, "a") as archive:
        archive.writestr(f"a/{RECORD}", record)
    with pytest.raises(WeightsError, match="record of classes in .* is damaged"):
        read_config(weights, PLAIN)
