"""Names, shapes and sizes of every file that passes between stages, and how such files are written.

Nothing here knows what a file means; a stage that reads one checks its size first (`read_tensor`).
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import itertools
import json
import math
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolact_ascend.config import (
    DEFAULT_CONFIG,
    DEMO_CONFIG,
    FPN_SIZES,
    IMAGE_SIZE,
    NUM_ANCHORS,
    OFFICIAL_WEIGHTS_URL,
    PROTO_SIZE,
    UPSTREAM_URL,
    ModelConfig,
)
from yolact_ascend.errors import ArtifactError, WeightsError

# ais_bench refuses inputs that group or others may write, and output folders that others may even read.
FILE_MODE = 0o640
FOLDER_MODE = 0o750


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the model: its name and the shape of one sample, without the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = ""  # of a batch, where it matters: "NCHW", "NHWC"

    @property
    def size_bytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def of_batch(self, batch_size: int) -> dict[str, Any]:
        """Describe a whole batch, as JSON has it."""
        return {"name": self.name, "shape": [batch_size, *self.shape], "dtype": self.dtype, "layout": self.layout}

    @classmethod
    def of_sample(cls, batch: dict[str, Any]) -> TensorSpec:
        """Turn such a description back into that of one sample."""
        return cls(batch["name"], tuple(batch["shape"][1:]), batch["dtype"], batch["layout"])


OUTPUT_DIRNAME = "output"
BENCHMARK_DIRNAME = "perf"
STREAM_DIRNAME = "stream"

INPUT = TensorSpec("image", (3, IMAGE_SIZE, IMAGE_SIZE), layout="NCHW")
# What a model with AIPP compiled in takes: the card normalises.
UINT8_INPUT = TensorSpec("image", (IMAGE_SIZE, IMAGE_SIZE, 3), "uint8", "NHWC")
INPUTS = {spec.dtype: spec for spec in (INPUT, UINT8_INPUT)}


def cut_outputs(config: ModelConfig, cut: str) -> tuple[TensorSpec, ...]:
    """Return the outputs at a cut, in the model's order.

    `fpn`: the levels P3..P7, each [C,h,w], then the prototypes [h,w,M]. `heads`: what the prediction head makes of the
    levels, loc [A,4], conf logits [A,K+1] and coeffs [A,M], then the prototypes.
    """
    protos = (PROTO_SIZE, PROTO_SIZE, config.proto_channels)
    if cut == "heads":
        last = {"loc": 4, "conf": config.num_classes + 1, "coeffs": config.proto_channels}
        return (*(TensorSpec(name, (NUM_ANCHORS, size)) for name, size in last.items()), TensorSpec("protos", protos))
    levels = (TensorSpec(f"output{i}", (config.fpn_channels, size, size)) for i, size in enumerate(FPN_SIZES))
    return (*levels, TensorSpec(f"output{len(FPN_SIZES)}", protos))


@dataclass(frozen=True)
class WorkFolder:
    """The paths inside a work folder (`results/` unless told otherwise)."""

    root: Path

    @property
    def onnx(self) -> Path:
        return self.root / "yolact_edge.onnx"

    def om_prefix(self, batch_size: int) -> Path:
        """What `atc --output` takes; atc appends `.om`."""
        return self.root / f"yolact_edge_bs{batch_size}"

    def om(self, batch_size: int) -> Path:
        return self.root / f"yolact_edge_bs{batch_size}.om"

    def sidecar(self, batch_size: int) -> Path:
        """What the `.om` was compiled from and how; a `.om` without one was not finished."""
        return sidecar_file(self.om(batch_size))

    @property
    def aipp_config(self) -> Path:
        """What `atc --insert_op_conf` takes."""
        return self.root / "yolact_edge_aipp.cfg"

    @property
    def demo_data(self) -> Path:
        """The drawn data set, in COCO's layout, of a run without weights and data."""
        return self.root / "demo_data"

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"

    def run(self, batch_size: int) -> Path:
        """The folder of one batch size: its outputs, summary and detections never mix with another's."""
        return self.root / f"bs{batch_size}"

    def outputs(self, batch_size: int) -> Path:
        return self.run(batch_size) / OUTPUT_DIRNAME

    def summary(self, batch_size: int) -> Path:
        """Where ais_bench puts its timings: beside the output folder, not inside."""
        return self.run(batch_size) / f"{OUTPUT_DIRNAME}_summary.json"

    def stream_summary(self, batch_size: int) -> Path:
        """The device's timings of a stream, in the form of ais_bench's."""
        return self.run(batch_size) / f"{STREAM_DIRNAME}_summary.json"

    def bbox_detections(self, batch_size: int) -> Path:
        return self.run(batch_size) / "bbox_detections.json"

    def mask_detections(self, batch_size: int) -> Path:
        return self.run(batch_size) / "mask_detections.json"

    def scores(self, batch_size: int) -> Path:
        return self.run(batch_size) / "scores.json"

    def benchmark_summary(self, batch_size: int) -> Path:
        return self.run(batch_size) / f"{BENCHMARK_DIRNAME}_summary.json"

    def benchmark_input(self, batch_size: int) -> Path:
        """The one file that a benchmark runs when it does not run zeros; it is removed afterwards."""
        return self.run(batch_size) / f"{BENCHMARK_DIRNAME}_input" / "batch.bin"

    def log(self, name: str) -> Path:
        """The whole output of one tool's run."""
        return self.root / "logs" / f"{name}.log"

    @property
    def report_json(self) -> Path:
        return self.root / "report.json"

    @property
    def report_md(self) -> Path:
        return self.root / "report.md"

    @property
    def overlays(self) -> Path:
        """Pictures of the run's first images, `<image stem>.jpg`."""
        return self.root / "overlays"

    @property
    def records(self) -> Path:
        return self.root / ".stages"


