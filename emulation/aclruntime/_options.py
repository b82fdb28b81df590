"""What is passed to the emulated runtime, and what it states of its executions."""

from __future__ import annotations

from dataclasses import dataclass, field

from aclruntime._device import LOG_INFO


@dataclass
class SessionOptions:
    """How to load and run a model; `loop` counts the executions of one run()."""

    loop: int = 1
    log_level: int = LOG_INFO
    acl_json_path: str = ""


@dataclass
class SessionOptions2026(SessionOptions):
    """`without_graph` frees host memory after loading, of which there is nothing to emulate."""

    weight_dir: str = ""
    without_graph: bool = False


@dataclass
class InferOptions:
    """Options of the pipeline mode, which is not emulated."""

    output_dir: str = ""
    auto_dym_shape: bool = False
    auto_dym_dims: bool = False
    out_format: str = "BIN"
    pure_infer_mode: bool = False
    output_names: list[str] = field(default_factory=list)
    shapes_list: list[list[int]] = field(default_factory=list)


@dataclass
class Summary:
    """Start and end of every execution in milliseconds since the model was loaded; in 2023 the difference alone."""

    exec_time_list: list[tuple[float, float]] | list[float] = field(default_factory=list)
