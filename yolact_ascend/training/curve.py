"""The loss curve of a training as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from yolact_ascend.files import atomic_path

NO_LOSSES = {"step", "unix_time_s"}


def draw_curve(entries: list[dict[str, Any]], path: Path) -> None:
    """Draw the losses, and the mAP where it was measured, over the steps of a training log into a PNG file."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    losses_axis = figure.add_subplot()
    scored = [entry for entry in entries if "images" in entry]
    trained = [entry for entry in entries if "images" not in entry]
    for name in (key for key in (trained[0] if trained else ()) if key not in NO_LOSSES):
        losses_axis.plot([entry["step"] for entry in trained], [entry[name] for entry in trained], label=name, lw=1)
    losses_axis.set(xlabel="step", ylabel="loss", ylim=(0, None))
    if trained:
        losses_axis.legend(loc="upper left")
    map_axis = losses_axis.twinx()
    styles = {"box_map": "k.--", "mask_map": "k.-"}
    for name, style in ((name, style) for name, style in styles.items() if scored and name in scored[0]):
        map_axis.plot(
            [e["step"] for e in scored], [e[name] or 0 for e in scored], style, label=name.replace("_m", " m")
        )
    map_axis.set(ylabel="mAP, percent", ylim=(0, 100))
    if scored:
        map_axis.legend(loc="upper right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
