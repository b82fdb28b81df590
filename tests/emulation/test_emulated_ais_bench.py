"""emulation/ais_bench by itself; test_emulated_ais_bench_parity.py holds it against the real one."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest

from .cases import SIZED, Case, last_line, run_case, sized_images
from .conftest import EMULATION, Run, run_in, sample, small_model, write_samples

FLOAT = r"[0-9.e-]+"


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """A folder with six images and ids.json beside the model's folder."""
    write_samples(tmp_path / "inputs" / "bin_file", [f"{index}.bin" for index in range(6)])
    (tmp_path / "inputs" / "ids.json").write_text("{}")
    return tmp_path


def reference(indices: list[int]) -> dict[str, np.ndarray]:
    """What ONNX Runtime makes of the images with these numbers, without atc and aclruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(small_model().SerializeToString(), providers=["CPUExecutionProvider"])
    up, mean = session.run(["up", "mean"], {"image": np.stack([sample(index) for index in indices])})
    return {"up": up, "mean": mean}


def test_guide_line_by_line(run: Run, six: Path) -> None:
    """The commands of the guide, one after the other."""
    onnx.save(small_model(), six / "yolact_edge.onnx")
    atc = run(
        *("atc", "--model", "yolact_edge.onnx", "--framework", "5", "--output", "yolact_edge_bs8", "--log", "error"),
        *("--soc_version", "Ascend310P3", "--input_shape", "image:8,3,4,4"),
    )
    assert atc.code == 0, atc.stdout
    command = "--model yolact_edge_bs8.om --input inputs/bin_file/ --output ./run --output_dirname output"
    infer = run("python3", "-m", "ais_bench", *command.split())
    assert infer.code == 0, infer.stdout + infer.stderr
    expected = reference(list(range(6)))
    for index in range(6):
        up = np.fromfile(six / "run" / "output" / f"{index}_0.bin", np.float32).reshape(1, 2, 8, 8)
        mean = np.fromfile(six / "run" / "output" / f"{index}_1.bin", np.float32).reshape(1, 2)
        # float16 by default: it holds the image and the weights, and rounds the sums, and the mean of these
        np.testing.assert_allclose(up[0], expected["up"][index], rtol=2**-11)
        np.testing.assert_allclose(mean[0], expected["mean"][index], atol=2**-11 * np.abs(expected["up"]).max() * 2)
    assert len(list((six / "run" / "output").iterdir())) == 12
    perf = run("python3", "-m", "ais_bench", "--model=yolact_edge_bs8.om", "--loop=100", "--batchsize=8")
    assert perf.code == 0
    assert "(100/100)" in perf.stdout


def test_console(run: Run, six: Path, compiled: Path) -> None:
    model = compiled / "small_bs4.om"
    command = f"--model {model} --input inputs/bin_file --output run --output_dirname output"
    result = run("python3", "-m", "ais_bench", *command.split())
    assert result.stderr == ""
    expected = [
        "[INFO] acl init success",
        "[INFO] open device 0 success",
        "[INFO] create new context",
        f"[INFO] load model {model} success",
        "[INFO] create model description success",
        "[INFO] try get model batchsize:4",
        "[INFO] output path:run/output",
        "[INFO] get filesperbatch files0 size:192 tensor0size:768 filesperbatch:4 runcount:2",
        "[INFO] warm up 1 done",
    ]
    lines = result.stdout.splitlines()
    assert lines[: len(expected)] == expected
    assert re.search(r"Inference array Processing: 100%\|.*\| 2/2 \[", result.stdout)
    times = ", ".join(f"{key} = {FLOAT}" for key in ("min", "max", "mean", "median", r"percentile\(99%\)"))
    tail = [
        r"\[INFO\] -----------------Performance Summary------------------",
        rf"\[INFO\] NPU_compute_time \(ms\): {times}",
        rf"\[INFO\] throughput 1000\*batchsize\.mean\(4\)/NPU_compute_time\.mean\({FLOAT}\): {FLOAT}",
        r"\[INFO\] ------------------------------------------------------",
        r"\[INFO\] unload model success, model Id is 1",
        r"\[INFO\] end to reset device 0",
        r"\[INFO\] end to finalize acl",
    ]
    for pattern, line in zip(tail, lines[-len(tail) :]):
        assert re.fullmatch(pattern, line)


def test_summary_file(run: Run, six: Path, compiled: Path) -> None:
    model = compiled / "small_bs4.om"
    command = f"--model {model} --input inputs/bin_file --output run --output_dirname output --loop 3"
    result = run("python3", "-m", "ais_bench", *command.split())
    summary = json.loads((six / "run" / "output_summary.json").read_text())
    statistics = ["min", "max", "mean", "median", "percentile(99%)", "count"]
    assert list(summary) == [
        *("filesinfo", "args", "NPU_compute_time", "H2D_latency", "D2H_latency"),
        *("npu_compute_time_list", "throughput", "pid"),
    ]
    assert list(summary["NPU_compute_time"]) == statistics
    assert summary["args"][1:] == command.split()
    assert list(summary["filesinfo"]) == ["0", "1", "2", "3", "4", "5"]
    assert summary["filesinfo"]["5"] == {
        "infiles": ["inputs/bin_file/5.bin"],
        "outfiles": ["run/output/5_0.bin", "run/output/5_1.bin"],
    }
    times = summary["npu_compute_time_list"]
    assert [summary[key]["count"] for key in ("NPU_compute_time", "H2D_latency", "D2H_latency")] == [6, 2, 4]
    assert len(times) == 6
    assert summary["NPU_compute_time"]["mean"] == pytest.approx(np.mean(times))
    assert summary["throughput"] == pytest.approx(4000 / np.mean(times))
    assert f": {summary['throughput']}\n" in result.stdout


def test_modes_of_what_is_created(run: Run, six: Path, compiled: Path) -> None:
    command = f"--model {compiled / 'small_bs4.om'} --input inputs/bin_file --output new/run --output_dirname output"
    assert run("python3", "-m", "ais_bench", *command.split()).code == 0
    for path in ("new", "new/run", "new/run/output"):
        assert stat.S_IMODE((six / path).stat().st_mode) == 0o750
    for path in ("new/run/output_summary.json", "new/run/output/0_0.bin"):
        assert stat.S_IMODE((six / path).stat().st_mode) == 0o640


def test_padding_repeats_the_first_file_of_its_batch(run: Run, six: Path, compiled: Path) -> None:
    """Seen through a model that mixes the images of a batch: 4, 5, 4, 4 is the last one."""
    model = compiled / "mixing_bs4.om"
    command = f"--model {model} --input inputs/bin_file --output run --output_dirname o --outfmt NPY"
    run("python3", "-m", "ais_bench", *command.split())
    found = np.load(six / "run" / "o" / "5_0.npy")
    np.testing.assert_array_equal(found[0], sample(5) + np.maximum(sample(4), sample(5)))
    assert sorted(path.name for path in (six / "run" / "o").iterdir()) == [f"{index}_0.npy" for index in range(6)]


@pytest.mark.parametrize("images", [2, 5, 6, 7])
def test_devices_divide_the_files_and_leave_none_out(run: Run, compiled: Path, tmp_path: Path, images: int) -> None:
    """Whatever the numbers, each image is computed once, and gives what one device makes of it."""
    write_samples(tmp_path / "in", [f"{index}.bin" for index in range(images)])
    for folder in ("run", "run/two"):  # else its processes may all try to make it and fail, as the real one's
        (tmp_path / folder).mkdir(mode=0o750)
    command = f"--model {compiled / 'small_bs4.om'} --input in --output run --output_dirname"
    one = run("python3", "-m", "ais_bench", *command.split(), "one")
    two = run(
        *("python3", "-m", "ais_bench", *command.split(), "two", "--device", "0,1", "--divide_input", "1"),
        env={"EMULATED_NPUS": "2"},
    )
    assert (one.code, two.code) == (0, 0), two.stdout + two.stderr
    expected = {path.name: path.read_bytes() for path in (tmp_path / "run" / "one").iterdir()}
    found = [(path.name, path.read_bytes()) for path in (tmp_path / "run" / "two").rglob("*.bin")]
    assert len(found) == len(expected) == 2 * images
    assert dict(found) == expected
    sums = [json.loads(path.read_text()) for path in sorted((tmp_path / "run" / "two").glob("*_summary.json"))]
    assert [len(data["filesinfo"]) for data in sums] == [images - images // 2, images // 2]
    total = sum(data["throughput"] for data in sums)
    assert float(two.stdout.split("summary throughput:")[1].split()[0]) == pytest.approx(total)


def test_an_odd_number_of_files_of_two_inputs_is_divided(run: Run) -> None:
    """Every input counts as having as many files, and the last share of the last input lacks what is missing."""
    lines = "from ais_bench.infer.inputs import divide_files\nprint(divide_files(list('abcdefg'), 2, 2))"
    assert run("python3", "-c", lines).stdout == "[['a', 'b', 'e', 'f'], ['c', 'd', 'g']]\n"


def test_fewer_sizes_than_images_end_the_tool(run: Run, compiled: Path, tmp_path: Path) -> None:
    """The real ones end with a bare IndexError (test_emulated_ais_bench_parity); ours adds the counts."""
    case = Case(SIZED, sized_images(3, 1))
    result = run_case(run, case, compiled, tmp_path / "ours", {}).result
    assert result.code == 1
    assert last_line(result.stderr) == "IndexError: the inputs have different numbers of files: 3, 1"


def test_more_devices_than_any_machine_has(run: Run, compiled: Path) -> None:
    """Not held against the real ones: those before 2025 begin so many processes."""
    many = ",".join(["0"] * 257)
    result = run("python3", "-m", "ais_bench", "--model", compiled / "small_bs1.om", "--device", many)
    assert result.code == 2
    assert "too much device id in --device, max permitted count is 256" in result.stderr


REFUSED = {
    "debug": "--debug 1",
    "dymBatch": "--dymBatch 2",
    "dymHW": "--dymHW 4,4",
    "dymDims": "--dymDims image:1,3,4,4",
    "dymShape": "--dymShape image:1,3,4,4",
    "dymShape_range": "--dymShape_range image:1~2,3,4,4",
    "outputSize": "--outputSize 100",
    "auto_set_dymshape_mode": "--auto_set_dymshape_mode 1",
    "auto_set_dymdims_mode": "--auto_set_dymdims_mode 1",
    "profiler": "--profiler 1",
    "dump": "--dump 1",
    "acl_json_path": "--acl_json_path acl.json",
    "aipp_config": "--aipp_config aipp.config",
    "energy_consumption": "--energy_consumption 1",
    "perf": "--perf 1",
    "pipeline": "--pipeline 1",
}


@pytest.mark.parametrize("option", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_emulated_is_refused_in_one_sentence(run: Run, compiled: Path, option: str) -> None:
    result = run("python3", "-m", "ais_bench", "--model", compiled / "small_bs1.om", *option.split())
    assert result.code == 2
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.startswith("[ERROR] the emulated ais_bench does not implement ")
    assert option.split()[0] in result.stdout


@pytest.mark.parametrize("option", ["--profiler 0", "--pipeline false", "--debug 0"])
def test_defaults_of_what_is_not_emulated_are_taken(run: Run, compiled: Path, option: str) -> None:
    assert run("python3", "-m", "ais_bench", "--model", compiled / "small_bs1.om", *option.split()).code == 0


def test_help_names_every_option(run: Run) -> None:
    result = run("python3", "-m", "ais_bench", "--help")
    assert result.code == 0
    names = ("model", "input", "output", "loop", "batchsize", "warmup_count")
    assert all(f"--{name}" in result.stdout for name in names)


@pytest.mark.parametrize("call", ["s.infer_pipeline([[]])", "s.infer_iteration([])", "MultiDeviceSession('m.om')"])
def test_interface_says_what_is_not_emulated(run: Run, compiled: Path, call: str) -> None:
    lines = f"from ais_bench.infer.interface import *\ns = InferSession(0, {str(compiled / 'small_bs1.om')!r})\n{call}"
    result = run("python3", "-c", lines)
    assert result.code == 1
    assert "RuntimeError: the emulated ais_bench does not implement" in result.stderr


def test_ais_bench_uses_nothing_but_aclruntime() -> None:
    """Only then does a comparison with the real tool on the same aclruntime mean anything."""
    for path in (EMULATION / "ais_bench").rglob("*.py"):
        assert "ascend_emulation" not in path.read_text()
        assert "onnx" not in path.read_text()
        assert "aclruntime._" not in path.read_text()


@pytest.mark.parametrize("variables", [{}, {"PYTHONSAFEPATH": "1"}], ids=["as it is", "where Python leaves it out"])
def test_files_of_the_current_folder_are_not_taken_for_pythons(emulated_env: dict[str, str], tmp_path: Path, variables):
    """`python3 -m` searches the current folder first, and has no flag against it before Python 3.11."""
    for name in ("argparse.py", "json.py", "random.py", "queue.py", "dataclasses.py", "aclruntime.py"):
        (tmp_path / name).write_text("raise RuntimeError('a module of the user')\n")
    run = run_in({**emulated_env, **variables}, tmp_path)
    assert run("python3", "-m", "ais_bench", "--help").code == 0
    failed = run("python3", "-m", "ais_bench", "--model", "none.om")
    assert "a module of the user" not in failed.stdout + failed.stderr


def test_it_runs_from_its_own_folder(emulated_env: dict[str, str]) -> None:
    without = {name: value for name, value in emulated_env.items() if name != "PYTHONPATH"}
    assert run_in(without, EMULATION)("python3", "-m", "ais_bench", "--help").code == 0
