"""What doctor finds in each situation, and what it tells the user to do."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from factories import CHECKOUT

from yolact_ascend import sources
from yolact_ascend.analysis import doctor
from yolact_ascend.analysis.doctor import (
    FAIL,
    OK,
    WARN,
    check_disk,
    examine,
    render_text,
)
from yolact_ascend.cli import main
from yolact_ascend.cli.doctor import expand_stage
from yolact_ascend.models.classes import with_numbers
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, ModelConfig
from yolact_ascend.pipeline.demo import with_demo
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.slots import SHARED_MEMORY
from yolact_ascend.targets.ascend.errors import COMPILER_MODULES
from yolact_ascend.targets.ascend.target import AscendTarget

NAMES = [
    *("libraries", "environment", "card", "atc", "ais_bench"),
    *("weights", "data set", "work folder", "scratch", "disk"),
]


class Machine:
    """A pretended card with everything that a run needs; tests break it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.programs = folder / "cann" / "bin"
        self.packages = folder / "cann" / "python"
        self.words = [f"weights={folder / 'a.pth'}", f"coco={folder / 'coco'}", f"out={folder / 'out'}"]

    def write_weights(self, config: ModelConfig, **more: float) -> None:
        """Write a file of the right shapes, small: each tensor has one value, repeated; `more` are of three values."""
        import torch

        from yolact_ascend.models.weights import expected_shapes

        state = {key: torch.zeros(()).expand(shape) for key, shape in expected_shapes(config).items()}
        surplus = {key: torch.full((3,), value) for key, value in more.items()}
        torch.save({**state, **surplus}, self.folder / "a.pth")

    def damage_weights(self) -> None:
        path = self.folder / "a.pth"
        path.write_bytes(path.read_bytes().replace(b"proto_net.10.bias", b"proto_net.11.bias"))

    def add_python_config(self) -> None:
        """Let python3-config name a folder with the shared library that atc opens."""
        library = self.folder / "prefix" / "lib" / "libpython{}.{}.so.1.0".format(*sys.version_info)
        library.parent.mkdir(parents=True)
        library.touch()
        program = self.programs / "python3-config"
        program.write_text(f"#!/bin/sh\necho {self.folder}/prefix\n")
        program.chmod(0o700)

    def install_cann(self, version: str) -> None:
        """Write the toolkit's record of its release."""
        record = self.folder / "cann" / "x86_64-linux" / "ascend_toolkit_install.info"
        record.parent.mkdir()
        record.write_text(f"package_name=Ascend-cann-toolkit\nversion={version}\n")
        self.monkeypatch.setenv("ASCEND_HOME_PATH", str(self.folder / "cann"))

    def enter_container(self) -> None:
        for name in (".dockerenv", "dev/davinci0"):
            path = self.folder / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def npu_smi(self, *chips: str) -> None:
        rows = [f"| {index}   {chip}   | OK    | 15.8 |\n" for index, chip in enumerate(chips)]
        (self.folder / "npu-smi.txt").write_text("".join(rows) or "dcmi model initialized failed\n")

    def free(self, size_bytes: int, scratch_bytes: int = 10**12) -> None:
        scratch = {SHARED_MEMORY: scratch_bytes, Path(tempfile.gettempdir()): scratch_bytes}
        usage = lambda path: SimpleNamespace(free=scratch.get(Path(path), size_bytes))  # noqa: E731
        self.monkeypatch.setattr(shutil, "disk_usage", usage)

    def add_category(self) -> None:
        path = self.folder / "coco" / "annotations" / "instances_val2017.json"
        data = json.loads(path.read_text())
        data["categories"].append({"id": 91, "name": "hedge"})
        data["annotations"][0]["category_id"] = 91
        path.write_text(json.dumps(data))

    def break_check(self) -> None:
        self.monkeypatch.setattr(doctor, "check_weights", lambda _: 1 / 0)

    def block_work_folder(self) -> None:
        (self.folder / "out").write_text("a file")


