"""report.json and what is made from it: of a finished work folder that is written by hand."""

import json

import pytest
from finished import BATCH_SIZE, OUTCOMES, TABLE, written

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.files import sha256_file, write_json
from yolact_ascend.report.report import remove_report, write_report


def test_a_report_of_both_tasks(finish):
    run = finish((BOX, MASK))
    said = write_report(run, OUTCOMES, ["bs=2", "out=o p"])
    report, markdown = written(run)
    assert report["command"] == "bash scripts/run_all.sh bs=2 'out=o p'"
    assert said.startswith(run.folder.report_md.read_text())
    assert f"\nReport: {run.folder.report_md} and report.json\n" in said
    assert f"by `{report['command']}`" in markdown
    (result,) = report["results"]
    assert result["box"] == result["mask"] == TABLE and result["images"] == 4 and result["failed"] == []
    assert (result["precision"], result["aipp"], result["input_dtype"], result["input"]) == (
        "fp32",
        False,
        "float32",
        "dataset",
    )
    assert (result["throughput_images_per_s"], result["batches"], result["npus"]) == (133.3333, 2, [0])
    assert result["latency_ms"]["mean"] == 15 and result["h2d_ms"] is None
    assert result["way"]["total_core_ms_per_image"] == 7 and result["way"]["end_to_end_images_per_s"] == 1
    for task in ("box", "mask"):
        assert f"| 2 | {task} | 30.00 | 50.00 | 55.00 |" in markdown


def test_a_network_that_finds_boxes_only_has_no_masks_in_its_report(finish):
    """JSON keeps the key, with null; Markdown has no row of it, and the pictures have boxes."""
    run = finish((BOX,))
    write_report(run, OUTCOMES, [])
    report, markdown = written(run)
    (result,) = report["results"]
    assert result["box"] == TABLE
    assert result["mask"] is None and result["coco"]["segm"] is None and len(result["coco"]["bbox"]) == 12
    assert "| 2 | box | 30.00 |" in markdown
    assert "| mask |" not in markdown and "None" not in markdown
    assert len(report["overlays"]) == 4 and (run.folder.root / report["overlays"][0]).is_file()


@pytest.mark.parametrize(
    ("tasks", "words"),
    [((BOX, MASK), []), ((BOX,), []), ((BOX, MASK), ["mode=perf"])],
    ids=["full", "boxes", "perf"],
)
def test_keys_are_a_contract_whatever_the_tasks_and_the_mode(finish, tasks, words):
    run = finish(tasks, *words)
    write_report(run, OUTCOMES, [])
    report, _ = written(run)
    assert list(report) == [
        *("schema_version", "created", "command", "mode", "stream", "note", "device", "model", "dataset", "versions"),
        *("results", "stages", "lang", "overlays", "mistakes", "worst"),
    ]
    assert list(report["results"][0]) == [
        *("batch_size", "images", "box", "mask", "coco", "failed", "overfull_images"),
        *("throughput_images_per_s", "latency_ms", "h2d_ms"),
        *("d2h_ms", "drift_percent", "batches", "npus", "input", "precision", "aipp", "input_dtype", "way"),
        *("metrics", "classes", "curves", "latency_over_run", "model_sha256"),
    ]


def test_a_report_of_throughput_knows_no_images(finish):
    run = finish((BOX, MASK), "mode=perf")
    write_report(run, OUTCOMES[:1], [])
    report, markdown = written(run)
    (result,) = report["results"]
    assert report["dataset"] is None and report["overlays"] == []
    assert {result[key] for key in ("way", "box", "mask", "coco", "images")} == {None}
    assert "mAP in percent" not in markdown and "Time per image" not in markdown


