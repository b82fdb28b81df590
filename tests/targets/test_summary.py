"""The device's timings: what ais_bench writes, and what a target in its form writes."""

import json

import pytest

from yolact_ascend.errors import ArtifactError
from yolact_ascend.targets.summary import DeviceTimings, busy_ms, read_timings, summarise


@pytest.mark.parametrize(
    "entries", [[2.0, 4.0, 9.0], [[10.0, 12.0], [20.0, 24.0], [30.0, 39.0]]], ids=["until 2023-06", "since 2023-10"]
)
def test_timings_of_old_and_new_summaries(tmp_path, entries):
    (tmp_path / "s.json").write_text(json.dumps({"throughput": 200.5, "npu_compute_time_list": entries}))
    timings = read_timings(tmp_path / "s.json")
    assert timings.throughput_images_per_s == 200.5
    latency = timings.latency_ms()
    assert list(latency) == ["mean", "median", "min", "max", "p90", "p95", "p99"]
    assert (latency["mean"], latency["median"], latency["min"], latency["max"]) == (5.0, 4.0, 2.0, 9.0)
    assert latency["p90"] == pytest.approx(8.0)


def test_a_summary_of_2026(tmp_path):
    """As ais_bench 0.1.0 writes it (Yanguan619/aclruntime @df1f9a44, on the emulated aclruntime): lengths, `P99`."""
    times = {"min": 0.038, "max": 0.06, "mean": 0.049, "median": 0.049, "P99": 0.0602, "count": 2}
    data = {"filesinfo": {}, "args": [], "NPU_compute_time": times, "H2D_latency": times, "D2H_latency": times}
    data.update(npu_compute_time_list=[0.06, 0.038], throughput=81089.0, pid=7)
    (tmp_path / "s.json").write_text(json.dumps(data))
    timings = read_timings(tmp_path / "s.json")
    assert (timings.throughput_images_per_s, timings.latencies_ms) == (81089.0, (0.06, 0.038))
    assert (timings.h2d_ms, timings.d2h_ms) == (0.049, 0.049)


def test_copies_are_read_where_the_summary_has_them(tmp_path):
    data = {"throughput": 1, "npu_compute_time_list": [1.0]}
    (tmp_path / "s.json").write_text(json.dumps(data))
    assert (read_timings(tmp_path / "s.json").h2d_ms, read_timings(tmp_path / "s.json").d2h_ms) == (None, None)
    data.update(H2D_latency={"mean": 0.5, "max": 1}, D2H_latency={"mean": 2.5, "count": 3})
    (tmp_path / "s.json").write_text(json.dumps(data))
    assert (read_timings(tmp_path / "s.json").h2d_ms, read_timings(tmp_path / "s.json").d2h_ms) == (0.5, 2.5)


@pytest.mark.parametrize(
    ("latencies", "drift"),
    [([1.0] * 7, None), ([1.0] * 8, 0.0), ([2.0, 2.0, 9, 9, 9, 9, 3.0, 3.0], 50.0), ([2.0] * 4 + [1.0] * 4, -50.0)],
    ids=["too few", "steady", "slower", "faster"],
)
def test_drift_compares_the_last_quarter_with_the_first(latencies, drift):
    assert DeviceTimings(1.0, tuple(latencies)).drift_percent() == drift


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        '{"throughput": "x", "npu_compute_time_list": [1.0]}',
        '{"throughput": 1, "npu_compute_time_list": []}',
        "{",
    ],
)
def test_what_is_no_summary_is_refused(tmp_path, content):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"s\.json"):
        read_timings(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("[INFO] throughput 1000*batchsize.mean(4)/NPU_compute_time.mean(1.5): 2666.6666666666665", 2666.6666666666665),
        ("[INFO] throughput 1000*batchsize(4)/NPU_compute_time.mean(1.5): 2666.5", 2666.5),
        ("[INFO] throughput (1000*batchsize/NPU_compute_time): 12", 12),
        ("[INFO] i:0 device_1 throughput:1.5 start_time:1 end_time:2\nsummary throughput:3.5", 3.5),
        (
            "bar 100%|#| 2/2\r[INFO] throughput 1000*batchsize.mean(4)/NPU_compute_time.mean(1.5): 7.25\n[INFO] end",
            7.25,
        ),
        (
            "[INFO] Throughput 1000*batchsize.mean(4)/NPU_compute_time.mean(0.0493): 81089.02461341152",
            81089.02461341152,
        ),
        ("[INFO] throughput unknown", None),
        ("[INFO] end to finalize acl", None),
    ],
    ids=["2023 and later", "2022-11", "2022-07", "several devices", "behind a bar", "2026", "no number", "no line"],
)
def test_the_console_tells_the_throughput_where_no_summary_is(tmp_path, line, found):
    (tmp_path / "infer.log").write_text(f"[INFO] load model\n{line}\n")
    if found is None:
        with pytest.raises(ArtifactError, match="There is no .*output_summary.json"):
            read_timings(tmp_path / "output_summary.json", tmp_path / "infer.log")
        return
    timings = read_timings(tmp_path / "output_summary.json", tmp_path / "infer.log")
    assert timings.throughput_images_per_s == found
    assert set(timings.latency_ms().values()) == {None}
    assert timings.drift_percent() is None


