"""Which chips npu-smi shows, in every layout: drivers and chips differ in columns, captions and numbers."""

import pytest

from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.targets.ascend.cards import (
    Chip,
    choose_chips,
    parse_npu_smi,
    soc_version_of,
)

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
        (DUAL_310P3, [Chip(0, 1, "310P3"), Chip(1, 1, "310P3"), Chip(2, 2, "310P3"), Chip(3, 2, "310P3")]),
        (FOUR_CHIPS_310, [Chip(0, 3, "310"), Chip(1, 3, "310"), Chip(2, 3, "310"), Chip(3, 3, "310")]),
        (ALARMED_310B4, [Chip(0, 0, "310B4")]),
        (TWO_910B3, [Chip(0, 0, "910B3"), Chip(1, 1, "910B3")]),
        (ONE_CARD_OF_A3, [Chip(0, 2, "Ascend910"), Chip(1, 2, "Ascend910")]),
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


def test_soc_version_is_the_chip_with_its_prefix():
    assert soc_version_of("310P3") == "Ascend310P3"
    with pytest.raises(ToolError, match="'Ascend910', which is no --soc_version .*soc="):
        soc_version_of("Ascend910")
