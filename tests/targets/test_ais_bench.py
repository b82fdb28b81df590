"""The commands of ais_bench, and the paths and folders that it accepts."""

from pathlib import Path

import pytest

from yolact_ascend import loops
from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.targets.ascend.ais_bench import (
    AisBenchFlags,
    benchmark_command,
    infer_command,
    prepare_run_folder,
    read_flags,
    require_usable_paths,
    watch_loops,
)

FLAGS_2023, FLAGS_2026 = AisBenchFlags(divide=()), AisBenchFlags("--output-dirname", ("--divide-input",))
# Lines of each release's `--help` at 200 columns: Ascend/tools @9d6da90, Ascend/msit @6394cfe1d^ (the same in 2025),
# and Yanguan619/aclruntime @df1f9a44, whose descriptions still name flags by their older spelling.
HELP_2023 = """usage: __main__.py [-h] --model MODEL [--input INPUT] [--output OUTPUT] [--output_dirname OUTPUT_DIRNAME]
options:
  -h, --help            show this help message and exit
  --model MODEL, -m MODEL
                        the path of the om model
  --input INPUT, -i INPUT
  --output OUTPUT, -o OUTPUT
  --output_dirname OUTPUT_DIRNAME
                        actual output directory name. such as --output_dirname 'tmp'
  --loop LOOP, -l LOOP  the round of the PureInfer.
  --device DEVICE, -d DEVICE
  --batchsize BATCHSIZE
"""
HELP_2025 = f"""{HELP_2023}  --divide_input DIVIDE_INPUT
                        Input datas need to be divided to match multi devices or not, --device should be list
"""
HELP_2026 = """
 Usage: python -m ais_bench [OPTIONS]

╭─ Options ──────────────────────────────────────────────────────────────────────────────────────────────────╮
│ *  --model             -m                     <str>    The path of the om model [required]                 │
│    --input             -i                     <str>    Input file or dir                                   │
│    --output            -o                     <str>    Inference data output path.                         │
│    --output-dirname                           <str>    Actual output directory name. such as               │
│                                                        --output_dirname 'tmp', the final inference         │
│    --loop              -l                     <str>    The round of the PureInfer. [default: 1]            │
│    --device            -d                     <str>    The NPU device ID to use.                           │
│    --batchsize                                <str>    Batch size of input tensor                          │
│    --divide-input          --no-divide-input           Input datas need to be divided to match multi       │
│                                                        --device should be list, default False              │
╰────────────────────────────────────────────────────────────────────────────────────────────────────────────╯
"""


@pytest.mark.parametrize(
    ("text", "flags"),
    [(HELP_2023, FLAGS_2023), (HELP_2025, AisBenchFlags()), (HELP_2026, FLAGS_2026)],
    ids=["2023", "2024 and 2025", "2026"],
)
def test_spellings_are_chosen_by_the_help_text(text, flags):
    assert read_flags(text, "python3 -m ais_bench --help") == flags
    assert flags.always_divides == (flags == FLAGS_2023)


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        (
            "usage: ais_bench [--models MODELS] [--datasets D]\n  --models MODELS\n",
            "--model, --input, .* or --output-",
        ),
        (HELP_2025.replace("\n  --loop", "\n  --rounds"), "does not list --loop: it is not"),
        (
            HELP_2025.replace("\n  --output_dirname", "\n  --output-folder"),
            "--output_dirname or --output-dirname: it",
        ),
        ("", "It begins: nothing"),
    ],
    ids=["AISBench's evaluator", "another name", "another folder", "nothing"],
)
def test_an_unknown_command_line_is_refused_by_name(text, lacking):
    with pytest.raises(ToolError, match=f"(?s)^python3 -m ais_bench --help .*{lacking}"):
        read_flags(text, "python3 -m ais_bench --help")


def test_commands_of_2026():
    infer = infer_command("python3", Path("a.om"), [Path("bins")], Path("run"), (0, 1), FLAGS_2026)
    begin = "python3 -m ais_bench --model a.om --input bins/ --output run --output-dirname output"
    assert " ".join(infer) == f"{begin} --device 0,1 --divide-input"
    bench = benchmark_command("python3", Path("a.om"), 8, 9, Path("run"), "perf", [Path("in.bin")], (0, 1), FLAGS_2026)
    begin = "python3 -m ais_bench --model=a.om --loop=9 --batchsize=8 --input in.bin"
    assert " ".join(bench) == f"{begin} --output run --output-dirname perf --device 0,1"


