"""Which chips npu-smi shows, in every layout: drivers and chips differ in columns, captions and numbers."""

import re

import pytest

from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.targets.ascend import cards, installation
from yolact_ascend.targets.ascend.cards import (
    Chip,
    choose_chips,
    find_card,
    parse_npu_smi,
    read_chips,
    require_chip,
    soc_version_of,
    visible_chips,
)
from yolact_ascend.targets.target import ALL_WORK

# Layouts as drivers 22 to 26 print them; the figures in them are made up.
TWO_310P3 = """\
+-------------------+-----------------+------------------------------------------------------+
| NPU     Name      | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device    | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===================+=================+======================================================+
| 0       310P3     | OK              | 15.8         42                0    / 0              |
| 0       0         | 0000:82:00.0    | 0            1074 / 21534                            |
+===================+=================+======================================================+
| 1       310P3     | OK              | 15.4         43                0    / 0              |
| 0       1         | 0000:89:00.0    | 0            1070 / 21534                            |
+===================+=================+======================================================+
"""  # the guide's README
# Here a row of a process looks like the second row of a chip: its 0 is the number of a chip, not of a device.
BUSY_TWO_310P3 = f"""\
{TWO_310P3}\
| NPU     Chip      | Process id      | Process name             | Process memory(MB)        |
+===================+=================+======================================================+
| 0       0         | 4711            | python3                  | 1024                      |
+===================+=================+======================================================+
| 1       0         | 4712            | python3                  | 1024                      |
+===================+=================+======================================================+
"""
ONE_310P3 = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 23.0.0                                   Version: 23.0.0                                       |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 0       310P3                 | OK              | NA           48                0     / 0             |
| 0       0                     | 0000:01:00.0    | 0            1800 / 21527                            |
+===============================+=================+======================================================+
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Chip                  | Process id      | Process name             | Process memory(MB)        |
+===============================+=================+======================================================+
| No running processes found in NPU 0                                                                    |
+===============================+=================+======================================================+
"""
BUSY_310P3 = ONE_310P3.replace(
    "| No running processes found in NPU 0                                                                    |",
    "| 0       0                     | 310310          | python3                  | 1024                      |",
)
# One card a slot: the numbers of the cards are those of the slots, the devices are counted.
SPREAD_310P3 = """\
| npu-smi 25.2.0                                   Version: 25.2.0                                       |
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 4       310P3                 | OK              | NA           40                0     / 0             |
| 0       0                     | 0000:81:00.0    | 0            1800 / 21527                            |
+===============================+=================+======================================================+
| 32      310P3                 | Warning         | NA           41                0     / 0             |
| 0       1                     | 0000:85:00.0    | 0            1800 / 21527                            |
+===============================+=================+======================================================+
"""
# The device numbers are the driver's: where it has lost one, they have a gap.
GAP_310P3 = SPREAD_310P3.replace("| 0       1         ", "| 0       2         ")
# Where the driver prints no number of a device, chips are counted.
NO_NUMBER_310P3 = SPREAD_310P3.replace("| 0       1         ", "| 0                 ").replace(
    "0       0     ", "0             "
)
NA_310P3 = SPREAD_310P3.replace("| 0       1         ", "| 0       NA        ")
DUAL_310P3 = """\
| npu-smi 24.1.rc2                                 Version: 24.1.rc2                                     |
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 1       310P3                 | OK              | NA           50                0     / 0             |
| 0       0                     | 0000:01:00.0    | 0            1400 / 44280                            |
+-------------------------------+-----------------+------------------------------------------------------+
| 1       310P3                 | OK              | NA           50                0     / 0             |
| 1       1                     | 0000:01:00.0    | 0            1500 / 43693                            |
+===============================+=================+======================================================+
| 2       310P3                 | OK              | NA           50                0     / 0             |
| 0       2                     | 0000:02:00.0    | 0            1400 / 44280                            |
+-------------------------------+-----------------+------------------------------------------------------+
| 2       310P3                 | OK              | NA           50                0     / 0             |
| 1       3                     | 0000:02:00.0    | 0            1500 / 43693                            |
+===============================+=================+======================================================+
"""
FOUR_CHIPS_310 = """\
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 3       310                   | OK              | 12.8         45                0     / 970           |
| 0       0                     | 0000:05:00.0    | 0            621  / 7759                             |
| 3       310                   | OK              | 12.8         45                0     / 970           |
| 1       1                     | 0000:06:00.0    | 0            621  / 7759                             |
| 3       310                   | OK              | 12.8         45                0     / 970           |
| 2       2                     | 0000:07:00.0    | 0            621  / 7759                             |
| 3       310                   | OK              | 12.8         45                0     / 970           |
| 3       3                     | 0000:08:00.0    | 0            621  / 7759                             |
+===============================+=================+======================================================+
"""
ALARMED_310B4 = """\
| npu-smi 23.0.0                                   Version: 23.0.0                                       |
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 0       310B4                 | Alarm           | 0.0          60                15    / 15            |
| 0       0                     | NA              | 0            3600 / 15609                            |
+===============================+=================+======================================================+
"""
TWO_910B3 = """\
| npu-smi 24.1.rc1                 Version: 24.1.rc1                                                |
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.3        50                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3388 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | OK            | 92.1        50                0    / 0             |
| 0                         | 0000:C2:00.0  | 0           0    / 0          3388 / 65536         |
+===========================+===============+====================================================+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
| 1       0                 | 4711          | python3                  | 2048                    |
"""
# In a container that has the third card of a machine alone.
ONE_CARD_OF_A3 = """\
| npu-smi 24.1.rc3.7               Version: 24.1.rc3.7                                           |
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 2     Ascend910           | OK            | 170.0       36                0    / 0             |
| 0     4                   | 0000:95:00.0  | 0           0    / 0          3400 / 65536         |
+------------------------------------------------------------------------------------------------+
| 2     Ascend910           | OK            | -           36                0    / 0             |
| 1     5                   | 0000:97:00.0  | 0           0    / 0          3200 / 65536         |
+===========================+===============+====================================================+
"""
NO_DRIVER = "dcmi model initialized failed, because the device is used. ret is -8020\n"


@pytest.mark.parametrize(
    ("text", "chips"),
    [
        ("", []),
        ("npu-smi: command not found", []),
        (NO_DRIVER, []),
        (ONE_310P3, [Chip(0, 0, "310P3")]),
        (BUSY_310P3, [Chip(0, 0, "310P3")]),
        (TWO_310P3, [Chip(0, 0, "310P3"), Chip(1, 1, "310P3")]),
        (BUSY_TWO_310P3, [Chip(0, 0, "310P3"), Chip(1, 1, "310P3")]),
        (SPREAD_310P3, [Chip(0, 4, "310P3"), Chip(1, 32, "310P3")]),
        (GAP_310P3, [Chip(0, 4, "310P3"), Chip(2, 32, "310P3")]),
        (NO_NUMBER_310P3, [Chip(0, 4, "310P3"), Chip(1, 32, "310P3")]),
        (NA_310P3, [Chip(0, 4, "310P3"), Chip(1, 32, "310P3")]),
        (
            DUAL_310P3,
            [Chip(0, 1, "310P3", 0), Chip(1, 1, "310P3", 1), Chip(2, 2, "310P3", 0), Chip(3, 2, "310P3", 1)],
        ),
        (FOUR_CHIPS_310, [Chip(number, 3, "310", number) for number in range(4)]),
        (ALARMED_310B4, [Chip(0, 0, "310B4")]),
        (TWO_910B3, [Chip(0, 0, "910B3"), Chip(1, 1, "910B3")]),
        (ONE_CARD_OF_A3, [Chip(0, 2, "Ascend910", 0), Chip(1, 2, "Ascend910", 1)]),
    ],
    ids=[
        "empty",
        "not found",
        "no driver",
        "310P3",
        "310P3 with a process whose number is a chip's name",
        "310P3, two cards",
        "310P3, two cards, processes on both",
        "310P3, cards numbered by slot, one with a warning",
        "310P3, a device number left out",
        "310P3, empty Device cells",
        "310P3, a Device cell of NA",
        "310P3, two cards of two chips",
        "310, one card of four chips",
        "310B4 with an alarm and no Bus-Id",
        "910B3, two cards, processes on one",
        "A3, two chips, in a container",
    ],
)
def test_chips_are_read_from_every_layout(text, chips):
    assert parse_npu_smi(text) == chips


def test_devices_are_chosen_by_their_numbers():
    chips = [Chip(0, 4, "310P3"), Chip(2, 32, "310P3"), Chip(3, 33, "310B4")]
    assert choose_chips(chips, (2, 0)) == [chips[1], chips[0]]
    with pytest.raises(UsageError, match=r"npus=0,1: .*no device 1; it shows 0 \(310P3\), 2 \(310P3\), 3 \(310B4\)\."):
        choose_chips(chips, (0, 1))
    with pytest.raises(UsageError, match="npus=3,0: device 3 is 310B4, 0 is 310P3, but one .om is for one kind"):
        choose_chips(chips, (3, 0))


# npu-smi 25.0 to 25.2 name a chip with a hyphen; beside another kind its row must not get lost.
BESIDE_910B4_1 = TWO_910B3.replace("| 0     910B3               ", "| 0     910B4-1             ")
VIRTUAL_310P = ONE_310P3.replace("| 0       310P3                 ", "| 7       310Pvir01             ")
BARE_310B = ALARMED_310B4.replace("310B4", "310B ")  # Atlas 500 A2, npu-smi 24.1.RC2
NO_HEALTH_310B4 = ALARMED_310B4.replace("Alarm", "NA   ")
NEWEST = ONE_CARD_OF_A3.replace("Ascend910   ", "Ascend950PR ")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (BESIDE_910B4_1, ["910B4-1", "910B3"]),
        (VIRTUAL_310P, ["310Pvir01"]),
        (BARE_310B, ["310B"]),
        (NO_HEALTH_310B4, ["310B4"]),
        (NEWEST, ["Ascend950PR", "Ascend950PR"]),
        (ONE_310P3.replace("| OK  ", "| General Warning  "), ["310P3"]),
        (FOUR_CHIPS_310.replace("| OK  ", "| NA  "), ["310"] * 4),
    ],
    ids=[
        "a hyphen",
        "a vNPU",
        "a series",
        "no health",
        "Ascend950PR",
        "two words of health",
        "310 without health",
    ],
)
def test_every_name_of_a_chip_is_read(text, names):
    """The names are those of first_contact.md, Cards."""
    chips = parse_npu_smi(text)
    assert [chip.name for chip in chips] == names
    assert [chip.device_id for chip in chips] == list(range(len(names)))


@pytest.mark.parametrize(
    "row",
    [
        "| 1     Kirin               | OK            | 92.1        50                0    / 0             |",
        "| 1     910B3               | 93            | 92.1        50                0    / 0             |",
        "| the driver is being updated                                                                    |",
    ],
)
def test_a_row_that_is_not_understood_is_shown(row):
    """Dropping it would make the next chip device 0."""
    lines = [row if line.startswith("| 1     910B3") else line for line in TWO_910B3.splitlines()]
    assert row in lines
    with pytest.raises(ToolError, match=re.escape(row)):
        parse_npu_smi("\n".join(lines))
    with pytest.raises(ToolError, match="not understood"):
        parse_npu_smi(f"{row}\n{TWO_910B3}")


def test_a_third_row_of_a_chip_is_not_understood():
    lines = ONE_310P3.splitlines()
    second = next(index for index, line in enumerate(lines) if line.startswith("| 0       0 "))
    with pytest.raises(ToolError, match="not understood: '. 0       0 "):
        parse_npu_smi("\n".join([*lines[: second + 1], *lines[second:]]))


@pytest.fixture
def npu_smi(tmp_path, monkeypatch):
    """An npu-smi that runs lines of a shell; `root` is the file system that is looked at."""
    monkeypatch.setattr(installation, "ROOT", tmp_path / "root")

    def write(lines):
        program = tmp_path / "npu-smi"
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o700)
        return {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    return write


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        (  # Project-HAMi/HAMi#615
            "npu-smi: error while loading shared libraries: libc_sec.so: cannot open shared object file: No such file",
            r"driver's: add .*/driver/lib64/driver to LD_LIBRARY_PATH",
        ),
        (  # vllm-project/vllm-ascend#2698
            "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005",
            "-8005. Another container or process holds the device.*--privileged",
        ),
        (  # Ascend/cann-container-image#46
            "dcmi model initialized failed, because the device is used. ret is -8020",
            r"-8020\. Another container",
        ),
        ("npu-smi: Permission denied", "add it to the group HwHiAiUser .*log in again"),
        ("dcmi model initialized failed", "Is the driver loaded"),
        ("", "no output. Is the driver loaded"),
        ("+====+\n| no devices |\n+====+", "no devices .\\. Is the driver loaded"),
    ],
    ids=["no libraries", "-8005", "-8020", "no permission", "other words", "no words", "a frame"],
)
def test_known_failures_of_npu_smi_get_a_hint(npu_smi, output, hint):
    env = npu_smi(f"cat <<'END' >&2\n{output}\nEND\nexit 255")
    with pytest.raises(ToolError, match=rf"shows no card \(exit code 255\): (.|\n)*{hint}"):
        read_chips(env)


def test_a_user_outside_the_group_is_told(npu_smi, tmp_path, monkeypatch):
    """Whatever npu-smi says then: the devices' files belong to the group HwHiAiUser."""
    device = tmp_path / "root" / "dev" / "davinci0"
    device.parent.mkdir(parents=True)
    device.touch()
    monkeypatch.setattr(cards.os, "access", lambda path, mode: path != device)
    with pytest.raises(ToolError, match="add it to the group HwHiAiUser"):
        read_chips(npu_smi("exit 1"))