def test_the_summary_comes_before_the_console(tmp_path):
    (tmp_path / "infer.log").write_text("[INFO] throughput: 99\n")
    summary = {"npu_compute_time_list": [2.0], "throughput": 500}
    (tmp_path / "output_summary.json").write_text(json.dumps(summary))
    assert read_timings(tmp_path / "output_summary.json", tmp_path / "infer.log").throughput_images_per_s == 500


@pytest.mark.parametrize(
    ("executions", "times", "throughput", "devices"),
    [
        ([[(0.0, 2.0), (5.0, 11.0)]], [[0, 2], [5, 11]], 2000, [(0, 2000, 2)]),
        # The devices take turns; the throughput is their sum.
        (
            [[(0.0, 2.0), (5.0, 7.0)], [(1.0, 5.0)]],
            [[0, 2], [1, 5], [5, 7]],
            4000 + 2000,
            [(0, 4000, 2), (3, 2000, 1)],
        ),
        ([[], [(1.0, 5.0)]], [[1, 5]], 2000, [(3, 2000, 1)]),
        ([[], []], [], 0, []),
    ],
    ids=["one device", "two", "one had no batch", "none"],
)
def test_a_summary_of_ours_is_in_ais_benchs_form(tmp_path, executions, times, throughput, devices):
    summary = json.loads(json.dumps(summarise(executions, 8, (0, 3))))
    assert summary["npu_compute_time_list"] == times
    assert summary["throughput"] == throughput
    assert [tuple(device.values()) for device in summary["devices"]] == devices
    assert all(list(device) == ["device", "throughput", "batches"] for device in summary["devices"])
    if times:
        (tmp_path / "s.json").write_text(json.dumps(summary))
        read = read_timings(tmp_path / "s.json")
        assert read.throughput_images_per_s == throughput
        assert (len(read.latencies_ms), read.npus) == (len(times), tuple(device for device, *_ in devices))


@pytest.mark.parametrize(
    ("times", "busy"),
    [([], 0), ([(1, 3)], 2), ([(1, 3), (3, 4)], 3), ([(1, 3), (2, 5)], 4), ([(2, 3), (0, 10), (11, 12)], 11)],
    ids=["none", "one", "in turn", "two at once", "one within another"],
)
def test_time_counts_once_where_batches_overlap(times, busy):
    """As OpenVINO computes them: several requests at once."""
    assert busy_ms(times) == busy


def test_what_a_program_states_stands_in_for_its_batches(tmp_path):
    stated = {"stated_ms": {"median": 4.0, "mean": 5.0}, "stated_batches": 12}
    (tmp_path / "s.json").write_text(json.dumps({"throughput": 250.0, "stated": stated}))
    found = read_timings(tmp_path / "s.json")
    assert (found.throughput_images_per_s, found.batches, found.drift_percent()) == (250.0, 12, None)
    latency = found.latency_ms()
    assert (latency["median"], latency["mean"], latency["p99"]) == (4.0, 5.0, None)


@pytest.mark.parametrize(
    ("count", "size", "points"), [(1, 1, 1), (500, 1, 500), (501, 2, 251), (100_000, 200, 500)], ids=str
)
def test_the_latency_over_a_run_has_at_most_500_points(count, size, points):
    over_run = DeviceTimings(1.0, tuple(range(1, count + 1))).latency_over_run()
    assert (over_run["batches_per_point"], len(over_run["mean_ms"]), len(over_run["max_ms"])) == (size, points, points)
    assert over_run["mean_ms"][0] == (1 + size) / 2 and over_run["max_ms"][0] == size
    assert over_run["max_ms"][-1] == count


def test_a_program_that_lists_no_batches_has_no_latency_over_the_run():
    assert DeviceTimings(1.0, (), stated_ms={"median": 3.0}, stated_batches=8).latency_over_run() is None
