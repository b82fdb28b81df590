"""Which cards npu-smi shows, in every layout."""

import pytest

from yolact_ascend.cards import parse_npu_smi, soc_version_of
from yolact_ascend.errors import ToolError

NPU_SMI_310P = """\
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
NPU_SMI_910B = """\
| npu-smi 24.1.rc1                 Version: 24.1.rc1                                                |
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| 0     910B3               | OK            | 93.3        50                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3388 / 65536         |
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
| No running processes found in NPU 0                                                            |
"""


@pytest.mark.parametrize(
    ("text", "chips"),
    [
        ("", []),
        ("npu-smi: command not found", []),
        (NPU_SMI_310P, ["310P3", "310P3"]),
        (NPU_SMI_910B, ["910B3"]),
        ("| 0       310     | OK      | 12.8 |", ["310"]),
        ("| 0       310B4   | Alarm   | 0.0  |\n| 0       0       | NA      | 0    |", ["310B4"]),
        ("| 0       Ascend910 | OK    | -    |", ["Ascend910"]),
    ],
    ids=["empty", "not found", "310P, two cards", "910B", "310", "310B4 with an alarm", "A3"],
)
def test_chips_are_read_from_every_layout(text, chips):
    assert parse_npu_smi(text) == chips


def test_soc_version_is_the_chip_with_its_prefix():
    assert soc_version_of("310P3") == "Ascend310P3"
    with pytest.raises(ToolError, match="'Ascend910', which is no --soc_version .*soc="):
        soc_version_of("Ascend910")
