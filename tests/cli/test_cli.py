"""Verbs, the guide's flags, and exit codes."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from factories import CHECKOUT, TINY_CONFIG

from yolact_ascend.cli import main, train
from yolact_ascend.cli.flags import take_coco
from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.training.augment import Augmentation
from yolact_ascend.training.recipe import Phase, Recipe


def run(*words, cwd=CHECKOUT):
    return subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ToolError("atc failed."), 1, "error: atc failed.\n"),
        (UsageError("bs=0."), 2, "error: bs=0.\n"),
        (
            PermissionError(13, "Permission denied", "/x/.lock"),
            1,
            "error: Cannot use /x/.lock: Permission denied. Finished work is kept.",
        ),
        (KeyboardInterrupt(), 130, "\ninterrupted: finished work is kept; rerun the same command to resume.\n"),
        (None, 0, ""),
    ],
)
def test_errors_become_exit_codes_in_one_place(capsys, error, code, message):
    def work(_):
        if error:
            raise error

    assert main.run_cli(work, None) == code
    assert capsys.readouterr().err.startswith(message) if message else not capsys.readouterr().err


def test_a_fault_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        main.run_cli(lambda _: 1 / 0, None)


@pytest.mark.parametrize(
    ("script", "defaults"),
    [
        ("export", {"trained_model": "yolact_edge_resnet50_54_800000.pth", "output": "yolact_edge.onnx"}),
        ("preprocess", {"save_path": "inputs", "image_path": "data/coco/val2017"}),
        ("postprocess", {"json_file": "data/coco/annotations/instances_val2017.json", "ids_path": "inputs/ids.json"}),
    ],
)
def test_defaults_are_the_guides(monkeypatch, script, defaults):
    seen = {}
    monkeypatch.setattr(main.VERBS[script], "run", lambda arguments: seen.update(vars(arguments)))
    assert main.run_script(script, []) == 0
    assert {name: str(seen[name]) for name in defaults} == defaults


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["pth2onnx.py", "--config=foo"], 2, "error: Unknown config 'foo'. Choose one of"),
        pytest.param(
            ["pth2onnx.py", "--trained_model=none.pth"],
            1,
            "error: There is no weights file none.pth",
            marks=pytest.mark.needs("torch"),
        ),
        (["preprocess.py", "--image_path=nowhere"], 1, "error: There is no image folder nowhere"),
        (["preprocess.py", "--limit=0"], 2, "'0': expected a whole number from 1"),
        (["preprocess.py", "--unknown"], 2, "unrecognized arguments: --unknown"),
        (["postprocess.py", "--image_path=nowhere"], 1, "error: There is no image folder nowhere"),
        (["-m", "yolact_ascend"], 2, "the following arguments are required: VERB"),
        (["-m", "yolact_ascend", "run", "bs=0"], 2, "error: bs=0: expected whole numbers"),
        (
            ["-m", "yolact_ascend", "run", "--bs=8"],
            2,
            "error: '--bs=8' is not a setting of a run. Settings are KEY=",
        ),
        (["-m", "yolact_ascend", "export", "bs=8"], 2, "unrecognized arguments: bs=8"),
        (["-m", "yolact_ascend", "draw", "--train_images=-1"], 2, "'-1': expected a whole number from 0"),
        (["-m", "yolact_ascend", "draw", "--seed=-1"], 2, "'-1': expected a whole number from 0"),
        (
            ["-m", "yolact_ascend", "draw", f"--val_images={10**20}"],
            2,
            "0': expected a whole number from 0 to 1000",
        ),
        (
            ["-m", "yolact_ascend", "draw", f"--seed={10**20}"],
            2,
            "0': expected a whole number from 0 to 9223",
        ),
        (["preprocess.py", f"--workers={10**20}"], 2, "': expected a whole number from 1 to 1024"),
        (["-m", "yolact_ascend", "train", f"--threads={10**20}"], 2, "': expected a whole number from 1 to 1024"),
        (
            ["-m", "yolact_ascend", "train", f"--seed={10**20}"],
            2,
            "0': expected a whole number from 0 to 9223",
        ),
        (["-m", "yolact_ascend", "train", f"--phases=96x1:{10**20}"], 2, "': expected SIZExBATCH:STEPS, such as"),
        (["-m", "yolact_ascend", "train", "--phases=275x16"], 2, "'275x16': expected SIZExBATCH:STEPS, such as"),
        (["-m", "yolact_ascend", "train", "--phases=275x0:5"], 2, "'275x0:5': expected SIZExBATCH:STEPS, such as"),
        (["-m", "yolact_ascend", "draw", "--train_images=0", "--val_images=0"], 2, "there is nothing to draw."),
        (["-m", "yolact_ascend", "train", "--val_image_path=a"], 2, "error: --val_image_path and --val_json_file go "),
        pytest.param(
            ["-m", "yolact_ascend", "train", "--image_path=nowhere"],
            1,
            "error: There is no image folder nowhere",
            marks=pytest.mark.needs("torch"),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_words_end_in_one_sentence(tmp_path, monkeypatch, capsys, words, code, message):
    """In this process, as each script and `-m yolact_ascend` have it."""
    monkeypatch.chdir(tmp_path)
    name, *rest = words
    script = {"pth2onnx.py": "export", "preprocess.py": "preprocess", "postprocess.py": "postprocess"}.get(name)
    try:
        found = main.run_script(script, rest) if script else main.main(rest[1:])
    except SystemExit as exit:
        found = exit.code
    assert found == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("script", ["pth2onnx.py", "preprocess.py", "postprocess.py"])
def test_the_guides_scripts_are_those_verbs(tmp_path, script):
    result = run(CHECKOUT / script, "--config=foo", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: Unknown config 'foo'. Choose one of")


@pytest.mark.needs("torch")
def test_a_wrong_config_is_refused_before_pytorch_is_imported(tmp_path):
    code = (
        "import sys; from yolact_ascend.cli.main import run_script; "
        "print(run_script('export', ['--config=foo']), 'torch' in sys.modules)"
    )
    assert run("-c", code, cwd=tmp_path).stdout == "2 False\n"


def train_arguments(*words):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("learning_rate", "-1", "a number above 0"),
        ("learning_rate", "0", "a number above 0"),
        ("learning_rate", "nan", "a number above 0"),
        ("learning_rate", "inf", "a number above 0"),
        ("weight_decay", "-1e-4", "a number from 0"),
        ("clip_norm", "-1", "a number from 0"),
        ("expand_most", "-3", "a number from 1 to 16"),
        ("expand_most", "1e9", "a number from 1 to 16"),
        ("crop_least", "5", "a number above 0 to 1"),
        ("crop_least", "-1", "a number above 0 to 1"),
        ("crop_least", "0", "a number above 0 to 1"),
    ],
)
def test_numbers_that_no_training_can_have_are_refused(capsys, flag, value, expected):
    with pytest.raises(SystemExit, match="2"):
        train_arguments(f"--{flag}={value}")
    assert f"argument --{flag}: '{value}': expected {expected}\n" in capsys.readouterr().err


def test_phases_have_a_least_and_a_largest_image_size(capsys):
    assert train_arguments("--phases=96x2:2,550x1:3").phases == ((96, 2, 2), (550, 1, 3))
    for words in ("550x2:2,10x2:2", "4097x1:1"):
        with pytest.raises(SystemExit, match="2"):
            train_arguments(f"--phases={words}")
        assert f"'{words}': expected image sizes of 96 to 4096 pixels" in capsys.readouterr().err


PLAIN_RECIPE = Recipe((Phase(550, 8, 800000),))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--phases=275x16:9"], {"phases": (Phase(275, 16, 9),), "warmup_steps": 0}),
        (["--no_mirror"], {"augmentation": Augmentation(mirror=False)}),
        (["--no_photometric"], {"augmentation": Augmentation(photometric=False)}),
        (["--expand_most=2", "--crop_least=1"], {"augmentation": Augmentation(expand_most=2.0, crop_least=1.0)}),
        (["--phases=275x16:9,550x4:1"], {"phases": (Phase(275, 16, 9), Phase(550, 4, 1)), "warmup_steps": 1}),
        (["--learning_rate=0.5", "--weight_decay=0.25"], {"learning_rate": 0.5, "weight_decay": 0.25}),
        (["--warmup_steps=7", "--decay=cosine"], {"warmup_steps": 7, "decay": "cosine"}),
        (["--clip_norm=3", "--most_masks=4"], {"clip_norm": 3.0, "most_masks": 4}),
        (["--bfloat16", "--seed=5"], {"bfloat16": True, "seed": 5}),
        (["--optimiser=adamw", "--background_negatives=0"], {"optimiser": "adamw", "background_negatives": 0}),
    ],
    ids=lambda value: " ".join(value) or "defaults" if isinstance(value, list) else "",
)
def test_flags_make_the_recipe(words, expected):
    assert train.make_recipe(train_arguments(*words), 118_287, TINY_CONFIG) == replace(PLAIN_RECIPE, **expected)


def test_settings_of_another_family_are_refused():
    arguments = train_arguments("--regions_per_image=64")
    assert train.make_recipe(arguments, 118_287, CONFIGS["mask_rcnn_R_50_FPN_3x"]).regions_per_image == 64
    with pytest.raises(UsageError, match=r"--regions_per_image says nothing to .*, a config of yolact\. Leave it out"):
        train.make_recipe(arguments, 118_287, TINY_CONFIG)


def test_the_console_script_has_the_same_verbs():
    script = shutil.which("yolact-ascend", path=str(Path(sys.executable).parent))
    assert script, "the package is not installed in this environment: bash scripts/setup.sh dev"
    console = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert console == run("-m", "yolact_ascend", "--help").stdout
    assert set(re.findall(r"^    (\w+)", console, re.MULTILINE)) == set(main.VERBS)


@pytest.mark.parametrize("verb", [None, *main.VERBS])
def test_help_needs_no_packages(verb, tmp_path):
    """`run_all.sh --help` works before any set-up: nothing but Python is imported, whatever the verb."""
    code = (
        f"import sys; sys.path[:] = [{str(CHECKOUT)!r}, *(p for p in sys.path if not p.endswith('-packages'))]; "
        f"from yolact_ascend.cli.main import main; main([*{[verb] if verb else []}, '--help'])"
    )
    result = run("-S", "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: yolact-ascend {verb or '[-h]'}")
    assert "None)" not in result.stdout


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["stream", "--weights=a.pth"], "trained_model", Path("a.pth")),
        (["stream", "--device=emulation"], "device", "emulation"),
        (["stream", "--device_kind=npu"], "device", "npu"),
        (["stream", "--npus=0,2"], "npus", (0, 2)),
        (["stream", "--npu=2"], "npus", (2,)),
        (["stream", "--bs=4"], "batch_size", 4),
        (["stream", "--coco=x"], "coco", Path("x")),
        (["predict", "a.jpg", "--weights=a.pth"], "trained_model", Path("a.pth")),
        (["predict", "a.jpg", "--out=p"], "save_path", Path("p")),
        (["predict", "a.jpg", "--soc=Ascend310P1"], "soc", "Ascend310P1"),
        (["postprocess", "--trained_model=~/a.pth"], "trained_model", Path.home() / "a.pth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_verbs_take_the_names_of_a_run(words, name, value):
    assert vars(main.parse_arguments(words))[name] == value


def test_a_coco_folder_stands_for_images_and_annotations(small_coco):
    arguments = main.parse_arguments(["stream", f"--coco={small_coco}"])
    take_coco(arguments)
    assert arguments.image_path == small_coco / "val2017"
    assert arguments.json_file == small_coco / "annotations" / "instances_val2017.json"
    twice = main.parse_arguments(["stream", f"--coco={small_coco}", "--json_file=a.json"])
    with pytest.raises(UsageError, match="Pass either --coco, or --image_path and --json_file"):
        take_coco(twice)


@pytest.mark.parametrize("verb", ["export", "postprocess"])
def test_a_cut_is_one_of_those_there_are(verb, capsys):
    with pytest.raises(SystemExit, match="2"):
        main.parse_arguments([verb, "--cut=middle"])
    assert "invalid choice: 'middle'" in capsys.readouterr().err


@pytest.mark.parametrize("reader", ["true", "head -c 1", "head -c 5000"])
def test_a_reader_that_goes_away_is_no_fault(reader):
    """Before the first letter, or with some of them unread."""
    command = f"{sys.executable} -m yolact_ascend run --help | {reader}"
    result = subprocess.run(["bash", "-c", command], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr


def test_annotated_only_and_limit(small_coco, tmp_path):
    words = [f"--image_path={small_coco}/val2017", f"--json_file={small_coco}/annotations/instances_val2017.json"]
    result = run("preprocess.py", *words, f"--save_path={tmp_path}/a", "--annotated_only")
    assert "3 inputs in" in result.stdout
    assert json.loads((tmp_path / "a" / "ids.json").read_text()) == {"ids": [3, 1, 2]}
    result = run("preprocess.py", *words, f"--save_path={tmp_path}/b", "--limit=2")
    assert json.loads((tmp_path / "b" / "ids.json").read_text()) == {"ids": [3, 1]}


@pytest.mark.needs("torch")
def test_drawing_and_training_from_the_command_line(tmp_path):
    drawn = tmp_path / "drawn"
    result = run("-m", "yolact_ascend", "draw", f"--save_path={drawn}", "--train_images=2", "--val_images=1")
    assert result.stdout == f"2 training and 1 validation scenes in {drawn}\n"
    words = [
        "--config=yolact_edge_demo_config",
        f"--image_path={drawn}/train2017",
        f"--json_file={drawn}/annotations/instances_train2017.json",
        f"--val_image_path={drawn}/val2017",
        f"--val_json_file={drawn}/annotations/instances_val2017.json",
        f"--save_path={tmp_path}/training",
        "--phases=96x2:1,128x1:1",
        "--warmup_steps=0",
    ]
    result = run("-m", "yolact_ascend", "train", *words)
    assert "mAP in percent, 1 images:" in result.stdout, result.stderr
    assert result.stdout.endswith(f"weights, log and loss curve in {tmp_path}/training\n")
    files = {path.name for path in (tmp_path / "training").iterdir() if not path.name.startswith(".")}
    assert files == {"checkpoint.pth", "weights.pth", "log.jsonl", "curve.png"}
