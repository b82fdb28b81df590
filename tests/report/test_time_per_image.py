"""Time per image, of values small enough to add up by hand."""

import pytest

from yolact_ascend.pipeline.steps import DONE, Outcome
from yolact_ascend.report.texts import Texts
from yolact_ascend.report.time_per_image import IMAGE_STEPS, describe_time, rate_to_keep_up_with, time_table

PREPARED = {"images": 4, "core_ms_per_image": {"resize": 2.0, "decode": 1.0, "write": 0.5}}
SCORED = {"images": 4, "core_ms_per_image": {"eval": 0.5, "RLE": 1.0, "read": 1.0, "detect": 3.0, "masks": 1.0}}
OUTCOMES = [
    Outcome("export", None, DONE, 900, None),
    Outcome("preprocess", None, DONE, 1, 4),
    Outcome("infer", 8, DONE, 2, 4),
    Outcome("infer", 16, DONE, 400, 4),
    Outcome("postprocess", 8, DONE, 5, 4),
    Outcome("benchmark", 8, DONE, 900, 800),
]

SAY = Texts("en")


def test_the_time_at_one_batch_size():
    time = describe_time([PREPARED, SCORED], 200, OUTCOMES, 8, 270)
    assert list(time["core_ms_per_image"]) == ["decode", "resize", "write", "read", "detect", "masks", "RLE", "eval"]
    assert time["core_ms_per_image"] == {**PREPARED["core_ms_per_image"], **SCORED["core_ms_per_image"]}
    assert time["total_core_ms_per_image"] == 10
    assert time["device_ms_per_image"] == 5
    assert time["end_to_end_images_per_s"] == 0.5  # 4 images in 1 + 2 + 5 s
    assert time["cores_for_one_card"] == 2.7  # 270 times 10 ms


@pytest.mark.parametrize(
    ("kind", "chip", "config", "measured", "rate"),
    [
        ("npu", "310P3", "yolact_edge_resnet50_config", 201, 270),
        ("npu", "310P3", "yolact_edge_resnet50_config", 300, 300),
        ("npu", "910B4", "yolact_edge_resnet50_config", 900, 900),
        ("npu", "310P3", "yolact_edge_demo_config", 2000, 2000),
        ("cpu-emulation", "310P3", "yolact_edge_resnet50_config", 4, 4),
        ("cpu", "AMD EPYC", "yolact_edge_resnet50_config", 4, 4),
    ],
)
def test_the_published_speed_is_for_its_card_and_model_only(kind, chip, config, measured, rate):
    assert rate_to_keep_up_with(kind, chip, config, measured) == rate


def test_another_batch_size_has_its_own_seconds():
    assert describe_time([PREPARED, SCORED], 200, OUTCOMES, 16, 270)["end_to_end_images_per_s"] == pytest.approx(
        4 / 401, abs=1e-3
    )


def test_a_stream_is_all_stages():
    spent = {"images": 5, "core_ms_per_image": {"decode": 2.0, "eval": 1.0}}
    outcomes = [Outcome("compile", 8, DONE, 900, None), Outcome("stream", 8, DONE, 2, 5)]
    time = describe_time([spent], 100, outcomes, 8, 270)
    assert (time["end_to_end_images_per_s"], time["total_core_ms_per_image"]) == (2.5, 3)


def test_a_row_has_the_steps_in_order_and_a_dash_for_those_that_there_are_not():
    time = describe_time([PREPARED, SCORED], 200, OUTCOMES, 8, 270)
    heads, rows = time_table([{"batch_size": 8, "throughput_images_per_s": 200, "way": time}], SAY)
    assert heads == [
        "bs",
        *IMAGE_STEPS,
        "host total",
        "end to end images/s",
        "device images/s",
        "cores to keep up",
        "with images/s",
    ]
    assert rows == [
        # decode, resize, write, infer, read, heads, detect, masks, RLE, eval
        [
            *("8", "1.00", "2.00", "0.50", "5.00", "1.00", "–", "3.00", "1.00", "1.00", "0.50"),
            *("10.0", "0.50", "200.00", "2.7", "270.00"),
        ]
    ]


def test_a_row_for_each_batch_size_and_none():
    results = [
        {"batch_size": n, "throughput_images_per_s": 100, "way": describe_time([PREPARED], 100, [], n, 270)}
        for n in (8, 1)
    ]
    _, rows = time_table(results, SAY)
    assert [(row[0], row[-4]) for row in rows] == [("8", "n/a"), ("1", "n/a")]  # nothing was timed from end to end
    assert time_table([], SAY).rows == []


@pytest.mark.parametrize("lost", [0, 1], ids=["preprocess", "postprocess"])
def test_a_part_of_the_host_that_was_not_measured_leaves_no_total(lost):
    """As when an earlier run, which was killed, had prepared all images: the steps that are known are shown."""
    host = [PREPARED, SCORED]
    host[lost] = {"images": 0, "core_ms_per_image": {}}
    time = describe_time(host, 200, OUTCOMES, 8, 270)
    assert time["core_ms_per_image"] == host[1 - lost]["core_ms_per_image"]
    assert time["total_core_ms_per_image"] is None and time["cores_for_one_card"] is None
    _, (row,) = time_table([{"batch_size": 8, "throughput_images_per_s": 200, "way": time}], SAY)
    assert row[-5:] == ["n/a", "0.50", "200.00", "n/a", "270.00"]


@pytest.mark.parametrize("stage", ["preprocess", "infer", "postprocess", "stream"])
def test_a_stage_that_went_over_no_image_leaves_no_speed_of_the_whole(stage):
    """Its seconds are of other images, or of none."""
    outcomes = [*OUTCOMES, Outcome("stream", 8, DONE, 2, 4)]
    outcomes = [Outcome(o.stage, o.batch_size, o.status, o.seconds, 0) if o.stage == stage else o for o in outcomes]
    time = describe_time([PREPARED, SCORED], 200, outcomes, 8, 270)
    assert time["end_to_end_images_per_s"] is None
    _, (row,) = time_table([{"batch_size": 8, "throughput_images_per_s": 200, "way": time}], SAY)
    assert row[-5:] == ["10.0", "n/a", "200.00", "2.7", "270.00"]
