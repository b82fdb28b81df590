"""The stages of a run, as steps: what each depends on, what it writes, and the command that does it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from yolact_ascend import __version__
from yolact_ascend.artifacts import (
    BENCHMARK_DIRNAME,
    FOLDER_MODE,
    FPN_CUT_OUTPUTS,
    WorkFolder,
    bin_folder,
    ids_file,
    input_bin,
    make_folder,
    output_bin,
    recipe_file,
    sha256_file,
    write_json,
)
from yolact_ascend.ascend import ATC_SUCCESS, Tools, atc_command, benchmark_command, infer_command, read_timings
from yolact_ascend.coco import (
    CocoDataset,
    CocoImage,
    check_categories,
    describe_images,
    find_split,
    load_dataset,
    require_images,
)
from yolact_ascend.config import get_config
from yolact_ascend.errors import ToolError
from yolact_ascend.manifest import Records, digest
from yolact_ascend.process import format_command, run_tool
from yolact_ascend.settings import RunSettings

CHECKOUT = Path(__file__).resolve().parent.parent
PATCH = CHECKOUT / "patches" / "yolact_edge.patch"
APPLY_PATCH = CHECKOUT / "scripts" / "apply_patch.sh"
# Libraries whose version can change a stage's output.
LIBRARIES = ("torch", "onnx", "onnxsim", "onnxruntime", "numpy", "opencv-python-headless", "pycocotools")


DONE, FRESH = "done", "fresh"


@dataclass(frozen=True)
class Step:
    """One stage, for one batch size where it has one. `work` returns how many images it went over, if it does."""

    stage: str
    batch_size: int | None
    inputs: Callable[[], dict[str, Any]]
    outputs: Callable[[], Sequence[Path]]
    work: Callable[[], int | None]

    @property
    def label(self) -> str:
        return self.stage if self.batch_size is None else f"{self.stage} bs{self.batch_size}"


@dataclass(frozen=True)
class Outcome:
    """What became of one step in this run; seconds and images are those of the run that did the work."""

    stage: str
    batch_size: int | None
    status: str  # DONE or FRESH
    seconds: float
    images: int | None


class Stages:
    """Builds the steps of a run; holds what they share."""

    def __init__(self, settings: RunSettings, tools: Tools, records: Records, lock: int) -> None:
        self.settings = settings
        self.tools = tools
        self.records = records
        self.folder = WorkFolder(settings.out)
        self._lock = lock

    def steps(self) -> list[Step]:
        """Return the steps of the mode in order, `report` left out; per-batch stages go batch by batch."""
        makers = {
            "compile": self._compile,
            "infer": self._infer,
            "postprocess": self._postprocess,
            "benchmark": self._benchmark,
        }
        steps = [self._patch()] if self.settings.upstream else []
        steps.append(self._export())
        if self.settings.mode == "full":
            steps.append(self._preprocess())
        per_batch = ("compile", "infer", "postprocess") if self.settings.mode == "full" else ("compile", "benchmark")
        return steps + [makers[stage](bs) for bs in self.settings.batch_sizes for stage in per_batch]

    @cached_property
    def weights_sha256(self) -> str:
        return sha256_file(self.settings.weights)

    @cached_property
    def onnx_metadata(self) -> dict[str, str]:
        """What the exported ONNX says of itself."""
        import onnx  # here: not every run reaches a stage that needs it

        return {entry.key: entry.value for entry in onnx.load(self.folder.onnx).metadata_props}

    @cached_property
    def dataset(self) -> CocoDataset:
        """The data set of `coco=`, checked against the config's classes."""
        image_folder, annotation_file = find_split(self.settings.coco)
        dataset = load_dataset(annotation_file, image_folder)
        check_categories(dataset, get_config(self.settings.config))
        return dataset

    @cached_property
    def images(self) -> tuple[CocoImage, ...]:
        """The images of this run, in the order of their indices; all their files are there."""
        images = self.dataset.select(limit=self.settings.limit)
        require_images(images)
        return images

    def _patch(self) -> Step:
        upstream = self.settings.upstream
        assert upstream is not None

        def work() -> None:
            self._run(["bash", str(APPLY_PATCH), str(upstream)])

        return Step(
            "patch",
            None,
            inputs=lambda: {"patch_sha256": sha256_file(PATCH), "upstream": str(upstream)},
            outputs=lambda: [upstream / name for name in patched_files(PATCH)],
            work=work,
        )

    def _export(self) -> Step:
        settings, folder = self.settings, self.folder

        def inputs() -> dict[str, Any]:
            return {
                "weights_sha256": self.weights_sha256,
                "config": settings.config,
                "upstream": self.records.token("patch") if settings.upstream else None,
                **code_versions(),
            }

        def work() -> None:
            upstream = [f"--upstream={settings.upstream}"] if settings.upstream else []
            self._run(
                [
                    *(*python_command("export"), f"--config={settings.config}", f"--trained_model={settings.weights}"),
                    *(f"--output={folder.onnx}", *upstream),
                ]
            )

        return Step("export", None, inputs, lambda: [folder.onnx], work)

    def _compile(self, batch_size: int) -> Step:
        folder, tools = self.folder, self.tools
        om, sidecar = folder.om(batch_size), folder.sidecar(batch_size)
        log = folder.log(f"compile_bs{batch_size}")
        command = atc_command(folder.onnx, folder.om_prefix(batch_size), batch_size, tools.soc_version)

        def inputs() -> dict[str, Any]:
            flags = atc_command(Path("onnx"), Path("om"), batch_size, tools.soc_version)
            return {"onnx_sha256": sha256_file(folder.onnx), "tools": tools.identity(), "flags": flags}

        def work() -> None:
            for path in (om, sidecar):
                path.unlink(missing_ok=True)
            try:
                output = self._run(command, log=log)
                if ATC_SUCCESS not in output or not om.is_file():
                    lacking = om.name if ATC_SUCCESS in output else f"its line '{ATC_SUCCESS}'"
                    raise ToolError(f"atc ended with exit code 0, but without {lacking}. Its whole output: {log}")
            except BaseException:
                om.unlink(missing_ok=True)  # a broken .om would look finished
                raise
            write_json(sidecar, {**inputs(), "batch_size": batch_size, "command": format_command(command)})

        return Step("compile", batch_size, inputs, lambda: [om, sidecar], work)

    def _preprocess(self) -> Step:
        save_path = self.folder.inputs

        bins = [input_bin(save_path, index) for index in range(len(self.images))]

        def work() -> int:
            if "preprocess" in self.settings.force:
                recipe_file(save_path).unlink(missing_ok=True)
            before = self.records.describe(bins)
            limit = [] if self.settings.limit is None else [f"--limit={self.settings.limit}"]
            self._run(
                [
                    *(*python_command("preprocess"), f"--image_path={self.dataset.image_folder}"),
                    *(f"--json_file={self.dataset.annotation_file}", f"--save_path={save_path}", *limit),
                ]
            )
            # Those that an earlier, unfinished run made took no time in this one.
            after = self.records.describe(bins)
            return sum(before.get(name) != state for name, state in after.items())

        return Step(
            "preprocess",
            None,
            inputs=lambda: {"images": digest(describe_images(self.images)), **code_versions()},
            outputs=lambda: [ids_file(save_path), *bins],
            work=work,
        )

    def _infer(self, batch_size: int) -> Step:
        folder, tools = self.folder, self.tools
        run_folder, output_folder = folder.run(batch_size), folder.outputs(batch_size)
        command = infer_command(tools.python, folder.om(batch_size), bin_folder(folder.inputs), run_folder)

        def inputs() -> dict[str, Any]:
            return {
                "om_sha256": sha256_file(folder.om(batch_size)),
                "inputs": self.records.token("preprocess"),
                "tools": tools.identity(),
                "flags": infer_command("python3", Path("om"), Path("bins"), Path("run")),
            }

        def outputs() -> list[Path]:
            indices = range(len(self.images))
            files = [output_bin(output_folder, index, k) for index in indices for k in range(len(FPN_CUT_OUTPUTS))]
            return [folder.summary(batch_size), *files]

        def work() -> int:
            prepare_run_folder(run_folder)
            # ais_bench reuses an existing folder without cleaning it.
            folder.summary(batch_size).unlink(missing_ok=True)
            remove_matching(output_folder, r"\d+_\d\.bin")
            self._run(command, log=folder.log(f"infer_bs{batch_size}"))
            check_outputs(output_folder, len(self.images))
            return len(self.images)

        return Step("infer", batch_size, inputs, outputs, work)

    def _postprocess(self, batch_size: int) -> Step:
        settings, folder = self.settings, self.folder
        results = [folder.bbox_detections(batch_size), folder.mask_detections(batch_size), folder.scores(batch_size)]

        def inputs() -> dict[str, Any]:
            return {
                "outputs": self.records.token(f"infer bs{batch_size}"),
                "weights_sha256": self.weights_sha256,
                "config": settings.config,
                "annotations_sha256": sha256_file(self.dataset.annotation_file),
                **code_versions(),
            }

        def work() -> int:
            for path in results:
                path.unlink(missing_ok=True)
            bbox, mask, scores = results
            self._run(
                [
                    *(*python_command("postprocess"), f"--file_path={folder.outputs(batch_size)}"),
                    *(f"--trained_model={settings.weights}", f"--config={settings.config}"),
                    *(f"--image_path={self.dataset.image_folder}", f"--json_file={self.dataset.annotation_file}"),
                    *(f"--ids_path={ids_file(folder.inputs)}", f"--bbox_det_file={bbox}", f"--mask_det_file={mask}"),
                    f"--scores_file={scores}",
                ]
            )
            return len(self.images)

        return Step("postprocess", batch_size, inputs, lambda: results, work)

    def _benchmark(self, batch_size: int) -> Step:
        folder, tools = self.folder, self.tools
        run_folder = folder.run(batch_size)
        summary = folder.benchmark_summary(batch_size)
        command = benchmark_command(
            tools.python, folder.om(batch_size), batch_size, self.settings.loop, run_folder, BENCHMARK_DIRNAME
        )

        def inputs() -> dict[str, Any]:
            flags = benchmark_command("python3", Path("om"), batch_size, self.settings.loop, Path("run"), "perf")
            return {"om_sha256": sha256_file(folder.om(batch_size)), "tools": tools.identity(), "flags": flags}

        def work() -> int:
            prepare_run_folder(run_folder)
            summary.unlink(missing_ok=True)
            self._run(command, log=folder.log(f"benchmark_bs{batch_size}"))
            remove_matching(run_folder / BENCHMARK_DIRNAME, r"pure_infer_data_\d+\.bin")
            return len(read_timings(summary).latencies_ms) * batch_size

        return Step("benchmark", batch_size, inputs, lambda: [summary], work)

    def _run(self, command: Sequence[str], log: Path | None = None) -> str:
        """Run a step's command: CANN's tools in their world, our own in ours; all hold the work folder's lock."""
        env = self.tools.env if log is not None else self.tools.own_env
        return run_tool(command, env, log=log, pass_fds=[self._lock])


