"""The paths inside a work folder: one place for the names of all files that pass between stages."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import read_json, sha256_file, write_json
from yolact_ascend.tensors import TensorSpec, require_size

OUTPUT_DIRNAME = "output"
BENCHMARK_DIRNAME = "perf"
STREAM_DIRNAME = "stream"
VERDICT = "verify.json"  # the record of a verification, in the folder of its runs
INT8_ENDING = "_int8"  # of the names of what `quantize` writes, before their own ending
RECORDS = ".stages"  # a folder with such a folder inside is a work folder
DETECTIONS_OF = {BOX: "bbox_detections.json", MASK: "mask_detections.json"}  # by task


@dataclass(frozen=True)
class WorkFolder:
    """The paths inside a work folder (default: `results/`)."""

    root: Path

    @property
    def onnx(self) -> Path:
        return self.root / "yolact_edge.onnx"

    @property
    def runnable_onnx(self) -> Path:
        """The export with ONNX's operators that INT8 is measured on, where `onnx` has those of Ascend."""
        return self.root / "yolact_edge_runnable.onnx"

    def model(self, batch_size: int, suffix: str) -> Path:
        """The compiled model of one batch size; its ending is the target's."""
        return self.root / f"yolact_edge_bs{batch_size}{suffix}"

    @property
    def keep_dtype(self) -> Path:
        """What `atc --keep_dtype` takes."""
        return self.root / "yolact_edge_keep_dtype.cfg"

    @property
    def aipp_config(self) -> Path:
        """What `atc --insert_op_conf` takes."""
        return self.root / "yolact_edge_aipp.cfg"

    @property
    def demo_data(self) -> Path:
        """The drawn data set, in COCO's layout, of a run without weights and data."""
        return self.root / "demo_data"

    @property
    def demo_calibration(self) -> Path:
        """The drawn scenes that an INT8 demo's ranges are measured on."""
        return self.root / "demo_calibration"

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
        return summary_of(self.outputs(batch_size))

    def stream_summary(self, batch_size: int) -> Path:
        """The device's timings of a stream, in the form of ais_bench's."""
        return summary_of(self.run(batch_size) / STREAM_DIRNAME)

    def detections(self, batch_size: int, tasks: Sequence[str]) -> dict[str, Path]:
        """The files of detections in COCO's results format, by task."""
        return {task: self.run(batch_size) / DETECTIONS_OF[task] for task in tasks}

    def scores(self, batch_size: int) -> Path:
        return self.run(batch_size) / "scores.json"

    def benchmark_summary(self, batch_size: int) -> Path:
        return summary_of(self.benchmark_outputs(batch_size))

    def benchmark_outputs(self, batch_size: int) -> Path:
        """What a benchmark's program writes beside its summary; nobody reads it."""
        return self.run(batch_size) / BENCHMARK_DIRNAME

    def benchmark_input(self, batch_size: int) -> Path:
        """The batch of pictures that a benchmark runs when it does not run zeros; it is removed afterwards."""
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
    def report_html(self) -> Path:
        return self.root / "report.html"

    @property
    def reports(self) -> tuple[Path, Path, Path]:
        """The forms of the report."""
        return self.report_json, self.report_md, self.report_html

    @property
    def overlays(self) -> Path:
        """Pictures of the run's first and worst images, `<image stem>.jpg`."""
        return self.root / "overlays"

    @property
    def records(self) -> Path:
        return self.root / RECORDS


@dataclass(frozen=True)
class QuantizedFiles:
    """The files that `quantize` writes for an exported ONNX, into a folder (as a rule, the ONNX's own)."""

    onnx: Path
    folder: Path

    @property
    def qdq(self) -> Path:
        """For ONNX Runtime and OpenVINO."""
        return self.folder / f"{self.onnx.stem}{INT8_ENDING}_qdq.onnx"

    @property
    def ascend(self) -> Path:
        """For ATC."""
        return self.folder / f"{self.onnx.stem}{INT8_ENDING}_ascend.onnx"

    def form(self, target: str) -> Path:
        """Return the one that a target compiles."""
        return self.ascend if target == "ascend" else self.qdq

    @property
    def record(self) -> Path:
        """For AMCT."""
        return self.folder / f"{self.onnx.stem}{INT8_ENDING}_record.txt"

    @property
    def description(self) -> Path:
        """What was chosen: recipe, images, ranges, and each layer's number format."""
        return self.folder / f"{self.onnx.stem}{INT8_ENDING}.json"

    @property
    def progress(self) -> Path:
        """Scores so far, until all files are written."""
        return self.folder / f"{self.onnx.stem}{INT8_ENDING}_progress.json"

    @property
    def all(self) -> tuple[Path, ...]:
        return self.qdq, self.ascend, self.record, self.description


def find_qdq_twin(ascend: Path) -> Path | None:
    """Return the QDQ file that `quantize` wrote with an INT8 file in Ascend's form, by the hashes in its description.

    None when it, or what describes both, is not beside it.
    """
    for description in ascend.parent.glob(f"*{INT8_ENDING}.json"):
        with contextlib.suppress(ArtifactError, KeyError, TypeError, OSError):
            files = read_json(description, "how a model was quantised")["files"]
            qdq = ascend.with_name(Path(files["qdq"]["file"]).name)
            if (files["ascend"]["sha256"], files["qdq"]["sha256"]) == (sha256_file(ascend), sha256_file(qdq)):
                return qdq
    return None


