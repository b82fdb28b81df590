"""Small models, folders of inputs, and processes in the environment that emulation/set_env.sh makes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, TextIO

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from .warm_python import is_program, run_warm

EMULATION = Path(__file__).resolve().parents[2] / "emulation"
WARM_PYTHON = Path(__file__).with_name("warm_python.py")
SAMPLE_SHAPE = (3, 4, 4)  # one image of the small model
ATC_COMMON = ("--framework", "5", "--log", "error", "--soc_version", "Ascend310P3")


@contextlib.contextmanager
def stand_ins_importable() -> Iterator[None]:
    """The stand-in's own modules can be imported into this process."""
    before = list(sys.path)
    sys.path.insert(0, str(EMULATION))
    try:
        yield
    finally:
        sys.path[:] = before


@dataclass(frozen=True)
class Result:
    """A process that has ended."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


def small_model(opset: int = 11, batch: int | str = "-1", domain: str = "") -> onnx.ModelProto:
    """image [B,3,4,4] -> up [B,2,8,8], twice as large by shape arithmetic that needs a known B, and mean [B,2]."""
    rng = np.random.default_rng(0)
    constants = {
        "weight": eighths(rng, (2, 3, 3, 3)),
        "hw_axes": np.array([2, 3]),
        "start": np.array([0]),
        "end": np.array([1]),
        "channels": np.array([2]),
        "twice": np.array([2, 2]),
        "none": np.array([], np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "weight"], ["convolved"], pads=[1, 1, 1, 1], name="Conv_0", domain=domain),
        node("Shape", ["image"], ["shape"]),
        node("Gather", ["shape", "hw_axes"], ["hw"], axis=0),
        node("Mul", ["hw", "twice"], ["hw_twice"]),
        node("Slice", ["shape", "start", "end"], ["batch"]),
        node("Concat", ["batch", "channels", "hw_twice"], ["size"], axis=0),
        node("Resize", ["convolved", "none", "none", "size"], ["up"], mode="nearest"),
        node("GlobalAveragePool", ["convolved"], ["pooled"]),
        node("Flatten", ["pooled"], ["mean"], axis=1, name="Flatten_8"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *SAMPLE_SHAPE])],
        [
            helper.make_tensor_value_info("up", TensorProto.FLOAT, ["a", "b", "c", "d"]),
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["a", "b"]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def two_input_model() -> onnx.ModelProto:
    """left [B,2] + right [B,2] -> sum [B,2], both int32."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["n", 2]) for name in ("left", "right")]
    outputs = [helper.make_tensor_value_info("sum", TensorProto.INT32, ["n", 2])]
    graph = helper.make_graph([helper.make_node("Add", ["left", "right"], ["sum"])], "sum", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def sized_model() -> onnx.ModelProto:
    """image [B,3,4,4] and image_size [B,2], as R-CNN takes them -> scaled [B,3,4,4] float32 and size [B,2] int32."""
    node, tensor = helper.make_node, helper.make_tensor_value_info
    image: list[str | int] = ["n", *SAMPLE_SHAPE]
    graph = helper.make_graph(
        [
            node("ReduceSum", ["image_size"], ["sum"], axes=[1], keepdims=0),
            node("Unsqueeze", ["sum"], ["factor"], axes=[1, 2, 3]),
            node("Mul", ["image", "factor"], ["scaled"]),
            node("Cast", ["image_size"], ["size"], to=TensorProto.INT32),
        ],
        "sized",
        [tensor("image", TensorProto.FLOAT, image), tensor("image_size", TensorProto.FLOAT, ["n", 2])],
        [tensor("scaled", TensorProto.FLOAT, image), tensor("size", TensorProto.INT32, ["n", 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def mixing_model() -> onnx.ModelProto:
    """image [B,3,4,4] -> mixed [B,3,4,4]: every image plus the largest values of the whole batch."""
    shape: list[str | int] = ["n", *SAMPLE_SHAPE]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["image"], ["largest"], axes=[0], keepdims=1),
            helper.make_node("Add", ["image", "largest"], ["mixed"]),
        ],
        "mixing",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("mixed", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def sample(index: int) -> np.ndarray:
    """Image number `index`, [3,4,4] float32."""
    return eighths(np.random.default_rng(index), SAMPLE_SHAPE)


def eighths(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between -4 and 4 whose sums of products float32 holds exactly, in any order; float16 rounds them."""
    return (rng.integers(-32, 33, shape) / 8).astype(np.float32)


def write_bytes(path: Path, content: bytes, mode: int = 0o640) -> None:
    """A file with exactly these permissions, whatever the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def write_samples(folder: Path, names: list[str]) -> None:
    """`names[k]` gets image k; folder and files as a careful user makes them, 0750 and 0640."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o750)
    for index, name in enumerate(names):
        write_bytes(folder / name, sample(index).tobytes())


def emulated_environment() -> dict[str, str]:
    """The environment after `source emulation/set_env.sh` in a shell whose python3 is this one."""
    base = {
        "HOME": os.environ.get("HOME", "/"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "VIRTUAL_ENV": sys.prefix,
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
    }
    command = ["bash", "-c", f'source "{EMULATION}/set_env.sh" && env -0']
    output = subprocess.run(command, env=base, check=True, capture_output=True, text=True).stdout
    return dict(entry.split("=", 1) for entry in output.split("\0") if entry)


def run_in(environment: dict[str, str], folder: Path, warm: Path | None = None) -> Run:
    """Run a command with `environment`; by default in `folder`. `warm` is the socket of a warm_python.py."""

    def run_command(*command: object, cwd: Path = folder, env: dict[str, str] | None = None) -> Result:
        words = [str(word) for word in command]
        words[0] = shutil.which(words[0], path=environment["PATH"]) or words[0]
        full_env = {**environment, **(env or {})}
        with text_file() as stdout, text_file() as stderr:
            if warm and is_program(words) and "PYTHONPATH" not in (env or {}):
                code = run_warm(warm, words, cwd, full_env, stdout.fileno(), stderr.fileno())
            else:
                done = subprocess.run(words, cwd=cwd, env=full_env, stdout=stdout, stderr=stderr, check=False)
                code = done.returncode
            stdout.seek(0)
            stderr.seek(0)
            return Result(code, stdout.read(), stderr.read())

    return run_command


def text_file() -> TextIO:
    """A temporary file that takes a program's output; read with any line ends as newlines."""
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def compile_models(folder: Path, environment: dict[str, str]) -> None:
    """Make small_bs1.om, small_bs4.om, half_bs4.om (float16 outputs), uint8_bs4.om (AIPP) and others."""
    onnx.save(small_model(), folder / "small.onnx")
    onnx.save(two_input_model(), folder / "sum.onnx")
    onnx.save(sized_model(), folder / "sized.onnx")
    onnx.save(mixing_model(), folder / "mixing.onnx")
    (folder / "aipp.cfg").write_text("aipp_op { aipp_mode: static input_format: RGB888_U8 var_reci_chn_0: 0.5 }\n")
    atc = str(EMULATION / "bin" / "atc")
    commands = [
        ["small", "small_bs1", "image:1,3,4,4"],
        ["small", "small_bs4", "image:4,3,4,4"],
        ["small", "half_bs4", "image:4,3,4,4", "--output_type", "FP16"],
        ["small", "uint8_bs4", "image:4,3,4,4", "--insert_op_conf", "aipp.cfg"],
        ["sum", "sum_bs2", "left:2,2;right:2,2"],
        ["sized", "sized_bs1", "image:1,3,4,4;image_size:1,2"],
        ["mixing", "mixing_bs4", "image:4,3,4,4"],
        ["small", "other_soc", "image:1,3,4,4"],
    ]
    for model, output, shape, *more in commands:
        words = [atc, "--model", f"{model}.onnx", "--output", output, "--input_shape", shape, *ATC_COMMON, *more]
        words.append("--precision_mode=must_keep_origin_dtype")  # what these files are for is compared bit for bit
        if output == "other_soc":
            words[words.index("Ascend310P3")] = "Ascend910B3"
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture(scope="session")
def emulated_env() -> dict[str, str]:
    return emulated_environment()


@pytest.fixture(scope="session")
def warm(emulated_env: dict[str, str]) -> Iterator[Path]:
    """The socket of a warm_python.py in the emulated environment."""
    python = shutil.which("python3", path=emulated_env["PATH"])
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:  # tmp_path may be too long for a socket
        address = Path(folder) / "socket"
        command = [python, WARM_PYTHON, address]
        with subprocess.Popen(command, env=emulated_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
            assert server.stdout.readline() == b"ready\n"
            yield address
            server.kill()


@pytest.fixture
def run(emulated_env: dict[str, str], warm: Path, tmp_path: Path) -> Run:
    """Run a command as in a shell that has sourced set_env.sh; by default in `tmp_path`."""
    return run_in(emulated_env, tmp_path, warm)


@pytest.fixture(scope="session")
def compiled(emulated_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of `compile_models`."""
    folder = tmp_path_factory.mktemp("compiled")
    compile_models(folder, emulated_env)
    return folder