def python_command(verb: str) -> list[str]:
    """Return the words that start one of our own stages, by the Python that runs now."""
    return [_relative(Path(sys.executable)), "-m", "yolact_ascend", verb]


def code_versions() -> dict[str, Any]:
    """Return what a stage of ours depends on beside its data: our own sources and the libraries' versions."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return {
        "code": digest([__version__, [[path.name, sha256_file(path)] for path in sources]]),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def patched_files(patch: Path) -> list[str]:
    """Return the names of the files that a patch changes."""
    return re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(encoding="utf-8"), re.MULTILINE)


def prepare_run_folder(folder: Path) -> None:
    """Make the folder that ais_bench gets as `--output`: today's version refuses one that others may read."""
    make_folder(folder)
    folder.chmod(FOLDER_MODE)


def remove_matching(folder: Path, pattern: str) -> None:
    """Remove the files of a folder whose whole name matches; nothing else, the folder may be a user's."""
    if folder.is_dir():
        for path in folder.iterdir():
            if re.fullmatch(pattern, path.name):
                path.unlink()


def check_outputs(folder: Path, count: int) -> None:
    """Raise ToolError unless every image has every output, of the right size."""
    for index in range(count):
        for k, spec in enumerate(FPN_CUT_OUTPUTS):
            path = output_bin(folder, index, k)
            size = path.stat().st_size if path.is_file() else None
            if size != spec.size_bytes:
                raise ToolError(
                    f"ais_bench ended well, but {path} {'is missing' if size is None else f'holds {size} bytes'}; "
                    f"expected {spec.size_bytes} bytes of {spec.name}. Was the .om made from another ONNX?"
                )


def _relative(path: Path) -> str:
    """Return a path relative to the current folder where it lies inside: a line that is easier to read and paste."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