@pytest.fixture
def machine(fake_cann, small_coco, monkeypatch) -> Machine:
    machine = Machine(fake_cann, monkeypatch)
    for module in COMPILER_MODULES:
        path = machine.packages / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (machine.packages / "numpy.py").write_text("__version__ = '1.26.4'\n")
    machine.add_python_config()
    machine.write_weights(CONFIGS[DEFAULT_CONFIG])
    machine.free(10**12)
    monkeypatch.chdir(machine.folder)
    return machine


def test_a_machine_with_everything_is_ready(machine):
    checks = examine(parse_words(machine.words))
    assert [(check.name, check.status) for check in checks] == [(name, OK) for name in NAMES]
    text = render_text(checks)
    assert "CANN and its NPU: its tools are on PATH" in text
    assert "310P3 (npu-smi unknown, " in text and "soc_version Ascend310P3" in text
    assert str(machine.programs / "atc") in text and str(machine.packages / "aclruntime.py") in text
    assert "4 images, 3 of them annotated" in text
    assert (
        "a.pth, 0.1 MB, zip format: 352 tensors with 31.2 million values, which fit yolact_edge_resnet50_config; "
        "80 classes, from yolact_edge_resnet50_config, as the weights file names none\n"
    ) in text
    assert text.endswith("10 OK, 0 WARN, 0 FAIL")


@pytest.mark.parametrize(
    ("words", "chosen"),
    [([], "soc_version Ascend310P3.* device 0, a 310P3"), (["npus=1"], "Ascend910B3.* device 1, a 9")],
)
def test_of_cards_that_differ_the_chosen_one_is_named(machine, words, chosen):
    machine.npu_smi("310P3", "910B3")
    card = next(check for check in examine(parse_words([*machine.words, *words])) if check.name == "card")
    assert card.status == OK
    assert re.search(rf"{chosen}.*npus= selects", card.text)


