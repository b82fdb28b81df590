"""Several devices: who takes part, what ais_bench is told, and one result out of several."""

import json

import pytest

from yolact_ascend.errors import ArtifactError
from yolact_ascend.targets.ascend.devices import (
    clear_devices,
    collect_outputs,
    device_words,
    devices_for,
    merge_summaries,
)
from yolact_ascend.targets.summary import read_timings


@pytest.mark.parametrize(
    ("npus", "divide", "words"),
    [
        ((0,), (), ""),
        ((0,), ("--divide_input", "1"), ""),
        ((1,), ("--divide_input", "1"), "--device 1"),
        ((0, 1), (), "--device 0,1"),
        ((2, 0), ("--divide_input", "1"), "--device 2,0 --divide_input 1"),
        ((2, 0), ("--divide-input",), "--device 2,0 --divide-input"),
    ],
)
def test_what_ais_bench_is_told(npus, divide, words):
    assert " ".join(device_words(npus, divide)) == words


@pytest.mark.parametrize(
    ("files", "has_flag", "count"),
    [
        *((0, True, 1), (1, True, 1), (2, True, 2), (3, True, 3), (4, True, 4), (5, True, 4), (4952, True, 4)),
        *((0, False, 1), (1, False, 1), (2, False, 2), (3, False, 3), (4, False, 4)),
        # Rounded-up shares: 5 as 2, 2, 1; 6 as 2, 2, 2; 9 as 3, 3, 3; 7 as 2, 2, 2, 1.
        *((5, False, 3), (6, False, 3), (7, False, 4), (9, False, 3), (10, False, 4), (4952, False, 4)),
    ],
)
def test_every_device_that_takes_part_gets_a_file(files, has_flag, count):
    assert devices_for((3, 1, 0, 2), files, has_flag) == (3, 1, 0, 2)[:count]


@pytest.fixture(params=["device{0}_{1}", "device{0}"], ids=["since 2024", "2023"])
def parts(request, tmp_path):
    """The folders that devices 2 and 0 wrote below output/, with two and one images, and their summaries."""
    folder = tmp_path / "output"
    times = {2: [[1.0, 2.0], [5.0, 8.0]], 0: [[1.0, 3.0]]}
    for index, (device, images) in enumerate({2: (0, 1), 0: (2,)}.items()):
        part = folder / request.param.format(device, index)
        part.mkdir(parents=True)
        for image in images:
            (part / f"{image}_0.bin").write_text(f"image {image}")
        copies = {"mean": 4.0 / (device + 1), "count": len(images)}
        data = {"npu_compute_time_list": times[device], "throughput": 100.0 + device, "H2D_latency": copies}
        (folder / f"{part.name}_summary.json").write_text(json.dumps(data))
    return folder


def test_outputs_come_together_and_the_devices_leave_nothing(parts):
    (parts / "device_of_a_user").mkdir()
    collect_outputs(parts, (2, 0))
    merge_summaries(parts, (2, 0))
    assert {path.name for path in parts.iterdir()} == {"0_0.bin", "1_0.bin", "2_0.bin", "device_of_a_user"}
    assert (parts / "2_0.bin").read_text() == "image 2"


def test_the_summaries_become_one(parts):
    merge_summaries(parts, (2, 0))
    timings = read_timings(parts.parent / "output_summary.json")
    assert timings.throughput_images_per_s == 202.0
    assert timings.latencies_ms == (1.0, 2.0, 3.0)  # the devices take turns
    assert timings.h2d_ms == pytest.approx((2 * 4 / 3 + 4) / 3)
    assert timings.d2h_ms is None
    assert timings.npus == (2, 0)


def test_an_image_that_two_devices_computed_is_no_division(parts):
    part = next(path for path in parts.glob("device0*") if path.is_dir())
    (part / "1_0.bin").write_text("again")
    with pytest.raises(ArtifactError, match=r"1_0\.bin exists twice: .*npus=0"):
        collect_outputs(parts, (2, 0))


def test_a_device_that_wrote_nothing_is_named(parts):
    with pytest.raises(ArtifactError, match="wrote nothing for device 1"):
        collect_outputs(parts, (2, 0, 1))
    with pytest.raises(ArtifactError, match="wrote nothing for device 1"):
        merge_summaries(parts, (1, 0))


@pytest.mark.parametrize("content", ["[]", "{}", '{"npu_compute_time_list": 3, "throughput": 1}'])
def test_what_is_no_summary_is_said(parts, content):
    next(parts.glob("device0*.json")).write_text(content)
    with pytest.raises(ArtifactError, match="are not summaries of ais_bench"):
        merge_summaries(parts, (2, 0))


def test_what_an_earlier_run_left_goes_and_nothing_else(parts):
    (parts / "0_0.bin").touch()
    (parts / "devices.txt").touch()
    clear_devices(parts)
    assert {path.name for path in parts.iterdir()} == {"0_0.bin", "devices.txt"}
    clear_devices(parts / "gone")
