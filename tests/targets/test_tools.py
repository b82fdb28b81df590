"""Which tools a run takes: CANN's or the stand-ins, and what is refused."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from factories import CHECKOUT

from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.process import capture
from yolact_ascend.targets.ascend import tools
from yolact_ascend.targets.ascend.tools import Tools, find_tools, source_set_env


def test_soc_overrides_what_npu_smi_says(fake_cann):
    (fake_cann / "npu-smi.txt").write_text("| 0       Ascend910 | OK    | -    |\n")
    with pytest.raises(ToolError, match="no --soc_version"):
        find_tools("npu")
    assert find_tools("npu", soc="Ascend910_9391").soc_version == "Ascend910_9391"


@pytest.mark.parametrize(("help_text", "has_flag"), [("--device --divide_input", True), ("--device", False)])
def test_what_this_ais_bench_knows_is_asked_when_there_are_several_devices(fake_cann, help_text, has_flag):
    (fake_cann / "npu-smi.txt").write_text("".join(f"| {i}  310P3  | OK  | 15.8  |\n" for i in range(2)))
    main = next(Path(os.environ["PYTHONPATH"]).glob("ais_bench")) / "__main__.py"
    main.write_text("import sys; sys.exit('no help')")
    assert find_tools("npu", npus=(1,)).npus == (1,)  # and nothing was asked
    with pytest.raises(ToolError, match="-m ais_bench --help failed with exit code 1: no help"):
        find_tools("npu", npus=(0, 1))
    main.write_text(f"print({help_text!r})")
    assert find_tools("npu", npus=(0, 1)).has_divide_flag == has_flag


def test_a_device_that_is_not_there_is_said(fake_cann):
    with pytest.raises(UsageError, match=r"npus=1: npu-smi info shows no device 1; it shows 0 \(310P3\)"):
        find_tools("npu", npus=(1,))


@pytest.mark.parametrize("device", ["auto", "npu"])
def test_tools_on_path_are_taken(fake_cann, device):
    tools = find_tools(device)
    assert (tools.kind, tools.soc_version, tools.set_env) == ("npu", "Ascend310P3", None)


def test_emulation_puts_the_stand_ins_before_a_real_cann(fake_cann):
    tools = find_tools("emulation")
    assert tools.kind == "cpu-emulation"
    assert tools.set_env == CHECKOUT / "emulation" / "set_env.sh"
    assert tools.own_env["PATH"] == os.environ["PATH"]


def test_without_cann_auto_says_that_it_emulates(no_cann):
    tools = find_tools("auto")
    assert tools.is_emulated
    assert "no npu-smi or atc on PATH" in tools.reason


def test_without_cann_npu_is_refused(no_cann):
    with pytest.raises(ToolError, match="device=npu, but there is no npu-smi or atc on PATH"):
        find_tools("npu")


def test_an_installed_cann_is_sourced(fake_cann, monkeypatch):
    programs, packages = os.environ["PATH"].split(":")[0], os.environ["PYTHONPATH"]
    set_env = fake_cann / "set_env.sh"
    set_env.write_text(f"export PATH={programs}:$PATH PYTHONPATH={packages}\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(tools, "CANN_SET_ENV", set_env)
    assert find_tools("auto").kind == "npu"


def test_the_stand_ins_are_no_npu(no_cann, monkeypatch):
    for name, value in source_set_env(CHECKOUT / "emulation" / "set_env.sh", os.environ).items():
        monkeypatch.setenv(name, value)
    assert find_tools("auto").is_emulated
    with pytest.raises(ToolError, match="is the stand-in"):
        find_tools("npu")


def test_mixed_tools_are_refused(fake_cann, monkeypatch):
    (fake_cann / "cann" / "bin" / "npu-smi").unlink()
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{CHECKOUT / 'emulation' / 'bin'}")
    with pytest.raises(ToolError, match="PATH mixes"):
        find_tools("auto")


def test_half_an_installation_is_no_reason_to_fall_back(fake_cann):
    (fake_cann / "cann" / "bin" / "atc").unlink()
    with pytest.raises(ToolError, match="There is no atc on PATH"):
        find_tools("auto")


def test_a_card_that_does_not_show_is_no_reason_to_fall_back(fake_cann):
    (fake_cann / "npu-smi.txt").write_text("dcmi model initialized failed, because the device is used. ret is -8020\n")
    with pytest.raises(ToolError, match="shows no card .*dcmi model initialized failed"):
        find_tools("auto")


def test_a_python_without_ais_bench_is_named(fake_cann, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(ToolError, match="python3 cannot import ais_bench and aclruntime: .*ASCEND_PYTHON"):
        find_tools("auto")


def test_the_evaluator_of_the_same_name_is_told_apart(fake_cann):
    """AISBench/benchmark also owns a package ais_bench, without the inference tool in it."""
    (fake_cann / "cann" / "python" / "ais_bench" / "infer" / "interface.py").unlink()
    with pytest.raises(
        ToolError,
        match="another package called ais_bench.*AISBench.*No module named 'ais_bench.infer.interface'.*ASCEND_PYTHON",
    ):
        find_tools("auto")


def test_ascend_python_names_the_python(fake_cann, monkeypatch):
    monkeypatch.setenv("ASCEND_PYTHON", sys.executable)
    assert find_tools("auto").python == sys.executable
    monkeypatch.setenv("ASCEND_PYTHON", "/no/python")
    with pytest.raises(ToolError, match="Cannot start /no/python"):
        find_tools("auto")


@pytest.fixture
def users_folder(tmp_path, monkeypatch):
    """The current folder."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_file_that_ais_bench_would_import_from_the_current_folder_is_named(fake_cann, users_folder):
    """As documented it is started by `python3 -m`, which searches the current folder before Python's own modules."""
    interface = fake_cann / "cann" / "python" / "ais_bench" / "infer" / "interface.py"
    interface.write_text("import random, helper, json.decoder\n")
    (users_folder / "helper.py").touch()  # there is no other
    (users_folder / "queue.py").touch()  # nothing imports it
    assert find_tools("auto").kind == "npu"
    (users_folder / "random.py").touch()
    with pytest.raises(ToolError, match=f"python3 -m ais_bench would import {users_folder}/random.py instead of"):
        find_tools("auto")
    (users_folder / "random.py").write_text("from random import choice\n")
    with pytest.raises(
        ToolError, match=rf"because Python searches the current folder \({users_folder}\) first: Import"
    ):
        find_tools("auto")
    (users_folder / "random.py").unlink()
    (users_folder / "json").mkdir()
    (users_folder / "json" / "__init__.py").touch()
    (users_folder / "json" / "decoder.py").touch()
    with pytest.raises(ToolError, match="searches the current folder"):
        find_tools("auto")
    (users_folder / "json" / "__init__.py").write_text("raise SystemExit\n")
    with pytest.raises(ToolError, match="python3 cannot import ais_bench and aclruntime: no message"):
        find_tools("auto")


