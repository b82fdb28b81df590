"""`predict` on moving pictures (a video file, a camera, a stream): to a copy with the detections drawn in, and JSON."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from yolact_ascend import flags
from yolact_ascend.detection.detections import whole_results
from yolact_ascend.errors import DatasetError
from yolact_ascend.files import write_json
from yolact_ascend.folders import hold_results, open_own, require_results
from yolact_ascend.host.found import Found
from yolact_ascend.host.model import Model
from yolact_ascend.host.predict import SCHEMA_VERSION, Summary, detect, require_other_folder
from yolact_ascend.host.track import Tracker
from yolact_ascend.host.view import View, Viewer, open_viewer
from yolact_ascend.images.live import WAIT_S, Live
from yolact_ascend.images.live_source import LiveSource
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.images.video import VARYING_FPS, VIDEO_SUFFIXES, Frame, Video, VideoCopy, copy_video
from yolact_ascend.progress import bar
from yolact_ascend.tables import counted
from yolact_ascend.targets.target import batches

AT_ONCE_MS = 1  # that a window waits after a frame


@dataclass(frozen=True)
class Footage:
    """How moving pictures are predicted; `wait_s` is how long a live source may give nothing."""

    limit: int | None = None  # frames
    view: View = field(default_factory=View)
    tracks: bool = False  # give objects numbers that stay over frames
    writes_copy: bool = True
    wait_s: float = WAIT_S


def is_video(source: Path) -> bool:
    """Tell a video file by its ending."""
    return source.suffix.lower() in VIDEO_SUFFIXES and not source.is_dir()


def predict_video(source: Path, model: Model, save_path: Path, footage: Footage | None = None) -> Summary:
    """Write `<stem>.mp4`, the video with its detections drawn in, and `<stem>.json` with those of each frame.

    The copy is as long as the video, and has no sound. After an interrupt both hold what was done. Raises DatasetError
    when it cannot be read.
    """
    require_other_folder([source], save_path)
    footage = footage or Footage()
    copy_path, file = save_path / f"{source.stem}.mp4", save_path / f"{source.stem}.json"
    summary, frames = Summary(), list[dict[str, Any]]()
    with contextlib.ExitStack() as stack:
        stack.enter_context(hold_results(save_path, *_results(file, copy_path, footage)))
        video = stack.enter_context(contextlib.closing(Video(source, footage.limit)))
        work = _Work(model, footage, summary, f"a frame of {source}", video.fps)
        try:
            with _copy(copy_path, video, footage, keeps=(KeyboardInterrupt,)) as copy:
                progress = bar(timed_frames(video.frames(), summary), desc="predict", total=video.count, unit="frame")
                for frame, found in work.run(progress, model.batch_size, copy):
                    at = {"frame": len(frames), "time_ms": round(frame.time_ms, 3)}
                    frames.append({**at, "detections": entries_of(found)})
        except KeyboardInterrupt:
            _write_video(file, source, video, copy, frames)
            done = counted(len(frames), "frame")
            raise KeyboardInterrupt(f"{file} holds the {done} done so far; the same command begins anew.") from None
        _write_video(file, source, video, copy, frames)
    summary.warnings += [video.warning] if video.warning else []
    if copy is not None and copy.size != video.size:
        sizes = f"{copy.size[0]}×{copy.size[1]} pixels, not {video.size[0]}×{video.size[1]}"
        summary.warnings.append(f"The copy has {sizes}: its codec has even sizes only. The edge is repeated.")
    return summary


def predict_live(source: LiveSource, model: Model, save_path: Path, footage: Footage | None = None) -> Summary:
    """Write `<source>.mp4`, what was seen at its true times, and `<source>.jsonl` with a line for each frame, at once.

    The newest frame is taken each time, and those before it are left out. The end of the source is said. Raises
    DatasetError when it is not there, or gives nothing any more; what was done until then, or until an interrupt, is
    kept.
    """
    footage = footage or Footage()
    copy_path, file = save_path / f"{source.stem}.mp4", save_path / f"{source.stem}.jsonl"
    summary = Summary()
    with contextlib.ExitStack() as stack:
        require_results(save_path, *_results(file, copy_path, footage))
        # Before the folder is made: a source that is not there leaves none.
        live = stack.enter_context(contextlib.closing(Live(source, footage.wait_s)))
        stack.enter_context(hold_results(save_path, *_results(file, copy_path, footage)))
        work = _Work(model, footage, summary, f"a frame of {source}", VARYING_FPS)
        lines = stack.enter_context(_open_lines(file))
        try:
            with _copy(copy_path, live, footage, keeps=(KeyboardInterrupt, Exception)) as copy:
                progress = bar(timed_frames(live.frames(footage.limit), summary), desc="predict", unit="frame")
                for number, (frame, found) in enumerate(work.run(progress, 1, copy)):
                    lines.write(json.dumps(_line(source, number, frame, found)) + "\n")
                    lines.flush()
        except (KeyboardInterrupt, DatasetError) as error:
            done = (
                f"{file} has the {counted(summary.images, 'frame')} until then ({summary.images_per_s:.2f} images/s)."
            )
            raise type(error)(f"{error} {done}".strip()) from None
    if not work.is_ended and summary.images != footage.limit:
        summary.warnings.append(f"{source} ended after {counted(summary.images, 'frame')}.")
    return summary


class _Work:
    """Detects, tracks, draws, shows and copies frames."""

    def __init__(self, model: Model, footage: Footage, summary: Summary, name: str, fps: float) -> None:
        self._model, self._footage, self._summary, self._name = model, footage, summary, name
        self._tracker = Tracker(fps) if footage.tracks else None
        self.is_ended = False  # by the user

    def run(self, frames: Iterator[Frame], batch_size: int, copy: VideoCopy | None) -> Iterator[tuple[Frame, Found]]:
        """Give each frame with what was found in it, after it is in the copy."""
        with open_viewer(self._footage.view, AT_ONCE_MS) as viewer:
            for batch in batches(frames, batch_size):
                sources = [PictureSource(frame.pixels, self._name) for frame in batch]
                for frame, found in zip(batch, detect(self._model, sources, self._summary)):
                    yield frame, self._finish(frame, found, copy, viewer)
                    self.is_ended = viewer.is_ended
                    if self.is_ended:
                        return

    def _finish(self, frame: Frame, found: Found, copy: VideoCopy | None, viewer: Viewer) -> Found:
        if self._tracker is not None:
            with self._summary.timed("detect"):
                found = self._tracker.update(found, frame.time_ms / 1000)
        if copy is not None or self._footage.view.show:
            with self._summary.timed("draw and write"):
                picture = viewer.draw(found)
                if copy is not None:
                    copy.write(picture, frame.time_ms)
            viewer.show(picture)
        return found


def timed_frames(frames: Iterator[Frame], summary: Summary) -> Iterator[Frame]:
    """Count the time that reading takes."""
    while True:
        with summary.timed("decode"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def entries_of(found: Found) -> list[dict[str, Any]]:
    """Return what was found in a frame as entries of a video's JSON."""
    config = found.config
    return whole_results(found.detections, config.class_names, config.category_ids, track_ids=found.track_ids)


