"""Where the data set of a finished run lies, as the record of the step that scored it notes it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import NamedTuple

from yolact_ascend.pipeline.context import RunContext, find_dataset
from yolact_ascend.pipeline.records import Record
from yolact_ascend.targets.folder import WorkFolder


class DataPlace(NamedTuple):
    """An image folder and an annotation file."""

    image_folder: Path
    annotation_file: Path


def note_place(run: RunContext) -> str:
    """Return the note on where the data set of a run lies; from the work folder where it is inside, which may move."""
    root = run.folder.root.resolve()
    places = [path.resolve() for path in find_dataset(run.settings)]
    return json.dumps([str(path.relative_to(root) if path.is_relative_to(root) else path) for path in places])


def read_place(record: Record, folder: WorkFolder) -> DataPlace | None:
    """Return what `note_place` noted; None in a record of an earlier version."""
    with contextlib.suppress(ValueError, TypeError):
        images, annotations = json.loads(record.note)
        return DataPlace(folder.root / images, folder.root / annotations)
    return None
