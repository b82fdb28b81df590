"""The record of classes is checked as a whole before anything relies on it."""

import json
import zipfile

import pytest
import torch

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.class_record import RECORD, read_classes
from yolact_ascend.models.classes import choose_classes
from yolact_ascend.models.config import CONFIGS

CONFIG = CONFIGS["yolact_edge_mobilenetv2_config"]
FIELDS = {"config": CONFIG.name, "class_names": ["screw", "nut"], "category_ids": [7, 9]}


@pytest.fixture
def write(tmp_path):
    """Write weights with this record."""

    def write(record):
        torch.save({"a": torch.ones(3)}, tmp_path / "a.pth")
        with zipfile.ZipFile(tmp_path / "a.pth", "a") as archive:
            archive.writestr(f"a/{RECORD}", record)
        return tmp_path / "a.pth"

    return write


FAULTS = {
    "a string for the names": ({"class_names": "ab"}, '"class_names" is "ab", expected a list of names'),
    "a dict for the names": ({"class_names": {"a": 1, "b": 2}}, '"class_names" is {"a": 1, "b": 2}, expected a list'),
    "no names": ({"class_names": [], "category_ids": []}, r'"class_names" is \[\], expected a list of names'),
    "a number as name": ({"class_names": ["a", 2]}, '"class_names" has 2, expected names, each once'),
    "half a letter": ({"class_names": ["a", "\ud800"]}, r'"class_names" has ".ud800", expected names, each once'),
    "equal names": ({"class_names": ["a", "a"]}, '"class_names" has "a" twice, expected names, each once'),
    "a string for the ids": ({"category_ids": "79"}, '"category_ids" is "79", expected a list of whole numbers'),
    "equal ids": ({"category_ids": [7, 7]}, '"category_ids" has 7 twice, expected whole numbers'),
    "a truth value": ({"category_ids": [True, 2]}, '"category_ids" has true, expected whole numbers'),
    "a fraction": ({"category_ids": [1.5, 2]}, '"category_ids" has 1.5, expected whole numbers'),
    "text": ({"category_ids": ["7", 9]}, '"category_ids" has "7", expected whole numbers'),
    "a list in the list": ({"category_ids": [[7], 9]}, r'"category_ids" has \[7\], expected whole numbers'),
    "NaN": ({"category_ids": [float("nan"), 2]}, '"category_ids" has NaN, expected whole numbers'),
    "too large": ({"category_ids": [2**63, 2]}, '"category_ids" has 9223372036854775808, expected .* to 92233.*807,'),
    "too small": ({"category_ids": [-(2**63) - 1, 2]}, r'"category_ids" has -9223372036854775809, expected'),
    "fewer ids": ({"category_ids": [7]}, "2 class_names with 1 category_ids, expected as many"),
    "a long config": ({"config": "x" * 201}, r'"config" is "x{59}, expected a name'),
    "a list for the config": ({"config": [1]}, r'"config" is \[1\], expected a name'),
}


@pytest.mark.parametrize(("changes", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_a_wrong_field_is_named_with_what_was_expected(write, changes, said):
    with pytest.raises(WeightsError, match=rf"The record of classes in .*a\.pth is damaged .*{said}.*\. Copy the file"):
        choose_classes(write(json.dumps({**FIELDS, **changes})), CONFIG)


DAMAGES = {
    "nested": ("[" * 200_000, "it is nested too deeply"),
    "nested and closed": ("[" * 200_000 + "]" * 200_000, "it is nested too deeply"),
    "6000 digits": (json.dumps(FIELDS).replace("7", "9" * 6000), "a whole number of thousands of digits"),
    "6000 negative digits": (
        json.dumps(FIELDS).replace("7", "-" + "9" * 6000),
        "a whole number of thousands of digits",
    ),
    "empty": ("", "Expecting value"),
    "null": ("null", "TypeError"),
    "no UTF-8": (b"\xff\xfe\xff", "UnicodeDecodeError"),
}


@pytest.mark.parametrize(("record", "said"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_record_is_a_sentence(write, record, said):
    with pytest.raises(WeightsError, match=rf"The record of classes in .*a\.pth is damaged \(.*{said}"):
        choose_classes(write(record), CONFIG)


@pytest.mark.parametrize("ids", [[0, -1], [2**63 - 1, -(2**63)]], ids=["0 and negative", "64 bits"])
def test_ids_are_any_whole_numbers_of_64_bits(write, ids):
    """A data set may number its classes so, and the scores do not depend on it (`evaluate._Numbers`)."""
    assert read_classes(write(json.dumps({**FIELDS, "category_ids": ids}))).category_ids == tuple(ids)