def _results(file: Path, copy: Path, footage: Footage) -> tuple[list[Path], str]:
    """Return the files that are going to be written, and how to choose another folder for them."""
    return [file, *([copy] if footage.writes_copy else [])], flags.SAVE_PATH.word("DIR")


@contextlib.contextmanager
def _copy(
    path: Path, source: Video | Live, footage: Footage, keeps: tuple[type[BaseException], ...]
) -> Iterator[VideoCopy | None]:
    """Give the copy to write, or None where none is wanted."""
    if not footage.writes_copy:
        yield None
        return
    with copy_video(path, source.fps, source.size, keeps) as copy:
        yield copy


def _write_video(file: Path, source: Path, video: Video, copy: VideoCopy | None, frames: list[dict[str, Any]]) -> None:
    width, height = video.size
    written = None if copy is None else {"fps": copy.fps, "width": copy.size[0], "height": copy.size[1]}
    content = {
        "schema_version": SCHEMA_VERSION,
        **{"video": source.name, "fps": video.stated_fps, "width": width, "height": height},
        **{"copy": written, "frames": frames},
    }
    write_json(file, content, indent=None)


def _line(source: LiveSource, number: int, frame: Frame, found: Found) -> dict[str, Any]:
    return {
        **{"schema_version": SCHEMA_VERSION, "source": str(source), "frame": number},
        **{"time_ms": round(frame.time_ms, 3), "skipped": frame.skipped},
        **{"width": found.width_px, "height": found.height_px, "detections": entries_of(found)},
    }


@contextlib.contextmanager
def _open_lines(path: Path) -> Iterator[TextIO]:
    """Open a file of ours for lines that are read while they are written; it begins anew."""
    with os.fdopen(open_own(path), "w", encoding="utf-8") as file:
        file.truncate(0)
        yield file