def test_npu_smi_that_hangs_is_ended(npu_smi, monkeypatch):
    """In pods of HAMi it can wait for good."""
    monkeypatch.setattr(cards, "NPU_SMI_LIMIT_S", 0.1)
    with pytest.raises(ToolError, match=r"npu-smi info gave no answer within 0\.1 s .*HAMi"):
        read_chips(npu_smi("exec sleep 60"))


@pytest.mark.parametrize("arguments", ["info", "info -t board -i 2 -c 0"])
def test_each_question_to_npu_smi_has_a_limit(npu_smi, monkeypatch, arguments):
    monkeypatch.setattr(cards, "NPU_SMI_LIMIT_S", 0.1)
    env = npu_smi(f'[ "$*" = "{arguments}" ] && exec sleep 60\ncat <<END\n{ONE_CARD_OF_A3}END')
    with pytest.raises(ToolError, match=f"npu-smi {arguments} gave no answer .*HAMi"):
        find_card(env, True, None, (0,), ALL_WORK)


def test_a_table_with_an_exit_code_is_a_failure(npu_smi):
    with pytest.raises(ToolError, match=r"npu-smi info failed \(exit code 1\): "):
        read_chips(npu_smi(f"cat <<END\n{ONE_310P3}END\nexit 1"))


TWO, GAP = [Chip(0, 0, "310P3"), Chip(1, 1, "310P3")], [Chip(0, 4, "310P3"), Chip(2, 32, "310P3")]


