"""`precision=int8` of a run: recipe= and calibration=, and where the images are looked for."""

import dataclasses
from pathlib import Path

import pytest

from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.pipeline.quantization import require_pruned
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.pipeline.stages import quantize as stage
from yolact_ascend.targets.registry import TARGETS


def quantization_of(*words):
    return parse_words(["target=onnxruntime", *words]).quantization


def test_int8_takes_the_shipped_recipe_and_the_training_images_of_the_data_set():
    assert quantization_of("precision=fp32") is None
    found = quantization_of("precision=int8", "coco=data")
    assert (found.word, found.recipe.name, found.source) == ("int8", "int8", Path("data"))
    own = quantization_of("precision=int8", "recipe=pruned_int8", "calibration=photographs")
    assert (own.recipe.name, own.part.images, own.source) == ("pruned_int8", 100, Path("photographs"))
    assert set(own.named) == {"name", "sha256"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["recipe=int8"], "recipe=int8 is for precision=int8, and this run has precision=fp32. Add precision=int8."),
        (["calibration=d", "target=torch"], "target=torch has no precision=int8"),
        (["precision=int8", "recipe=pruned"], "recipe=pruned only prunes"),
        (["precision=int8", "recipe=none"], "There is no recipe 'none'"),
        (["precision=int8", "target=torch"], "precision=int8: expected"),
    ],
)
def test_what_does_not_fit_is_refused(words, sentence):
    target = [] if any(word.startswith("target=") for word in words) else ["target=onnxruntime"]
    with pytest.raises(UsageError, match=sentence):
        parse_words([*target, *words])


def test_a_recipe_that_prunes_needs_pruned_weights():
    both, demo = quantization_of("precision=int8", "recipe=pruned_int8"), CONFIGS[DEMO_CONFIG]
    with pytest.raises(UsageError, match="are not pruned. Run `prune --recipe=pruned_int8` on them first"):
        require_pruned(both, demo)
    require_pruned(both, dataclasses.replace(demo, widths=(("fpn.lat_layers.0", 32),)))
    require_pruned(quantization_of("precision=int8"), demo)


def test_every_target_but_torch_has_int8():
    assert [name for name, target in TARGETS.items() if "int8" not in target.precisions] == ["torch"]


def test_images_are_those_of_a_coco_folder_or_of_any_folder(tmp_path):
    found = quantization_of("precision=int8", f"calibration={tmp_path}")
    with pytest.raises(DatasetError, match=r"has none: neither a folder train2017 .* Pass calibration=DIR"):
        found.find_images()
    (tmp_path / "a.jpg").touch()
    assert found.find_images() == (tmp_path, None)
    (tmp_path / "train2017").mkdir()
    assert found.find_images() == (tmp_path / "train2017", None)


@pytest.mark.parametrize(
    ("images", "annotations", "calibration"),
    [
        pytest.param("d/train2017", "d/annotations/instances_train2017.json", "d", id="COCO"),
        pytest.param("d/images", "d/annotations/instances_train2017.json", "d", id="COCO, images"),
        pytest.param("d/train2017", "d/annotations/instances_train2017.json", "d/train2017", id="COCO's images"),
        pytest.param("own/train", "own/train.json", "own/train", id="a file beside the folder"),
        pytest.param("own/train", "own/train/_annotations.coco.json", "own/train", id="Roboflow's export"),
    ],
)
def test_annotations_are_found_in_the_usual_places(tmp_path, images, annotations, calibration):
    folder, file = tmp_path / images, tmp_path / annotations
    for path in (folder / "a.jpg", file):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = quantization_of("precision=int8", f"calibration={tmp_path / calibration}")
    assert found.find_images() == (folder, file)
    assert file in found.annotation_files(folder)


def test_the_annotations_are_hashed_once_until_they_change(tmp_path, monkeypatch):
    """COCO's file of train2017 has 450 MB, and a run asks several times whether the stage is fresh."""
    hashed = []
    monkeypatch.setattr(stage, "sha256_file", lambda path: hashed.append(path) or str(len(hashed)))
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.jpg").touch()
    annotations = tmp_path / "train.json"
    annotations.write_text("{}")
    found = quantization_of("precision=int8", f"calibration={tmp_path / 'train'}")
    assert stage.hash_data(found) == stage.hash_data(found) and hashed == [annotations]
    annotations.write_text('{"images": []}')
    assert stage.hash_data(found)["annotations"] == "2"
