"""The loss curve of a training as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from yolact_ascend.files import atomic_path

LOSSES = ("box", "conf", "mask", "segmentation")


def draw_curve(entries: list[dict[str, Any]], path: Path) -> None:
    """Draw the losses, and the mAP where it was measured, over the steps of a training log into a PNG file."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    losses_axis = figure.add_subplot()
    scored = [entry for entry in entries if "mask_map" in entry]
    trained = [entry for entry in entries if "box" in entry]
    for name in LOSSES:
        losses_axis.plot([entry["step"] for entry in trained], [entry[name] for entry in trained], label=name, lw=1)
    losses_axis.set(xlabel="step", ylabel="loss", ylim=(0, None))
    losses_axis.legend(loc="upper left")
    map_axis = losses_axis.twinx()
    for name, style in (("box_map", "k.--"), ("mask_map", "k.-")):
        map_axis.plot(
            [e["step"] for e in scored], [e[name] or 0 for e in scored], style, label=name.replace("_m", " m")
        )
    map_axis.set(ylabel="mAP, percent", ylim=(0, 100))
    map_axis.legend(loc="upper right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
