"""Classes that travel inside a `.pth`."""

import dataclasses
import json
import zipfile

import pytest
import torch

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.classes import DEMO_HINT, RECORD, add_classes, read_config, require_weights
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG

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


def test_the_record_has_the_name_that_files_in_use_have(weights):
    add_classes(weights, OWN)
    with zipfile.ZipFile(weights) as archive:
        assert json.loads(archive.read("a/yolact_ascend.json")) == {
            "config": PLAIN.name,
            "class_names": ["screw", "nut"],
            "category_ids": [7, 9],
        }


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_say_which_config_they_are_of(weights, name):
    """Only those that this repository has name the demo, which runs with them."""
    add_classes(weights, CONFIGS[name])
    with pytest.raises(WeightsError, match=f"holds weights of {name}: use --config={name}") as caught:
        read_config(weights, dataclasses.replace(PLAIN, name="another"))
    assert str(caught.value).endswith(f" {DEMO_HINT}") == (name == DEMO_CONFIG)
    assert ("demo with them" in str(caught.value)) == (name == DEMO_CONFIG)


def test_weights_of_an_unknown_config_say_which(weights):
    add_classes(weights, dataclasses.replace(OWN, name="of a fork"))
    with pytest.raises(WeightsError, match=r"holds weights of of a fork: use .* in run_all\.sh\)\.$"):
        read_config(weights, PLAIN)


@pytest.mark.parametrize("record", ["{", "[]", json.dumps({"config": PLAIN.name})], ids=["no JSON", "list", "lacks"])
def test_a_damaged_record_is_said(weights, record):
    with zipfile.ZipFile(weights, "a") as archive:
        archive.writestr(f"a/{RECORD}", record)
    with pytest.raises(WeightsError, match="record of classes in .* is damaged"):
        read_config(weights, PLAIN)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("yolact_edge_resnet50_config", "The official weights are at https://.*/yolact_edge_resnet50_54_800000.pth ; "),
        (
            "yolact_edge_config",
            "Weights of yolact_edge_config are linked at https://github.com/haotian-liu/yolact_edge",
        ),
        (DEMO_CONFIG, "come with the repository, weights/yolact_edge_demo.pth: pass them, .* run_all.sh runs the demo"),
    ],
)
def test_missing_weights_say_where_to_get_them(tmp_path, name, where):
    with pytest.raises(WeightsError, match=f"There is no weights file .*none.pth.*{where}"):
        require_weights(tmp_path / "none.pth", CONFIGS[name])
