"""One run under other conventions, on outputs that decode to the annotations (tests/oracle.py), with noise."""

import json
from dataclasses import replace

import cv2
import numpy as np
import oracle
import pytest
from factories import SMALL_CONFIG, describe_network, write_coco

from yolact_ascend.analysis.conventions import ImageJob, Variants
from yolact_ascend.analysis.explain import explain_run, format_explanation
from yolact_ascend.cli.main import main
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import read_json, sha256_file, write_json
from yolact_ascend.host.postprocess import postprocess
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.yolact.cuts import cut_outputs
from yolact_ascend.models.yolact.detect import YolactDetector
from yolact_ascend.pipeline.records import Record, Records
from yolact_ascend.targets.compiled import SideCar, write_sidecar
from yolact_ascend.targets.folder import WorkFolder, ids_file, output_bin
from yolact_ascend.tensors import read_tensor

IDS = [3, 1, 2, 4]  # image 2 has a crowd only, image 4 nothing
NOISE = oracle.Noise(box_shift=0.1, false_positives=3)


def write_oracle_run(root, coco, ids, noise):
    """Write a finished run of the oracle, at the cut whose heads the device ran; returns its folder."""
    annotations = coco / "annotations" / "instances_val2017.json"
    dataset, folder = load_dataset(annotations, coco / "val2017"), WorkFolder(root / "results")
    oracle.write_outputs(folder.outputs(1), dataset, ids, SMALL_CONFIG, noise, seed=4, cut="heads")
    detector = YolactDetector(SMALL_CONFIG, "heads", None)
    files = folder.detections(1, (BOX, MASK))
    evaluation, _ = postprocess(folder.outputs(1), detector, dataset, ids, files)
    write_json(folder.scores(1), evaluation.to_json())
    write_json(folder.summary(1), {"npu_compute_time_list": [[0, 4]], "throughput": 250.0})
    write_json(ids_file(folder.inputs), {"ids": ids})
    described = describe_network(SMALL_CONFIG, "heads")
    outputs = [spec.of_batch(1) for spec in cut_outputs(SMALL_CONFIG, "heads")]
    model = folder.model(1, ".om")
    model.touch()
    sidecar = SideCar(
        *("ascend", {}, [], "", described.weights_sha256, sha256_file(model), 1, SMALL_CONFIG.name, "heads", "fp16"),
        *(input_tensor(SMALL_CONFIG).of_batch(1), outputs, "", described),
    )
    write_sidecar(model, sidecar)
    records = Records(folder)
    records.save("preprocess", Record({}, records.describe([ids_file(folder.inputs)]), 0, None))
    infer = {"inputs": records.token("preprocess"), "model_sha256": sidecar.model_sha256}
    records.save("infer bs1", Record(infer, {}, 0, None))
    inputs = {"annotations_sha256": sha256_file(annotations)}
    note = json.dumps([str(coco / "val2017"), str(annotations)])
    records.save("postprocess bs1", Record(inputs, {}, 0, None, note))
    return folder.run(1)


@pytest.fixture(scope="module")
def explained_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("explained")
    return write_oracle_run(root, write_coco(root / "coco"), IDS, NOISE)


@pytest.fixture(scope="module")
def explanation(explained_run):
    return explain_run(explained_run, workers=1)


def test_the_runs_own_map_is_that_of_its_scores(explained_run, explanation):
    scores = read_json(explained_run / "scores.json", "the scores")
    assert explanation.own == {task: pytest.approx(scores[task]["all"], abs=1e-10) for task in (BOX, MASK)}
    assert (explanation.images, explanation.annotated_images, explanation.notes) == (4, 3, ())
    assert 20 < explanation.own[BOX] < 90


def test_each_convention_has_a_row(explanation):
    rows = {row.key: row for row in explanation.rows}
    assert list(rows) == [
        *("annotated_images", "standard_nms", "resize", "masks_cut_last", "boxes_in_fractions", "low_scores"),
        *("shown_scores", "200_detections", "size_of_the_file", "eval_py", "guide"),
    ]
    for row in rows.values():
        for task, points in row.points.items():
            assert points == pytest.approx(row.scores[task] - explanation.own[task])
    # Invented objects are in image 4, too, which has no annotations: without it there are fewer wrong ones.
    assert rows["annotated_images"].points[BOX] >= 0
    # A box does not change where its mask is cut, nor a mask where boxes are truncated.
    assert rows["masks_cut_last"].points[BOX] == 0 == rows["boxes_in_fractions"].points[MASK]
    # eval.py and the guide count detected classes without objects as 0, and crowds as wrong.
    assert rows["guide"].points[BOX] < -10 and rows["eval_py"].points[BOX] < -10
    assert rows["size_of_the_file"].reason == "all image files have the sizes that the annotation file says"
    assert rows["resize"].reason.startswith("the model cannot run here: ")


