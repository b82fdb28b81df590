"""Classes that travel inside a `.pth`."""

import dataclasses
import json
import zipfile

import pytest
import torch

from yolact_ascend.errors import UsageError, WeightsError
from yolact_ascend.models.class_record import RECORD, add_classes
from yolact_ascend.models.classes import (
    DEMO_HINT,
    choose_classes,
    config_of,
    read_config,
    read_listed,
    require_weights,
)
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, DEMO_CONFIG

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
    assert str(caught.value).endswith(f" {DEMO_HINT.format(name)}") == CONFIGS[name].source.is_shipped
    assert ("demo with them" in str(caught.value)) == CONFIGS[name].source.is_shipped


def test_weights_of_an_unknown_config_say_which(weights):
    add_classes(weights, dataclasses.replace(OWN, name="of a fork"))
    with pytest.raises(WeightsError, match=r"holds weights of of a fork, not of \w+: leave out --config"):
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
        ("yolact_im400_config", "Nobody has published weights of yolact_im400_config: train them .*, or pass your own"),
        (
            DEMO_CONFIG,
            "come with the repository, weights/yolact_edge_demo.pth: pass them, .* `run config=yolact_edge_demo",
        ),
    ],
)
def test_missing_weights_say_where_to_get_them(tmp_path, name, where):
    with pytest.raises(WeightsError, match=f"There is no weights file .*none.pth.*{where}"):
        require_weights(tmp_path / "none.pth", CONFIGS[name])


def upstream_file(path, classes, config=PLAIN, **options):
    """Write what upstream would after a training on its own classes: the class layer tells how many."""
    outputs = (classes + 1) * config.anchors.per_cell
    torch.save({"prediction_layers.0.conf_layer.weight": torch.zeros(outputs, 4, 3, 3)}, path, **options)
    return path


OPTIONS = [{}, {"_use_new_zipfile_serialization": False}]


@pytest.mark.parametrize("options", OPTIONS, ids=["zip", "old format"])
def test_the_class_layer_tells_how_many_classes_there_are(tmp_path, options):
    """yolact_edge#27, #10. In upstream class k has category id k (data/coco.py, get_label_map, without a map)."""
    choice = choose_classes(upstream_file(tmp_path / "a.pth", 3, **options), PLAIN)
    assert choice.config.class_names == ("class 1", "class 2", "class 3")
    assert choice.config.category_ids == (1, 2, 3)
    assert choice.source == "numbers, as the weights file names none"


def test_80_classes_without_names_are_cocos(tmp_path):
    choice = choose_classes(upstream_file(tmp_path / "a.pth", 80), PLAIN)
    assert choice.config is PLAIN
    assert choice.source == f"{PLAIN.name}, as the weights file names none"


def annotations(path, names, first=1):
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=first)]
    path.write_text(json.dumps({"categories": categories[::-1]}))
    return path


def test_names_come_from_an_annotation_file_in_the_order_of_its_ids(tmp_path):
    weights = upstream_file(tmp_path / "a.pth", 2)
    choice = choose_classes(weights, PLAIN, str(annotations(tmp_path / "b.json", ("screw", "nut"), first=7)))
    assert (choice.config.class_names, choice.config.category_ids) == (("screw", "nut"), (7, 8))
    assert (choice.source, choice.is_listed) == ("b.json", True)


def test_80_other_names_replace_cocos_and_cocos_own_do_not(tmp_path):
    weights = upstream_file(tmp_path / "a.pth", 80)
    other = tuple(f"part {n}" for n in range(80))
    choice = choose_classes(weights, PLAIN, str(annotations(tmp_path / "b.json", other)))
    assert (choice.config.class_names, choice.is_listed) == (other, True)
    again = choose_classes(weights, PLAIN, str(annotations(tmp_path / "c.json", PLAIN.class_names[::-1])))
    assert (again.config, again.is_listed) == (PLAIN, False)
    fewer = choose_classes(weights, PLAIN, str(annotations(tmp_path / "d.json", PLAIN.class_names[:3])))
    assert (fewer.config, fewer.is_listed) == (PLAIN, False)


@pytest.mark.parametrize("in_file", [False, True])
def test_names_come_from_a_list(tmp_path, in_file):
    word = "screw, nut"
    if in_file:
        (tmp_path / "names.txt").write_text("screw\n\nnut\n", encoding="utf-8-sig")
        word = str(tmp_path / "names.txt")
    choice = choose_classes(upstream_file(tmp_path / "a.pth", 2), PLAIN, word)
    assert (choice.config.class_names, choice.config.category_ids) == (("screw", "nut"), (1, 2))
    assert choice.source == ("names.txt" if in_file else "the list of names")


def test_another_number_of_names_is_refused_with_both_numbers(tmp_path):
    weights = upstream_file(tmp_path / "a.pth", 3)
    with pytest.raises(WeightsError, match=r"a\.pth has 3 classes, but the list of names has 2\..*classes=FILE"):
        choose_classes(weights, PLAIN, "screw,nut")


def test_a_record_wins_over_names_from_elsewhere(weights):
    add_classes(weights, OWN)
    for word, source in (
        (None, "the weights file"),
        ("screw,nut", "the weights file"),
        ("a,b", "the weights file, not from the names that were passed"),
    ):
        choice = choose_classes(weights, PLAIN, word)
        assert (choice.config, choice.source, choice.is_listed) == (OWN, source, False)


