"""The stage from output files to mAP: what it reads, writes and refuses, and that it finds what is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import oracle
import pytest
import referee
from factories import CHECKOUT, ORACLE_HEADS, SMALL_CONFIG, write_coco

from yolact_ascend.detection.evaluate import Scorer
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS
from yolact_ascend.environment import TERMINAL_VARIABLE
from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.host.postprocess import postprocess, read_ids, require_outputs_of
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.families import family_of
from yolact_ascend.models.yolact.detect import YolactDetector
from yolact_ascend.targets.folder import output_bin
from yolact_ascend.timings import Timings

IMAGES = 12  # of coco_mini in the tests of meaning: enough for a stable order of the scores


def load_split(coco_folder: Path):
    return load_dataset(coco_folder / "annotations" / "instances_val2017.json", coco_folder / "val2017")


# Without the head, which would take most of the time.
DETECTOR = YolactDetector(SMALL_CONFIG, "heads", None)

pytestmark = pytest.mark.usefixtures("opened")


@pytest.fixture
def run(tmp_path, dataset):
    """Run the stage on the oracle's outputs for these images; returns the evaluation and both files' content."""

    def run(image_ids, noise=oracle.EXACT, dataset=dataset, **options):
        folder = tmp_path / "output"
        oracle.write_outputs(folder, dataset, image_ids, SMALL_CONFIG, noise, cut="heads")
        files = {task: tmp_path / f"{task}_detections.json" for task in (BOX, MASK)}
        evaluation, _ = postprocess(folder, DETECTOR, dataset, image_ids, files, **options)
        return evaluation, *(json.loads(file.read_text()) for file in files.values())

    return run


def test_finds_what_is_annotated(run, capsys, monkeypatch):
    monkeypatch.setenv(TERMINAL_VARIABLE, "1")  # its bar shows
    evaluation, boxes, masks = run([3, 1, 2, 4])
    # image 2 has only a crowd, image 4 nothing
    assert {entry["image_id"] for entry in boxes} == {entry["image_id"] for entry in masks} == {1, 3}
    best = max((entry for entry in boxes if entry["image_id"] == 3), key=lambda entry: entry["score"])
    assert best["category_id"] == 18
    np.testing.assert_allclose(best["bbox"], [10, 10, 40, 30], atol=1)  # whole pixels, truncated
    assert evaluation.images == 4
    assert evaluation.scores[BOX].table["75"] == evaluation.scores[MASK].table["75"] == pytest.approx(100)
    captured = capsys.readouterr()
    assert captured.out == "" and "4/4" in captured.err


def test_detections_are_kept_when_they_cannot_be_scored(run, tmp_path, monkeypatch):
    def fail(_):
        raise ArtifactError("no room")

    monkeypatch.setattr(Scorer, "evaluation", fail)
    with pytest.raises(ArtifactError, match="no room"):
        run([3, 1])
    assert all(json.loads((tmp_path / f"{task}_detections.json").read_text()) for task in (BOX, MASK))


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
    assert evaluation.scores[BOX].table["50"] == (pytest.approx(100) if 1 in image_ids else None)


def test_no_more_workers_than_images(run, opened):
    run([3, 1], workers=8)
    run([3, 1, 2, 4], workers=2)
    assert opened == [2, 2]


def test_missed_images_count(run):
    everything, *_ = run([3, 1], noise=oracle.EXACT)
    nothing, boxes, masks = run([3, 1], noise=oracle.Noise(dropped=1))
    assert boxes == masks == []
    assert everything.scores[BOX].table["50"] == pytest.approx(100)
    assert nothing.scores[BOX].table["50"] == 0


@pytest.fixture
def with_heads(made):
    """The host's part with the oracle's heads."""
    heads = made(ORACLE_HEADS).read_bytes()
    return family_of(SMALL_CONFIG).make_detector(SMALL_CONFIG, "fpn", heads, EVALUATION_SETTINGS, 1)


def test_either_cut_gives_the_same(with_heads, tmp_path, dataset):
    results = []
    for each in (with_heads, DETECTOR):
        folder = tmp_path / each.cut
        oracle.write_outputs(folder, dataset, [3, 1], SMALL_CONFIG, cut=each.cut)
        files = {BOX: folder / "bbox.json", MASK: folder / "mask.json"}
        results.append(postprocess(folder, each, dataset, [3, 1], files).evaluation)
    assert results[0].scores[BOX].table == pytest.approx(results[1].scores[BOX].table)
    assert results[0].scores[MASK].table == pytest.approx(results[1].scores[MASK].table)


def test_every_step_of_every_image_is_timed(with_heads, tmp_path, dataset, real_workers):
    """With the heads on the host; four images, one of which has nothing to detect, on two workers."""
    oracle.write_outputs(tmp_path / "output", dataset, [3, 1, 2, 4], SMALL_CONFIG)
    files = {BOX: tmp_path / "bbox.json", MASK: tmp_path / "mask.json"}
    _, timings = postprocess(tmp_path / "output", with_heads, dataset, [3, 1, 2, 4], files, workers=2)
    assert timings.images == 4
    assert set(timings.seconds) == {"read", "heads", "detect", "masks", "RLE", "eval"}
    assert all(seconds > 0 for seconds in timings.seconds.values())


def test_annotated_only_without_annotations_is_refused(run):
    with pytest.raises(ArtifactError, match=r"None of the images in ids\.json is annotated"):
        run([4], annotated_only=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda path: path.unlink(), "1_2.bin is missing", id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-4]), "expected 2463744 for coeffs", id="short"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes() * 8), "another batch size", id="batch"),
        pytest.param(
            lambda path: np.full(DETECTOR.outputs[2].shape, np.nan, np.float32).tofile(path),
            "not finite.*Compile with precision=fp32",
            id="nan",
        ),
    ],
)
def test_bad_outputs_leave_no_results(tmp_path, dataset, damage, message):
    oracle.write_outputs(tmp_path / "output", dataset, [3, 1], SMALL_CONFIG, cut="heads")
    damage(output_bin(tmp_path / "output", 1, 2))
    files = {BOX: tmp_path / "bbox.json", MASK: tmp_path / "mask.json"}
    with pytest.raises(ArtifactError, match=message):
        postprocess(tmp_path / "output", DETECTOR, dataset, [3, 1], files)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", range(4))
def test_a_single_value_that_is_not_finite_is_refused(k, value):
    outputs = [np.zeros(spec.shape, dtype=np.float32) for spec in DETECTOR.outputs]
    outputs[k].ravel()[-3] = value
    with pytest.raises(ArtifactError, match="not finite numbers"):
        DETECTOR.detect(outputs, 100, 100, "outputs", "Do this.", Timings())


class Killed(YolactDetector):
    """Ends its process as the kernel does when memory is short."""

    def detect(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_leaves_no_results(tmp_path, dataset, real_workers):
    oracle.write_outputs(tmp_path / "output", dataset, [3, 1], SMALL_CONFIG, cut="heads")
    with pytest.raises(ToolError, match="A worker process ended without an error message"):
        files = {BOX: tmp_path / "bbox", MASK: tmp_path / "mask"}
        postprocess(tmp_path / "output", Killed(SMALL_CONFIG, "heads", None), dataset, [3, 1], files, workers=2)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> list[str]:
    """The command that postprocesses 200 images, all the same one; without torch and ONNX Runtime."""
    folder = tmp_path_factory.mktemp("many")
    data = json.loads((write_coco(folder / "coco") / "annotations" / "instances_val2017.json").read_text())
    image, *_ = data["images"]
    ids = list(range(1, 201))
    data["images"] = [{**image, "id": image_id} for image_id in ids]
    data["annotations"] = [{**data["annotations"][1], "image_id": image_id, "id": image_id} for image_id in ids]
    (folder / "annotations.json").write_text(json.dumps(data))
    (folder / "ids.json").write_text(json.dumps({"ids": ids}))
    dataset = load_dataset(folder / "annotations.json", folder)
    oracle.write_outputs(folder / "output", dataset, ids[:1], SMALL_CONFIG, oracle.NOISY, cut="heads")
    for index in range(1, len(ids)):
        for k in range(4):
            output_bin(folder / "output", index, k).symlink_to(output_bin(folder / "output", 0, k))
    import torch

    torch.save({}, folder / "weights.pth")
    for module in ("torch", "onnxruntime"):
        (folder / f"{module}.py").write_text(f"raise ImportError('{module} is not needed here')")
    paths = {"image_path": "", "json_file": "annotations.json", "ids_path": "ids.json", "file_path": "output"}
    return [
        *(sys.executable, str(CHECKOUT / "postprocess.py"), "--cut=heads", f"--config={SMALL_CONFIG.name}"),
        *(f"--{flag}={folder / name}" for flag, name in paths.items()),
        f"--trained_model={folder / 'weights.pth'}",
    ]


def start(command: list[str], folder: Path, workers: int) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    places = [f"--{kind}_det_file={folder / kind}.json" for kind in ("bbox", "mask")]
    environment = {**os.environ, "PYTHONPATH": str(Path(command[-1].partition("=")[2]).parent)}
    words = [*command, *places, f"--workers={workers}"]
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)


def test_results_do_not_depend_on_the_workers(many, tmp_path):
    """And neither this process nor theirs imports torch or ONNX Runtime."""
    running = [start(many, tmp_path / str(workers), workers) for workers in (1, 2)]
    printed = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    assert printed[0][0] == printed[1][0] and "200 images" in printed[0][0]
    for name in ("bbox.json", "mask.json"):
        one, two = ((tmp_path / workers / name).read_bytes() for workers in "12")
        assert one == two and len(one) > 10000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_results_and_no_processes(many, tmp_path, number):
    process = start(many, tmp_path / "run", 2)
    while not any(path.stat().st_size for path in (tmp_path / "run").iterdir()):  # until the results grow
        assert process.poll() is None
        time.sleep(0.05)
    children = _children(process.pid)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted: " in printed and "Traceback" not in printed
    assert list((tmp_path / "run").iterdir()) == []
    assert len(children) >= 2
    deadline = time.monotonic() + 10  # multiprocessing's resource tracker ends after its parent
    while time.monotonic() < deadline and any(map(_is_running, children)):
        time.sleep(0.05)
    assert not any(map(_is_running, children))


def _stat(pid: int | str) -> list[str]:
    """Return the state of a process, the id of its parent, and so on; nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    folders = Path("/proc").glob("[0-9]*")
    return [int(folder.name) for folder in folders if _stat(folder.name)[1:2] == [str(pid)]]


