"""The Ascend target: compiled by ATC, run by ais_bench, on an NPU or on the stand-ins of CANN's tools."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from yolact_ascend.checks import Check
from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.files import FILE_MODE, make_folder, write_bytes
from yolact_ascend.models.inputs import NORMALISE, NOTHING, takes_pixels
from yolact_ascend.models.onnx_metadata import float32_operators
from yolact_ascend.process import Runner, Watch, describe_failure, format_command, run_line
from yolact_ascend.targets.ascend.aipp import aipp_config
from yolact_ascend.targets.ascend.ais_bench import (
    benchmark_command,
    infer_command,
    prepare_run_folder,
    require_plain_files,
    require_usable_paths,
    watch_loops,
)
from yolact_ascend.targets.ascend.atc import (
    ATC_SUCCESS,
    PRECISION_FLAGS,
    adopt_model,
    atc_command,
    model_files,
    remove_models,
)
from yolact_ascend.targets.ascend.checks import check_tools
from yolact_ascend.targets.ascend.devices import clear_devices, collect_outputs, devices_for, merge_summaries
from yolact_ascend.targets.ascend.explain import explain_atc_failure, explain_device_failure
from yolact_ascend.targets.ascend.host_needs import precision_trouble
from yolact_ascend.targets.ascend.installation import LIBRARIES, UNKNOWN
from yolact_ascend.targets.ascend.tools import AUTO, ON_EMULATION, ON_NPU, PLAYED_CHIP, Tools, find_tools
from yolact_ascend.targets.compiled import find_made_for
from yolact_ascend.targets.folder import BENCHMARK_DIRNAME, OUTPUT_DIRNAME, WorkFolder
from yolact_ascend.targets.target import (
    BATCH_CONTENTS,
    RUN,
    BenchmarkJob,
    CompileJob,
    DeviceRequest,
    Engine,
    InferJob,
    Target,
)

EMULATION_NOTE = "CPU emulation: throughput and latency are this CPU's under ONNX Runtime, not an NPU's."
_WORK_PATH, _LOG_PATH = "ASCEND_WORK_PATH", "ASCEND_PROCESS_LOG_PATH"
NPU_NOTE = "Throughput is the device's compute time, without copies."


class AscendTarget(Target):
    """One run's tools and devices; the stand-ins are an environment of this target, not a target."""

    name: ClassVar[str] = "ascend"
    devices: ClassVar[tuple[str, ...]] = (AUTO, ON_NPU, ON_EMULATION)
    device_aliases: ClassVar[Mapping[str, str]] = {"cpu": ON_EMULATION}
    precisions: ClassVar[tuple[str, ...]] = tuple(PRECISION_FLAGS)
    embeds: ClassVar[tuple[str, ...]] = (NOTHING, NORMALISE)
    batch_contents: ClassVar[tuple[str, ...]] = BATCH_CONTENTS
    model_suffix: ClassVar[str] = ".om"
    engine_modules: ClassVar[tuple[str, ...]] = ("targets.ascend.engine", "targets.ascend.worker")

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.kind = tools.kind
        self.npus = tools.npus

    @classmethod
    def find(cls, request: DeviceRequest) -> AscendTarget:
        if request.threads is not None:
            raise UsageError(
                f"threads={request.threads}: target=ascend computes on the device. Leave out threads=, or set "
                "target=onnxruntime or target=openvino."
            )
        return cls(find_tools(request.device, request.soc, request.npus, request.work))

    @classmethod
    def check(cls, request: DeviceRequest) -> list[Check]:
        return check_tools(request)

    @classmethod
    def require_usable_paths(cls, work_folder: Path) -> None:
        require_usable_paths(work_folder)

    def require_precision(self, precision: str) -> None:
        trouble = precision_trouble(self.tools.soc_version, precision)
        if trouble:
            print(f"warning: {trouble}", file=sys.stderr, flush=True)

    def identity(self, work: str = RUN) -> dict[str, str]:
        return self.tools.identity(work)

    def made_for(self) -> dict[str, str]:
        found = {"soc_version": self.tools.soc_version, "cann": self.tools.cann}
        if self.tools.soc_version == UNKNOWN:  # without atc it need not be known
            del found["soc_version"]
        return found

    def describe(self) -> str:
        tools = self.tools
        remark = f" {tools.remark}" if tools.remark else ""
        if tools.is_emulated:
            return f"Device: CPU emulation of {tools.soc_version} ({tools.reason}). {EMULATION_NOTE}{remark}"
        versions = f"npu-smi {tools.npu_smi}, CANN {tools.cann_version()}"
        return f"Device: {self._chip()}, {versions} ({tools.reason}).{remark}"

    def describe_device(self, npu: int) -> str:
        soc = self._chip()
        name = f"CPU emulation of {soc}, not an NPU" if self.tools.is_emulated else soc
        return f"{name}, device {npu}"

    def _chip(self) -> str:
        """Return the chip by the best name that is known."""
        if self.tools.soc_version != UNKNOWN:
            return self.tools.soc_version
        return "NPU" if self.tools.chip == UNKNOWN else self.tools.chip

    def facts(self, precision: str) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "chip": self.tools.chip,
            "soc_version": self.tools.soc_version,
            "npu_smi": self.tools.npu_smi,
            "npus": list(self.npus),
            "cann": self.tools.cann,
            "note": EMULATION_NOTE if self.tools.is_emulated else NPU_NOTE,
        }

    def how_to_paste(self) -> str | None:
        set_env, libraries = self.tools.set_env, self.tools.libraries
        steps = [] if set_env is None else [format_command(["source", str(set_env)])]
        played = self.tools.played_chip
        if played:
            steps.append(f"export {PLAYED_CHIP}={played}")
        if libraries:
            steps.append(f"export {LIBRARIES}=${LIBRARIES}:{os.pathsep.join(libraries)}")
        return " && ".join(steps) or None

    def compile_inputs(self, job: CompileJob) -> dict[str, Any]:
        aipp = aipp_config(job.preprocessing) if takes_pixels(job.picture) else None
        flags = self._atc_command(job, Path("onnx"), Path("om"), Path("aipp"), Path("keep_dtype"))
        return {"flags": flags, "aipp": aipp}

    def compile_files(self, job: CompileJob) -> list[Path]:
        # Whether there are operators to keep is not known before the export: the file's name is claimed in any case.
        keep_dtype = WorkFolder(job.model.parent).keep_dtype
        return [*model_files(job.model.with_suffix("")), *{**_files_for_atc(job), keep_dtype: ""}]

    def compile(self, job: CompileJob, runner: Runner, log: Path) -> list[str]:
        prefix, folder = job.model.with_suffix(""), WorkFolder(job.model.parent)
        remove_models(prefix)
        for path, text in _files_for_atc(job).items():
            write_bytes(path, text.encode())
        command = self._atc_command(job, job.onnx, prefix, folder.aipp_config, folder.keep_dtype)
        explain = partial(explain_atc_failure, version=self.tools.cann_version())
        try:
            with tempfile.TemporaryDirectory(prefix="atc_") as scratch:
                output = runner.run(command, _atc_environment(self.tools.env, scratch), log, explain)
            if ATC_SUCCESS not in output or not adopt_model(prefix).is_file():
                missing = job.model.name if ATC_SUCCESS in output else f"its line '{ATC_SUCCESS}'"
                what = f"atc ended with exit code 0, but without {missing}."
                raise ToolError(describe_failure(what, command, output, log, explain))
            job.model.chmod(FILE_MODE)  # ais_bench refuses one that group or others may write
        except BaseException:
            remove_models(prefix)  # a broken .om would look finished
            raise
        return command

    @classmethod
    def compile_here(cls, job: CompileJob) -> None:
        raise UsageError(f"{job.model}: atc compiles for Ascend. Run it: {run_line('to=compile')}")

    def infer_inputs(self, job: InferJob) -> dict[str, Any]:
        folders = [Path("bins"), *(Path(folder.name) for folder in job.bin_folders[1:])]
        return {"flags": self._infer_command(job, "python3", Path("om"), folders, Path("run"))}

    def infer(self, job: InferJob, runner: Runner, log: Path) -> None:
        require_plain_files([job.model, *(file for folder in job.bin_folders for file in folder.iterdir())])
        npus = self._npus_for(job)
        if npus != self.npus:
            print(f"Only device {', '.join(map(str, npus))} of npus=: so few are the images.", file=sys.stderr)
        command = self._infer_command(job, self.tools.python, job.model, job.bin_folders, job.run_folder)
        self._run_on_devices(command, runner, log, npus, job.run_folder / OUTPUT_DIRNAME, collect_outputs)

    def benchmark_inputs(self, job: BenchmarkJob) -> dict[str, Any]:
        batch = [Path("in"), *(Path(path.name) for path in job.batch[1:])] if job.batch else []
        return {"flags": self._benchmark_command(job, "python3", Path("om"), Path("run"), batch)}

    def benchmark(self, job: BenchmarkJob, runner: Runner, log: Path) -> None:
        require_plain_files([job.model, *job.batch])
        output_folder = job.run_folder / BENCHMARK_DIRNAME
        command = self._benchmark_command(job, self.tools.python, job.model, job.run_folder, job.batch)
        try:
            self._run_on_devices(command, runner, log, self.npus, output_folder, watch=watch_loops(job.loop))
        finally:  # nobody reads these outputs, and for a large batch they take gigabytes
            _remove_outputs(output_folder)
            clear_devices(output_folder)

    def open(self, model: Path, npu: int) -> Engine:
        from yolact_ascend.targets.ascend.engine import DeviceEngine  # here: most verbs open no device

        require_plain_files([model])
        self._require_played_chip(model)
        return DeviceEngine(model, self.tools, npu)

    def _require_played_chip(self, model: Path) -> None:
        """Raise ArtifactError for a model that was compiled for another chip than the emulated one."""
        made_for = find_made_for(model).get("soc_version") if self.tools.is_emulated else None
        if made_for not in (None, self.tools.soc_version):
            raise ArtifactError(
                f"{model} was compiled for {made_for}, but the emulated card is {self.tools.soc_version}. "
                f"Pass --soc={made_for}, which the emulated card follows."
            )

    def _atc_command(self, job: CompileJob, onnx: Path, prefix: Path, aipp_file: Path, keep_file: Path) -> list[str]:
        files, folder = _files_for_atc(job), WorkFolder(job.model.parent)
        aipp = aipp_file if folder.aipp_config in files else None
        keep = keep_file if folder.keep_dtype in files else None
        soc = self.tools.soc_version
        return atc_command(onnx, prefix, job.batch_size, job.network_inputs, soc, job.precision, aipp, keep)

    def _npus_for(self, job: InferJob) -> tuple[int, ...]:
        return devices_for(self.npus, job.count, not self.tools.ais_bench_flags.always_divides)

    def _infer_command(
        self, job: InferJob, python: str, model: Path, bin_folders: Sequence[Path], run_folder: Path
    ) -> list[str]:
        return infer_command(python, model, bin_folders, run_folder, self._npus_for(job), self.tools.ais_bench_flags)

    def _benchmark_command(
        self, job: BenchmarkJob, python: str, model: Path, run_folder: Path, batch: Sequence[Path]
    ) -> list[str]:
        return benchmark_command(
            python,
            model,
            job.batch_size,
            job.loop,
            run_folder,
            BENCHMARK_DIRNAME,
            batch,
            self.npus,
            self.tools.ais_bench_flags,
        )

    def _run_on_devices(
        self,
        command: Sequence[str],
        runner: Runner,
        log: Path,
        npus: Sequence[int],
        output_folder: Path,
        collect: Callable[[Path, Sequence[int]], None] | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Run ais_bench; where it runs on several devices, `collect` their outputs and make one summary of theirs."""
        prepare_run_folder(output_folder.parent)
        clear_devices(output_folder)
        if len(npus) > 1:
            make_folder(output_folder)  # its processes may all try to make it at the same moment, and fail
        runner.run(command, self.tools.env, log, explain_device_failure, watch)
        if len(npus) > 1:
            if collect is not None:
                collect(output_folder, npus)
            merge_summaries(output_folder, npus)


def _atc_environment(env: Mapping[str, str], scratch: str) -> dict[str, str]:
    """Return `env` for atc, with its by-products (kernel_meta/, fusion_result.json) out of the current folder.

    Its logs stay where they are without ASCEND_WORK_PATH. Source: CANN's page on that variable.
    """
    if env.get(_WORK_PATH):
        return dict(env)
    logs = env.get(_LOG_PATH) or str(Path(env.get("HOME") or Path.home()) / "ascend" / "log")
    return {**env, _WORK_PATH: scratch, _LOG_PATH: logs}


def _files_for_atc(job: CompileJob) -> dict[Path, str]:
    """Return the files that atc reads beside the ONNX, and their text: AIPP's, and the operators that stay float32."""
    folder, files = WorkFolder(job.model.parent), dict[Path, str]()
    if takes_pixels(job.picture):
        files[folder.aipp_config] = aipp_config(job.preprocessing)
    kept = float32_operators(job.onnx)
    if kept and job.precision != "fp32":
        files[folder.keep_dtype] = f"{kept}\n"
    return files


def _remove_outputs(folder: Path) -> None:
    """Remove what a benchmark of ais_bench writes; nothing else, the folder may be a user's."""
    if folder.is_dir():
        for path in folder.iterdir():
            if re.fullmatch(r"(pure_infer_data|batch)_\d+\.bin", path.name):
                path.unlink()
