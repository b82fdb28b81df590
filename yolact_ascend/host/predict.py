"""`predict`: images, or a folder of them, through any engine, to pictures and detections in COCO's format.

Videos, cameras and streams: `host.footage`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from yolact_ascend import flags
from yolact_ascend.detection.draw import JPEG_LONGEST_PX, write_jpeg
from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.files import distinct_stems, write_json
from yolact_ascend.folders import hold_results
from yolact_ascend.host.found import Found
from yolact_ascend.host.inference import require_fit
from yolact_ascend.host.model import Model
from yolact_ascend.host.view import View, Viewer, open_viewer
from yolact_ascend.images.decode import IMAGE_SUFFIXES, decode_bytes, is_cut_short, is_jpeg, list_images, read_image
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.images.video import VIDEO_SUFFIXES
from yolact_ascend.progress import bar
from yolact_ascend.tables import counted
from yolact_ascend.targets.target import batches

DETECTIONS_FILE = "detections.json"
SCHEMA_VERSION = 1  # of detections.json and of a video's JSON (docs/formats.md)
UNTIL_A_KEY = 0  # milliseconds that a window waits
LEAST_S = 1e-9  # of a step that took no time that the clock shows
PREDICT_STEPS = ("decode", "prepare", "infer", "detect", "draw and write")


@dataclass
class Summary:
    """What a prediction did: counts, the images that were left out, and the seconds of each step."""

    first: np.ndarray | None = None  # picture, BGR uint8 [H,W,3]
    images: int = 0
    detections: int = 0
    skipped: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PREDICT_STEPS, 0.0))

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - start

    @property
    def images_per_s(self) -> float:
        """The rate of all steps together, one after the other."""
        return self.images / max(sum(self.seconds.values()), LEAST_S)

    def describe(self, show_rates: bool = False) -> str:
        """Return the speed, as one figure and by step: host work and files included, the loading of the model not.

        With `show_rates` also the images/s that each step alone would reach.
        """
        if not self.images:
            return "No image was predicted."
        shares = ", ".join(f"{step} {1000 * seconds / self.images:.1f}" for step, seconds in self.seconds.items())
        lines = [
            f"{counted(self.images, 'image')}, {counted(self.detections, 'detection')}, "
            f"{self.images_per_s:.2f} images/s end to end",
            f"ms per image: {shares}",
        ]
        if show_rates:
            rates = (f"{step} {self.images / max(seconds, LEAST_S):.1f}" for step, seconds in self.seconds.items())
            lines.append(f"images/s of each step: {', '.join(rates)}")
        return "\n".join(lines)


def detect(model: Model, sources: Sequence[PictureSource], summary: Summary) -> list[Found]:
    """Detect the instances in up to `batch_size` pictures, and count them."""
    found = model.detect(sources, summary.timed)
    if summary.first is None:
        summary.first = sources[0].read()
    summary.images += len(found)
    summary.detections += sum(map(len, found))
    return found


def images_of(source: Path, limit: int | None = None, is_recursive: bool = False) -> tuple[list[Path], str | None]:
    """Return the image, or the folder's first images by name, and what in the folder is not used.

    Raises DatasetError when there is none.
    """
    if source.is_dir():
        return list_images(source, limit, is_recursive)
    if not source.exists():
        raise DatasetError(f"There is no {source}. Pass an image, a folder of images or a video.")
    if source.suffix.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(
            f"{source} is neither an image ({', '.join(IMAGE_SUFFIXES)}) nor a video ({', '.join(VIDEO_SUFFIXES)})."
        )
    return [source], None


def predict_images(
    paths: Sequence[Path], model: Model, save_path: Path, folder: Path | None = None, view: View | None = None
) -> Summary:
    """Write `<stem>.jpg` with the detections of each image, and `detections.json` with all images and detections.

    An image that cannot be decoded, or is too long for a JPEG, is named and left out; one that is cut short is marked.
    Names are relative to `folder` (None: without any). `view` is what is drawn and shown.
    """
    require_other_folder(paths, save_path)
    pictures, file = [save_path / f"{stem}.jpg" for stem in distinct_stems(paths)], save_path / DETECTIONS_FILE
    with contextlib.ExitStack() as stack:
        stack.enter_context(hold_results(save_path, [*pictures, file], flags.SAVE_PATH.word("DIR")))
        viewer = stack.enter_context(open_viewer(view or View(), UNTIL_A_KEY))
        predicted = _Predicted(paths, pictures, folder, model, viewer)
        try:
            readable = _decode_all(bar(paths, desc="predict", unit="image"), model, predicted.summary)
            for batch in batches(readable, model.batch_size):
                predicted.add(batch)
                if viewer.is_ended:
                    break
        except KeyboardInterrupt:
            predicted.write(file)
            done = counted(len(predicted.images), "image")
            raise KeyboardInterrupt(f"{file} holds the {done} done so far; the same command begins anew.") from None
        predicted.write(file)
    return predicted.summary


@dataclass
class _Predicted:
    """What was found in images so far, and where it goes."""

    paths: Sequence[Path]
    pictures: Sequence[Path]  # to write, one for each path
    folder: Path | None
    model: Model
    viewer: Viewer
    summary: Summary = field(default_factory=Summary)
    images: list[dict[str, Any]] = field(default_factory=list)
    detections: list[dict[str, Any]] = field(default_factory=list)

    def add(self, batch: Sequence[_Image]) -> None:
        """Predict a batch, and draw it; where memory runs out, its images are named and left out."""
        try:
            sources = [PictureSource(image.pixels, str(self.paths[image.place])) for image in batch]
            found = detect(self.model, sources, self.summary)
            with self.summary.timed("draw and write"):
                drawn = [self.viewer.draw(each) for each in found]
        except MemoryError:
            for path in (self.paths[image.place] for image in batch):
                _skip(path, f"{path} needs more memory than there is. Scale it down, or free some.", self.summary)
            return
        with self.summary.timed("draw and write"):
            for image, each, picture in zip(batch, found, drawn):
                write_jpeg(self.pictures[image.place], picture)
                self._note(image, each)
        for picture in drawn:
            if not self.viewer.is_ended:
                self.viewer.show(picture)

    def _note(self, image: _Image, found: Found) -> None:
        path, number = self.paths[image.place], image.place + 1
        name = path.relative_to(self.folder).as_posix() if self.folder else path.name
        size = {"width": found.width_px, "height": found.height_px}
        self.images.append(
            {
                **{"id": number, "file_name": name, **size, "is_cut_short": image.is_cut},
                **{"detections": len(found), "picture": self.pictures[image.place].name},
            }
        )
        self.detections += [{**entry, "file_name": name} for entry in found.to_coco(number)]

    def write(self, file: Path) -> None:
        content = {"schema_version": SCHEMA_VERSION, "images": self.images, "detections": self.detections}
        write_json(file, content, indent=None)


class _Image(NamedTuple):
    """A decoded image, BGR uint8 [H,W,3], and its position among the paths."""

    place: int
    pixels: np.ndarray
    is_cut: bool


def _decode_all(paths: Iterable[Path], model: Model, summary: Summary) -> Iterator[_Image]:
    """Give each image that can be decoded, fits onto the model's canvas, and can be drawn as JPEG."""
    for index, path in enumerate(paths):
        try:
            with summary.timed("decode"):
                data = read_image(path)
                pixels, is_cut = decode_bytes(data, path), is_jpeg(data) and is_cut_short(data)
            require_fit(pixels, model.config, str(path))
        except DatasetError as error:
            _skip(path, str(error), summary)
            continue
        if max(pixels.shape) > JPEG_LONGEST_PX:
            size = f"{pixels.shape[1]}×{pixels.shape[0]} pixels"
            _skip(path, f"{path} has {size}, more than a JPEG can have ({JPEG_LONGEST_PX}).", summary)
            continue
        if is_cut:
            tqdm.write(f"warning: {path} is cut short: its lower part is made up.", file=sys.stderr)
        yield _Image(index, pixels, is_cut)


def _skip(path: Path, reason: str, summary: Summary) -> None:
    """Leave an image out, and say why."""
    summary.skipped.append(path)
    tqdm.write(f"skipped: {reason}", file=sys.stderr)


def require_other_folder(sources: Sequence[Path], save_path: Path) -> None:
    """Raise UsageError when the pictures could take the place of what they are made from."""
    folders = {folder for path in sources for folder in (path.parent.resolve(), path.resolve().parent)}
    if save_path.resolve() in folders:
        raise UsageError(f"--save_path={save_path} is the folder of the source. Pass another folder for the results.")
