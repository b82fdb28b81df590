"""What the report says beside its figures."""

import re

import pytest

from yolact_ascend.pipeline.demo import NOTE
from yolact_ascend.report.markdown import render_markdown

RESULT = {
    "batch_size": 1,
    "images": None,
    "box": None,
    "mask": None,
    "coco": None,
    "throughput_images_per_s": 270.35,
    "latency_ms": {"mean": 3.7, "median": 3.7, "min": 3.6, "max": 3.9, "p90": 3.8, "p95": 3.8, "p99": 3.9},
    "h2d_ms": 0.4,
    "d2h_ms": None,
    "drift_percent": 0.0,
    "batches": 100,
    "npus": [0],
    "input": "zeros",
    "precision": "fp16",
    "aipp": False,
    "input_dtype": "float32",
    "failed": [],
}
REPORT = {
    "created": "2026-11-20T00:00:00+00:00",
    "command": "bash scripts/run_all.sh mode=perf",
    "mode": "perf",
    "note": None,
    "device": {
        "target": "ascend",
        "kind": "npu",
        "chip": "310P3",
        "soc_version": "Ascend310P3",
        "host": "a CPU",
        "note": "of a card",
    },
    "model": {
        **{"config": "c", "network": "n", "cut": "fpn", "weights": "w.pth", "weights_sha256": "0" * 64},
        **{
            "classes": 80,
            "classes_from": "COCO",
            "precision": "fp16",
            "aipp": False,
            "embed": "0",
            "input_dtype": "float32",
        },
    },
    "dataset": None,
    "stages": [],
    "overlays": [],
    "lang": "en",
    "mistakes": None,
    "worst": [],
}


WAY = {
    **{"core_ms_per_image": {}, "device_ms_per_image": 1.0, "total_core_ms_per_image": 1.0},
    **{"end_to_end_images_per_s": 1.0, "cores_for_one_card": 1.0, "cores_for_images_per_s": 1.0},
}


def render(*results, **changes):
    text = render_markdown({**REPORT, **changes, "results": [{**RESULT, **result} for result in results]})
    return re.sub(" +", " ", text)  # without what aligns the tables


def test_a_row_has_throughput_latency_and_copies():
    text = render({})
    assert (
        "| chip | batch | precision | input | images/s | mean | median | p90 | p95 | p99 | H2D | D2H | batches |"
        in text
    )
    assert "| 310P3 | 1 | fp16 | zeros | 270.35 | 3.70 | 3.70 | 3.80 | 3.80 | 3.90 | 0.40 | n/a | 100 |" in text
    assert "sum" not in text


def test_several_devices_are_counted_and_their_sum_is_called_one():
    text = render({"npus": [0, 3]})
    assert "| 310P3, 2 devices | 1 | fp16 | zeros | 270.35 |" in text
    assert "With several devices, it is the sum of theirs." in text


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ({}, "- Compiled: precision fp16, input float32\n"),
        ({"precision": "fp32"}, "- Compiled: precision fp32, input float32\n"),
        (
            {"aipp": True, "embed": "1", "input_dtype": "uint8"},
            "- Compiled: precision fp16, input uint8, normalised by the model (embed=1)\n",
        ),
    ],
    ids=["default", "fp32", "embed"],
)
def test_how_the_model_was_compiled_is_said(model, line):
    assert line in render({}, model={**REPORT["model"], **model})


def test_a_padded_input_is_described_with_what_was_chosen():
    chosen = {"canvas": [800, 1344], "fit": "window", "operators": "ascend"}
    line = "- Input: canvas 800x1344, fit=window, operators=ascend\n"
    assert line in render({}, model={**REPORT["model"], **chosen})
    assert "- Input:" not in render({})


def test_the_published_speed_is_named_for_its_model_only():
    published = "at least the 270 of Ascend ModelZoo's guide"
    for config, is_named in (("yolact_edge_resnet50_config", True), ("mask_rcnn_demo_config", False)):
        assert (published in render(mode="full", model={**REPORT["model"], "config": config})) == is_named


def test_a_card_is_not_called_an_emulation():
    assert "emulation" not in render({}).lower()
    device = {**REPORT["device"], "kind": "cpu-emulation", "note": "not an NPU's"}
    text = render({}, device=device)
    assert "CPU emulation of Ascend310P3 on a CPU" in text
    assert "| 310P3 (emulated) | 1 | fp16 | zeros |" in text and "| 310P3 | 1 |" not in text


def test_the_fastest_batch_is_named_when_there_is_a_choice():
    """The guide's own figures: the batch size of its example, 8, is the slowest."""
    published = {1: 270.35, 4: 201.08, 8: 175.41, 16: 178.71, 32: 183.77, 64: 183.11}
    text = render(*({"batch_size": bs, "throughput_images_per_s": speed} for bs, speed in published.items()))
    assert "Use bs=1: the fastest here, 270.35 images/s." in text
    assert "Use bs=" not in render({})