def test_an_ais_bench_in_the_current_folder_is_the_one_that_would_run(fake_cann, users_folder, monkeypatch):
    shutil.copytree(fake_cann / "cann" / "python", users_folder, dirs_exist_ok=True)
    assert find_tools("auto").kind == "npu"
    monkeypatch.delenv("PYTHONPATH")
    assert find_tools("auto").kind == "npu"


def test_the_stand_ins_care_for_no_file_in_the_current_folder(no_cann, users_folder, monkeypatch):
    for name in ("random.py", "json.py", "aclruntime.py", "numpy.py", "argparse.py"):
        (users_folder / name).write_text("raise RuntimeError('a module of the user')\n")
    monkeypatch.setenv("PYTHONPATH", str(users_folder))
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    found = find_tools("auto")
    assert found.is_emulated
    for command in (["npu-smi", "info"], [found.python, "-m", "ais_bench", "--help"], ["atc", "--help"]):
        assert capture(command, found.env).returncode == 0


def test_the_stand_ins_of_another_checkout_are_stand_ins_and_not_taken(no_cann, tmp_path, monkeypatch):
    """A shell that sourced its set_env.sh: they are no card, and what runs and can be pasted is ours."""
    other = shutil.copytree(CHECKOUT / "emulation", tmp_path / "B" / "emulation")
    for name, value in source_set_env(other / "set_env.sh", os.environ).items():
        monkeypatch.setenv(name, value)
    found = find_tools("auto")
    assert (found.kind, found.set_env) == ("cpu-emulation", CHECKOUT / "emulation" / "set_env.sh")
    assert shutil.which("atc", path=found.env["PATH"]) == str(CHECKOUT / "emulation" / "bin" / "atc")
    assert str(other) not in found.env["PYTHONPATH"].split(os.pathsep)[0]
    with pytest.raises(ToolError, match="is the stand-in"):
        find_tools("npu")


