"""What the report says beside its figures."""

import pytest

from yolact_ascend.report import render_markdown

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
    "input": "zeros",
}
REPORT = {
    "created": "2026-11-20T00:00:00+00:00",
    "command": "bash scripts/run_all.sh mode=perf",
    "mode": "perf",
    "device": {"kind": "npu", "soc_version": "Ascend310P3", "host": "a CPU", "note": "of a card"},
    "model": {"config": "c", "network": "n", "cut": "fpn", "weights_sha256": "0" * 64},
    "dataset": None,
    "stages": [],
}


def render(*results, **changes):
    return render_markdown({**REPORT, **changes, "results": [{**RESULT, **result} for result in results]})


def test_a_row_has_throughput_latency_and_copies():
    row = "| 1 | zeros | 270.35 | 3.70 | 3.70 | 3.80 | 3.80 | 3.90 | 0.40 | n/a | 100 |"
    assert row in render({})


def test_a_card_is_not_called_an_emulation():
    assert "emulation" not in render({}).lower()
    device = {**REPORT["device"], "kind": "cpu-emulation", "note": "not an NPU's"}
    assert "CPU emulation of Ascend310P3 on a CPU" in render({}, device=device)


def test_the_fastest_batch_is_named_when_there_is_a_choice():
    """The guide's own figures: the batch size of its example, 8, is the slowest."""
    published = {1: 270.35, 4: 201.08, 8: 175.41, 16: 178.71, 32: 183.77, 64: 183.11}
    text = render(*({"batch_size": bs, "throughput_images_per_s": speed} for bs, speed in published.items()))
    assert "Fastest here: bs=1." in text
    assert "Fastest" not in render({})


@pytest.mark.parametrize(("drift", "shown"), [(None, False), (4.9, False), (-4.9, False), (12.3, True), (-7.0, True)])
def test_figures_that_drift_are_called_so(drift, shown):
    text = render({"drift_percent": drift})
    assert ("not steady" in text) == shown
    if shown:
        assert f"{drift:+.1f} %" in text