NO_ATC = {
    "environment": (FAIL, "There is no atc on PATH: no set_env.sh in .*What is compiled already runs"),
    "atc": (FAIL, "Install CANN's toolkit .*card.md.*or source its set_env.sh"),
}


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda m: (m.programs / "atc").unlink(), NO_ATC),
        (lambda m: m.npu_smi(), {"card": (FAIL, "dcmi model initialized failed. Is the driver loaded")}),
        (lambda m: m.npu_smi("Ascend910"), {"card": (FAIL, "Pass it as soc=")}),
        (lambda m: m.words.append("npus=0,1"), {"card": (FAIL, "npus=0,1: npu-smi info shows no device 1")}),
        (lambda m: (m.packages / "aclruntime.py").unlink(), {"ais_bench": (FAIL, "name the Python .* ASCEND_PYTHON")}),
        (
            lambda m: m.monkeypatch.setenv("ASCEND_PYTHON", "/no/python"),
            {"ais_bench": (FAIL, "Cannot start /no/pyth.*set ASCEND_PYTHON")},
        ),
        (
            lambda m: (m.packages / "ais_bench" / "__main__.py").write_text("print('  --other-model')"),
            {"ais_bench": (FAIL, "-m ais_bench --help does not list --model, .*known here.* ASCEND_PYTHON")},
        ),
        (
            lambda m: (m.packages / "numpy.py").write_text("__version__ = '2.1.0'"),
            {"atc": (WARN, "is missing numpy<2; .*E40000: python3 -m pip install 'numpy<2'")},
        ),
        (
            lambda m: (m.packages / "sympy.py").write_text("raise ImportError"),
            {"atc": (WARN, "is missing sympy; .*E40000: python3 -m pip install")},
        ),
        (
            lambda m: m.install_cann("8.5.0"),
            {"atc": (WARN, "CANN 8.5.0, .*ascend_ops_install.info.*Ascend-cann-310p-ops .*card.md")},
        ),
        (
            lambda m: m.install_cann("5.1.RC2"),
            {"ais_bench": (WARN, r"This is CANN 5\.1\.RC2, and ais_bench asks for 6\.0\.RC1 .*newer CANN \(docs/card")},
        ),
        (
            lambda m: m.words.append("soc=310P3"),
            {"card": (FAIL, "soc=310P3: expected atc's name.*Pass soc=Ascend310P3")},
        ),
        (
            lambda m: m.words.append("precision=fp32"),
            {"atc": (WARN, "precision=fp32: Ascend310P3 convolves in float16")},
        ),
        (Machine.enter_container, {"card": (WARN, "container was not given davinci_manager.*--device /dev/hisi_hdc")}),
        (lambda m: (m.folder / "a.pth").unlink(), {"weights": (FAIL, "The official weights are at .*weights=")}),
        (
            lambda m: (m.folder / "a.pth").write_bytes(b"<html>"),
            {"weights": (FAIL, r"a\.pth cannot be read as PyTorch weights \(6 bytes\): It is a web page")},
        ),
        (Machine.damage_weights, {"weights": (FAIL, r"a\.pth is damaged: its record a/data\.pkl cannot .*Bad CRC-32")}),
        (
            lambda m: m.write_weights(CONFIGS["yolact_edge_config"]),
            {
                "weights": (
                    FAIL,
                    "does not fit yolact_edge_resnet50_config: 306 extra .* They fit yolact_edge_config, ",
                )
            },
        ),
        (
            lambda m: m.monkeypatch.setitem(sys.modules, "yolact_ascend.models.weights", None),
            {"weights": (WARN, r"a\.pth, 0\.1 MB: 80 classes, .* not read, because PyTorch is missing")},
        ),
        (lambda m: shutil.rmtree(m.folder / "coco"), {"data set": (FAIL, "Pass `coco=DIR`")}),
        (
            lambda m: (m.folder / "coco" / "val2017" / "000000000002.jpg").unlink(),
            {"data set": (FAIL, "1 of 4 images .*Complete the folder")},
        ),
        (
            lambda m: (m.folder / "coco" / "annotations" / "instances_val2017.json").write_text("{"),
            {"data set": (FAIL, "is not JSON")},
        ),
        (Machine.add_category, {"data set": (FAIL, "only in the file: 'hedge'.*Is this the annotation file")}),
        (Machine.block_work_folder, {"work folder": (FAIL, "is not a folder that this user may write to.*out=DIR")}),
        (lambda m: m.words.append("upstream=a"), {}),
        (lambda m: m.words.__setitem__(2, "out=a b"), {"work folder": (FAIL, "ais_bench accepts only .*out=DIR")}),
        (lambda m: m.free(10**6), {"disk": (FAIL, "0.05 GB needed, 0.00 GB free .* Use .*out=DIR")}),
        (lambda m: m.free(10**9), {"disk": (WARN, "0.05 GB needed, 1.00 GB free .*out=DIR")}),
        (
            lambda m: m.free(10**12, 10**6),
            {"scratch": (WARN, r"0\.00 GB free at /dev/shm, .*TMPDIR=DIR; docker run --shm-size=1g")},
        ),
        (
            lambda m: m.monkeypatch.setattr(doctor, "has_locks", lambda _: False),
            {"work folder": (WARN, "its file system has no locks: start only one run in it")},
        ),
        (
            lambda m: m.monkeypatch.setattr(sources, "LIBRARIES", {"no-such-library": "none"}),
            {"libraries": (FAIL, "is missing no-such-library. Run bash scripts/setup.sh")},
        ),
        (Machine.break_check, {"weights": (FAIL, "please report it: ZeroDivisionError")}),
    ],
    ids=[
        *(
            "no atc",
            "no card",
            "A3",
            "no such device",
            "no aclruntime",
            "no such Python",
            "another command line",
            "numpy 2",
            "no sympy",
            "no operators",
            "a CANN before ais_bench",
            "npu-smi's name of the chip",
            "float32",
            "a container",
        ),
        *(
            "no weights",
            "no weights file",
            "damaged weights",
            "another config's weights",
            "no PyTorch",
            "no data set",
            "an image lost",
            "broken annotations",
            "another data set's classes",
        ),
        *("a file in the way", "upstream", "a blank in the path", "disk full", "disk nearly full"),
        *("scratch full", "no locks", "a library missing"),
        "a fault of a check",
    ],
)
def test_each_situation_has_its_line_and_remedy(machine, harm, expected):
    """And no other check suffers."""
    harm(machine)
    checks = examine(parse_words(machine.words))
    assert [check.name for check in checks] == NAMES
    assert {check.name: check.status for check in checks if check.status != OK} == {
        name: status for name, (status, _) in expected.items()
    }
    for name, (_, remedy) in expected.items():
        assert re.search(remedy, next(check.text for check in checks if check.name == name))