def test_installed_stand_ins_are_stand_ins_and_not_taken(no_cann, tmp_path, monkeypatch):
    """`pip install ./emulation` in the active environment; the text is what pip 23.2 writes for an entry point."""
    for name, function in (("atc", "atc"), ("npu-smi", "npu_smi")):
        (tmp_path / name).write_text(
            f"#!{sys.executable}\n# -*- coding: utf-8 -*-\nimport re\nimport sys\n"
            f"from ascend_emulation.installed import {function}\n"
            f"if __name__ == '__main__':\n    sys.exit({function}())\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = find_tools("auto")
    assert (found.kind, found.set_env) == ("cpu-emulation", CHECKOUT / "emulation" / "set_env.sh")
    with pytest.raises(ToolError, match="is the stand-in. .* in which ascend-emulation is installed"):
        find_tools("npu")


def test_a_runtime_of_another_installation_is_refused(fake_cann, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT / "emulation"))
    with pytest.raises(ToolError, match="does not belong to the same installation as atc"):
        find_tools("auto")


def test_a_driver_without_the_toolkit_on_path_sources_its_script(fake_cann, monkeypatch):
    """The driver puts npu-smi on PATH for everybody; atc comes with CANN's script."""
    programs, packages = os.environ["PATH"].split(":")[0], os.environ["PYTHONPATH"]
    toolkit = fake_cann / "toolkit"
    toolkit.mkdir()
    shutil.move(f"{programs}/atc", toolkit)
    with pytest.raises(ToolError, match="There is no atc on PATH"):
        find_tools("auto")
    set_env = fake_cann / "set_env.sh"
    set_env.write_text(f"export PATH={toolkit}:$PATH PYTHONPATH={packages}\n[ -f /no/such/file ]\n")
    monkeypatch.setattr(tools, "CANN_SET_ENV", set_env)
    found = find_tools("auto")
    assert (found.kind, found.set_env) == ("npu", set_env)


def test_the_emulation_computes_in_our_python(no_cann, monkeypatch):
    monkeypatch.setenv("ASCEND_PYTHON", "/no/python")
    tools = find_tools("emulation")
    assert tools.python == "python3"
    assert shutil.which("python3", path=tools.env["PATH"]) == str(Path(sys.executable).parent / "python3")


def test_identity_tells_emulation_cards_and_versions_apart(no_cann, monkeypatch, tmp_path):
    emulated = find_tools("emulation").identity()
    assert emulated == find_tools("emulation").identity()
    monkeypatch.setenv("EMULATED_NPUS", "2")
    assert find_tools("emulation").identity() == emulated  # how many cards there are changes no model
    monkeypatch.setenv("EMULATED_CANN", "6.0")
    assert find_tools("emulation").identity() != emulated
    assert find_tools("emulation").cann == "none, CPU emulation of CANN 6.0"
    monkeypatch.delenv("EMULATED_CANN")
    changed = tmp_path / "emulation"
    shutil.copytree(CHECKOUT / "emulation", changed)
    with (changed / "aclruntime" / "_session.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr(tools, "EMULATION", changed)
    assert find_tools("emulation").identity() != emulated
    real = Tools("npu", "", {}, {}, "python3", None, "310P3", "Ascend310P3", "23.0.0")
    others = [
        replace(real, soc_version="Ascend310P1"),
        replace(real, npu_smi="24.1"),
        replace(real, env={"ASCEND_TOOLKIT_HOME": str(tmp_path)}),
    ]
    (tmp_path / "version.cfg").write_text("version=8.0.RC2\n")
    assert all(other != real.identity() for other in [emulated, *(other.identity() for other in others)])


def test_a_set_env_that_ends_the_shell_is_named(tmp_path):
    (tmp_path / "set_env.sh").write_text("echo broken >&2; exit 3\n")
    with pytest.raises(ToolError, match="exit code 3: broken"):
        source_set_env(tmp_path / "set_env.sh", os.environ)
    with pytest.raises(ToolError, match="There is no .*none"):
        source_set_env(tmp_path / "none", os.environ)


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("version.cfg", "runtime_running_version=[6.3.0:CANN-6.3]\n", "6.3.0:CANN-6.3"),
        ("x86_64-linux/ascend_toolkit_install.info", "package_name=Ascend-cann-toolkit\nversion=8.0.RC2\n", "8.0.RC2"),
        ("other", "", "unknown"),
    ],
)
def test_cann_version_is_read_from_the_toolkit(tmp_path, name, text, version):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    tools = Tools("npu", "", {"ASCEND_TOOLKIT_HOME": str(tmp_path)}, {}, "python3", None, "310P3", "Ascend310P3", "")
    assert tools.cann_version() == version