@pytest.mark.parametrize(
    ("word", "chips", "seen", "remark"),
    [
        (None, TWO, [(0, 0), (1, 1)], ""),
        ("0,1", TWO, [(0, 0), (1, 1)], "device 0 is npu-smi's 0, 1 is npu-smi's 1."),
        ("1", TWO, [(0, 1)], "device 0 is npu-smi's 1."),
        ("0,9", TWO, [(0, 0)], "device 0 is npu-smi's 0; CANN ignores 9 (npu-smi info shows 0, 1)."),
        (" 0, 2", GAP, [(0, 4), (1, 32)], "device 0 is npu-smi's 0, 1 is npu-smi's 2."),
    ],
)
def test_visible_devices_are_numbered_from_0(word, chips, seen, remark):
    """vllm-ascend#10227: CANN drops numbers that are not there silently; verl#7507: programs count the visible ones."""
    found, said = visible_chips(chips, {} if word is None else {"ASCEND_RT_VISIBLE_DEVICES": word})
    assert [(chip.device_id, chip.card) for chip in found] == seen
    assert said == (f"ASCEND_RT_VISIBLE_DEVICES={word}: {remark}" if remark else "")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "1,0",
            "ascending numbers only, .*no device at all. Set ASCEND_RT_VISIBLE_DEVICES=0,1; npus=",
        ),
        ("0,0", "ascending numbers only.* Set ASCEND_RT_VISIBLE_DEVICES=0;"),
        ("9", "names no device that is there: npu-smi info shows 0, 1"),
        ("", "expected device numbers.*unset it"),
        ("all", "expected device numbers"),
        ("0;1", "expected device numbers"),
    ],
)
def test_visible_devices_that_hide_all_are_refused(word, message):
    """gpustack#2527, Trinity-RFT#618: "it must be configured in ascending order", and no device is left."""
    with pytest.raises(ToolError, match=f"ASCEND_RT_VISIBLE_DEVICES=.*{message}"):
        visible_chips(TWO, {"ASCEND_RT_VISIBLE_DEVICES": word})