@pytest.mark.parametrize(
    ("words", "images", "annotated"), [([], 4, 3), (["limit=3"], 3, 3), (["limit=1"], 1, 1)], ids=["all", "3", "1"]
)
def test_a_report_says_which_images_it_is_about(finish, words, images, annotated):
    run = finish((BOX, MASK), *words)
    write_report(run, OUTCOMES, [])
    report, markdown = written(run)
    name = "coco/val2017, 8 classes (ball, crate, star, leaf, ring, …)"
    assert report["dataset"] == {
        **{"name": name, "images": images, "annotated_images": annotated, "of_images": 4},
        "warnings": [],
        "annotations_sha256": sha256_file(run.dataset.annotation_file),
    }
    assert f"- Data set: {name}, {images} of 4 images ({annotated} of them annotated)\n" in markdown


@pytest.mark.parametrize(("cores", "words"), [(1, "1 core"), (3, "3 cores")])
def test_a_report_has_the_cores_that_the_run_may_use(finish, monkeypatch, cores, words):
    """Not those of the machine: `taskset` and containers leave fewer."""
    monkeypatch.setattr("yolact_ascend.report.report.count_cores", lambda: cores)
    run = finish((BOX, MASK))
    write_report(run, OUTCOMES, [])
    assert written(run)[0]["device"]["host"].endswith(f", {words}")


def test_a_report_says_where_its_figures_come_from(finish):
    run = finish((BOX, MASK))
    write_report(run, OUTCOMES, [])
    report, markdown = written(run)
    assert (report["device"]["target"], report["device"]["kind"], report["device"]["soc_version"]) == (
        "onnxruntime",
        "cpu",
        None,
    )
    assert "cann" not in report["device"] and report["versions"]["cann"] is None
    assert f"- Device: CPU on {report['device']['host']}\n" in markdown
    assert f"- **{report['device']['note']}**\n" in markdown
    assert "## Throughput on the CPU (" in markdown and "emula" not in markdown
    assert report["note"] is None and "a demo" not in markdown


def test_stages_have_their_speed_where_they_went_over_images(finish):
    run = finish((BOX, MASK))
    write_report(run, OUTCOMES, [])
    report, markdown = written(run)
    assert [(s["name"], s["batch_size"], s["images_per_s"], s["status"]) for s in report["stages"]] == [
        ("export", None, None, "fresh"),
        ("preprocess", None, 4.0, "done"),
        ("infer", 2, 2.0, "done"),
        ("postprocess", 2, 4.0, "done"),
    ]
    assert (
        "| export | | 4.00 | | | up to date: as an earlier run measured |\n| preprocess | | 1.00 | 4 | 4.00 | done |"
        in markdown
    )


def test_images_that_could_not_be_decoded_are_named_and_not_drawn(finish):
    run = finish((BOX, MASK), "limit=2")
    path = run.folder.scores(BATCH_SIZE)
    write_json(path, {**json.loads(path.read_text()), "failed": [3]})
    write_report(run, OUTCOMES, [])
    report, markdown = written(run)
    assert report["results"][0]["failed"] == [3] and "**Not scored**" in markdown
    assert report["overlays"] == ["overlays/000000000001.jpg"]


def test_images_with_more_anchors_than_the_model_keeps_are_counted(finish):
    run = finish((BOX, MASK))
    path = run.folder.scores(BATCH_SIZE)
    scores = json.loads(path.read_text())
    write_json(path, {**scores, "host": {**scores["host"], "overfull_images": 2}})
    write_report(run, OUTCOMES, [])
    report, markdown = written(run)
    assert report["results"][0]["overfull_images"] == 2
    assert "2 images had more anchors above the score threshold" in markdown


def test_the_report_of_an_earlier_run_goes(finish):
    run = finish((BOX, MASK))
    remove_report(run)
    write_report(run, OUTCOMES, [])
    assert run.folder.overlays.is_dir()
    remove_report(run)
    assert not any(path.exists() for path in (run.folder.report_json, run.folder.report_md, run.folder.overlays))
    assert run.folder.scores(BATCH_SIZE).is_file()