@pytest.mark.parametrize(
    ("speeds", "drifts", "said"),
    [
        ({1: 100, 8: 200}, (0, 0), "Use bs=8: the fastest here, 200.00 images/s, 100.0 % more than bs=1."),
        ({2: 100, 8: 200, 4: 150}, (0, 0, 0), "Use bs=8: the fastest here, 200.00 images/s, 100.0 % more than bs=2."),
        ({8: 104, 1: 100}, (0, 1), "Use bs=1: bs=8 is the fastest here, 104.00 images/s, but only 4.0 % more than"),
        ({1: 100, 8: 104}, (0, 1), "more than bs=1, and a smaller batch has a lower latency."),
        (
            {1: 100, 8: 103},
            (0, -4),
            "only 3.0 % more than bs=1, which is within the drift of these figures (4.0 %), and",
        ),
        ({1: 100, 8: 120}, (0, -25), "No batch size is advised: that takes figures of a real device, which change by"),
        ({1: 100, 8: 120}, (25, 0), "No batch size is advised"),
        ({1: 100, 8: 120}, (None, None), "Use bs=8: the fastest here, 120.00 images/s, 20.0 % more than bs=1."),
        ({1: 100, 8: 100}, (0, 0), "Use bs=1: the fastest here, 100.00 images/s."),
    ],
    ids=[
        *("larger", "no bs=1", "small", "small, why", "within the drift", "drift of the best", "drift of the first"),
        *("no drift", "equal"),
    ],
)
def test_a_gain_that_the_figures_do_not_show_is_no_advice(speeds, drifts, said):
    results = [
        {"batch_size": batch_size, "throughput_images_per_s": speed, "drift_percent": drift}
        for (batch_size, speed), drift in zip(speeds.items(), drifts)
    ]
    assert said in render(*results)


@pytest.mark.parametrize(
    "changes", [{"kind": "cpu-emulation"}, {"batches": 7}], ids=["an emulation", "too few batches"]
)
def test_figures_that_support_no_advice_give_none(changes):
    device = {**REPORT["device"], **changes}
    results = [{"batch_size": bs, "throughput_images_per_s": 100 * bs, **changes} for bs in (1, 8)]
    text = render(*results, device=device)
    assert "No batch size is advised" in text and "Use bs=" not in text


@pytest.mark.parametrize(("drift", "shown"), [(None, False), (4.9, False), (-4.9, False), (12.3, True), (-7.0, True)])
def test_figures_that_drift_are_called_so(drift, shown):
    text = render({"drift_percent": drift})
    assert ("not stable" in text) == shown
    if shown:
        assert f"bs=1: the time per batch changed by {drift:+.1f} % from the first to the last quarter" in text


def test_pictures_are_links_that_markdown_takes():
    text = render({"batch_size": 8}, overlays=["overlays/a b.jpg"])
    assert "ground truth and detections (bs=8, score >= 0.3)\n\n![a b](overlays/a%20b.jpg)\n" in text
    assert "First images" not in render({})


def test_a_run_on_demo_data_says_so():
    assert "demo" not in render({})
    assert "- **This is a demo: drawn scenes, not COCO" in render({}, note=NOTE)


def test_names_cannot_end_a_column_or_begin_a_tag():
    """GitHub's Markdown, section 4.10: a `|` in a cell is written `\\|`; and 6.1: a backslash shows a mark as it is."""
    scored = dict.fromkeys(("all", *map(str, range(50, 100, 5))), 30.0)
    classes = [{"name": "<b>car | van</b>", "annotations": 1, "box": scored}]
    data = {"name": "a|<i>", "images": 1, "of_images": 1, "annotated_images": 1, "warnings": ["class <b>"]}
    text = render(
        {"box": scored, "classes": classes, "metrics": {"box": None}, "way": WAY},
        mode="full",
        dataset=data,
        overlays=["overlays/a]b.jpg"],
    )
    assert r"| \<b>car \| van\</b> | 1 | 30.00 |" in text
    assert r"- Data set: a\|\<i>, 1 of 1 images" in text and r"| 1 | a\|\<i> | 30.00 |" in text
    assert r"**Warning**: class \<b>" in text and r"![a\]b](overlays/a%5Db.jpg)" in text


def test_images_without_annotations_have_one_sentence_and_no_tables():
    nothing = dict.fromkeys(("all", *map(str, range(50, 100, 5))))
    data = {"name": "black", "images": 1, "of_images": 1, "annotated_images": 0, "warnings": []}
    text = render({"box": nothing, "classes": [], "metrics": {"box": None}, "way": WAY}, mode="full", dataset=data)
    assert "COCOeval)\n\nNothing is scored: these images have no annotations.\n\n## Throughput" in text
    assert "Images scored" not in text
