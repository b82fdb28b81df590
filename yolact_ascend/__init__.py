"""YolactEdge instance segmentation on Huawei Ascend NPUs: export, compile, run, score.

In Python: `with yolact_ascend.load("yolact_edge_bs8.om") as model: found = model("street.jpg")`; see docs/python.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolact_ascend.errors import ArtifactError as ArtifactError
    from yolact_ascend.errors import DatasetError as DatasetError
    from yolact_ascend.errors import ToolError as ToolError
    from yolact_ascend.errors import UsageError as UsageError
    from yolact_ascend.errors import WeightsError as WeightsError
    from yolact_ascend.errors import YolactAscendError as YolactAscendError
    from yolact_ascend.host.found import Found as Found
    from yolact_ascend.host.found import FoundObject as FoundObject
    from yolact_ascend.host.loading import load as load
    from yolact_ascend.host.model import Model as Model
    from yolact_ascend.host.track import Tracker as Tracker
    from yolact_ascend.images.reader import Picture as Picture

__version__ = "0.1.0"

# The public names, and the modules that have them: imported when one is first used, as numpy takes a while.
_MODULES = {
    "load": "host.loading",
    "Model": "host.model",
    "Found": "host.found",
    "FoundObject": "host.found",
    "Tracker": "host.track",
    "Picture": "images.reader",
    **dict.fromkeys(
        ("YolactAscendError", "UsageError", "WeightsError", "DatasetError", "ArtifactError", "ToolError"), "errors"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
