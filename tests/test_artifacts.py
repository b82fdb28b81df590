"""Files between stages: whole or absent, and of the size that the contract says."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from yolact_ascend.errors import ArtifactError, WeightsError
from yolact_ascend.files import (
    atomic_path,
    distinct_stems,
    read_json,
    sha256_file,
    write_bytes,
    write_json,
)
from yolact_ascend.models.classes import require_weights
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, DEMO_CONFIG
from yolact_ascend.models.inputs import INPUT, INPUTS, UINT8_INPUT
from yolact_ascend.models.yolact.cuts import cut_outputs
from yolact_ascend.targets.folder import require_outputs
from yolact_ascend.tensors import TensorSpec, read_tensor

SMALL = TensorSpec("output9", (2, 3))
OUTPUTS = cut_outputs(CONFIGS[DEFAULT_CONFIG], "fpn")


def test_the_contract_has_the_guides_sizes():
    """The guide's README: 3 630 000 bytes in and 2 251 904 floats out an image."""
    assert INPUT.size_bytes == 3_630_000
    assert [spec.name for spec in OUTPUTS] == [f"output{i}" for i in range(6)]
    assert sum(spec.size_bytes for spec in OUTPUTS) == 2_251_904 * 4
    assert OUTPUTS[1].shape == (256, 35, 35)
    assert OUTPUTS[5].shape == (138, 138, 32)


def test_outputs_are_as_wide_as_the_configs_layers():
    shapes = [spec.shape for spec in cut_outputs(CONFIGS[DEMO_CONFIG], "fpn")]
    assert shapes == [*((64, size, size) for size in (69, 35, 18, 9, 5)), (138, 138, 24)]


@pytest.mark.parametrize("spec", [INPUT, UINT8_INPUT, *OUTPUTS], ids=lambda spec: f"{spec.name} {spec.dtype}")
def test_a_description_of_a_batch_tells_the_sample(spec):
    assert TensorSpec.of_sample(json.loads(json.dumps(spec.of_batch(8)))) == spec


def test_an_input_of_uint8_takes_a_quarter():
    """Static AIPP, by the ATC guide: uint8, NHWC, N*550*550*3 bytes."""
    assert UINT8_INPUT.size_bytes == 907_500 == INPUT.size_bytes / 4
    assert UINT8_INPUT.of_batch(4) == {"name": "image", "shape": [4, 550, 550, 3], "dtype": "uint8", "layout": "NHWC"}
    assert INPUT.of_batch(1)["shape"] == [1, 3, 550, 550]
    assert INPUTS == {"float32": INPUT, "uint8": UINT8_INPUT}


def test_read_tensor_gives_the_shape(tmp_path):
    np.arange(6, dtype=np.float32).tofile(tmp_path / "0_9.bin")
    assert read_tensor(tmp_path / "0_9.bin", SMALL).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("values", [0, 5, 12], ids=["empty", "too short", "of another batch"])
def test_read_tensor_refuses_another_size(tmp_path, values):
    np.zeros(values, dtype=np.float32).tofile(tmp_path / "0_9.bin")
    with pytest.raises(ArtifactError, match=rf"0_9.bin holds {values * 4} bytes, expected 24 for output9 \[2,3\] f"):
        read_tensor(tmp_path / "0_9.bin", SMALL)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (24, "That is 4 images' worth: were float32 inputs given to a model with AIPP, .* preprocess.py --dtype uint8"),
        (48, "Was the model compiled with another batch size, input, --cut or --output_type"),
        (3, "Was the model compiled with another batch size, input, --cut or --output_type"),
    ],
    ids=["mixed up", "8 images", "float16"],
)
def test_the_size_tells_a_mixture_of_float32_and_uint8(tmp_path, values, said):
    """A model with AIPP at batch 4 and up takes one float32 image for four of uint8; each file then holds four."""
    np.zeros(values, dtype=np.float32).tofile(tmp_path / "0_9.bin")
    with pytest.raises(ArtifactError, match=rf"{said}.* Run the inference again\.$"):
        read_tensor(tmp_path / "0_9.bin", SMALL)


def test_read_tensor_names_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="0_9.bin is missing.*run it again"):
        read_tensor(tmp_path / "0_9.bin", SMALL)


def test_written_files_pass_ais_benchs_permission_rules(tmp_path):
    """Group and others may not write, whatever the umask: ais_bench since 2024 refuses 0664."""
    before = os.umask(0o002)
    try:
        write_bytes(tmp_path / "new" / "0.bin", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "0.bin").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("failure", [RuntimeError("boom"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, failure):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(type(failure)), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_of_the_same_file_goes(tmp_path):
    (tmp_path / ".a.onnx.99.part").write_text("half")
    (tmp_path / ".b.onnx.99.part").write_text("half")
    write_bytes(tmp_path / "a.onnx", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.onnx.99.part", "a.onnx"]


def test_a_file_is_closed_to_others_while_it_is_written(tmp_path):
    before = os.umask(0o002)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            assert temporary.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=["disk full", "quota"])
def test_a_full_disk_is_said_in_a_sentence(tmp_path, code):
    with pytest.raises(ArtifactError, match="No room to write .*0.bin.*Free space"), atomic_path(tmp_path / "0.bin"):
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_place_is_said_in_a_sentence(tmp_path):
    """A limit on file size stops the write in its middle, as a full disk does."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from yolact_ascend.artifacts import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_bytes(Path(sys.argv[1]) / '0.bin', b'x' * 5000)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "ArtifactError: No room to write" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="Cannot create the folder"):
        write_json(tmp_path / "file" / "a.json", {})


def test_json_goes_both_ways(tmp_path):
    write_json(tmp_path / "a.json", {"ids": [1, 2]})
    assert read_json(tmp_path / "a.json", "the ids") == {"ids": [1, 2]}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "There is no .*the ids"), ("{", "the ids. is not JSON"), (b"\xff\xfe", "the ids. is not JSON")],
    ids=["missing", "cut short", "not text"],
)
def test_unreadable_json_is_said_in_a_sentence(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ArtifactError, match=message):
        read_json(tmp_path / "a.json", "the ids")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("yolact_edge_resnet50_config", "The official ResNet-50 weights are at https://"),
        ("yolact_edge_config", "Those of yolact_edge_config are linked at https://github.com/haotian-liu/yolact_edge"),
        ("yolact_edge_demo_config", r"come with the repository, weights/yolact_edge_demo\.pth: .* runs the demo"),
    ],
)
def test_missing_weights_say_where_those_of_the_config_are(tmp_path, name, said):
    with pytest.raises(WeightsError, match=rf"There is no weights file .*none\.pth\. .*{said}"):
        require_weights(tmp_path / "none.pth", name)


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "a").write_text("abc")
    # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(ArtifactError, match="Cannot read"):
        sha256_file(tmp_path / "none")


def test_json_is_written_in_one_line_when_asked(tmp_path):
    write_json(tmp_path / "a.json", [1, 2], indent=None)
    assert (tmp_path / "a.json").read_text() == json.dumps([1, 2]) + "\n"


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        ([], []),
        (["b.jpg", "a.jpg"], ["b", "a"]),
        (["x/a.jpg", "y/a.jpg", "a.png"], ["a", "a_2", "a_3"]),
        (["a.jpg", "a_2.jpg", "a.png"], ["a", "a_2", "a_3"]),
    ],
    ids=["none", "different", "the same", "a number that is taken"],
)
def test_stems_are_distinct_and_in_order(names, stems):
    assert distinct_stems([Path(name) for name in names]) == stems
