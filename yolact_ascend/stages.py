"""The stages of a run, as steps: what each depends on, what it writes, and the command that does it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from yolact_ascend.aipp import aipp_config
from yolact_ascend.artifacts import (
    BENCHMARK_DIRNAME,
    FILE_MODE,
    INPUTS,
    TensorSpec,
    WorkFolder,
    bin_folder,
    cut_outputs,
    digest_files,
    ids_file,
    input_bin,
    make_folder,
    output_bin,
    read_json,
    recipe_file,
    require_outputs,
    sha256_file,
    timings_file,
    write_bytes,
)
from yolact_ascend.ascend import (
    ATC_SUCCESS,
    Tools,
    atc_command,
    benchmark_command,
    infer_command,
    prepare_run_folder,
    read_timings,
)
from yolact_ascend.atc_errors import explain_atc_failure
from yolact_ascend.classes import read_config
from yolact_ascend.coco import (
    CocoDataset,
    CocoImage,
    check_categories,
    describe_images,
    find_split,
    load_dataset,
    require_images,
)
from yolact_ascend.compiled import (
    SCHEMA,
    Need,
    SideCar,
    adopt_model,
    describe_model,
    remove_models,
    require_inputs,
    require_model,
    write_sidecar,
)
from yolact_ascend.config import DEFAULT_CUT, ModelConfig, get_config
from yolact_ascend.demo import draw_command, is_drawn, note_drawn
from yolact_ascend.devices import clear_devices, collect_outputs, devices_for, merge_summaries
from yolact_ascend.errors import ToolError
from yolact_ascend.manifest import Records, digest
from yolact_ascend.process import describe_failure, format_command, run_tool
from yolact_ascend.settings import STAGES_OF_WAY, RunSettings
from yolact_ascend.steps import Step

CHECKOUT = Path(__file__).resolve().parent.parent
PATCH = CHECKOUT / "patches" / "yolact_edge.patch"
APPLY_PATCH = CHECKOUT / "scripts" / "apply_patch.sh"
# Libraries whose version can change a stage's output.
LIBRARIES = (
    "torch",
    "onnx",
    "onnxsim",
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "faster-coco-eval",
)


class Stages:
    """Builds the steps of a run; holds what they share."""

    def __init__(self, settings: RunSettings, tools: Tools, records: Records, lock: int) -> None:
        self.settings = settings
        self.tools = tools
        self.records = records
        self.folder = WorkFolder(settings.out)
        self._lock = lock

    def steps(self) -> list[Step]:
        """Return the steps of the mode in the order of its stages; `report`, which is made of them, is none."""
        makers: dict[str, Callable[[], list[Step]]] = {
            "patch": lambda: [self._patch()] if self.settings.upstream else [],
            "export": lambda: [self._export()],
            "compile": lambda: [self._compile(batch_size) for batch_size in self.settings.batch_sizes],
            "preprocess": lambda: [self._preprocess()],
            "infer": lambda: [self._infer(batch_size) for batch_size in self.settings.batch_sizes],
            "postprocess": lambda: [self._postprocess(batch_size) for batch_size in self.settings.batch_sizes],
            "stream": lambda: [self._stream(batch_size) for batch_size in self.settings.batch_sizes],
            "benchmark": lambda: [self._benchmark(batch_size) for batch_size in self.settings.batch_sizes],
            "report": lambda: [],
        }
        return [step for stage in STAGES_OF_WAY[self.settings.way] for step in makers[stage]()]

    @cached_property
    def weights_sha256(self) -> str:
        return sha256_file(self.settings.weights)

    @cached_property
    def onnx_metadata(self) -> dict[str, str]:
        """What the exported ONNX says of itself."""
        import onnx  # here: not every run reaches a stage that needs it

        return {entry.key: entry.value for entry in onnx.load(self.folder.onnx).metadata_props}

    @property
    def input(self) -> TensorSpec:
        """What the compiled model takes."""
        return INPUTS[self.settings.input_dtype]

    @cached_property
    def config(self) -> ModelConfig:
        """The config, with the classes of the weights."""
        return read_config(self.settings.weights, get_config(self.settings.config))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the compiled model gives."""
        return cut_outputs(self.config, self.settings.cut)

    @cached_property
    def dataset(self) -> CocoDataset:
        """The data set of `coco=`, checked against the config's classes."""
        image_folder, annotation_file = find_split(self.settings.coco)
        dataset = load_dataset(annotation_file, image_folder)
        check_categories(dataset, self.config)
        return dataset

    @cached_property
    def images(self) -> tuple[CocoImage, ...]:
        """The images of this run, in the order of their indices; all their files are there."""
        images = self.dataset.select(limit=self.settings.image_limit)
        require_images(images)
        return images

    def prepare_demo(self) -> None:
        """Draw the demo's scenes where they are needed and not there yet: before the plan, which depends on them."""
        folder = self.folder.demo_data
        if self.settings.needs_dataset and not is_drawn(folder):
            self._run_own(draw_command(python_command(), folder))
            note_drawn(folder)

    def _patch(self) -> Step:
        upstream = self.settings.upstream
        assert upstream is not None

        def work() -> None:
            self._run_own(["bash", str(APPLY_PATCH), str(upstream)])

        return Step(
            "patch",
            None,
            inputs=lambda: {"patch_sha256": sha256_file(PATCH), "upstream": str(upstream)},
            # Every source that an export runs, not only those that the patch changes.
            outputs=lambda: sorted(
                path for end in ("py", "pyx") for path in (upstream / "yolact_edge").rglob(f"*.{end}")
            ),
            work=work,
        )

    def _export(self) -> Step:
        settings, folder = self.settings, self.folder

        def inputs() -> dict[str, Any]:
            return {
                "weights_sha256": self.weights_sha256,
                "config": settings.config,
                "cut": settings.cut,
                "upstream": self.records.token("patch") if settings.upstream else None,
                **code_versions(),
            }

        def work() -> None:
            upstream = [f"--upstream={settings.upstream}"] if settings.upstream else []
            self._run_own(
                [
                    *(*python_command("export"), f"--config={settings.config}", f"--trained_model={settings.weights}"),
                    *(f"--output={folder.onnx}", *cut_words(settings.cut), *upstream),
                ]
            )

        return Step("export", None, inputs, lambda: [folder.onnx], work)

    def _compile(self, batch_size: int) -> Step:
        folder, tools, settings = self.folder, self.tools, self.settings
        om, sidecar, prefix = folder.om(batch_size), folder.sidecar(batch_size), folder.om_prefix(batch_size)
        log = folder.log(f"compile_bs{batch_size}")
        aipp = aipp_config() if settings.aipp else None

        def command(onnx: Path, prefix: Path, aipp_file: Path) -> list[str]:
            return atc_command(
                onnx, prefix, batch_size, tools.soc_version, settings.precision, aipp_file if settings.aipp else None
            )

        flags = command(Path("onnx"), Path("om"), Path("aipp"))

        def inputs() -> dict[str, Any]:
            return {
                "onnx_sha256": sha256_file(folder.onnx),
                "tools": tools.identity(),
                "flags": flags,
                "aipp": aipp,
                "sidecar_schema": SCHEMA,  # a model of an earlier version gets one of today
            }

        def work() -> None:
            remove_models(prefix)
            sidecar.unlink(missing_ok=True)
            if aipp is not None:
                write_bytes(folder.aipp_config, aipp.encode())
            words = command(folder.onnx, prefix, folder.aipp_config)
            try:
                output = self._run_tool(words, log, explain_atc_failure)
                if ATC_SUCCESS not in output or not adopt_model(prefix).is_file():
                    lacking = om.name if ATC_SUCCESS in output else f"its line '{ATC_SUCCESS}'"
                    what = f"atc ended with exit code 0, but without {lacking}."
                    raise ToolError(describe_failure(what, words, output, log, explain_atc_failure))
                om.chmod(FILE_MODE)  # ais_bench refuses one that group or others may write
            except BaseException:
                remove_models(prefix)  # a broken .om would look finished
                raise
            exported = self.onnx_metadata
            made = replace(self._need(batch_size), cut=exported["cut"], weights_sha256=exported["weights_sha256"])
            write_sidecar(sidecar, describe_model(om, made, flags, format_command(words)))

        return Step("compile", batch_size, inputs, lambda: [om, sidecar], work)

    def _need(self, batch_size: int) -> Need:
        """What this run expects of its model, whatever lies in the work folder."""
        return Need(
            soc_version=self.tools.soc_version,
            cann=self.tools.cann,
            onnx_sha256=sha256_file(self.folder.onnx),
            weights_sha256=self.weights_sha256,
            batch_size=batch_size,
            cut=self.settings.cut,
            precision=self.settings.precision,
            input=self.input,
            outputs=self.outputs,
        )

    def require_model(self, batch_size: int) -> SideCar:
        """Return the side-car of the compiled model; raises ArtifactError unless it is the one of this run."""
        return require_model(self.folder.om(batch_size), self.folder.sidecar(batch_size), self._need(batch_size))

    def _preprocess(self) -> Step:
        save_path = self.folder.inputs

        bins = [input_bin(save_path, index) for index in range(len(self.images))]

        def work() -> int:
            if "preprocess" in self.settings.force:
                recipe_file(save_path).unlink(missing_ok=True)
            before = self.records.describe(bins)
            limit = [] if self.settings.limit is None else [f"--limit={self.settings.limit}"]
            dtype = [f"--dtype={self.input.dtype}"] if self.settings.aipp else []
            self._run_own(
                [
                    *(*python_command("preprocess"), f"--image_path={self.dataset.image_folder}"),
                    *(f"--json_file={self.dataset.annotation_file}", f"--save_path={save_path}", *limit, *dtype),
                    *self._worker_words,
                ]
            )
            # Those that an earlier, unfinished run made took no time in this one.
            after = self.records.describe(bins)
            return sum(before.get(name) != state for name, state in after.items())

        return Step(
            "preprocess",
            None,
            inputs=lambda: {
                "images": digest(describe_images(self.images)),
                "dtype": self.input.dtype,
                **code_versions(),
            },
            outputs=lambda: [ids_file(save_path), timings_file(save_path), *bins],
            work=work,
        )

    def _infer(self, batch_size: int) -> Step:
        folder, tools = self.folder, self.tools
        run_folder, output_folder = folder.run(batch_size), folder.outputs(batch_size)
        npus = devices_for(tools.npus, len(self.images), tools.has_divide_flag)

        def command(python: str, om: Path, bins: Path, run_folder: Path) -> list[str]:
            return infer_command(python, om, bins, run_folder, npus, tools.has_divide_flag)

        def inputs() -> dict[str, Any]:
            return {
                "om_sha256": sha256_file(folder.om(batch_size)),
                "inputs": self.records.token("preprocess"),
                "tools": tools.identity(),
                "flags": command("python3", Path("om"), Path("bins"), Path("run")),
            }

        def outputs() -> list[Path]:
            indices = range(len(self.images))
            files = [output_bin(output_folder, index, k) for index in indices for k in range(len(self.outputs))]
            return [folder.summary(batch_size), *files]

        def work() -> int:
            self.require_model(batch_size)
            require_inputs(folder.inputs, self.input, len(self.images))
            prepare_run_folder(run_folder)
            # ais_bench reuses an existing folder without cleaning it.
            folder.summary(batch_size).unlink(missing_ok=True)
            remove_matching(output_folder, r"\d+_\d\.bin")
            if npus != tools.npus:
                print(f"Only device {', '.join(map(str, npus))} of npus=: so few are the images.", file=sys.stderr)
            self._run_on_devices(
                command(tools.python, folder.om(batch_size), bin_folder(folder.inputs), run_folder),
                folder.log(f"infer_bs{batch_size}"),
                npus,
                output_folder,
                collect_outputs,
            )
            require_outputs(output_folder, len(self.images), self.outputs)
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
                "cut": settings.cut,
                "annotations_sha256": sha256_file(self.dataset.annotation_file),
                **code_versions(),
            }

        def work() -> int:
            for path in results:
                path.unlink(missing_ok=True)
            bbox, mask, scores = results
            self._run_own(
                [
                    *(*python_command("postprocess"), f"--file_path={folder.outputs(batch_size)}"),
                    *(f"--trained_model={settings.weights}", f"--config={settings.config}", *cut_words(settings.cut)),
                    *(f"--image_path={self.dataset.image_folder}", f"--json_file={self.dataset.annotation_file}"),
                    *(f"--ids_path={ids_file(folder.inputs)}", f"--bbox_det_file={bbox}", f"--mask_det_file={mask}"),
                    *(f"--scores_file={scores}", *self._worker_words),
                ]
            )
            return len(self.images)

        return Step("postprocess", batch_size, inputs, lambda: results, work)

    def _stream(self, batch_size: int) -> Step:
        """From the images to the scores in one process: what preprocess, infer and postprocess do with files."""
        settings, folder, tools = self.settings, self.folder, self.tools
        bbox, mask = folder.bbox_detections(batch_size), folder.mask_detections(batch_size)
        results = [bbox, mask, folder.scores(batch_size), folder.stream_summary(batch_size)]

        def inputs() -> dict[str, Any]:
            return {
                "om_sha256": sha256_file(folder.om(batch_size)),
                "images": digest(describe_images(self.images)),
                "tools": tools.identity(),
                "npus": list(tools.npus),
                "weights_sha256": self.weights_sha256,
                "config": settings.config,
                "cut": settings.cut,
                "annotations_sha256": sha256_file(self.dataset.annotation_file),
                **code_versions(),
            }

        def work() -> int:
            self.require_model(batch_size)
            for path in results:
                path.unlink(missing_ok=True)
            limit = [] if settings.limit is None else [f"--limit={settings.limit}"]
            self._run_own(
                [
                    *(*python_command("stream"), f"--model={folder.om(batch_size)}"),
                    *(f"--trained_model={settings.weights}", f"--config={settings.config}"),
                    *(f"--image_path={self.dataset.image_folder}", f"--json_file={self.dataset.annotation_file}"),
                    *(f"--bbox_det_file={bbox}", f"--mask_det_file={mask}"),
                    *(f"--scores_file={folder.scores(batch_size)}", f"--device_kind={settings.device}"),
                    *(f"--summary_file={folder.stream_summary(batch_size)}", *limit, *self._worker_words),
                    f"--npus={','.join(map(str, tools.npus))}",
                ]
            )
            scores = read_json(folder.scores(batch_size), "the scores")
            return len(self.images) - len(scores["failed"])

        return Step("stream", batch_size, inputs, lambda: results, work)

    @property
    def _worker_words(self) -> list[str]:
        return [] if self.settings.workers is None else [f"--workers={self.settings.workers}"]

    def _benchmark(self, batch_size: int) -> Step:
        folder, tools, settings = self.folder, self.tools, self.settings
        run_folder, output_folder = folder.run(batch_size), folder.run(batch_size) / BENCHMARK_DIRNAME
        summary = folder.benchmark_summary(batch_size)
        batch = None if settings.input == "zeros" else folder.benchmark_input(batch_size)

        def command(python: str, om: Path, batch_size: int, run_folder: Path, batch: Path | None) -> list[str]:
            return benchmark_command(
                *(python, om, batch_size, settings.loop, run_folder, BENCHMARK_DIRNAME, batch),
                *(tools.npus, tools.has_divide_flag),
            )

        def inputs() -> dict[str, Any]:
            made_from: dict[str, Any] = {"input": settings.input}
            if settings.input != "zeros":
                made_from.update(code_versions())
            if settings.needs_dataset:
                made_from["images"] = digest(describe_images(self.images[:batch_size]))
            flags = command("python3", Path("om"), batch_size, Path("run"), batch and Path("in"))
            om_sha256 = sha256_file(folder.om(batch_size))
            return {"om_sha256": om_sha256, "tools": tools.identity(), "flags": flags, **made_from}

        def work() -> int:
            model = self.require_model(batch_size)
            prepare_run_folder(run_folder)
            summary.unlink(missing_ok=True)
            words = command(tools.python, folder.om(batch_size), model.batch_size, run_folder, batch)
            try:
                if batch is not None:
                    self._write_batch(batch, batch_size)
                self._run_on_devices(words, folder.log(f"benchmark_bs{batch_size}"), tools.npus, output_folder)
            finally:  # nobody reads these outputs, and for a large batch they take gigabytes
                shutil.rmtree(folder.benchmark_input(batch_size).parent, ignore_errors=True)
                remove_matching(output_folder, r"(pure_infer_data|batch)_\d+\.bin")
                clear_devices(output_folder)
            read_timings(summary, folder.log(f"benchmark_bs{batch_size}"))  # else the report would be the one to fail
            return settings.loop * batch_size * len(tools.npus)

        return Step("benchmark", batch_size, inputs, lambda: [summary], work)

    def _write_batch(self, path: Path, batch_size: int) -> None:
        """Write the batch that a benchmark with `input=random` or `input=dataset` runs."""
        from yolact_ascend.batch_file import image_samples, random_samples, write_batch  # here: OpenCV

        is_dataset = self.settings.needs_dataset
        samples = image_samples(self.images, self.input) if is_dataset else random_samples(self.input)
        print(
            f"{path}: one batch of {batch_size}, {self.settings.input}, {self.input.dtype}; removed afterwards",
            file=sys.stderr,
        )
        write_batch(path, samples, batch_size)

    def _run_on_devices(
        self,
        command: Sequence[str],
        log: Path,
        npus: Sequence[int],
        output_folder: Path,
        collect: Callable[[Path, Sequence[int]], None] | None = None,
    ) -> None:
        """Run ais_bench; where it runs on several devices, `collect` their outputs and make one summary of theirs."""
        clear_devices(output_folder)
        if len(npus) > 1:
            make_folder(output_folder)  # its processes may all try to make it at the same moment, and fail
        self._run_tool(command, log)
        if len(npus) > 1:
            if collect is not None:
                collect(output_folder, npus)
            merge_summaries(output_folder, npus)

    def _run_tool(self, command: Sequence[str], log: Path, explain: Callable[[str], str | None] | None = None) -> str:
        """Run one of CANN's tools in its world; it holds the work folder's lock."""
        return run_tool(command, self.tools.env, log, explain, pass_fds=[self._lock])

    def _run_own(self, command: Sequence[str]) -> None:
        """Run a stage of ours as the user's shell would; it holds the work folder's lock."""
        run_tool(command, self.tools.own_env, pass_fds=[self._lock])


def cut_words(cut: str) -> list[str]:
    """Return the flag of our stages for a cut; none for the default, so that the commands are the guide's."""
    return [] if cut == DEFAULT_CUT else [f"--cut={cut}"]


def python_command(*verb: str) -> list[str]:
    """Return the words that start one of our own stages, by the Python that runs now."""
    return [_relative(Path(sys.executable)), "-m", "yolact_ascend", *verb]


@cache
def code_versions() -> dict[str, Any]:
    """Return what a stage of ours depends on beside its data: our own sources and the libraries' versions."""
    return {
        "code": digest_files(sorted(Path(__file__).parent.glob("*.py"))),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def remove_matching(folder: Path, pattern: str) -> None:
    """Remove the files of a folder whose whole name matches; nothing else, the folder may be a user's."""
    if folder.is_dir():
        for path in folder.iterdir():
            if re.fullmatch(pattern, path.name):
                path.unlink()


def _relative(path: Path) -> str:
    """Return a path relative to the current folder where it lies inside: a line that is easier to read and paste."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
