"""Performance counters: how long an engine takes for each layer of a model, as its own profiler measures it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from yolact_ascend.errors import UsageError
from yolact_ascend.tables import markdown_table

if TYPE_CHECKING:
    import numpy as np

    from yolact_ascend.targets.target import Engine


class LayerTime(NamedTuple):
    """What one layer took, as the engine names it: engines fuse and reorder the layers of a graph."""

    name: str
    operator: str
    kernel: str  # what computed it, in the engine's words
    ms: float


@runtime_checkable
class HasLayerTimes(Protocol):
    """An engine with a profiler."""

    def layer_times(self, inputs: Sequence[np.ndarray]) -> list[LayerTime]:
        """Compute a batch, inputs [B,...] each, with the profiler on; return what each layer took, as they ran.

        A batch before it warms up. The model is loaded again for that: the profiler slows down what it measures.
        """


def require_layer_times(engine: Engine) -> HasLayerTimes:
    """Return the engine; raises UsageError for one that has no profiler."""
    if not isinstance(engine, HasLayerTimes):
        raise UsageError(
            f"{type(engine).__name__} has no performance counters by layer: only target=openvino and "
            "target=onnxruntime have. On a card, CANN's msprof measures operators."
        )
    return engine


def layer_times(engine: Engine, inputs: Sequence[np.ndarray]) -> list[LayerTime]:
    """Return what `HasLayerTimes` returns; raises UsageError for an engine that has no profiler."""
    return require_layer_times(engine).layer_times(inputs)


def format_layer_times(times: Sequence[LayerTime]) -> str:
    """Return a table, the slowest layer first, with the share of each, and the sum."""
    total = sum(time.ms for time in times)
    slowest_first = sorted(times, key=lambda time: time.ms, reverse=True)
    rows = [
        [time.name, time.operator, time.kernel, f"{time.ms:.3f}", _percent(time.ms, total)] for time in slowest_first
    ]
    rows.append(["total", "", "", f"{total:.3f}", _percent(total, total)])
    return markdown_table(["layer", "operator", "kernel", "ms", "%"], rows)


def _percent(part: float, total: float) -> str:
    return f"{100 * part / total if total else 0:.1f}"
