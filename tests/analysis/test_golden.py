"""The golden values that the repository ships: of the shipped weights, small, and refused where damaged."""

from dataclasses import replace

import pytest

from yolact_ascend.analysis.golden import GOLDEN, read_golden, write_golden
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import sha256_file
from yolact_ascend.pipeline.demo import WEIGHTS


@pytest.fixture(scope="module")
def golden():
    return read_golden()


def test_the_golden_values_are_of_the_shipped_weights_and_stay_small(golden):
    """scripts/golden.py makes them again."""
    assert golden.weights_sha256 == sha256_file(WEIGHTS)
    sizes = [path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()]
    assert sum(sizes) <= 4 * 10**6 and max(sizes) <= 10**6
    assert set(golden.variants) == {"0", "1"} and golden.variants["0"].count == len(golden.images) == 16


def test_damaged_golden_values_are_refused(golden, tmp_path):
    write_golden(replace(golden, folder=tmp_path), {})
    assert read_golden(tmp_path).variants["1"].input_sha256 == golden.variants["1"].input_sha256
    with (tmp_path / "golden.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match=r"damaged: golden.npz is not the file that golden.json names. Restore"):
        read_golden(tmp_path)
    with pytest.raises(ArtifactError, match=r"There is no .*the golden values of `verify`.*git checkout golden"):
        read_golden(tmp_path / "elsewhere")
    (tmp_path / "golden.npz").unlink()
    with pytest.raises(ArtifactError, match=r"damaged: Cannot read .*golden.npz: No such file.*git checkout golden"):
        read_golden(tmp_path)
    (tmp_path / "golden.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"damaged: there is no 'schema'\. Restore"):
        read_golden(tmp_path)
    (tmp_path / "golden.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"is not JSON.*git checkout golden"):
        read_golden(tmp_path)