@pytest.mark.needs("torch")  # a run exports
def test_the_emulation_is_checked_too(no_cann, small_coco, tmp_path):
    checks = {c.name: c for c in examine(parse_words([f"coco={small_coco}", f"out={tmp_path / 'out'}"]))}
    assert [name for name, check in checks.items() if check.status != OK] == ["weights"]
    assert checks["environment"].text.startswith("CPU emulation: no npu-smi or atc on PATH")
    assert checks["atc"].text.startswith("stand-in, ")


def test_the_weights_line_says_what_a_run_would_say_of_the_file(machine):
    """Own classes that upstream trained get the names of the data set, as in a run, and notes are shown."""
    path = machine.folder / "coco" / "annotations" / "instances_val2017.json"
    data = json.loads(path.read_text())
    data["categories"] = [c for c in data["categories"] if c["id"] in {a["category_id"] for a in data["annotations"]}]
    path.write_text(json.dumps(data))
    surplus = {"fpn.downsample_layers.2.bias": 1.0}
    machine.write_weights(with_numbers(CONFIGS[DEFAULT_CONFIG], 3), **surplus)
    checks = {check.name: check for check in examine(parse_words(machine.words))}
    assert (checks["weights"].status, checks["data set"].status) == (OK, OK)
    assert checks["weights"].text.endswith(
        "; 3 classes, from instances_val2017.json; "
        "1 tensors of older code are not used, as in upstream (fpn_phase_2.downsample_layers.2.bias)"
    )
    facts = checks["weights"].facts
    assert (facts["classes"], facts["tensors"], facts["fits"]) == (3, 353, DEFAULT_CONFIG)


def test_without_any_tool_the_rest_is_still_checked(no_cann, small_coco):
    checks = examine(parse_words(["device=npu", f"coco={small_coco}"]))
    assert [check.name for check in checks] == [name for name in NAMES if name not in ("card", "atc", "ais_bench")]
    assert checks[1].status == FAIL and "source CANN's set_env.sh first, or use device=emulation" in checks[1].text


def test_soc_overrides_a_card_whose_name_does_not_tell_it(machine):
    machine.npu_smi("Ascend910")
    card = examine(parse_words([*machine.words, "soc=Ascend910_9391"]))[2]
    assert (card.status, card.facts["soc_version"]) == (OK, "Ascend910_9391")


def without_card(machine):
    """A build host: atc, and neither a card nor ais_bench (first_contact.md: conversion needs no NPU)."""
    machine.npu_smi()
    (machine.packages / "aclruntime.py").unlink()


def without_atc(machine):
    """A host with NNRT, CANN's runtime alone."""
    (machine.programs / "atc").unlink()


NOTHING = dict.fromkeys(("card", "atc", "ais_bench"), "not needed for these stages")
ONLY_ATC = {"card": "soc_version Ascend310P3, from soc=; no card is needed", "ais_bench": NOTHING["ais_bench"]}
ONLY_DEVICE = {"card": "310P3 (npu-smi unknown, ", "atc": NOTHING["atc"]}