def test_conventions_detect_what_they_say(explained_run):
    variants = Variants(YolactDetector(SMALL_CONFIG, "heads", None))
    folder, specs = explained_run / "output", variants.detector.outputs
    outputs = [read_tensor(output_bin(folder, 1, k), spec) for k, spec in enumerate(specs)]
    found = variants.detect(outputs, ImageJob(1, (480, 640), (240, 320)), "")
    own = found["own"]
    fractions = found["boxes_in_fractions"].boxes_xyxy_px
    assert fractions.dtype == np.float32 and (fractions.astype(np.int32) == own.boxes_xyxy_px).all()
    assert (fractions != own.boxes_xyxy_px).any()
    assert found["masks_cut_last"].masks != own.masks
    assert len(found["low_scores"]) >= len(own) and len(found["200_detections"]) >= len(own)
    assert found["standard_nms"].scores.min() > 0.05 > own.scores.min()  # each class must exceed the threshold itself
    assert found["size_of_the_file"].masks[0]["size"] == [240, 320] and own.masks[0]["size"] == [480, 640]
    assert list(Variants(variants.detector, only_own=True).detect(outputs, ImageJob(1, (480, 640), None), "")) == [
        "own"
    ]


def test_the_table_is_markdown_with_what_was_not_measured(explanation):
    text = format_explanation(explanation, "results/bs1")
    own = ", ".join(f"{task} {explanation.own[task]:.2f}" for task in (BOX, MASK))
    assert text.startswith(f"results/bs1: mAP {own} on 4 images (3 with annotations)\n\n| convention")
    assert "Not measured:\n- resize of the input, in uint8, as with AIPP or embed=1: the model cannot run here" in text


def test_the_runs_folder_does_not_change(explained_run, capsys):
    def state():
        return {path: path.stat().st_mtime_ns for path in explained_run.parent.rglob("*")}

    before = state()
    assert main(["explain_map", str(explained_run), "--no_infer", "--workers=1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["reason"] for row in printed["rows"] if row["key"] == "resize"] == ["left out (--no_infer)"]
    assert state() == before


def test_images_that_were_moved_are_passed(explained_run, tmp_path):
    with pytest.raises(ArtifactError, match=r"images of .* are not in .*/gone\. Pass --image_path=DIR"):
        explain_run(explained_run, None, tmp_path / "gone", workers=1, infers=False)


def test_files_of_another_size_move_boxes_and_masks(explained_run, tmp_path, explanation):
    """Image 1 is annotated with 640x480 pixels; its file has half of that."""
    coco = write_coco(tmp_path / "coco")
    path = coco / "val2017" / "000000000001.jpg"
    cv2.imwrite(str(path), np.zeros((240, 320, 3), np.uint8))
    found = explain_run(explained_run, None, coco / "val2017", workers=1, infers=False)
    row = next(row for row in found.rows if row.key == "size_of_the_file")
    assert row.reason == "" and row.points[BOX] < -5 and row.points[MASK] < -5
    assert found.own == explanation.own


def test_scores_of_another_version_are_said(explained_run):
    scores = explained_run / "scores.json"
    kept = scores.read_bytes()
    try:
        data = json.loads(kept)
        write_json(scores, {**data, BOX: {**data[BOX], "all": data[BOX]["all"] + 1}})
        found = explain_run(explained_run, workers=1, infers=False)
    finally:
        scores.write_bytes(kept)
    assert len(found.notes) == 1 and "when it is detected and scored again" in found.notes[0]


def test_outputs_of_another_model_are_refused(explained_run):
    records = Records(WorkFolder(explained_run.parent))
    record = records.load("infer bs1")
    records.save("infer bs1", replace(record, inputs={**record.inputs, "model_sha256": "another"}))
    try:
        with pytest.raises(ArtifactError, match="were made by another model"):
            explain_run(explained_run, workers=1)
    finally:
        records.save("infer bs1", record)
