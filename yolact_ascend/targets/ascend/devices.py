"""Several devices in one run: their flags for ais_bench, and one result from what each of them wrote."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import read_json, write_json
from yolact_ascend.targets.summary import COPIES, merge_figures

_OF_A_DEVICE = re.compile(r"device\d+(_\d+)?(_summary\.json)?")


def device_words(npus: Sequence[int], divide: Sequence[str] = ()) -> list[str]:
    """Return ais_bench's flags for its devices; none for device 0 alone, which is its default.

    `divide` are the words that let several devices divide the files.
    """
    words = [] if tuple(npus) == (0,) else ["--device", ",".join(map(str, npus))]
    return [*words, *(divide if len(npus) > 1 else [])]


def devices_for(npus: Sequence[int], files: int, has_divide_flag: bool) -> tuple[int, ...]:
    """Return the first of `npus`, as many as get files when ais_bench divides them; it fails where one gets none.

    Releases with the flag give equal shares, one file more to the first devices. The release of 2023 always divides,
    and gives every device but the last a rounded-up share.
    """
    for count in range(len(npus), 1, -1):
        if files >= count if has_divide_flag else math.ceil(files / count) * (count - 1) < files:
            return tuple(npus[:count])
    return tuple(npus[:1])


def clear_devices(folder: Path) -> None:
    """Remove what the devices of an earlier run left in an output folder; nothing else, it may be a user's."""
    for path in list(folder.glob("device*")):
        if _OF_A_DEVICE.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def collect_outputs(folder: Path, npus: Sequence[int]) -> None:
    """Move the files of every device up into the output folder; raises ArtifactError when two wrote the same one."""
    for part in _device_folders(folder, npus):
        for path in sorted(part.iterdir()):
            target = folder / path.name
            if target.exists():
                raise ArtifactError(
                    f"{path} exists twice: ais_bench ran the same image on two devices instead of dividing the "
                    "images. Run on one device (npus=0), or with another release of ais_bench."
                )
            path.rename(target)


def merge_summaries(folder: Path, npus: Sequence[int]) -> None:
    """Merge the devices' summaries into one, with the name and form that one device gives; then remove theirs.

    The throughput is their sum. The times of the batches take turns, so that they stay in about the order of the run.
    """
    parts = []
    for part in _device_folders(folder, npus):
        path = _summary_of(part)
        parts.append((path, read_json(path, "ais_bench's summary of one device")))
    try:
        figures = [(data["npu_compute_time_list"], data["throughput"]) for _, data in parts]
        merged = merge_figures(figures, npus)
        for key in COPIES:
            copies = [data[key] for _, data in parts if key in data]
            count = sum(copy["count"] for copy in copies)
            if count:
                merged[key] = {"mean": sum(copy["mean"] * copy["count"] for copy in copies) / count, "count": count}
    except (AttributeError, KeyError, TypeError) as error:
        places = ", ".join(str(path) for path, _ in parts)
        raise ArtifactError(f"{places} are not summaries of ais_bench: {type(error).__name__} {error}.") from error
    write_json(_summary_of(folder), merged, indent=None)
    clear_devices(folder)


def _summary_of(folder: Path) -> Path:
    """Beside the folder, as ais_bench puts it."""
    return folder.with_name(f"{folder.name}_summary.json")


def _device_folders(folder: Path, npus: Sequence[int]) -> Iterator[Path]:
    """The folder that each device wrote: device<d>_<index>, until 2023 device<d>."""
    for index, npu in enumerate(npus):
        candidates = (folder / f"device{npu}_{index}", folder / f"device{npu}")
        found = next((path for path in candidates if path.is_dir()), None)
        if found is None:
            raise ArtifactError(f"{candidates[0]} is missing: ais_bench wrote nothing for device {npu}. Run it again.")
        yield found
