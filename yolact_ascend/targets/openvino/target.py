"""The OpenVINO target: the exported ONNX as OpenVINO IR, by this Python, on a CPU, GPU or NPU that OpenVINO knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from yolact_ascend import flags
from yolact_ascend.checks import OK, Check, run_check
from yolact_ascend.environment import without_telemetry
from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.files import make_folder, write_json
from yolact_ascend.models.inputs import NORMALISE, NOTHING, RESIZE
from yolact_ascend.process import Runner, describe_failure
from yolact_ascend.sources import made_by
from yolact_ascend.targets.compiled import files_of_model
from yolact_ascend.targets.folder import BENCHMARK_DIRNAME, summary_of
from yolact_ascend.targets.openvino.runtime import (
    AUTO,
    NAMES,
    TYPES,
    capabilities,
    choose_device,
    computed_precision,
    default_precision,
    describe_chip,
    instruction_sets,
    require_openvino,
)
from yolact_ascend.targets.own_verbs import OwnVerbs
from yolact_ascend.targets.target import INT8, RUN, BenchmarkJob, CompileJob, DeviceRequest, Engine, Target

WORDS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", INT8: "int8 where quantised, float32 elsewhere"}


class OpenVinoTarget(OwnVerbs, Target):
    """One device of OpenVINO."""

    name: ClassVar[str] = "openvino"
    devices: ClassVar[tuple[str, ...]] = (AUTO, *NAMES)
    device_aliases: ClassVar[Mapping[str, str]] = {word.upper(): word for word in (AUTO, *NAMES)}
    precisions: ClassVar[tuple[str, ...]] = tuple(TYPES)
    embeds: ClassVar[tuple[str, ...]] = (NOTHING, NORMALISE, RESIZE)
    batch_contents: ClassVar[tuple[str, ...]] = ("random",)  # benchmark_app fills its batch itself
    model_suffix: ClassVar[str] = ".xml"
    engine_modules: ClassVar[tuple[str, ...]] = ("targets.openvino.engine",)

    def __init__(self, device: str, threads: int | None) -> None:
        self.version = require_openvino()
        self.device = device  # OpenVINO's name
        self.threads = threads
        kind, _, number = device.partition(".")
        self.kind = "cpu" if kind == "CPU" else f"openvino-{kind.lower()}"
        self.npus = (int(number or 0),)

    @classmethod
    def find(cls, request: DeviceRequest) -> OpenVinoTarget:
        require_openvino()
        request.require_no_chip(cls.name)
        device = choose_device(request.device, request.npus)
        if request.threads is not None and device != "CPU":
            raise UsageError(f"threads={request.threads}: {device} is no CPU. Leave out threads=.")
        return cls(device, request.threads)

    @classmethod
    def check(cls, request: DeviceRequest) -> list[Check]:
        def look() -> Check:
            target = cls.find(request)
            found = capabilities(target.device)
            facts: dict[str, Any] = {
                "kind": target.kind,
                "device": target.device,
                "chip": describe_chip(target.device),
                "computes_in": list(found),
                "default_precision": default_precision(target.device),
                "instruction_sets": instruction_sets(),
            }
            text = f"OpenVINO {target.version} on {target.device}, {facts['chip']}"
            return Check("target", OK, f"{text}; {describe_speed(found, facts['instruction_sets'])}", facts)

        return [run_check("target", look)]

    def require_precision(self, precision: str) -> None:
        if precision == "bf16" and computed_precision(self.device, precision) != precision:
            raise UsageError(
                f"precision=bf16: {describe_chip(self.device)} does not compute in bfloat16, only in "
                f"{', '.join(capabilities(self.device))}; OpenVINO would silently take float32. Set precision=fp32."
            )

    def identity(self, work: str = RUN) -> dict[str, str]:
        return {"kind": self.kind, "device": self.device, "chip": describe_chip(self.device), **self.made_for()}

    def made_for(self) -> dict[str, str]:
        return {"openvino": self.version}

    def describe(self) -> str:
        return f"Device: OpenVINO {self.version} on {self.device}, {describe_chip(self.device)} (target=openvino)."

    def describe_device(self, npu: int) -> str:
        return f"OpenVINO on {self.device}"

    def facts(self, precision: str) -> dict[str, Any]:
        return {
            **self.facts_without_cann(describe_chip(self.device)),
            "openvino": self.version,
            "device": self.device,
            "computes_in": computed_precision(self.device, precision),
            "default_precision": default_precision(self.device),
            "note": self._note(precision),
        }

    def _note(self, precision: str) -> str:
        """Say what the figures are of: device, precision, and where OpenVINO by itself would take another."""
        computed, default = computed_precision(self.device, precision), default_precision(self.device)
        how = WORDS[precision] if precision != "fp16" else f"weights in float16, computed in {WORDS[computed]}"
        note = f"OpenVINO {self.version} on {self.device}, precision={precision} ({how})."
        if default != computed:
            note += f" OpenVINO's own default on this device is {WORDS.get(default, default)}: faster and less exact."
        return note + " Not comparable with an Ascend NPU's throughput."

    def compile_inputs(self, job: CompileJob) -> dict[str, Any]:
        words = [
            flags.BATCH_SIZE.word(job.batch_size),
            flags.PRECISION.word(job.precision),
            flags.EMBED.word(job.embed),
        ]
        return {"flags": words, **made_by("targets.openvino.compile")}

    def compile_files(self, job: CompileJob) -> list[Path]:
        return files_of_model(job.model)

    @classmethod
    def compile_here(cls, job: CompileJob) -> None:
        from yolact_ascend.targets.openvino.compile import compile_ir

        compile_ir(job.onnx, job.model, job.batch_size, job.precision, job.network_inputs, job.preprocessing, job.embed)

    def benchmark_inputs(self, job: BenchmarkJob) -> dict[str, Any]:
        return {"loop": job.loop, "threads": self.threads, **made_by("targets.openvino.benchmark")}

    def benchmark(self, job: BenchmarkJob, runner: Runner, log: Path) -> None:
        from yolact_ascend.targets.openvino.benchmark import (
            REPORT,
            batch_arrays,
            benchmark_app_command,
            read_report,
            watch_first,
        )

        folder = job.run_folder / BENCHMARK_DIRNAME
        report = folder / REPORT
        make_folder(folder)
        report.unlink(missing_ok=True)
        computes_in = computed_precision(self.device, job.precision)
        with batch_arrays(job, folder) as arrays:
            command = benchmark_app_command(
                job.model,
                self.device,
                job.inputs[0],
                job.batch_size,
                computes_in,
                job.loop,
                folder,
                self.threads,
                arrays,
            )
            output = runner.run(command, without_telemetry(runner.own_env), log, watch=watch_first(job.loop))
        if not report.is_file():
            raise ToolError(describe_failure("benchmark_app wrote no report.", command, output, log))
        write_json(summary_of(folder), read_report(folder), indent=None)
        report.unlink()

    def open(self, model: Path, npu: int) -> Engine:
        from yolact_ascend.targets.openvino.engine import OpenVinoEngine

        return OpenVinoEngine(model, self.device, self.threads)

    def device_words(self) -> list[str]:
        kind = self.device.partition(".")[0].lower()
        words = [flags.DEVICE.word(kind), *flags.thread_words(self.threads)]
        return words if self.npus == (0,) else [*words, flags.NPUS.word(self.npus[0])]


def describe_speed(found: tuple[str, ...], instructions: list[str]) -> str:
    """Say what a device's number formats and a CPU's instruction sets mean for bf16 and int8."""
    lines = [f"computes in {', '.join(found)}"]
    if instructions:
        lines.append(f"the CPU has {', '.join(instructions)}")
    lines.append(
        "bf16 is fast here, and OpenVINO's own default"
        if "BF16" in found
        else "no bf16: precision=bf16 is refused, and precision=fp16 only halves the weights"
    )
    if any("vnni" in name or name in ("amx_int8", "i8mm", "asimddp") for name in instructions):
        lines.append("int8 is fast here")
    elif "avx2" in instructions:
        lines.append("no VNNI: sums of int8 products can saturate")
    return "; ".join(lines)