@pytest.mark.parametrize("name", ["310P3", "310B4", "910B3", "910B4-1", "910B", "910A"])
def test_soc_version_is_the_chip_with_its_prefix(name):
    """Ascend910B is a chip, too: the first generation."""
    assert soc_version_of(Chip(0, 0, name), {}) == f"Ascend{name}"


@pytest.mark.parametrize("series", ["310P", "310B"])
def test_a_series_is_refused_with_its_chips(series):
    """atc knows Ascend310B1 to Ascend310B4, and not Ascend310B, which npu-smi 24.1 prints on an Atlas 500 A2."""
    with pytest.raises(UsageError, match=f"npu-smi names the chip '{series}': a series.*soc=: .*Ascend{series}1"):
        soc_version_of(Chip(0, 0, series), {})
    with pytest.raises(UsageError, match=f"soc=Ascend{series}: a series"):
        require_chip(f"Ascend{series}", f"soc=Ascend{series}")
    assert require_chip(f"Ascend{series}1", "") == f"Ascend{series}1"


@pytest.mark.parametrize(
    ("soc", "step"),
    [
        *(("310P3", "Ascend310P3"), ("ascend310b4", "Ascend310B4"), ("910b4-1", "Ascend910B4-1")),
        *(("310P3Vir02", "Ascend310P3Vir02"), ("910_9392", "Ascend910_9392")),
    ],
)
def test_a_chip_by_npu_smis_name_is_no_soc_version(soc, step):
    """atc refuses it, but only after the export."""
    with pytest.raises(UsageError, match=f"^soc={soc}: expected atc's name .* Pass soc={step}\\.$"):
        require_chip(soc, f"soc={soc}")
    assert require_chip(step, "") == step