@pytest.mark.parametrize(
    ("harm", "words", "texts", "failed"),
    [
        (without_card, "stage=export", NOTHING, set()),
        (without_card, "stage=postprocess", NOTHING, set()),
        (without_card, "stage=compile soc=Ascend310P3", ONLY_ATC, set()),
        (without_card, "to=compile soc=Ascend310P3", ONLY_ATC, set()),
        (without_card, "stage=compile", {}, {"card"}),
        (without_card, "stage=infer", {}, {"card", "ais_bench"}),
        (without_atc, "stage=infer", ONLY_DEVICE, set()),
        (without_atc, "stage=stream", ONLY_DEVICE, set()),
        (without_atc, "stage=benchmark", ONLY_DEVICE, set()),
        (without_atc, "stage=compile", {}, {"environment", "atc"}),
    ],
)
def test_a_stage_is_asked_for_its_own_tools(machine, harm, words, texts, failed):
    harm(machine)
    request = parse_words(expand_stage(words.split())).devices
    checks = {check.name: check for check in AscendTarget.check(request)}
    assert {name for name, check in checks.items() if check.status == FAIL} == failed
    for name, text in texts.items():
        assert checks[name].text.startswith(text)


@pytest.mark.parametrize(
    ("words", "missing", "status", "text"),
    [
        ([], {"torch", "onnx"}, FAIL, "is missing torch, onnx. Run bash scripts/setup.sh, and"),
        (["stage=export"], {"torch"}, FAIL, "is missing torch. "),
        ([], {"onnxsim"}, OK, "needed for these stages and missing: onnxsim"),
        (["stage=infer"], {"torch", "onnx"}, OK, "not needed for these stages and missing: torch, onnx"),
        (["from=preprocess"], {"torch", "onnx", "onnxruntime"}, FAIL, "is missing onnxruntime. "),
        (["from=preprocess", "cut=heads"], {"torch", "onnx", "onnxruntime"}, OK, "missing: torch, onnx, onnxruntime"),
        (["stage=compile", "target=onnxruntime"], {"torch", "onnx"}, FAIL, "is missing onnx. "),
        (["stage=infer", "target=torch"], {"torch", "onnx"}, FAIL, "is missing torch. "),
        (["stage=infer"], {"numpy"}, FAIL, "is missing numpy. "),
    ],
)
def test_only_libraries_that_the_stages_use_must_be_there(monkeypatch, words, missing, status, text):
    """A card's host without PyTorch (scripts/setup.sh runtime) is ready for what comes after the export."""
    monkeypatch.setattr(
        doctor, "library_versions", lambda: {name: None if name in missing else "1.0" for name in sources.LIBRARIES}
    )
    found = doctor.check_libraries(parse_words(expand_stage(words)))
    assert found.status == status and text in found.text
    assert doctor.check_libraries().status == (OK if missing == {"onnxsim"} else FAIL)


@pytest.mark.parametrize(
    ("stage", "is_named", "expected"),
    [
        ("infer", False, (WARN, "Copy the work folder of the host that exports the model to ")),
        ("compile", True, (WARN, "There is no none.pth, and no ")),
        ("export", False, (FAIL, "There is no weights file ")),
    ],
)
def test_stages_behind_the_export_need_no_weights(tmp_path, monkeypatch, stage, is_named, expected):
    """A card's host, before its work folder is there."""
    monkeypatch.chdir(tmp_path)
    words = [f"stage={stage}", "config=yolact_edge_config", *(["weights=none.pth"] if is_named else [])]
    settings = parse_words(expand_stage(words))
    found = doctor.run_check("weights", lambda: doctor.check_weights(settings))
    assert found.status == expected[0] and expected[1] in found.text


