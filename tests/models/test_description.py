"""What a model states about itself: written and read back, and what is refused of it."""

import json
from dataclasses import replace

import pytest
from factories import TINY_CONFIG, describe_network

from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.config import CONFIGS, Preprocessing, Source
from yolact_ascend.models.description import SCHEMA, from_json, parse_description, to_json
from yolact_ascend.models.families import family_of

OWN = replace(
    TINY_CONFIG,
    name="bolts_config",
    class_names=("bolt", "washer, flat", "écrou"),
    category_ids=(7, -2, 2**40),
    preprocessing=Preprocessing(480, 640, (0.0, 0.5, 1.0), (1.0, 1.0, 1.0), 1.0, "BGR", "pillow", 480, 640),
    source=Source("", ""),
    upstream_url=None,
)


@pytest.mark.parametrize(
    ("config", "cut"),
    [
        pytest.param(config, cut, id=f"{cut}-{config.name}")
        for config in CONFIGS.values()
        for cut in family_of(config).cuts
    ],
)
def test_each_config_is_read_back_as_it_was_written(config, cut):
    description = describe_network(config, cut)
    text = json.dumps(to_json(description))
    assert parse_description(text, "a.onnx") == description
    assert to_json(parse_description(text, "a.onnx")) == json.loads(text)


def test_a_config_that_this_version_does_not_list_is_read_as_a_value():
    """Here with every field of its own; the place of the weights file is not written, and is then unknown."""
    own = replace(OWN, preprocessing=replace(OWN.preprocessing, height_px=550, width_px=550))
    stated = describe_network(own, "heads")
    assert from_json(json.loads(json.dumps(to_json(stated))), "a.onnx") == stated
    assert "url" not in json.dumps(to_json(stated))


def test_a_newer_schema_is_refused_with_what_to_do():
    value = {**to_json(describe_network()), "schema": SCHEMA + 1, "producer": "yolact-ascend 9.1", "more": 1}
    with pytest.raises(ArtifactError) as caught:
        from_json(value, "a.onnx")
    assert str(caught.value) == (
        "The description in a.onnx has schema 2, expected 1: a newer yolact-ascend made this model "
        "('yolact-ascend 9.1'). Install that version, or export the model again with this one (export, pth2onnx.py)."
    )


def test_text_that_is_no_json_is_one_sentence_that_names_the_file():
    with pytest.raises(ArtifactError, match=r"^The description in a\.onnx is damaged: .* Export the model again"):
        parse_description('{"schema": 1, ', "a.onnx")


def changed(path, value):
    """Return a description's JSON with another value at a path of keys; None leaves the key out."""
    whole = to_json(describe_network())
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["schema"], 0, '"schema" is 0'),
        (["schema"], True, '"schema" is True'),
        (["cut"], "proposals", "expected one of fpn, heads, boxes"),
        (["weights_sha256"], "2" * 63, "expected a SHA-256"),
        (["network"], "", "expected a text"),
        (["more"], 1, "'more' is no field of it"),
        (["host_part"], None, '"host_part" is None, expected a file and its sha256 for cut fpn'),
        (["host_part", "file"], "../yolact_edge_heads.onnx", "expected a file name without a folder"),
        (["host_part", "file"], "..", "expected a file name without a folder"),
        (["host_part", "size"], 1, "'size' is no field of it"),
        (["config", "class_names"], ["\ud800"], r"\"class_names\" has '.ud800', expected names"),
        (["config"], [], '"config" is .*, expected an object'),
        (["config", "family"], "ssd", "expected one of yolact, rcnn"),
        (["config", "tasks"], [], "expected a list of"),
        (["config", "tasks"], ["box", "box"], "has a value twice"),
        (["config", "class_names"], ["a"], "1 class_names with 8 category_ids"),
        (["config", "category_ids"], [1, 2, 3, 4, 5, 6, 7, 7], "has a value twice"),
        (["config", "category_ids"], [1, 2, 3, 4, 5, 6, 7, 2**63], "whole numbers"),
        (["config", "fpn_sources"], [1, 2], "expected 3 numbers of stages"),
        (["config", "fpn_channels"], 64.0, "expected a whole number"),
        (["config", "proto_channels"], 0, "expected a whole number from 1"),
        (["config", "preprocessing", "height_px"], 551, "needs a square"),
        (["config", "preprocessing", "width_px"], 0, "expected a whole number from 1"),
        (["config", "preprocessing", "mean_rgb"], [1, 2], "expected 3 numbers"),
        (["config", "preprocessing", "mean_rgb"], [1, 2, float("nan")], "expected numbers"),
        (["config", "preprocessing", "mean_rgb"], [1, 2, 10**400], "expected numbers"),
        (["config", "preprocessing", "std_rgb"], [1, 2, 0], "expected numbers above 0"),
        (["config", "preprocessing", "pixel_max"], "255", "expected a number above 0"),
        (["config", "preprocessing", "channel_order"], "GBR", "expected one of RGB, BGR"),
        (["config", "preprocessing", "interpolation"], "nearest", "expected one of cv2, pillow"),
        (["config", "preprocessing", "shortest_edge_px"], 800, "one without the other"),
        (["config", "preprocessing", "gamma"], 2, "'gamma' is no field of it"),
        (["config", "anchors", "scales_px"], [24, 48, 96], "expected 5 sizes above 0"),
        (["config", "anchors", "aspect_ratios"], [], "expected a list of"),
        (["config", "anchors", "is_square"], 1, "expected true or false"),
        (["config", "backbone", "stages"], [[]], "expected numbers, or lists of numbers"),
        (["config", "backbone", "imagenet_file"], "/etc/passwd", "expected a file name"),
        (["config", "classes"], 3, "'classes' is no field of it"),
    ],
)
def test_a_field_of_another_form_is_refused_by_name(path, value, said):
    with pytest.raises(ArtifactError, match=rf"^The description in a\.onnx is damaged: .*{said}"):
        from_json(changed(path, value), "a.onnx")


def keys_of(value, path=()):
    """Return the path of each key of a JSON object, and of those inside."""
    for key, inner in value.items():
        yield (*path, key)
        if isinstance(inner, dict):
            yield from keys_of(inner, (*path, key))


@pytest.mark.parametrize("path", list(keys_of(to_json(describe_network()))), ids="/".join)
def test_no_field_may_be_missing(path):
    whole = to_json(describe_network())
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    with pytest.raises(ArtifactError, match=rf'^The description in a\.onnx is damaged: "{path[-1]}" is missing'):
        from_json(whole, "a.onnx")


@pytest.mark.parametrize("value", [None, [], 1, "a"])
def test_a_value_that_is_no_object_is_refused(value):
    with pytest.raises(ArtifactError, match=r"is damaged: the description is .*, expected an object"):
        from_json(value, "a.onnx")


def test_a_host_part_where_the_device_runs_all_is_refused():
    value = {**to_json(describe_network(cut="heads")), "host_part": {"file": "a.onnx", "sha256": "0" * 64}}
    with pytest.raises(ArtifactError, match='"host_part" is .*, expected null for cut heads'):
        from_json(value, "a.onnx")
