"""The verb `quantize` on a real network: the held-out part, the mAP by which it chooses, and what it writes."""

import json

import pytest
from factories import DEMO_ONNX

from yolact_ascend.cli.main import main
from yolact_ascend.compression.calibration import choose_images
from yolact_ascend.compression.held_out import held_out_images
from yolact_ascend.errors import DatasetError
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.targets.described import read_description
from yolact_ascend.targets.folder import QuantizedFiles


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    draw_dataset(folder, 6, 0, seed=1)
    return folder / "annotations" / "instances_train2017.json", folder / "train2017"


def test_the_held_out_part_is_none_of_the_calibration_images(coco):
    dataset = load_dataset(*coco)
    used = choose_images([image.path for image in dataset.images], 3, 0).images
    held_out = held_out_images(dataset, used, 100, 0)
    assert held_out and not {image.path for image in held_out} & set(used)
    assert held_out_images(dataset, used, 1, 0)[0] in held_out
    with pytest.raises(DatasetError, match="no annotated image beside the 6 that are calibrated on"):
        held_out_images(dataset, [image.path for image in dataset.images], 100, 0)


def test_the_verb_quantises_the_demo_and_measures_what_it_costs(made, coco, tmp_path, capsys):
    model = made(DEMO_ONNX)
    annotations, images = coco
    words = ["quantize", f"--model={model}", f"--image_path={images}", f"--json_file={annotations}", "--images=3"]
    words += ["--method=minmax", "--held_out=2", "--map_budget=100", f"--save_path={tmp_path}", f"--scored={images}"]
    assert main(words) == 0
    said = capsys.readouterr()
    files = QuantizedFiles(model, tmp_path)
    assert (
        "61 of 61 layers in INT8, ranges by minmax" in said.out
        and said.out.count("float32 on Ascend: ") == 6
        and "times smaller" in said.out
    )
    assert "warning: 3 of 3 calibration images are among the scored ones" in said.err
    found = json.loads(files.description.read_text())
    assert found["recipe"]["map_budget"] == 100 and found["images"]["used"] == 3
    assert set(found["map"]) == {"float32", "minmax", "int8", "int8_ascend"} and found["map"]["float32"] > 40
    assert found["map"]["int8"] > 0.8 * found["map"]["float32"]
    for path in (files.qdq, files.ascend):
        assert model.stat().st_size > 3.2 * path.stat().st_size
        assert read_description(path) == read_description(model)


def test_without_annotations_the_recipe_must_name_a_method(made, coco, tmp_path, capsys):
    words = ["quantize", f"--model={made(DEMO_ONNX)}", f"--image_path={coco[1]}", "--images=1"]
    assert main([*words, f"--save_path={tmp_path}"]) == 2
    assert "method: best" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_recipe_that_only_prunes_is_refused(made, coco, capsys):
    assert main(["quantize", f"--model={made(DEMO_ONNX)}", f"--image_path={coco[1]}", "--recipe=pruned"]) == 2
    assert "--recipe=pruned quantises nothing" in capsys.readouterr().err
