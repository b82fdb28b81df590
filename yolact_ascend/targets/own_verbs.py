"""What targets have in common that compute in this Python: their stages are the verbs compile, infer and benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from yolact_ascend import flags
from yolact_ascend.process import Runner, own_command
from yolact_ascend.sources import made_by
from yolact_ascend.targets.compiled import files_of_model
from yolact_ascend.targets.folder import BENCHMARK_DIRNAME, OUTPUT_DIRNAME
from yolact_ascend.targets.target import BenchmarkJob, CompileJob, InferJob


class OwnVerbs:
    """The stages of a `Target` that starts this package's own verbs."""

    engine_modules: ClassVar[tuple[str, ...]]
    kind: str  # report.json's device.kind
    npus: tuple[int, ...]
    threads: int | None  # of the CPU; None: all cores

    @classmethod
    def require_usable_paths(cls, work_folder: Path) -> None:
        pass

    def require_precision(self, precision: str) -> None:
        pass

    def facts_without_cann(self, chip: str) -> dict[str, Any]:
        """Return those facts of report.json's `device` that every target has; CANN's are None."""
        return {
            "kind": self.kind,
            "chip": chip,
            "soc_version": None,
            "npu_smi": None,
            "npus": list(self.npus),
            "cann": None,
        }

    def how_to_paste(self) -> str | None:
        return None

    def compile_inputs(self, job: CompileJob) -> dict[str, Any]:
        """Return the flags of the verb `compile`, and the code behind it; see `Target`."""
        raise NotImplementedError

    def compile_files(self, job: CompileJob) -> list[Path]:
        return [job.model]

    def source_words(self, job: CompileJob) -> list[str]:
        """Return the flags that name what is compiled."""
        return [flags.MODEL.word(job.onnx)]

    def device_words(self) -> list[str]:
        """Return the flags that lead the verbs `infer` and `benchmark` to this device."""
        return flags.thread_words(self.threads)

    def compile(self, job: CompileJob, runner: Runner, log: Path) -> list[str]:
        words = [*self.source_words(job), flags.COMPILED_OUTPUT.word(job.model)]
        command = [*own_command("compile"), *words, *self.compile_inputs(job)["flags"]]
        for file in files_of_model(job.model):
            file.unlink(missing_ok=True)
        runner.run_own(command, log)
        return command

    def infer_inputs(self, job: InferJob) -> dict[str, Any]:
        return made_by("host.infer", *self.engine_modules)

    def infer(self, job: InferJob, runner: Runner, log: Path) -> None:
        words = [flags.MODEL.word(job.model), flags.BIN_FOLDER.word(job.bin_folders[0])]
        words.append(flags.OUTPUT_FOLDER.word(job.run_folder / OUTPUT_DIRNAME))
        runner.run_own([*own_command("infer"), *words, *self.device_words()], log)

    def benchmark_inputs(self, job: BenchmarkJob) -> dict[str, Any]:
        settings = {"loop": job.loop, "batch": bool(job.batch), "threads": self.threads}
        return {**settings, **made_by("host.infer", *self.engine_modules)}

    def benchmark(self, job: BenchmarkJob, runner: Runner, log: Path) -> None:
        words = [flags.MODEL.word(job.model), flags.LOOP.word(job.loop)]
        words.append(flags.PERF_OUTPUT.word(job.run_folder / BENCHMARK_DIRNAME))
        batch = [flags.BATCH_FILE.word(job.batch[0])] if job.batch else []
        runner.run_own([*own_command("benchmark"), *words, *batch, *self.device_words()], log)
