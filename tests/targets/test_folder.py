"""The paths inside a work folder, and whether all outputs are in one."""

import pytest

from yolact_ascend.errors import ArtifactError
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG
from yolact_ascend.models.families import cut_outputs
from yolact_ascend.targets.folder import require_outputs

OUTPUTS = cut_outputs(CONFIGS[DEFAULT_CONFIG], "fpn")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: None, None),
        (lambda folder: (folder / "1_3.bin").unlink(), "1_3.bin is missing"),
        (lambda folder: (folder / "0_5.bin").write_bytes(b"short"), "0_5.bin holds 5 bytes, expected 2437632"),
    ],
    ids=["all there", "one missing", "one short"],
)
def test_require_outputs_looks_at_each(tmp_path, change, message):
    for index in range(2):
        for k, spec in enumerate(OUTPUTS):
            with (tmp_path / f"{index}_{k}.bin").open("wb") as file:
                file.truncate(spec.size_bytes)
    change(tmp_path)
    if message is None:
        require_outputs(tmp_path, 2, OUTPUTS)
    else:
        with pytest.raises(ArtifactError, match=message):
            require_outputs(tmp_path, 2, OUTPUTS)