def locate_run(run_folder: Path) -> tuple[WorkFolder, int]:
    """Return the work folder and batch size of a run folder such as `results/bs8`; raises ArtifactError for another."""
    path = run_folder.absolute().resolve()  # "." has a name, too
    found = re.fullmatch(r"bs(\d+)", path.name)
    folder = WorkFolder(path.parent)
    if not found or not folder.outputs(int(found.group(1))).is_dir():
        raise ArtifactError(
            f"{run_folder} is no run folder with outputs. Name that of one batch size, such as results/bs8, after a "
            "run with mode=full."
        )
    return folder, int(found.group(1))


def input_bin(save_path: Path, index: int) -> Path:
    """The network input of image `index` below preprocess.py's `--save_path`."""
    return bin_folder(save_path) / f"{index}.bin"


def bin_folder(save_path: Path) -> Path:
    """The folder that `ais_bench --input` gets."""
    return save_path / "bin_file"


def ids_file(save_path: Path) -> Path:
    """Maps index to COCO image id; written last, so that its presence means that all inputs are there."""
    return save_path / "ids.json"


def timings_file(save_path: Path) -> Path:
    """How much of a core each step took when the inputs were last made."""
    return save_path / "timings.json"


def sidecar_file(om: Path) -> Path:
    """What a compiled model was compiled from and how, beside it."""
    return om.with_name(f"{om.name}.json")


def recipe_file(save_path: Path) -> Path:
    """What the inputs were made from; preprocess keeps those whose recipe has not changed."""
    return save_path / "recipe.json"


def output_bin(output_folder: Path, index: int, k: int) -> Path:
    """Output `k` of image `index`, as ais_bench names it."""
    return output_folder / f"{index}_{k}.bin"


def distinct_stems(paths: Iterable[Path]) -> list[str]:
    """Return a file name without ending for each path: its own stem, numbered where an earlier path has that."""
    taken: dict[str, None] = {}
    for path in paths:
        numbered = (f"{path.stem}_{number}" for number in itertools.count(2))
        taken[next(stem for stem in itertools.chain([path.stem], numbered) if stem not in taken)] = None
    return list(taken)


def read_tensor(path: Path, spec: TensorSpec) -> np.ndarray:
    """Read one sample of `spec` from a raw file; returns an array of `spec.shape`, read-only.

    Raises ArtifactError when the file is missing, cannot be read or does not hold exactly one sample.
    """
    require_size(path, spec)
    try:
        # Mapped, not copied: the megabytes of an image take longer to copy than to look through.
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), spec.size_bytes, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"Cannot read {path}: {error}. Run the inference again.") from error
    return np.frombuffer(data, spec.dtype).reshape(spec.shape)


