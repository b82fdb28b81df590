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
from factories import CHECKOUT

from yolact_ascend.cli import main
from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.training.augment import Augmentation
from yolact_ascend.training.samples import Phase
from yolact_ascend.training.train import Recipe


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
            "error: Cannot use /x/.lock: Permission denied. What ",
        ),
        (KeyboardInterrupt(), 130, "\ninterrupted: what was finished is kept; the same command continues.\n"),
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
        ("export", {"config": "yolact_edge_resnet50_config", "trained_model": "yolact_edge_resnet50_54_800000.pth"}),
        ("preprocess", {"save_path": "inputs", "image_path": "data/coco/val2017"}),
        ("postprocess", {"json_file": "data/coco/annotations/instances_val2017.json", "ids_path": "inputs/ids.json"}),
    ],
)
def test_defaults_are_the_guides(monkeypatch, script, defaults):
    seen = {}
    add_arguments, _, description = main.VERBS[script]
    monkeypatch.setitem(main.VERBS, script, (add_arguments, lambda a: seen.update(vars(a)), description))
    assert main.run_script(script, []) == 0
    assert {name: str(seen[name]) for name in defaults} == defaults


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["pth2onnx.py", "--config=foo"], 2, "error: There is no config 'foo'. Choose one of"),
        (["pth2onnx.py", "--trained_model=none.pth"], 1, "error: There is no weights file none.pth"),
        (["preprocess.py", "--image_path=nowhere"], 1, "error: There is no image folder nowhere"),
        (["preprocess.py", "--limit=0"], 2, "'0' is no whole number above 0"),
        (["preprocess.py", "--unknown"], 2, "unrecognized arguments: --unknown"),
        (["postprocess.py", "--image_path=nowhere"], 1, "error: There is no image folder nowhere"),
        (["-m", "yolact_ascend"], 2, "the following arguments are required: VERB"),
        (["-m", "yolact_ascend", "run", "bs=0"], 2, "error: bs=0: expected whole numbers"),
        (["-m", "yolact_ascend", "run", "--bs=8"], 2, "error: '--bs=8' is no setting of run_all.sh. Settings are KEY="),
        (["-m", "yolact_ascend", "export", "bs=8"], 2, "unrecognized arguments: bs=8"),
        (["-m", "yolact_ascend", "draw", "--train_images=-1"], 2, "'-1' is no whole number"),
        (["-m", "yolact_ascend", "draw", "--seed=-1"], 2, "'-1' is no whole number"),
        (["-m", "yolact_ascend", "train", "--phases=275x16"], 2, "'275x16': expected SIZExBATCH:STEPS, such as"),
        (["-m", "yolact_ascend", "train", "--phases=275x0:5"], 2, "'275x0:5': expected SIZExBATCH:STEPS, such as"),
        (["-m", "yolact_ascend", "draw", "--train_images=0", "--val_images=0"], 2, "there is nothing to draw."),
        (["-m", "yolact_ascend", "train", "--val_image_path=a"], 2, "error: --val_image_path and --val_json_file go "),
        (["-m", "yolact_ascend", "train", "--image_path=nowhere"], 1, "error: There is no image folder nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_words_end_in_one_sentence(tmp_path, words, code, message):
    words = [str(CHECKOUT / word) if word.endswith(".py") else word for word in words]
    result = run(*words, cwd=tmp_path)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def train_arguments(*words):
    parser = argparse.ArgumentParser()
    main.VERBS["train"][0](parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("learning_rate", "-1", "above 0"),
        ("learning_rate", "0", "above 0"),
        ("learning_rate", "nan", "above 0"),
        ("learning_rate", "inf", "above 0"),
        ("weight_decay", "-1e-4", "from 0 on"),
        ("clip_norm", "-1", "from 0 on"),
        ("expand_most", "-3", "from 1 to 16"),
        ("expand_most", "1e9", "from 1 to 16"),
        ("crop_least", "5", "above 0 to 1"),
        ("crop_least", "-1", "above 0 to 1"),
        ("crop_least", "0", "above 0 to 1"),
    ],
)
def test_numbers_that_no_training_can_have_are_refused(capsys, flag, value, expected):
    with pytest.raises(SystemExit, match="2"):
        train_arguments(f"--{flag}={value}")
    assert f"argument --{flag}: '{value}' is no number {expected}\n" in capsys.readouterr().err


def test_phases_have_a_least_image_size(capsys):
    assert train_arguments("--phases=96x2:2,550x1:3").phases == ((96, 2, 2), (550, 1, 3))
    with pytest.raises(SystemExit, match="2"):
        train_arguments("--phases=550x2:2,10x2:2")
    assert "'550x2:2,10x2:2': expected image sizes of 96 pixels or more" in capsys.readouterr().err


PLAIN_RECIPE = Recipe((Phase(550, 8, 800000),))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--no_mirror"], {"augmentation": Augmentation(mirror=False)}),
        (["--no_photometric"], {"augmentation": Augmentation(photometric=False)}),
        (["--expand_most=2", "--crop_least=1"], {"augmentation": Augmentation(expand_most=2.0, crop_least=1.0)}),
        (["--phases=275x16:9,550x4:1"], {"phases": (Phase(275, 16, 9), Phase(550, 4, 1))}),
        (["--learning_rate=0.5", "--weight_decay=0.25"], {"learning_rate": 0.5, "weight_decay": 0.25}),
        (["--warmup_steps=7", "--decay=cosine"], {"warmup_steps": 7, "decay": "cosine"}),
        (["--clip_norm=3", "--most_masks=4"], {"clip_norm": 3.0, "most_masks": 4}),
        (["--bfloat16", "--seed=5"], {"bfloat16": True, "seed": 5}),
    ],
    ids=lambda value: " ".join(value) or "defaults" if isinstance(value, list) else "",
)
def test_flags_make_the_recipe(words, expected):
    assert main._recipe(train_arguments(*words)) == replace(PLAIN_RECIPE, **expected)


def test_the_console_script_has_the_same_verbs():
    script = shutil.which("yolact-ascend", path=str(Path(sys.executable).parent))
    assert script, "the package is not installed in this environment: bash scripts/setup.sh dev"
    console = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert console == run("-m", "yolact_ascend", "--help").stdout
    assert set(re.findall(r"^    (\w+)", console, re.MULTILINE)) == set(main.VERBS)


def test_a_reader_that_goes_away_is_no_fault():
    command = f"{sys.executable} -m yolact_ascend run --help | true"
    result = subprocess.run(["bash", "-c", command], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr


def test_annotated_only_and_limit(small_coco, tmp_path):
    words = [f"--image_path={small_coco}/val2017", f"--json_file={small_coco}/annotations/instances_val2017.json"]
    result = run("preprocess.py", *words, f"--save_path={tmp_path}/a", "--annotated_only")
    assert "3 inputs in" in result.stdout
    assert json.loads((tmp_path / "a" / "ids.json").read_text()) == {"ids": [3, 1, 2]}
    result = run("preprocess.py", *words, f"--save_path={tmp_path}/b", "--limit=2")
    assert json.loads((tmp_path / "b" / "ids.json").read_text()) == {"ids": [3, 1]}


def test_drawing_and_training_from_the_command_line(tmp_path):
    drawn = tmp_path / "drawn"
    result = run("-m", "yolact_ascend", "draw", f"--save_path={drawn}", "--train_images=2", "--val_images=1")
    assert result.stdout == f"2 + 1 scenes in {drawn}\n"
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
    files = {path.name for path in (tmp_path / "training").iterdir()}
    assert files == {"checkpoint.pth", "weights.pth", "log.jsonl", "curve.png"}