def test_a_series_without_its_prefix_is_a_series():
    with pytest.raises(UsageError, match="soc=310b: a series.*Ascend310B4"):
        require_chip("310b", "soc=310b")
    assert require_chip("SD3403", "") == "SD3403"  # a chip of another kind, which atc knows


def test_a_virtual_npu_is_explained():
    with pytest.raises(ToolError, match=r"'310Pvir02': a virtual NPU.*Ascend310P3 with .*Vir02.*soc=.*HAMi#1846"):
        soc_version_of(Chip(0, 0, "310Pvir02"), {})


# The rows of guides to Atlas A3; Ascend 950's is asked for by card alone (CANN's guide to atc; its number is made up).
BOARD_A3 = """\
        NPU ID                         : 2
        NPU Name                       : 9392
        Chip ID                        : 1
        Chip Name                      : Ascend910
"""
BOARD_950 = """\
              NPU ID                         : 2
              NPU Name                       : 9589
              Chip Name                      : Ascend950PR
"""


def test_a_series_of_a3_is_asked_for_by_its_board(npu_smi):
    chip = Chip(1, 2, "Ascend910", 1)
    env = npu_smi(f'[ "$*" = "info -t board -i 2 -c 1" ] && cat <<END\n{BOARD_A3}END')
    assert soc_version_of(chip, env) == "Ascend910_9392"
    env = npu_smi(f'[ "$*" = "info -t board -i 2" ] && cat <<END\n{BOARD_950}END')
    assert soc_version_of(Chip(0, 2, "Ascend950PR"), env) == "Ascend950PR_9589"
    with pytest.raises(ToolError, match=r"-t board -i 2 -c 1` states no .*: no such card\. Pass it as soc="):
        soc_version_of(chip, npu_smi("echo no such card; exit 1"))
    with pytest.raises(ToolError, match="states no Chip Name and NPU Name"):
        soc_version_of(chip, npu_smi("echo '  Chip Name  : Ascend910'"))