def find_work_folder(path: Path) -> Path | None:
    """Return the work folder that a path lies in, or is; None when it is in none."""
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if (folder / RECORDS).is_dir()), None)


def locate_run(run_folder: Path) -> tuple[WorkFolder, int]:
    """Return the work folder and batch size of a run folder such as `results/bs8`; raises ArtifactError for another."""
    path = run_folder.absolute().resolve()  # "." has a name, too
    found = re.fullmatch(r"bs(\d+)", path.name)
    folder = WorkFolder(path.parent)
    if not found or not folder.scores(int(found.group(1))).is_file():
        raise ArtifactError(
            f"{run_folder} is not a run folder with scores. Pass that of one batch size, such as results/bs8, after a "
            "run with mode=full."
        )
    return folder, int(found.group(1))


def input_bin(save_path: Path, index: int) -> Path:
    """The network input of image `index` below preprocess.py's `--save_path`."""
    return bin_folder(save_path) / f"{index}.bin"


def input_folders(pictures: Path, inputs: Sequence[TensorSpec]) -> tuple[Path, ...]:
    """The folders with `<index>.bin` for each input of a model: that of the pictures, and one beside it by its name."""
    return pictures, *(pictures.with_name(spec.name) for spec in inputs[1:])


def batch_files(pictures: Path, inputs: Sequence[TensorSpec]) -> tuple[Path, ...]:
    """The files of one whole batch for each input: that of the pictures, and one beside it by its name."""
    return pictures, *(pictures.with_name(f"{spec.name}.bin") for spec in inputs[1:])


def bin_folder(save_path: Path) -> Path:
    """The folder that `ais_bench --input` gets."""
    return save_path / "bin_file"


def ids_file(save_path: Path) -> Path:
    """Maps index to COCO image id; written last, so that its presence means that all inputs are there."""
    return save_path / "ids.json"


def timings_file(save_path: Path) -> Path:
    """How much of a core each step took when the inputs were last made."""
    return save_path / "timings.json"


def sidecar_file(model: Path) -> Path:
    """What a compiled model was compiled from and how, beside it; a model without one was not finished."""
    return model.with_name(f"{model.name}.json")


def recipe_file(save_path: Path) -> Path:
    """What the inputs were made from; preprocess keeps those whose recipe has not changed."""
    return save_path / "recipe.json"


def read_recipe(save_path: Path) -> dict[str, Any] | None:
    """Return what the inputs were made from; None when nothing says so, and no input there is preprocess's."""
    with contextlib.suppress(ArtifactError):
        recipe = read_json(recipe_file(save_path), "what inputs were made from")
        if isinstance(recipe, dict) and isinstance(recipe.get("images"), list):
            return recipe
    return None


def spoil_recipe(save_path: Path) -> None:
    """Have preprocess make all inputs again; the recipe still says which files are inputs."""
    recipe = read_recipe(save_path)
    if recipe is not None:
        others = {"other_inputs": recipe["other_inputs"]} if "other_inputs" in recipe else {}
        write_json(recipe_file(save_path), {"images": [None] * len(recipe["images"]), **others}, indent=None)


def describe_tensors(inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return which tensors the inputs are, as a recipe states it."""
    first, *others = ([spec.name, list(spec.shape), spec.dtype] for spec in inputs)
    return {"input": first, **({"other_inputs": others} if others else {})}


def folders_of_recipe(save_path: Path, recipe: dict[str, Any] | None) -> list[Path]:
    """Return the folders of inputs that a recipe says were made, beside that of the pictures."""
    others = [] if recipe is None else recipe.get("other_inputs", [])
    return [bin_folder(save_path).with_name(Path(name).name) for name, *_ in others]


def files_of_inputs(save_path: Path, inputs: Sequence[TensorSpec]) -> list[Path]:
    """Return what preprocess may write or remove for these inputs, beside what its recipe says that it made."""
    recipe = read_recipe(save_path)
    others = set(input_folders(bin_folder(save_path), inputs)[1:]) - set(folders_of_recipe(save_path, recipe))
    if recipe is not None:
        return sorted(others)
    pictures = [bin_folder(save_path), recipe_file(save_path), ids_file(save_path), timings_file(save_path)]
    return [*pictures, *sorted(others)]


def output_bin(output_folder: Path, index: int, k: int) -> Path:
    """Output `k` of image `index`, as ais_bench names it."""
    return output_folder / f"{index}_{k}.bin"


def summary_of(output_folder: Path) -> Path:
    """The timings beside a folder of outputs, where ais_bench puts them."""
    return output_folder.with_name(f"{output_folder.name}_summary.json")


def require_outputs(output_folder: Path, count: int, outputs: Sequence[TensorSpec]) -> None:
    """Raise ArtifactError unless each of `count` images has every output, of the right size."""
    for index in range(count):
        for k, spec in enumerate(outputs):
            require_size(output_bin(output_folder, index, k), spec)
