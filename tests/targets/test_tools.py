"""Which tools a run takes: CANN's or the stand-ins, and what is refused."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from factories import CHECKOUT

from yolact_ascend import environment
from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.process import capture
from yolact_ascend.targets.ascend import tools
from yolact_ascend.targets.ascend.ais_bench import AisBenchFlags
from yolact_ascend.targets.ascend.tools import Tools, find_shell, find_tools, source_set_env
from yolact_ascend.targets.target import COMPILE, RUN


def test_soc_overrides_what_npu_smi_says(fake_cann):
    (fake_cann / "npu-smi.txt").write_text("| 0       Ascend910 | OK    | -    |\n")
    with pytest.raises(ToolError, match="no --soc_version"):
        find_tools("npu")
    assert find_tools("npu", soc="Ascend910_9391").soc_version == "Ascend910_9391"


def test_ais_bench_is_asked_for_its_flags_once_and_only_when_they_are_needed(fake_cann):
    main = next(Path(os.environ["PYTHONPATH"]).glob("ais_bench")) / "__main__.py"
    main.write_text("import sys; sys.exit('no help')")
    found = find_tools("npu")  # and nothing was asked
    with pytest.raises(ToolError, match="-m ais_bench --help failed with exit code 1: no help. Fix that, or name"):
        assert found.ais_bench_flags
    # Typer shortens names to the terminal's width (`--output-dirna…`), so a wide one is asked for.
    flags = ["model", "input", "output", "device", "loop", "batchsize"]
    main.write_text(
        f"import os\nfor flag in {flags!r}: print('  --' + flag)\n"
        "print('│  --output-dirname' if int(os.environ['COLUMNS']) > 120 else '│  --output-dirna…')\n"
    )
    assert found.ais_bench_flags == AisBenchFlags("--output-dirname", ())
    main.unlink()
    assert found.ais_bench_flags.output_dirname == "--output-dirname"


def test_the_flags_of_the_stand_in_are_known(no_cann):
    assert find_tools("emulation").known_flags == AisBenchFlags()


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


@pytest.mark.parametrize("sign", ["dev/davinci0", "dev/davinci_manager", "usr/local/Ascend/driver/version.info"])
def test_a_host_with_a_card_is_not_emulated_unasked(no_cann, tmp_path, sign):
    """Driver and device files show a card (first_contact.md, Where CANN is); only the user chooses the emulation."""
    path = tmp_path / "root" / sign
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(
        ToolError, match=r"shows that this host has a card, but .*no npu-smi or atc.*docs/card\.md.*device=emulation"
    ):
        find_tools("auto")
    emulated = CHECKOUT / "emulation" / "set_env.sh"
    assert find_shell("auto", frozenset()).set_env == emulated  # an export, say
    assert find_shell("emulation").set_env == emulated


def test_without_cann_npu_is_refused(no_cann):
    with pytest.raises(ToolError, match="device=npu, but there is no npu-smi or atc on PATH"):
        find_tools("npu")


def test_an_installed_cann_is_sourced(fake_cann, monkeypatch):
    programs, packages = os.environ["PATH"].split(":")[0], os.environ["PYTHONPATH"]
    set_env = fake_cann / "home" / "Ascend" / "cann" / "set_env.sh"
    set_env.parent.mkdir(parents=True)
    # As CANN's own it reads a variable that may not be set.
    set_env.write_text(f"export PATH={programs}:$PATH PYTHONPATH={packages}${{NOT_SET}}\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setenv("SHELLOPTS", "braceexpand:nounset")  # a user's shell may export set -u
    found = find_tools("auto")
    assert (found.kind, found.set_env) == ("npu", set_env)
    assert found.reason == f"{set_env} is there"


def test_a_set_env_that_ends_the_shell_is_told(fake_cann, monkeypatch):
    set_env = fake_cann / "home" / "Ascend" / "cann" / "set_env.sh"
    set_env.parent.mkdir(parents=True)
    set_env.write_text("exit 3\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    with pytest.raises(ToolError, match="ended the shell with exit code 3: no message. .*install CANN again .*card.md"):
        find_tools("auto")


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


COMPILING, RUNNING = frozenset((COMPILE,)), frozenset((RUN,))


def test_compiling_for_a_soc_needs_no_card_and_no_ais_bench(fake_cann, monkeypatch):
    """A build host has atc, no npu-smi and no card (first_contact.md: GE's documents)."""
    (fake_cann / "cann" / "bin" / "npu-smi").unlink()
    monkeypatch.delenv("PYTHONPATH")
    found = find_tools("auto", "Ascend310P3", work=COMPILING)
    assert (found.kind, found.soc_version, found.chip) == ("npu", "Ascend310P3", "unknown")
    with pytest.raises(ToolError, match="There is no npu-smi on PATH, which shows what chip .* soc=.*card.md"):
        find_tools("auto", work=COMPILING)
    with pytest.raises(ToolError, match="cannot import ais_bench"):
        find_tools("auto", "Ascend310P3")


def test_a_card_has_the_records_of_a_model_that_was_compiled_elsewhere(fake_cann):
    """The driver's version, which npu-smi prints, is part of the outputs' records only."""
    (fake_cann / "npu-smi.txt").write_text("| npu-smi 23.0.0  Version: 23.0.0 |\n| 0  310P3  | OK  | 15.8 |\n")
    built, card = find_tools("auto", "Ascend310P3", work=COMPILING), find_tools("auto")
    assert built.identity(COMPILE) == card.identity(COMPILE)
    assert built.identity() != card.identity()


def test_running_a_model_needs_no_atc_and_no_soc_version(fake_cann):
    """NNRT, CANN's runtime, has no atc; what a chip is called for atc does not matter to a compiled model."""
    (fake_cann / "cann" / "bin" / "atc").unlink()
    (fake_cann / "npu-smi.txt").write_text("| 0       Ascend910 | OK    | -    |\n")
    found = find_tools("auto", work=RUNNING)
    assert (found.kind, found.chip, found.soc_version) == ("npu", "Ascend910", "unknown")
    with pytest.raises(ToolError, match="There is no atc on PATH"):
        find_tools("auto")


def test_a_container_with_a_device_and_no_npu_smi_runs_models(fake_cann):
    """Many containers get /dev/davinci<N> and not the driver's programs."""
    (fake_cann / "cann" / "bin" / "npu-smi").unlink()
    with pytest.raises(ToolError, match="no npu-smi on PATH and no /dev/davinci0: .*docs/card.md"):
        find_tools("auto", work=RUNNING)
    device = fake_cann / "root" / "dev" / "davinci3"
    device.parent.mkdir(parents=True)
    device.touch()
    assert find_tools("auto", work=RUNNING).remark == "There is no npu-smi on PATH: the devices were not checked."


def test_the_libraries_of_the_driver_are_added(fake_cann, monkeypatch):
    """As CANN's images do beside set_env.sh (Ascend/cann-container-image); a build host gets devlib (hicann/ge)."""
    home = fake_cann / "cann"
    (home / "x86_64-linux" / "devlib").mkdir(parents=True)
    monkeypatch.setenv("ASCEND_HOME_PATH", str(home))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    assert find_tools("auto").env["LD_LIBRARY_PATH"] == f"/mine:{home}/x86_64-linux/devlib"
    library = fake_cann / "root" / "usr" / "local" / "Ascend" / "driver" / "lib64"
    (library / "driver").mkdir(parents=True)
    found = find_tools("auto")
    assert found.env["LD_LIBRARY_PATH"] == f"/mine:{library}:{library}/driver"
    assert found.libraries == (str(library), f"{library}/driver")
    assert "LD_LIBRARY_PATH" not in found.own_env or found.own_env["LD_LIBRARY_PATH"] == "/mine"


def test_what_visible_devices_hides_is_said(fake_cann, monkeypatch):
    (fake_cann / "npu-smi.txt").write_text("".join(f"| {i}  310P3  | OK  | 15.8  |\n" for i in range(2)))
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1")
    assert find_tools("auto").remark == "ASCEND_RT_VISIBLE_DEVICES=1: device 0 is npu-smi's 1."
    with pytest.raises(UsageError, match=r"npus=1: CANN shows no device 1; it shows 0 \(310P3\)\. ASCEND_RT_VISIBLE"):
        find_tools("auto", npus=(1,))
    assert find_tools("emulation").remark == ""  # the stand-ins number their cards without it


def test_the_first_910b_is_told_from_the_second(fake_cann):
    """npu-smi prints 910B for the 32 GB cards of the first generation, whose soc_version is Ascend910B."""
    (fake_cann / "npu-smi.txt").write_text("| 0       910B | OK    | 70.1    |\n")
    found = find_tools("auto")
    assert found.soc_version == "Ascend910B"
    assert "first generation" in found.remark and "Ascend910B1 to Ascend910B4" in found.remark


def test_a_soc_that_is_not_the_cards_is_said(fake_cann):
    """A model for one chip does not load on another ("supported socVersion=…, but the model socVersion=…")."""
    assert find_tools("auto", "Ascend310P3").remark == ""
    said = "soc=Ascend310B4, but npu-smi shows Ascend310P3, on which such a model may not load."
    assert find_tools("auto", "Ascend310B4").remark == said
    (fake_cann / "npu-smi.txt").write_text("| 0       310P | OK    | 15.8 |\n")
    assert find_tools("auto", "Ascend310P3").remark == ""  # what a series is cannot be told


@pytest.mark.parametrize(("version", "is_told"), [("7.0.0", False), ("8.0.0", True)])
def test_a_model_that_will_not_load_on_a_virtual_npu_is_said(fake_cann, monkeypatch, version, is_told):
    """HAMi#1846: models of CANN 8 do not load on a virtual 310P; also where it is compiled without the card."""
    (fake_cann / "npu-smi.txt").write_text("| 0       310Pvir02 | OK    | 15.8 |\n")
    record = fake_cann / "cann" / "x86_64-linux" / "ascend_toolkit_install.info"
    record.parent.mkdir()
    record.write_text(f"version={version}\n")
    monkeypatch.setenv("ASCEND_HOME_PATH", str(fake_cann / "cann"))
    for work in (COMPILING, COMPILING | RUNNING):
        remark = find_tools("auto", "Ascend310P3Vir02", work=work).remark
        assert ("that CANN 8.0.0 compiles do not load" in remark) == is_told
    assert find_tools("auto", work=RUNNING).remark == ""


def test_an_atc_that_set_env_does_not_bring_is_not_asked_to_be_sourced(fake_cann, monkeypatch):
    (fake_cann / "cann" / "bin" / "atc").unlink()
    set_env = fake_cann / "home" / "Ascend" / "nnrt" / "set_env.sh"
    set_env.parent.mkdir(parents=True)
    set_env.touch()
    with pytest.raises(ToolError, match=f"no atc on PATH: {set_env} was sourced, .*Install CANN's toolkit.*card.md"):
        find_tools("auto")


def test_the_emulated_card_follows_soc(no_cann):
    found = find_tools("emulation", "Ascend310B4")
    assert (found.chip, found.soc_version) == ("310B4", "Ascend310B4")
    assert found.played_chip == "Ascend310B4"
    assert find_tools("emulation").played_chip is None
    assert find_tools("emulation", "Ascend910_9392").chip == "Ascend910"
    with pytest.raises(ToolError, match="EMULATED_SOC=Ascend999 is no chip that the stand-ins imitate.*another soc="):
        find_tools("emulation", "Ascend999")
    with pytest.raises(ToolError, match="EMULATED_SOC=Ascend999"):
        find_tools("emulation", "Ascend999", work=COMPILING)  # before the export, not in atc
    with pytest.raises(UsageError, match="soc=Ascend310B: a series.*Ascend310B4"):
        find_tools("emulation", "Ascend310B")


def test_an_emulated_a3_is_asked_for_its_board(no_cann, monkeypatch):
    monkeypatch.setenv("EMULATED_SOC", "Ascend910_9392")
    assert find_tools("emulation").soc_version == "Ascend910_9392"


def test_half_an_installation_is_no_reason_to_fall_back(fake_cann):
    (fake_cann / "cann" / "bin" / "atc").unlink()
    with pytest.raises(ToolError, match="There is no atc on PATH"):
        find_tools("auto")


def test_a_card_that_does_not_show_is_no_reason_to_fall_back(fake_cann):
    (fake_cann / "npu-smi.txt").write_text("dcmi model initialized failed, because the device is used. ret is -8020\n")
    with pytest.raises(ToolError, match="shows no card .*dcmi model initialized failed"):
        find_tools("auto")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("libascendcl.so: cannot open shared object file: No such file or directory", "set_env.sh was not sourced"),
        ("libascend_hal.so: cannot open shared object file: No such file or directory", "LD_LIBRARY_PATH"),
        ("/x/aclruntime.so: undefined symbol: aclmdlSetConfigOpt", "built for another release of CANN"),
    ],
)
def test_an_aclruntime_that_cannot_be_imported_gets_its_own_remedy(fake_cann, error, remedy):
    """Public reports, by cause; tests/targets/test_errors.py has the others."""
    (fake_cann / "cann" / "python" / "aclruntime.py").write_text(f"raise ImportError({error!r})")
    with pytest.raises(ToolError, match=f"cannot import ais_bench and aclruntime: .*{remedy}") as caught:
        find_tools("npu")
    assert "Install the ais_bench inference tool" not in str(caught.value)


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
    monkeypatch.setattr(environment, "has_own_packages", lambda: True)  # as in .venv, or where it is installed
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
    with pytest.raises(ToolError, match="device=npu, but there is no npu-smi or atc on PATH, and no CANN was found"):
        find_tools("npu")
    davinci = tmp_path / "root" / "dev" / "davinci0"
    davinci.parent.mkdir(parents=True)
    davinci.touch()
    with pytest.raises(ToolError, match=r"dev/davinci0 shows that this host has a card, but there is no npu-smi"):
        find_tools("auto")


def test_a_runtime_of_another_installation_is_refused(fake_cann, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT / "emulation"))
    with pytest.raises(ToolError, match="does not belong to the same installation as atc"):
        find_tools("auto")


def test_a_driver_without_the_toolkit_on_path_sources_its_script(fake_cann, monkeypatch):
    """The driver puts npu-smi on PATH for everybody; atc comes with CANN's script."""
    programs, packages = os.environ["PATH"].split(":")[0], os.environ["PYTHONPATH"]
    toolkit = fake_cann / "root" / "usr" / "local" / "Ascend" / "ascend-toolkit"
    toolkit.mkdir(parents=True)
    shutil.move(f"{programs}/atc", toolkit)
    with pytest.raises(ToolError, match="There is no atc on PATH"):
        find_tools("auto")
    set_env = toolkit / "set_env.sh"
    set_env.write_text(f"export PATH={toolkit}:$PATH PYTHONPATH={packages}\n[ -f /no/such/file ]\n")
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