def _is_running(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


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


# What ais_bench of 2023 to 2025 writes where it is not called as `infer` calls it: without --output_dirname a folder by
# date and time, with several devices, with --outfmt, without --input (docs/ais_bench_behaviours.md).
@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["2026_08_01-10_00_00/0_0.bin"], r"inside it: pass \S+/2026_08_01-10_00_00\.$"),
        (["2026_08_01-10_00_00/0_0.bin", "2026_08_02-09_00_00/0_0.bin"], r"/2026_08_02-09_00_00 \(2 runs; this is"),
        (["device0_0/0_0.bin", "device1_1/1_0.bin"], r"a part for each device \(device0_0, device1_1\), .* mv "),
        (["device0/0_0.bin", "device1/1_0.bin"], r"a part for each device \(device0, device1\)"),
        (["0_0.npy", "1_0.npy"], r"files are \.npy, .*--outfmt NPY\. Use --outfmt BIN"),
        (["0_0.txt"], r"files are \.txt"),
        (["pure_infer_data_0.bin"], "It is of a benchmark"),
        (["000000000139_0.bin", "sdk_0.bin"], "000000000139_0.bin is named after an input"),
        (["notes.md"], "holds the outputs of 0 images, but ids.json lists 2"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_folder_that_ais_bench_wrote_otherwise_is_recognised(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ArtifactError, match=message):
        require_outputs_of(tmp_path, [3, 1])


def test_the_stage_checks_its_outputs(run, tmp_path):
    (tmp_path / "output").mkdir()
    output_bin(tmp_path / "output", 2, 0).touch()
    with pytest.raises(ArtifactError, match="2_0.bin is too many"):
        run([3, 1])


def test_no_outputs_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="There is no folder"):
        require_outputs_of(tmp_path / "output", [3])


