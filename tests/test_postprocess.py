"""The stage from output files to mAP: what it reads, writes and refuses, and that it finds what is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import oracle
import pytest
from factories import SMALL_CONFIG

from yolact_ascend.artifacts import cut_outputs, output_bin
from yolact_ascend.coco import load_dataset
from yolact_ascend.errors import ArtifactError
from yolact_ascend.export import load_heads
from yolact_ascend.postprocess import Detector, postprocess, read_ids, require_outputs_of

IMAGES = 12  # of coco_mini in the tests of meaning: enough for a stable order of the scores


def load_split(coco_folder: Path):
    return load_dataset(coco_folder / "annotations" / "instances_val2017.json", coco_folder / "val2017")


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Detector:
    path = oracle.save_weights(tmp_path_factory.mktemp("weights") / "oracle.pth", SMALL_CONFIG)
    return Detector(SMALL_CONFIG, load_heads(path, SMALL_CONFIG))


@pytest.fixture
def dataset(small_coco):
    return load_split(small_coco)


@pytest.fixture
def run(tmp_path, dataset, detector):
    """Run the stage on the oracle's outputs for these images; returns the evaluation and both files' content."""

    def run(image_ids, noise=oracle.EXACT, dataset=dataset, **options):
        folder = tmp_path / "output"
        oracle.write_outputs(folder, dataset, image_ids, SMALL_CONFIG, noise)
        files = tmp_path / "bbox_detections.json", tmp_path / "mask_detections.json"
        evaluation, _ = postprocess(folder, detector, dataset, image_ids, *files, **options)
        return evaluation, *(json.loads(file.read_text()) for file in files)

    return run


def test_finds_what_is_annotated(run, capsys):
    evaluation, boxes, masks = run([3, 1, 2, 4])
    # image 2 has only a crowd, image 4 nothing
    assert {entry["image_id"] for entry in boxes} == {entry["image_id"] for entry in masks} == {1, 3}
    best = max((entry for entry in boxes if entry["image_id"] == 3), key=lambda entry: entry["score"])
    assert best["category_id"] == 18
    np.testing.assert_allclose(best["bbox"], [10, 10, 40, 30], atol=1)  # whole pixels, truncated
    assert evaluation.images == 4
    assert evaluation.box.table["75"] == evaluation.mask.table["75"] == pytest.approx(100)
    captured = capsys.readouterr()
    assert captured.out == "" and "4/4" in captured.err


def test_results_are_in_cocos_format(run):
    _, boxes, masks = run([3, 1])
    assert len(boxes) == len(masks) > 3
    for box, mask in zip(boxes, masks):
        assert set(box) == {"image_id", "category_id", "bbox", "score"}
        assert set(mask) == {"image_id", "category_id", "segmentation", "score"}
        assert all(box[key] == mask[key] for key in ("image_id", "category_id", "score"))
        assert box["bbox"][2] >= 0 and box["bbox"][3] >= 0
        assert mask["segmentation"]["size"] == {1: [480, 640], 3: [80, 100]}[mask["image_id"]]


@pytest.mark.parametrize(
    ("image_ids", "annotated_only", "images"),
    [
        pytest.param([3, 1, 2, 4], False, 4, id="all"),
        pytest.param([3, 1, 2, 4], True, 3, id="annotated only"),
        pytest.param([4, 2, 1, 3], True, 3, id="in any order"),
        pytest.param([3, 1], False, 2, id="a limited preprocess"),
        pytest.param([4], False, 1, id="nothing annotated"),
    ],
)
def test_images_scored(run, image_ids, annotated_only, images):
    evaluation, boxes, _ = run(image_ids, annotated_only=annotated_only)
    assert evaluation.images == images
    assert {entry["image_id"] for entry in boxes} == {1, 3} & set(image_ids)
    assert evaluation.box.table["50"] == (pytest.approx(100) if 1 in image_ids else None)


def test_missed_images_count(run):
    everything, *_ = run([3, 1], noise=oracle.EXACT)
    nothing, boxes, masks = run([3, 1], noise=oracle.Noise(dropped=1))
    assert boxes == masks == []
    assert everything.box.table["50"] == pytest.approx(100)
    assert nothing.box.table["50"] == 0


def test_annotated_only_without_annotations_is_refused(run):
    with pytest.raises(ArtifactError, match=r"None of the images in ids\.json is annotated"):
        run([4], annotated_only=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda path: path.unlink(), "1_2.bin is missing", id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-4]), "expected 331776 for output2", id="short"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes() * 8), "another batch size", id="batch"),
        pytest.param(
            lambda path: np.full(cut_outputs(SMALL_CONFIG, "fpn")[2].shape, np.nan, np.float32).tofile(path),
            "not finite.*Compile with precision=fp32",
            id="nan",
        ),
    ],
)
def test_bad_outputs_leave_no_results(tmp_path, dataset, detector, damage, message):
    oracle.write_outputs(tmp_path / "output", dataset, [3, 1], SMALL_CONFIG)
    damage(output_bin(tmp_path / "output", 1, 2))
    files = tmp_path / "bbox.json", tmp_path / "mask.json"
    with pytest.raises(ArtifactError, match=message):
        postprocess(tmp_path / "output", detector, dataset, [3, 1], *files)
    assert not any(file.exists() for file in files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param('{"ids": []}', "a list of image ids", id="empty"),
        pytest.param("[3, 1]", "a list of image ids", id="bare list"),
        pytest.param('{"ids": {"0": 3}}', "a list of image ids", id="not a list"),
        pytest.param('{"ids": [3, "1"]}', "a list of image ids", id="not numbers"),
        pytest.param('{"ids": [3, true]}', "a list of image ids", id="booleans"),
        pytest.param('{"ids": [3, 1, 3]}', "lists image 3 2 times", id="duplicates"),
        pytest.param('{"ids": [3, 77, 78]}', r"lists image 77, .* \(2 such\)", id="unknown"),
        pytest.param('{"ids": [3, ', "is not JSON", id="cut off"),
        pytest.param(None, "There is no", id="no file"),
    ],
)
def test_bad_ids_are_refused(tmp_path, dataset, content, message):
    path = tmp_path / "ids.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtifactError, match=message):
        read_ids(path, dataset)


def test_read_ids(tmp_path, dataset):
    (tmp_path / "ids.json").write_text('{"ids": [3, 1]}')
    assert read_ids(tmp_path / "ids.json", dataset) == [3, 1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param([], r"0 images, but ids.json lists 3 \(0_0.bin is missing\)", id="empty"),
        pytest.param([0, 1], r"2 images, but ids.json lists 3 \(2_0.bin is missing\)", id="too few"),
        pytest.param([0, 1, 2, 10, 9], r"5 images, but ids.json lists 3 \(9_0.bin is too many\)", id="too many"),
    ],
)
def test_outputs_of_another_run_are_refused(tmp_path, files, message):
    for index in files:
        output_bin(tmp_path, index, 0).touch()
    with pytest.raises(ArtifactError, match=message):
        require_outputs_of(tmp_path, [3, 1, 2])


def test_the_stage_checks_its_outputs(run, tmp_path):
    (tmp_path / "output").mkdir()
    output_bin(tmp_path / "output", 2, 0).touch()
    with pytest.raises(ArtifactError, match="2_0.bin is too many"):
        run([3, 1])


def test_no_outputs_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="There is no folder"):
        require_outputs_of(tmp_path / "output", [3])


@pytest.fixture(scope="module")
def score_photographs(coco_mini, detector, tmp_path_factory):
    """Score real photographs, found with this noise."""
    dataset = load_split(coco_mini)
    image_ids = [image.image_id for image in dataset.select(limit=IMAGES)]
    folder = tmp_path_factory.mktemp("photographs")

    def score(noise):
        oracle.write_outputs(folder, dataset, image_ids, SMALL_CONFIG, noise)
        return postprocess(folder, detector, dataset, image_ids, folder / "bbox.json", folder / "mask.json").evaluation

    return score


@pytest.fixture(scope="module")
def exact_score(score_photographs):
    return score_photographs(oracle.EXACT)


def test_photographs_without_noise_score_high(exact_score):
    # Whole pixels cost small boxes a high IoU, the 138 cells small masks; and NMS takes one of two
    # instances of a class whose boxes overlap by more than half.
    assert exact_score.box.table["50"] > 95 and exact_score.mask.table["50"] > 95
    assert exact_score.box.table["all"] > 85 and exact_score.mask.table["all"] > 85


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(oracle.Noise(box_shift=0.06), id="box_shift"),
        pytest.param(oracle.Noise(wrong_class=0.15), id="wrong_class"),
        pytest.param(oracle.Noise(dropped=0.15), id="dropped"),
        pytest.param(oracle.Noise(false_positives=3), id="false_positives"),
    ],
)
def test_each_kind_of_noise_costs_score(score_photographs, exact_score, noise):
    noisy = score_photographs(noise)
    assert 10 < noisy.box.table["all"] < exact_score.box.table["all"] - 2
    assert 10 < noisy.mask.table["all"] < exact_score.mask.table["all"]  # a shifted box cuts off little of its mask


def test_photographs_with_all_noise_score_like_a_network(score_photographs):
    noisy = score_photographs(oracle.NOISY)
    assert 30 < noisy.box.table["all"] < 70
    assert 30 < noisy.mask.table["all"] < 70