def test_the_demos_weights_are_not_missed_where_nobody_has_named_them(tmp_path, monkeypatch):
    """The host of a pack: it has neither a work folder nor weights."""
    monkeypatch.chdir(tmp_path)
    settings = with_demo(parse_words(expand_stage(["stage=infer"])))
    found = doctor.run_check("weights", lambda: doctor.check_weights(replace(settings, weights=Path("none.pth"))))
    assert settings.is_demo and found.status == WARN
    assert found.text.startswith("There is no results/yolact_edge.onnx, which these stages take.")
    assert "none.pth" not in found.text and found.text.endswith("A packed model needs neither: verify PACK.")


def test_a_stage_is_a_range_of_one(capsys):
    assert expand_stage(["bs=8", "stage=infer"]) == ["bs=8", "from=infer", "to=infer"]
    assert expand_stage(["stage=stream"]) == ["stream=1", "from=stream", "to=stream"]
    assert expand_stage(["mode=perf", "stage=benchmark"]) == ["mode=perf", "from=benchmark", "to=benchmark"]
    for words in (["stage=inference"], ["stage=infer", "to=infer"], ["stage=infer", "stage=export"]):
        assert main.main(["doctor", *words]) == 2
        assert re.search(r"error: stage=\w+(:| is a range) ", capsys.readouterr().err)


def test_perf_mode_needs_no_data_set(machine):
    checks = {check.name: check for check in examine(parse_words(["mode=perf", "coco=nowhere", *machine.words[::2]]))}
    assert (checks["data set"].status, checks["data set"].text) == (OK, "not needed for these stages")
    assert checks["disk"].facts["images"] == 0


def test_a_benchmark_of_images_needs_those_of_one_batch(machine):
    words = ["mode=perf", "input=dataset", "bs=1,2", *machine.words]
    (machine.folder / "coco" / "val2017" / "000000000002.jpg").unlink()  # the third by the annotations' order
    check = next(check for check in examine(parse_words(words)) if check.name == "data set")
    assert (check.status, check.facts["images"]) == (OK, 2)
    words[2] = "bs=3"
    check = next(check for check in examine(parse_words(words)) if check.name == "data set")
    assert check.status == FAIL and "1 of 3 images" in check.text


def test_without_a_data_set_the_disk_is_that_of_val2017(machine):
    disk = check_disk(parse_words(machine.words), None)
    assert disk.facts["images"] == 5000 and "for 5000 images, as the data set could not be read" in disk.text
    assert check_disk(parse_words([*machine.words, "limit=7"]), None).facts["images"] == 7


def test_exit_codes_and_json(machine, capsys):
    assert main.main(["doctor", *machine.words, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["schema_version"], value["is_ready"]) == (1, True)
    assert [check["name"] for check in value["checks"]] == NAMES
    assert all(set(check) == {"name", "status", "text", "facts"} for check in value["checks"])
    facts = {check["name"]: check["facts"] for check in value["checks"]}
    assert facts["card"]["chips"] == ["310P3"]
    assert facts["ais_bench"]["python_version"] == ".".join(map(str, sys.version_info[:3]))
    (machine.folder / "a.pth").unlink()
    assert main.main(["doctor", "--json", *machine.words]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["is_ready"] is False
    assert shown.err == "error: 1 of 10 checks failed: weights.\n"


def test_a_warning_is_no_failure(machine, capsys):
    machine.free(10**9)
    assert main.main(["doctor", *machine.words]) == 0
    assert capsys.readouterr().out.endswith("9 OK, 1 WARN, 0 FAIL\n")


@pytest.mark.parametrize("word", ["bs=0", "--bs=8", "colour=red"])
def test_bad_words_are_bad_words_here_too(word, capsys):
    assert main.main(["doctor", word]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_python_without_the_libraries_gets_a_sentence():
    """As the system's python3 does, before .venv is made."""
    command = [sys.executable, "-S", "-m", "yolact_ascend", "doctor"]
    env = {"PATH": "/usr/bin:/bin"}
    result = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert re.fullmatch(r"error: \w+ is not installed for .*\. Run bash scripts/setup\.sh, .*\n", result.stderr)