@pytest.fixture(scope="module")
def score_photographs(coco_mini, tmp_path_factory):
    """Score real photographs, found with this noise, and hold the scores to those of pycocotools."""
    dataset = load_split(coco_mini)
    image_ids = [image.image_id for image in dataset.select(limit=IMAGES)]
    folder = tmp_path_factory.mktemp("photographs")

    def score(noise):
        oracle.write_outputs(folder, dataset, image_ids, SMALL_CONFIG, noise, cut="heads")
        files = {BOX: folder / "bbox.json", MASK: folder / "mask.json"}
        evaluation = postprocess(folder, DETECTOR, dataset, image_ids, files).evaluation
        results = (json.loads(file.read_text()) for file in files.values())
        referee.assert_agrees(evaluation, dataset.annotations, image_ids, *results)
        return evaluation

    return score


@pytest.fixture(scope="module")
def exact_score(score_photographs):
    return score_photographs(oracle.EXACT)


def test_photographs_without_noise_score_high(exact_score):
    # Whole pixels cost small boxes a high IoU, the 138 cells small masks; and NMS takes one of two
    # instances of a class whose boxes overlap by more than half.
    assert exact_score.scores[BOX].table["50"] > 95 and exact_score.scores[MASK].table["50"] > 95
    assert exact_score.scores[BOX].table["all"] > 85 and exact_score.scores[MASK].table["all"] > 85


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
    assert 10 < noisy.scores[BOX].table["all"] < exact_score.scores[BOX].table["all"] - 2
    assert (
        10 < noisy.scores[MASK].table["all"] < exact_score.scores[MASK].table["all"]
    )  # a shifted box cuts off little of its mask


def test_photographs_with_all_noise_score_like_a_network(score_photographs):
    noisy = score_photographs(oracle.NOISY)
    assert 30 < noisy.scores[BOX].table["all"] < 70
    assert 30 < noisy.scores[MASK].table["all"] < 70
