"""The PyTorch target: the network that an ONNX was exported from, in float32, by this Python.

It shows what the export changes: the same inputs and the same host's part, without ONNX, compiler and runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from yolact_ascend import flags
from yolact_ascend.checks import OK, Check, run_check
from yolact_ascend.errors import NotInstalledError, UsageError
from yolact_ascend.extras import describe_missing
from yolact_ascend.models.inputs import NOTHING
from yolact_ascend.sources import made_by
from yolact_ascend.targets.own_verbs import OwnVerbs
from yolact_ascend.targets.target import BATCH_CONTENTS, RUN, CompileJob, DeviceRequest, Engine, Target


class TorchTarget(OwnVerbs, Target):
    """One device of PyTorch."""

    name: ClassVar[str] = "torch"
    devices: ClassVar[tuple[str, ...]] = ("auto", "cpu", "cuda")
    device_aliases: ClassVar[Mapping[str, str]] = {"gpu": "cuda"}
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    embeds: ClassVar[tuple[str, ...]] = (NOTHING,)
    batch_contents: ClassVar[tuple[str, ...]] = BATCH_CONTENTS
    model_suffix: ClassVar[str] = ".torch"
    engine_modules: ClassVar[tuple[str, ...]] = ("targets.torch.engine",)

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        from yolact_ascend.targets.torch.engine import describe_chip

        self.version = metadata.version("torch")
        self.device = device  # PyTorch's name
        self.chip = describe_chip(device)
        self.threads = threads
        self.kind, _, number = device.partition(":")
        self.npus = (int(number or 0),)

    @classmethod
    def find(cls, request: DeviceRequest) -> TorchTarget:
        request.require_no_chip(cls.name)
        if len(request.npus) > 1:
            named = ",".join(map(str, request.npus))
            raise UsageError(f"npus={named}: target=torch runs on one device. Name one of them.")
        try:
            from yolact_ascend.targets.torch.engine import choose_device
        except ModuleNotFoundError as error:
            raise NotInstalledError(describe_missing("torch")) from error
        device = choose_device(request.device, request.npus[0])
        if request.threads is not None and device != "cpu":
            raise UsageError(f"threads={request.threads}: {device} is no CPU. Leave out threads=.")
        return cls(device, request.threads)

    @classmethod
    def check(cls, request: DeviceRequest) -> list[Check]:
        def look() -> Check:
            target = cls.find(request)
            facts = {"kind": target.kind, "device": target.device, "chip": target.chip}
            return Check("target", OK, f"PyTorch {target.version} on {target.described}", facts)

        return [run_check("target", look)]

    @property
    def described(self) -> str:
        """The device in a few words."""
        return "this host's CPU" if self.kind == "cpu" else f"{self.device}, {self.chip}"

    def identity(self, work: str = RUN) -> dict[str, str]:
        return {"kind": self.kind, "device": self.device, "chip": self.chip, **self.made_for()}

    def made_for(self) -> dict[str, str]:
        return {"torch": self.version}

    def describe(self) -> str:
        return f"Device: PyTorch {self.version} on {self.described} (target=torch)."

    def describe_device(self, npu: int) -> str:
        return f"PyTorch on {self.device}"

    def facts(self, precision: str) -> dict[str, Any]:
        return {
            **self.facts_without_cann(self.chip),
            "device": self.device,
            "note": f"The PyTorch network itself, PyTorch {self.version} on {self.described}, in float32: a reference "
            "for mAP, and not comparable with an NPU's throughput.",
        }

    def compile_inputs(self, job: CompileJob) -> dict[str, Any]:
        return {"flags": [flags.BATCH_SIZE.word(job.batch_size)], **made_by("targets.torch.engine")}

    def source_words(self, job: CompileJob) -> list[str]:
        weights = [] if job.weights is None else [flags.TRAINED_MODEL.word(job.weights)]
        return [flags.MODEL.word(job.onnx), *weights]

    def device_words(self) -> list[str]:
        number = [] if self.npus == (0,) else [flags.NPUS.word(self.npus[0])]
        return [flags.DEVICE.word(self.kind), *number, *flags.thread_words(self.threads)]

    @classmethod
    def compile_here(cls, job: CompileJob) -> None:
        from yolact_ascend.targets.torch.engine import compile_network

        compile_network(job)

    def open(self, model: Path, npu: int) -> Engine:
        from yolact_ascend.targets.torch.engine import TorchEngine

        return TorchEngine(model, self.device, self.threads)
