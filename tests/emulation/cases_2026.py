"""What the ais_bench of 2026 (Yanguan619/aclruntime @df1f9a44) does otherwise than that of 2025: spellings, summary."""

from __future__ import annotations

import re

NEWEST = "2026"

_WITHOUT_VALUE = ("display_all_summary", "divide_input", "dump_npy")  # flags that took 1
_DASHED = (
    *("output_dirname", "pure_data_type", "run_mode", "warmup_count", "output_batchsize_axis", "npu_id"),
    *_WITHOUT_VALUE,
)


def spelled(year: str, arguments: str) -> str:
    """The arguments as that release spells them: those of 2026 have dashes, and no value where it is yes or no."""
    if year != NEWEST:
        return arguments
    arguments = arguments.replace("--profiler_rename 0", "--no-profiler-rename")
    for name in _WITHOUT_VALUE:
        arguments = arguments.replace(f"--{name} 1", f"--{name}")
    return re.sub(rf"--({'|'.join(_DASHED)})\b", lambda found: found[0].replace("_", "-"), arguments)


def summary_in(year: str, summary: dict[str, object]) -> dict[str, object]:
    """Our summary as that release writes it: P99 for percentile(99%), and its own spellings in the arguments."""
    if year != NEWEST:
        return summary
    renamed = dict(summary)
    for key in ("NPU_compute_time", "H2D_latency", "D2H_latency"):
        names, count = summary[key]  # type: ignore[misc]
        renamed[key] = [["P99" if name == "percentile(99%)" else name for name in names], count]
    renamed["args"] = spelled(year, " ".join(summary["args"])).split()  # type: ignore[arg-type]
    return renamed
