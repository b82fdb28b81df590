"""The ONNX Runtime target: the exported ONNX on this host's CPU, in float32, by this Python."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from yolact_ascend import flags
from yolact_ascend.checks import OK, Check, run_check
from yolact_ascend.errors import NotInstalledError, UsageError
from yolact_ascend.extras import describe_missing
from yolact_ascend.models.inputs import NORMALISE, NOTHING
from yolact_ascend.sources import made_by
from yolact_ascend.targets.own_verbs import OwnVerbs
from yolact_ascend.targets.target import BATCH_CONTENTS, INT8, RUN, CompileJob, DeviceRequest, Engine, Target

NOTE = "ONNX Runtime on this host's CPU, {}: not comparable with an NPU's throughput."
WORDS = {"fp32": "in float32", INT8: "in int8 where quantised, float32 elsewhere"}


class OnnxRuntimeTarget(OwnVerbs, Target):
    """ONNX Runtime on the CPU, which is one device."""

    name: ClassVar[str] = "onnxruntime"
    devices: ClassVar[tuple[str, ...]] = ("auto", "cpu")
    device_aliases: ClassVar[Mapping[str, str]] = {}
    precisions: ClassVar[tuple[str, ...]] = ("fp32", INT8)
    embeds: ClassVar[tuple[str, ...]] = (NOTHING, NORMALISE)
    batch_contents: ClassVar[tuple[str, ...]] = BATCH_CONTENTS
    model_suffix: ClassVar[str] = ".onnx"
    engine_modules: ClassVar[tuple[str, ...]] = ("targets.onnxruntime.engine",)

    def __init__(self, threads: int | None = None) -> None:
        self.kind = "cpu"
        self.threads = threads
        self.npus = (0,)
        self.version = metadata.version("onnxruntime")

    @classmethod
    def find(cls, request: DeviceRequest) -> OnnxRuntimeTarget:
        request.require_no_chip(cls.name)
        if request.npus != (0,):
            named = ",".join(map(str, request.npus))
            raise UsageError(f"npus={named}: target=onnxruntime has one device, 0. Leave out npus=.")
        try:
            return cls(request.threads)
        except metadata.PackageNotFoundError as error:
            raise NotInstalledError(describe_missing("onnxruntime")) from error

    @classmethod
    def check(cls, request: DeviceRequest) -> list[Check]:
        def look() -> Check:
            target = cls.find(request)
            return Check("target", OK, f"ONNX Runtime {target.version} on the CPU", {"kind": target.kind})

        return [run_check("target", look)]

    def identity(self, work: str = RUN) -> dict[str, str]:
        return {"kind": self.kind, "onnxruntime": self.version}

    def made_for(self) -> dict[str, str]:
        return {"onnxruntime": self.version}

    def describe(self) -> str:
        return f"Device: ONNX Runtime {self.version} on this host's CPU (target=onnxruntime)."

    def describe_device(self, npu: int) -> str:
        return "ONNX Runtime on the CPU"

    def facts(self, precision: str) -> dict[str, Any]:
        return {
            **self.facts_without_cann("CPU"),
            "note": NOTE.format(WORDS[precision]),
        }

    def compile_inputs(self, job: CompileJob) -> dict[str, Any]:
        words = [flags.BATCH_SIZE.word(job.batch_size), flags.EMBED.word(job.embed)]
        return {"flags": words, **made_by("targets.onnxruntime.compile")}

    @classmethod
    def compile_here(cls, job: CompileJob) -> None:
        from yolact_ascend.targets.onnxruntime.compile import compile_onnx

        compile_onnx(job.onnx, job.model, job.batch_size, job.network_inputs, job.picture, job.preprocessing)

    def open(self, model: Path, npu: int) -> Engine:
        from yolact_ascend.targets.onnxruntime.engine import OnnxEngine

        return OnnxEngine(model, self.threads)