def require_outputs(output_folder: Path, count: int, outputs: Sequence[TensorSpec]) -> None:
    """Raise ArtifactError unless each of `count` images has every output, of the right size."""
    for index in range(count):
        for k, spec in enumerate(outputs):
            require_size(output_bin(output_folder, index, k), spec)


def require_size(path: Path, spec: TensorSpec) -> None:
    """Raise ArtifactError unless the file is there and holds exactly one sample of `spec`."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise ArtifactError(
            f"{path} is missing ({spec.name} of one image). The inference before did not write it: run it again."
        ) from None
    if size != spec.size_bytes:
        shape = ",".join(str(n) for n in spec.shape)
        raise ArtifactError(
            f"{path} holds {size} bytes, expected {spec.size_bytes} for {spec.name} [{shape}] {spec.dtype}. "
            f"{_explain_size(size, spec)} Run the inference again."
        )


def _explain_size(size: int, spec: TensorSpec) -> str:
    # ais_bench compares sizes only: where four uint8 images are one of float32, it pairs them without a word.
    images = INPUT.size_bytes // UINT8_INPUT.size_bytes
    if size == images * spec.size_bytes:
        return (
            f"That is {images} images' worth: were float32 inputs given to a model with AIPP, which takes uint8? "
            "Make them by preprocess.py --dtype uint8, or compile without --insert_op_conf."
        )
    return "Was the model compiled with another batch size, input, --cut or --output_type?"


def make_folder(path: Path) -> None:
    """Create a folder (mode 0750) and its parents; raises ArtifactError when that is impossible."""
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"Cannot create the folder {path}: {error.strerror}. Choose another place.") from error


@contextlib.contextmanager
def atomic_path(path: Path, is_swept: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` on success, remove it on any failure.

    So a file under its final name is always whole. `is_swept`: nothing of a run that was killed can lie there, so it is
    not looked for, which takes milliseconds in a folder of thousands. Raises ArtifactError when the disk is full or not
    writable.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if not is_swept:
            for left_behind in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # by a run that was killed
                left_behind.unlink()
        # With its mode from the start: ais_bench refuses a folder for one entry that group or others may write.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ArtifactError(
                f"No room to write {path}: {error.strerror}. Free space or choose another work folder, then run the "
                "same command again; what was finished before is kept."
            ) from error
        raise ArtifactError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, data: bytes | memoryview, is_swept: bool = False) -> None:
    """Write a whole file atomically."""
    # Not "wb": a file that was cut to nothing is sent to the disk when it is closed (ext4), which is waited for.
    with atomic_path(path, is_swept) as temporary, temporary.open("r+b") as file:
        file.write(data)


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write a JSON file atomically; `indent=None` gives the compact form for long lists."""
    write_bytes(path, (json.dumps(value, indent=indent) + "\n").encode())


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; raises ArtifactError, naming `what` the file is, when it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"There is no {path} ({what}).") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path} ({what}) is not JSON: {error}.") from error
    except OSError as error:
        raise ArtifactError(f"Cannot read {path} ({what}): {error.strerror}.") from error


def sha256_file(path: Path) -> str:
    """Return a file's SHA-256 as hexadecimal digits; raises ArtifactError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise ArtifactError(f"Cannot read {path}: {error.strerror}.") from error
    return digest.hexdigest()


def digest_files(paths: Iterable[Path]) -> str:
    """Return a short hash of files' names and contents, in the order given; raises ArtifactError like `sha256_file`."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()[:16]


def require_weights(path: Path, config_name: str) -> None:
    """Raise WeightsError, saying where weights of that config are to be had, when there is no such file."""
    if path.is_file():
        return
    yours = "name yours (`weights=FILE` in run_all.sh, `--trained_model FILE` in the scripts)"
    if config_name == DEMO_CONFIG:
        where = (
            f"Those of {config_name} come with the repository, weights/yolact_edge_demo.pth: name them, or {yours}. "
            "Without weights=, coco= and config=, run_all.sh runs the demo with them."
        )
    elif config_name == DEFAULT_CONFIG:
        where = f"The official ResNet-50 weights are at {OFFICIAL_WEIGHTS_URL} ; download them, or {yours}."
    else:
        where = f"Those of {config_name} are linked at {UPSTREAM_URL} ; download them, or {yours}."
    raise WeightsError(f"There is no weights file {path}. {where}")
