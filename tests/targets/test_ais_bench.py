"""The commands of ais_bench, and the paths and folders that it accepts."""

from pathlib import Path

import pytest

from yolact_ascend.errors import UsageError
from yolact_ascend.targets.ascend.ais_bench import (
    benchmark_command,
    infer_command,
    prepare_run_folder,
    require_usable_paths,
)


def test_commands_for_several_devices():
    infer = [Path("a.om"), Path("bins"), Path("run"), (0, 1)]
    begin = "python3 -m ais_bench --model a.om --input bins/ --output run --output_dirname output --device 0,1"
    assert " ".join(infer_command("python3", *infer)) == f"{begin} --divide_input 1"
    assert " ".join(infer_command("python3", *infer, has_divide_flag=False)) == begin
    bench = ["python3", Path("a.om"), 8, 100, Path("run"), "perf", Path("in.bin"), (0, 1)]
    begin = "python3 -m ais_bench --model=a.om --loop=100 --batchsize=8"
    end = "--output run --output_dirname perf --device 0,1"
    assert " ".join(benchmark_command(*bench)) == f"{begin} --input in.bin {end}"
    # A release that always divides gets the batch once for each device.
    assert " ".join(benchmark_command(*bench, has_divide_flag=False)) == f"{begin} --input in.bin,in.bin {end}"


def test_commands_are_the_guides():
    assert " ".join(infer_command("python3", Path("a.om"), Path("inputs/bin_file"), Path("run"))) == (
        "python3 -m ais_bench --model a.om --input inputs/bin_file/ --output run --output_dirname output"
    )
    assert " ".join(benchmark_command("python3", Path("a.om"), 8, 100, Path("run"), "perf")) == (
        "python3 -m ais_bench --model=a.om --loop=100 --batchsize=8 --output run --output_dirname perf"
    )


def test_a_benchmark_of_a_file_names_it_instead_of_random_bytes():
    command = benchmark_command("python3", Path("a.om"), 8, 100, Path("run"), "perf", Path("run/in/batch.bin"))
    assert " ".join(command) == (
        "python3 -m ais_bench --model=a.om --loop=100 --batchsize=8 --input run/in/batch.bin "
        "--output run --output_dirname perf"
    )


@pytest.mark.parametrize(("folder", "work"), [("a b", "out"), ("ab", "o+t"), ("ab", "ö")])
def test_paths_that_ais_bench_refuses_are_said_first(tmp_path, monkeypatch, folder, work):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    with pytest.raises(UsageError, match="ais_bench accepts only letters, digits and"):
        require_usable_paths(Path(work))


@pytest.mark.parametrize("name", ["output", "perf"])
def test_a_folder_of_the_output_folders_name_is_said_first(tmp_path, monkeypatch, name):
    """ais_bench since 2024 looks for --output_dirname in the current folder."""
    monkeypatch.chdir(tmp_path)
    require_usable_paths(Path("results"))
    Path(name).mkdir(mode=0o755)
    with pytest.raises(UsageError, match=f"chmod 750 .*{name}"):
        require_usable_paths(Path("results"))
    Path(name).chmod(0o750)
    require_usable_paths(Path("results"))


def test_the_run_folder_is_closed_to_others(tmp_path):
    (tmp_path / "bs8").mkdir(mode=0o775)
    (tmp_path / "bs8").chmod(0o775)
    prepare_run_folder(tmp_path / "bs8")
    assert (tmp_path / "bs8").stat().st_mode & 0o777 == 0o750
