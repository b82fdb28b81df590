"""Two runs side by side, on outputs small enough to compute by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import describe_network

from yolact_ascend.analysis.compare import compare_runs
from yolact_ascend.analysis.compare_text import format_comparison
from yolact_ascend.analysis.finished_run import read_run
from yolact_ascend.analysis.run_differences import describe_limits, differing_settings
from yolact_ascend.cli.main import main
from yolact_ascend.detection.tasks import BOX
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import sha256_file, write_bytes, write_json
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG
from yolact_ascend.models.inputs import UINT8, input_tensor
from yolact_ascend.pipeline.records import Record, Records
from yolact_ascend.targets.compiled import SideCar, read_sidecar, write_sidecar
from yolact_ascend.targets.folder import WorkFolder, ids_file, output_bin
from yolact_ascend.tensors import TensorSpec

CONFIG = CONFIGS[DEFAULT_CONFIG]
INPUT, UINT8_INPUT = input_tensor(CONFIG), input_tensor(CONFIG, UINT8)
SPECS = (TensorSpec("output0", (2,)), TensorSpec("output1", (1, 2)))
ZEROS = {"box": {"all": 30.0, "50": 50.0, "75": None}, "mask": {"all": 20.0, "50": 40.0, "75": 10.0}}


def make_run(root, outputs, batch_size=1, scores=ZEROS, spec=INPUT, specs=SPECS, cut="fpn"):
    """Write a run over the images of `outputs`: image id -> one list of values for each of SPECS."""
    folder = WorkFolder(root)
    write_json(ids_file(folder.inputs), {"ids": list(outputs)})
    for index, values in enumerate(outputs.values()):
        for k, value in enumerate(values):
            path = output_bin(folder.outputs(batch_size), index, k)
            write_bytes(path, np.array(value, dtype=np.float32).tobytes())
    folder.outputs(batch_size).mkdir(parents=True, exist_ok=True)
    write_json(folder.scores(batch_size), scores)
    write_json(folder.summary(batch_size), {"npu_compute_time_list": [[0, 4]], "throughput": 250.0 * batch_size})
    outputs_of_batch = [output.of_batch(batch_size) for output in specs]
    made_for = {"soc_version": "Ascend310P3", "cann": ""}
    described = describe_network(CONFIG, cut)
    sidecar = SideCar(
        *("ascend", made_for, [], "", described.weights_sha256, "", batch_size, CONFIG.name, cut, "fp16"),
        *(spec.of_batch(batch_size), outputs_of_batch, "", described),
    )
    model = folder.model(batch_size, ".om")
    model.touch()
    write_sidecar(model, sidecar)
    records = Records(folder)
    records.save("preprocess", Record({}, records.describe([ids_file(folder.inputs)]), 0, None))
    records.save(
        f"infer bs{batch_size}", Record({"inputs": records.token("preprocess"), "model_sha256": ""}, {}, 0, None)
    )
    records.save(f"postprocess bs{batch_size}", Record({}, {}, 0, None))
    return folder.run(batch_size)


def test_differences_are_of_the_same_image_whatever_its_index(tmp_path):
    first = make_run(tmp_path / "a", {7: [[3, 4], [1, 0]], 8: [[0, 0], [2, 2]], 9: [[1, 1], [1, 1]]})
    second = make_run(tmp_path / "b", {8: [[0, 0], [2, 2]], 7: [[4, 3], [1, 0]]}, batch_size=8)
    found = compare_runs(first, second)
    assert found.images == 2
    one, other = found.outputs
    assert one.cosine_min == pytest.approx(24 / 25)  # (3,4)·(4,3) over 5·5
    assert one.cosine_mean == pytest.approx((24 / 25 + 1) / 2)  # two zero tensors are alike
    assert (one.max_abs, one.relative) == (1, 1 / 4)
    assert (other.cosine_min, other.max_abs, other.not_finite) == (pytest.approx(1), 0, 0)


@pytest.mark.parametrize(
    ("a", "b", "cosine", "not_finite"),
    [
        ([0, 0], [1, 0], 0, 0),
        ([1, 0], [-1, 0], -1, 0),
        ([np.inf, 1], [np.inf, 1], 1, 0),
        ([np.inf, 1], [65504, 1], 1, 1),
        ([65504, 1], [np.inf, 1], 1, 1),
        ([np.nan, 1], [0, 1], 1, 1),
    ],
    ids=["one is zero", "opposite", "same infinity", "the first overflowed", "the second overflowed", "NaN"],
)
def test_what_has_no_direction_or_no_size(tmp_path, a, b, cosine, not_finite):
    first = make_run(tmp_path / "a", {1: [a, [1, 1]]})
    second = make_run(tmp_path / "b", {1: [b, [1, 1]]})
    found = compare_runs(first, second).outputs[0]
    assert found.cosine_min == pytest.approx(cosine)
    assert found.not_finite == not_finite


def test_scores_and_bytes_stand_side_by_side(tmp_path):
    better = {"box": {"all": 31.5, "50": 50.0, "75": 1.0}, "mask": {"all": 19.0, "50": 40.0, "75": 10.0}}
    first = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    second = make_run(tmp_path / "b", {1: [[1, 2], [3, 4]]}, scores=better, spec=UINT8_INPUT)
    comparison = compare_runs(first, second)
    assert comparison.input_bytes == (3630000, 907500)
    assert comparison.scores["box"]["all"] == (30.0, 31.5)
    text = format_comparison(comparison, ["fp32", "aipp"])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert ["box all", "30.00", "31.50", "+1.50"] in cells
    assert ["mask all", "20.00", "19.00", "-1.00"] in cells
    assert ["box .75", "n/a", "1.00", "n/a"] in cells


def test_target_precision_and_throughput_stand_side_by_side(tmp_path):
    first = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    second = make_run(tmp_path / "b", {1: [[1, 2], [3, 4]]}, batch_size=8)
    model = WorkFolder(tmp_path / "b").model(8, ".om")
    made_for = {"openvino": "2026.4.1"}
    write_sidecar(model, replace(read_sidecar(model), target="openvino", made_for=made_for, precision="bf16"))
    text = format_comparison(compare_runs(first, second), ["A", "B"])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert ["target", "ascend", "openvino"] in cells and ["precision", "fp16", "bf16"] in cells
    assert ["device images/s", "250.00", "2000.00"] in cells
    assert ["compiled for", "Ascend310P3,", "2026.4.1"] in cells


def test_runs_of_other_images_are_refused(tmp_path):
    first = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    second = make_run(tmp_path / "b", {2: [[1, 2], [3, 4]]})
    with pytest.raises(ArtifactError, match="no image in common.*same data set"):
        compare_runs(first, second)


def test_of_models_with_other_outputs_the_scores_are_compared(tmp_path):
    """As of a pruned network, whose levels have fewer channels."""
    first = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    second = make_run(tmp_path / "b", {1: [[1, 2], [3, 4]]}, specs=SPECS[:1])
    found = compare_runs(first, second)
    said = "the models have other outputs: output0 [2] float32, output1 [1, 2] float32, and output0 [2] float32"
    assert (found.apart, found.outputs, found.scores["box"]["all"]) == (said, (), (30.0, 30.0))
    assert f"The outputs are not compared: {said}." in format_comparison(found, ["A", "B"])


def test_of_another_cut_the_scores_are_compared(tmp_path, capsys):
    first = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]], 2: [[1, 2], [3, 4]]})
    second = make_run(
        tmp_path / "b", {2: [[1, 2]]}, 8, {**ZEROS, "box": {**ZEROS["box"], "all": 29.0}}, cut="heads", specs=SPECS[:1]
    )
    comparison = compare_runs(first, second)
    assert (comparison.images, comparison.cuts, comparison.outputs) == (1, ("fpn", "heads"), ())
    said = format_comparison(comparison, ["A", "B"]).split("\n\n")
    assert said[0] == "B against A, 1 images"
    assert "The outputs are not compared: they are of cut fpn and cut heads, whose outputs are not the same." in said
    assert any("box all" in part and "-1.00" in part for part in said) and "cosine" not in "".join(said)
    assert main(["compare", str(first), str(second), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["cuts"], printed["outputs"]) == (["fpn", "heads"], [])


def test_outputs_of_the_model_before_are_refused(tmp_path):
    """As a stream leaves them, which compiles another model and writes no outputs."""
    run = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    folder, records = WorkFolder(tmp_path / "a"), Records(WorkFolder(tmp_path / "a"))
    inputs = {"inputs": records.token("preprocess"), "model_sha256": "first"}
    records.save("infer bs1", Record(inputs, {}, 0, None))
    model = folder.model(1, ".om")
    sidecar = read_sidecar(model)
    write_sidecar(model, replace(sidecar, model_sha256="first"))
    assert compare_runs(run, run).images == 1
    write_sidecar(model, replace(sidecar, model_sha256="second"))
    said = r"The outputs in .*bs1 were made by another model than .*_bs1\.om, .* without stream=1, .*: bash scr"
    with pytest.raises(ArtifactError, match=said):
        compare_runs(run, run)


def test_outputs_of_other_inputs_are_refused(tmp_path):
    run = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]], 2: [[1, 2], [3, 4]]})
    write_json(ids_file(tmp_path / "a" / "inputs"), {"ids": [2]})
    records = Records(WorkFolder(tmp_path / "a"))
    records.save("preprocess", Record({}, records.describe([ids_file(tmp_path / "a" / "inputs")]), 0, None))
    with pytest.raises(ArtifactError, match="not of the inputs that lie in .*inputs now.*Run it again"):
        compare_runs(run, run)


@pytest.mark.parametrize(
    ("name", "content"), [("inputs/ids.json", {}), ("inputs/ids.json", [1]), ("bs1/scores.json", {"box": {}})]
)
def test_damaged_files_are_said(tmp_path, name, content):
    run = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    write_json(tmp_path / "a" / name, content)
    with pytest.raises(ArtifactError, match="are damaged: .*Run it again"):
        compare_runs(run, run)


def test_a_run_is_named_from_inside_its_folder(tmp_path, monkeypatch):
    run = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    monkeypatch.chdir(run)
    assert compare_runs(Path(), run).images == 1


@pytest.mark.parametrize("name", ["results", "bs8", "bs8/output"])
def test_a_folder_that_is_no_run_is_refused(tmp_path, name):
    run = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    with pytest.raises(ArtifactError, match=f"{tmp_path}/{name} is not a run folder.*results/bs8"):
        compare_runs(run, tmp_path / name)


def test_the_verb_prints_json(tmp_path, capsys):
    first = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]})
    assert main(["compare", str(first), str(first), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [output["max_abs"] for output in printed["outputs"]] == [0, 0]
    assert printed["scores"]["mask"]["all"] == [20.0, 20.0]


# Two runs with detections, scored against one annotation file: image 1 has a ball and a crate, image 2 a ball.
SQUARE = {1: [0, 0, 10, 10], 2: [20, 20, 10, 10], 3: [5, 5, 20, 20]}
ANNOTATIONS = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 64} for n in (1, 2, 3)],
    "categories": [{"id": 1, "name": "ball"}, {"id": 2, "name": "crate"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": SQUARE[1], "area": 100, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": SQUARE[2], "area": 100, "iscrowd": 0},
        {"id": 3, "image_id": 2, "category_id": 1, "bbox": SQUARE[3], "area": 400, "iscrowd": 0},
    ],
}
BALL, CRATE, OTHER_BALL = (1, 1, SQUARE[1]), (1, 2, SQUARE[2]), (2, 1, SQUARE[3])
EVERYTHING = (BALL, CRATE, OTHER_BALL)


def make_streamed(root, found=EVERYTHING, all_ap=100.0, failed=(), annotations=ANNOTATIONS, **more):
    """Write a streamed run of boxes: `found` are (image id, category id, box), all of one score."""
    folder = WorkFolder(root)
    make_run(root, {1: [[1, 2], [3, 4]]})
    for label in ("infer bs1", "preprocess", "postprocess bs1"):
        Records(folder).forget(label)
    data = {**annotations, "annotations": [{**entry, **MASKLESS} for entry in annotations["annotations"]]}
    write_json(root / "data" / "instances.json", data)
    entries = [{"image_id": i, "category_id": c, "bbox": box, "score": 0.9} for i, c, box in found]
    write_json(folder.detections(1, (BOX,))[BOX], entries)
    scores = {"box": {"all": all_ap, "50": all_ap, "75": all_ap}, "mask": None, "failed": list(failed)}
    write_json(folder.scores(1), {**scores, "images": 3 - len(failed)})
    write_json(folder.stream_summary(1), {"npu_compute_time_list": [[0, 4]], "throughput": 250.0})
    inputs = {"annotations_sha256": sha256_file(root / "data" / "instances.json"), "tools": {"kind": "npu"}, **more}
    note = json.dumps(["data", "data/instances.json"])
    Records(folder).save("stream bs1", Record(inputs, {}, 0, 3, note))
    return folder.run(1)


MASKLESS = {"segmentation": [[0, 0, 1, 0, 1, 1]]}


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    root = tmp_path_factory.mktemp("streamed")
    return make_streamed(root / "a"), make_streamed(root / "b", (BALL, CRATE), 75.0)


def test_streamed_runs_are_compared_by_class_and_image(streamed):
    found = compare_runs(*streamed, samples=50)
    assert (found.images, found.outputs, [side.way for side in found.sides]) == (3, (), ["streamed"] * 2)
    task = found.paired[BOX]
    # One of two balls is found: precision 1 up to the recall of a half, which is 51 of COCOeval's 101 points.
    ball = 100 * 51 / 101
    assert [task.columns["all"].first, task.columns["all"].second] == pytest.approx([100, (ball + 100) / 2])
    assert {name: each.points for name, each in task.classes.items()} == {"ball": pytest.approx(ball - 100), "crate": 0}
    differences = {image.file_name: image.points for image in task.images}
    assert differences == {"1.jpg": 0, "2.jpg": pytest.approx(-100), "3.jpg": None}
    low, high = task.columns["all"].low, task.columns["all"].high
    assert low <= task.columns["all"].points <= high == 0
    text = format_comparison(found, ["A", "B"])
    assert "box: -24.75 points cannot be told from chance on these 3 images" in text
    assert "The outputs are not compared: a streamed run writes none." in text
    assert "| 2.jpg   | 2    | 100.00 | 0.00 | -100.00" in text


def test_a_run_equals_itself_in_words(streamed):
    text = format_comparison(compare_runs(streamed[0], streamed[0], samples=5), ["A", "B"])
    assert "box: there is no difference on these 3 images." in text and "Settings and versions are the same." in text
    assert "Both are the same folder, so nothing can differ: a folder" in text


def test_images_that_failed_in_a_stream_are_left_out(streamed, tmp_path):
    other = make_streamed(tmp_path / "c", (BALL, CRATE), failed=[2])
    found = compare_runs(streamed[0], other, samples=5, names=("A", "B"))
    assert found.images == 2 and found.paired[BOX].columns["all"].points == 0
    notes = describe_limits(*map(read_run, (streamed[0], other)), "AB")
    assert "B left out 1 images that could not be decoded." in notes
    assert "Images: 3 and 2. Intervals are of the images that both have." in notes


def test_runs_of_other_annotations_have_no_interval(streamed, tmp_path):
    changed = {**ANNOTATIONS, "annotations": ANNOTATIONS["annotations"][:2]}
    other = make_streamed(tmp_path / "c", annotations=changed)
    with pytest.raises(ArtifactError, match="is not the annotation file that"):
        compare_runs(streamed[0], streamed[1], other.parent / "data" / "instances.json")
    found = compare_runs(make_run(tmp_path / "d", {1: [[1, 2], [3, 4]]}), streamed[0])
    assert (
        found.paired == {} and found.unpaired == "The runs were scored against annotation files of different content."
    )
    text = format_comparison(found, ["A", "B"])
    assert "There are no intervals" in text and "The annotation files differ: a difference of mAP may come" in text


def test_annotations_that_were_moved_are_passed(streamed, tmp_path):
    run = make_streamed(tmp_path / "c")
    moved = (tmp_path / "c" / "data" / "instances.json").rename(tmp_path / "moved.json")
    with pytest.raises(ArtifactError, match=r"annotation file of .* is not at .* any more\. Pass --json_file=FILE"):
        read_run(run).image_ids()
    assert compare_runs(run, run, moved, samples=5).paired[BOX].columns["all"].points == 0


def test_runs_of_earlier_versions_do_not_say_where_their_annotations_lie(tmp_path):
    run = make_streamed(tmp_path / "c")
    records, annotations = Records(WorkFolder(tmp_path / "c")), tmp_path / "c" / "data" / "instances.json"
    records.save("stream bs1", replace(records.load("stream bs1"), note=""))
    with pytest.raises(ArtifactError, match=r"does not say where its annotation file lies .* Pass --json_file=FILE"):
        read_run(run).find_place()
    assert read_run(run).find_place(annotations) == (tmp_path / "c" / "val2017", annotations)
    (tmp_path / "c" / "images" / "val2017").mkdir(parents=True)
    assert read_run(run).find_place(annotations).image_folder == tmp_path / "c" / "images" / "val2017"
    assert read_run(run).find_place(annotations, tmp_path).image_folder == tmp_path


def test_speeds_of_a_card_and_of_the_emulation_are_not_compared(streamed, tmp_path):
    emulated = make_streamed(tmp_path / "c", tools={"kind": "cpu-emulation"})
    both = compare_runs(streamed[0], streamed[1], samples=5)
    assert [(speed.key, speed.factor) for speed in both.speeds] == [("device", 1.0)]
    found = compare_runs(streamed[0], emulated, samples=5, names=("A", "B"))
    assert found.speeds[0].factor is None
    assert found.notes[0] == (
        "The models ran on different kinds of device (A on an NPU, B on the CPU emulation): speeds are not compared."
    )
    assert "not compared" in format_comparison(found, ["A", "B"])


def test_what_a_reader_must_know_is_said(streamed, tmp_path):
    staged = make_run(tmp_path / "a", {1: [[1, 2], [3, 4]]}, batch_size=8)
    model = WorkFolder(tmp_path / "a").model(8, ".om")
    write_sidecar(model, replace(read_sidecar(model), target="openvino", precision="int8"))
    notes = " ".join(describe_limits(read_run(streamed[0]), read_run(staged), ("A", "B")))
    for said in ("Target: ascend and openvino.", "Precision: fp16 and int8.", "A was streamed"):
        assert said in notes
    assert differing_settings(read_run(streamed[0]), read_run(staged)) == {
        **{"target": ("ascend", "openvino"), "precision": ("fp16", "int8"), "batch_size": (1, 8)}
    }


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("box.all>=-30", ""),
        ("box.ball <= -1", ""),
        ("box.all.high<=0", ""),
        ("speed.device>=0.9", ""),
        ("box.all>=-0.5", "gate box.all>=-0.5: fails, it is -24.752"),
        ("mask.all>=-0.5", "the runs have no mask mAP on the same images"),
        ("box.zebra>=0", "there is no zebra; the names are ball, crate, all, 50"),
        ("speed.end_to_end>=0.9", "speeds are not known or must not be compared"),
    ],
)
def test_gates_set_the_exit_code(streamed, capsys, gate, said):
    assert main(["compare", *map(str, streamed), "--samples=20", f"--gate={gate}", "--json"]) == bool(said)
    printed = capsys.readouterr()
    assert said in printed.err
    assert json.loads(printed.out)["gates"][0]["holds"] == (not said)


@pytest.mark.parametrize("word", ["mask.all", "mask.all=>1", "map>=1", "mask.all>=x", "speed.host>=1", ""])
def test_a_gate_that_cannot_be_read_is_refused(capsys, word):
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "a", "b", f"--gate={word}"])
    assert "expected NAME>=NUMBER" in capsys.readouterr().err


def test_each_further_run_is_compared_with_the_first(streamed, capsys):
    first, second = map(str, streamed)
    assert main(["compare", first, second, first, "--samples=5"]) == 0
    text = capsys.readouterr().out
    assert text.count(f"{second} against {first}") == text.count(f"{first} against {first}") == 1
    assert main(["compare", first, second, first, "--samples=5", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    seconds = [each["paired"]["box"]["columns"]["all"]["second"] for each in printed]
    assert seconds == pytest.approx([75.25, 100], abs=0.01)


def test_a_folder_where_both_ways_ran_is_that_of_its_scores(tmp_path):
    run = make_streamed(tmp_path / "a")
    records = Records(WorkFolder(tmp_path / "a"))
    record = records.load("stream bs1")
    records.save("stream bs1", replace(record, outputs=records.describe([run / "scores.json"])))
    records.save("postprocess bs1", Record({}, {"bs1/scores.json": [1, 1]}, 0, None))
    assert read_run(run).is_streamed
    write_json(run / "scores.json", {**ZEROS, "changed": 1})
    with pytest.raises(ArtifactError, match="holds no finished run.* copied without the times of its files"):
        read_run(run)


LISTS = (
    TensorSpec("boxes", (2, 4)),
    TensorSpec("scores", (2,)),
    TensorSpec("classes", (2,)),
    TensorSpec("count", (1,)),
)


def test_detections_are_compared_as_sets(tmp_path):
    a, b, none = [0, 0, 8, 8], [10, 0, 18, 8], [0, 0, 0, 0]
    first = make_run(
        tmp_path / "a", {1: [[a, b], [0.5, 0.5], [3, 4], [2]], 2: [[none] * 2, [0, 0], [0, 0], [0]]}, specs=LISTS
    )
    turned = {1: [[b, a], [0.6, 0.5], [4, 3], [2]], 2: [[a, none], [0.1, 0], [3, 0], [1]]}
    comparison = compare_runs(first, make_run(tmp_path / "b", turned, specs=LISTS))
    boxes, scores, classes, count = comparison.outputs
    assert (boxes.max_abs, classes.max_abs, count.max_abs) == (0, 0, 1)
    assert scores.max_abs == pytest.approx(0.1, abs=1e-7)  # b's; image 2 has nothing in common
    assert comparison.to_json()["detections"] == {"first": 2, "second": 3, "both": 2}
    assert "Detections: 2 of A, 3 of B; 2 are in both" in format_comparison(comparison, ["A", "B"])