@pytest.mark.parametrize("classes", [79, 80])
def test_a_list_is_never_passed_over(tmp_path, classes):
    """Unlike an annotation file, which a verb takes unasked: names by hand are meant."""
    weights = upstream_file(tmp_path / "a.pth", classes)
    with pytest.raises(WeightsError, match=rf"has {classes} classes, but the list of names has 2\."):
        choose_classes(weights, PLAIN, "screw,nut")


def test_an_annotation_file_is_not_read_for_weights_that_name_their_classes(weights, tmp_path):
    add_classes(weights, OWN)
    (tmp_path / "b.json").write_text("no JSON")
    assert choose_classes(weights, PLAIN, str(tmp_path / "b.json")).config == OWN


def test_names_for_a_file_that_is_not_understood_leave_the_error_to_who_reads_it(tmp_path):
    choice = choose_classes(tmp_path / "missing.pth", PLAIN, "screw,nut")
    assert choice.config.class_names == ("screw", "nut")


def test_a_list_of_the_same_names_in_another_order_is_taken_in_its_order(tmp_path):
    """Trained on COCO in alphabetical order: class 1 is the first of the list, with COCO's id for it."""
    weights = upstream_file(tmp_path / "a.pth", 80)
    names = tuple(sorted(PLAIN.class_names))
    choice = choose_classes(weights, PLAIN, ",".join(names))
    assert (choice.config.class_names, choice.is_listed) == (names, True)
    ids = dict(zip(choice.config.class_names, choice.config.category_ids))
    assert names[0] == "airplane" and ids["airplane"] == 5
    assert ids == dict(zip(PLAIN.class_names, PLAIN.category_ids))


def test_a_list_of_80_other_names_is_numbered_from_1(tmp_path):
    weights = upstream_file(tmp_path / "a.pth", 80)
    choice = choose_classes(weights, PLAIN, ",".join(f"part {n}" for n in range(80)))
    assert choice.config.category_ids == tuple(range(1, 81))


def test_a_list_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "names.txt").write_bytes("Schraube\nDübel\n".encode("latin-1"))
    with pytest.raises(UsageError, match="names.txt with class names is not UTF-8 text .* Save it as UTF-8"):
        read_listed(str(tmp_path / "names.txt"))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("screw,nut,screw", "the list of names has 'screw' more than once"),
        ("screw,,nut", "the list of names has an empty name"),
        ("names.txt", "names.txt has no names"),
    ],
)
def test_a_list_names_each_class_once(tmp_path, monkeypatch, word, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("\n\n")
    with pytest.raises(UsageError, match=f"{said}. Expected each class once"):
        read_listed(word)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"images": []}, 'names no classes: it has no "categories"'),
        ({"categories": [{"id": 1}]}, '"categories" without ids and names'),
        ({"categories": [{"id": float("inf"), "name": "a"}]}, '"categories" without ids and names'),
        # Found by benchmarks/fuzz.py: each was taken.
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, 'two "categories" with the id 1'),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "two \"categories\" with the name 'a'"),
        ({"categories": [{"id": 1, "name": ""}]}, '"categories" without ids and names \\(name .* is no text'),
        ({"categories": [{"id": 1, "name": None}]}, "name None is no text"),
        ({"categories": [{"id": 1.5, "name": "a"}]}, "id 1.5 is no whole number"),
        ({"categories": [{"id": True, "name": "a"}]}, "id True is no whole number"),
        ([1], 'names no classes: it has no "categories"'),
    ],
)
def test_an_annotation_file_without_names_is_refused(tmp_path, content, said):
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=said):
        read_listed(str(tmp_path / "b.json"))


def test_a_word_that_is_no_file_and_no_list_is_refused():
    with pytest.raises(UsageError, match="There is no file names.txt with class names"):
        read_listed("names.txt")


def test_a_record_of_more_or_fewer_classes_than_the_layer_has_is_damaged(tmp_path):
    """Found by benchmarks/fuzz.py: it was taken until the weights were read."""
    path = tmp_path / "a.pth"
    count = PLAIN.anchors.per_cell * (3 + 1)  # three classes and the background
    torch.save({"prediction_layers.0.conf_layer.weight": torch.zeros(count, 4, 3, 3)}, path)
    add_classes(path, OWN)
    with pytest.raises(WeightsError, match="its record names 2 classes, expected 3, as its class layer has"):
        choose_classes(path, PLAIN)


@pytest.mark.parametrize(
    ("name", "recorded", "expected"),
    [
        ("yolact_im700_54_800000.pth", None, "yolact_im700_config"),
        ("yolact_edge_mobilenetv2_10_1000_interrupt.pth", None, "yolact_edge_mobilenetv2_config"),
        ("weights.pth", "yolact_edge_demo_config", "yolact_edge_demo_config"),
        ("yolact_im700_54_800000.pth", "yolact_edge_demo_config", "yolact_edge_demo_config"),
        ("weights.pth", "in_no_list", "in_no_list"),
        ("weights.pth", None, DEFAULT_CONFIG),
    ],
    ids=[
        "name",
        "name of an interrupted training",
        "record",
        "record before name",
        "record of a config in no list",
        "neither",
    ],
)
def test_weights_state_their_config_by_record_or_by_name(tmp_path, name, recorded, expected):
    torch.save({"a": torch.zeros(1)}, tmp_path / name)
    if recorded:
        add_classes(tmp_path / name, dataclasses.replace(CONFIGS[DEMO_CONFIG], name=recorded))
    assert config_of(None, tmp_path / name).name == expected


def test_weights_that_are_not_there_state_their_config_by_name(tmp_path):
    assert config_of(None, tmp_path / "yolact_base_54_800000.pth").name == "yolact_base_config"