def test_commands_for_several_devices():
    infer = [Path("a.om"), [Path("bins")], Path("run"), (0, 1)]
    begin = "python3 -m ais_bench --model a.om --input bins/ --output run --output_dirname output --device 0,1"
    assert " ".join(infer_command("python3", *infer)) == f"{begin} --divide_input 1"
    assert " ".join(infer_command("python3", *infer, flags=FLAGS_2023)) == begin
    bench = ["python3", Path("a.om"), 8, 100, Path("run"), "perf", [Path("in.bin")], (0, 1)]
    begin = "python3 -m ais_bench --model=a.om --loop=100 --batchsize=8"
    end = "--output run --output_dirname perf --device 0,1"
    assert " ".join(benchmark_command(*bench)) == f"{begin} --input in.bin {end}"
    # A release that always divides gets the batch once for each device.
    assert " ".join(benchmark_command(*bench, flags=FLAGS_2023)) == f"{begin} --input in.bin,in.bin {end}"


def test_commands_are_the_guides():
    assert " ".join(infer_command("python3", Path("a.om"), [Path("inputs/bin_file")], Path("run"))) == (
        "python3 -m ais_bench --model a.om --input inputs/bin_file/ --output run --output_dirname output"
    )
    assert " ".join(benchmark_command("python3", Path("a.om"), 8, 100, Path("run"), "perf")) == (
        "python3 -m ais_bench --model=a.om --loop=100 --batchsize=8 --output run --output_dirname perf"
    )


def test_a_benchmark_of_a_file_names_it_instead_of_random_bytes():
    command = benchmark_command("python3", Path("a.om"), 8, 100, Path("run"), "perf", [Path("run/in/batch.bin")])
    assert " ".join(command) == (
        "python3 -m ais_bench --model=a.om --loop=100 --batchsize=8 --input run/in/batch.bin "
        "--output run --output_dirname perf"
    )


@pytest.mark.parametrize(
    ("flags", "npus", "batches"),
    [
        (AisBenchFlags(), (0,), "in/image.bin,in/size.bin"),
        # Each input's files stand together, one for each device.
        (FLAGS_2023, (0, 1), "in/image.bin,in/image.bin,in/size.bin,in/size.bin"),
    ],
    ids=["one device", "a release that always divides, two devices"],
)
def test_a_model_with_two_inputs_has_an_entry_for_each_in_the_models_order(flags, npus, batches):
    """As tests/emulation/test_emulated_ais_bench_parity.py runs them by Ascend's own ais_bench."""
    folders = [Path("inputs/bin_file"), Path("inputs/image_size")]
    command = infer_command("python3", Path("a.om"), folders, Path("run"), npus, flags)
    assert command[command.index("--input") + 1] == "inputs/bin_file/,inputs/image_size/"
    files = [Path("in/image.bin"), Path("in/size.bin")]
    command = benchmark_command("python3", Path("a.om"), 1, 9, Path("run"), "perf", files, npus, flags)
    assert command[command.index("--input") + 1] == batches


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


# Ascend's ais_bench of 2023 and 2025, run unchanged on the emulated aclruntime; 2024 prints what 2023 does.
CAPTURED_PROGRESS = [
    "[INFO] warm up 1 done\n\rInference tensor Processing:   0%|          | 0/1 [00:00<?, ?it/s]"
    "\n\rloop inference exec: (1/400)",
    "[INFO] warm up 1 done\n\rInference tensor Processing:   0%|          | 0/1 [00:00<?, ?it/s]"
    "\rloop inference exec: (1/400)",
]


@pytest.mark.parametrize("text", CAPTURED_PROGRESS, ids=["2023", "2025"])
def test_the_first_loop_says_how_long_all_take(text, monkeypatch, capsys):
    """From the end of the warm-up to the first count: 1.5 s, 400 times."""
    times = iter([50.0, 51.5])
    monkeypatch.setattr(loops.time, "monotonic", lambda: next(times))
    watch = watch_loops(400)
    before, after = text.split("done\n")
    watch(f"{before}done\n".encode())
    assert capsys.readouterr().err == ""
    watch(after.encode())
    assert capsys.readouterr().err == "\nbenchmark: about 10 min for 400 loops\n"
