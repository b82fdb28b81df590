"""`predict`: images, a folder of them or a video through any engine, to pictures and detections in COCO's format."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from yolact_ascend.detection.detections import Detections, bbox_results, keep_scores
from yolact_ascend.detection.draw import (
    JPEG_LONGEST_PX,
    draw_instances,
    from_detections,
    write_jpeg,
)
from yolact_ascend.errors import ArtifactError, DatasetError, UsageError
from yolact_ascend.files import (
    distinct_stems,
    make_folder,
    sha256_file,
    write_json,
)
from yolact_ascend.host.inference import detect_batch
from yolact_ascend.images.decode import IMAGE_SUFFIXES, decode_image, find_images
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import Detector
from yolact_ascend.targets.compiled import find_weights_sha256
from yolact_ascend.targets.registry import read_device, target_of_model
from yolact_ascend.targets.target import DeviceRequest, Engine, Target, batches

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
VIDEO_CODEC = "mp4v"
UNKNOWN_FPS = 25.0  # for a video that does not say how fast it is
DETECTIONS_FILE = "detections.json"
PREDICT_STEPS = ("decode", "prepare", "infer", "detect", "draw and write")


@dataclass
class Summary:
    """What a prediction did: counts, the images that were left out, and the seconds of each step."""

    images: int = 0
    detections: int = 0
    skipped: list[Path] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PREDICT_STEPS, 0.0))

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - start

    def describe(self) -> str:
        """Return the speed, as one figure and by step: host work and files included, the loading of the model not."""
        total = sum(self.seconds.values())
        if not self.images:
            return "No image was predicted."
        shares = ", ".join(f"{step} {1000 * seconds / self.images:.1f}" for step, seconds in self.seconds.items())
        return (
            f"{self.images} images, {self.detections} detections, {self.images / total:.2f} images/s end to end\n"
            f"ms per image: {shares}"
        )


@dataclass(frozen=True)
class Predictor:
    """An engine and the host's part behind it."""

    engine: Engine
    detector: Detector

    @property
    def batch_size(self) -> int:
        return self.engine.batch_size or 1

    def predict(self, images_bgr: Sequence[np.ndarray], summary: Summary) -> list[Detections]:
        """Detect the instances in up to `batch_size` images; raises ArtifactError when the model is another's."""
        threshold = self.detector.settings.score_threshold
        batch = detect_batch(images_bgr, self.engine, self.detector, summary.timed)
        found = [keep_scores(detections, threshold) for detections in batch]
        summary.images += len(found)
        summary.detections += sum(map(len, found))
        return found

    def draw(self, image_bgr: np.ndarray, detections: Detections) -> np.ndarray:
        """Return the image with the detections drawn in."""
        config = self.detector.config
        return draw_instances(image_bgr, from_detections(detections, config.class_names, config.category_ids))


@contextlib.contextmanager
def open_engines(model: Path, weights: Path, request: DeviceRequest) -> Iterator[tuple[list[Engine], str]]:
    """Open a model on each device of the request, and say in words what it runs on.

    The target is the one that runs files of the model's ending. The words also say when nothing states which weights
    the model was made from. Raises UsageError for another ending, ArtifactError when there is no such file or it was
    made from other weights.
    """
    kind = target_of_model(model)
    if not model.is_file():
        raise ArtifactError(f"There is no model {model}. Pass an exported .onnx or a compiled .om: --model=FILE.")
    target = kind.find(replace(request, device=_read_device(kind, request.device)))
    stated = find_weights_sha256(model)
    remark = _compare_weights(model, stated, weights)  # before the device is opened, which takes seconds
    with contextlib.ExitStack() as stack:
        engines = [stack.enter_context(target.open(model, npu)) for npu in target.npus]
        if stated is None:  # an exported ONNX states them itself
            remark = _compare_weights(model, engines[0].metadata.get("weights_sha256"), weights)
        yield engines, "; ".join(target.describe_device(npu) for npu in target.npus) + remark


def _read_device(target: type[Target], word: str) -> str:
    try:
        return read_device(target, word)
    except ValueError as error:
        raise UsageError(f"--device={word}: expected {error}.") from None


def _compare_weights(model: Path, found: str | None, weights: Path) -> str:
    """Raise ArtifactError when a model is of other weights; return a remark when that cannot be told, else nothing."""
    if found is None:
        return f" (not checked against {weights}: neither the model nor a fitting side-car states its weights)"
    if not weights.is_file():  # a model with the heads inside runs without them
        return f" (not checked against its weights: there is no {weights})"
    if found != sha256_file(weights):
        raise ArtifactError(f"{model} was made from other weights than {weights}. Export or compile it from these.")
    return ""


def is_video(source: Path) -> bool:
    """Tell a video file by its ending."""
    return source.suffix.lower() in VIDEO_SUFFIXES and not source.is_dir()


def images_of(source: Path, limit: int | None = None) -> list[Path]:
    """Return the image, or the folder's first images by name; raises DatasetError when there is none."""
    if source.is_dir():
        return find_images(source, limit)
    if not source.exists():
        raise DatasetError(f"There is no {source}. Pass an image, a folder of images or a video.")
    if source.suffix.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(
            f"{source} is neither an image ({', '.join(IMAGE_SUFFIXES)}) nor a video ({', '.join(VIDEO_SUFFIXES)})."
        )
    return [source]


def predict_images(paths: Sequence[Path], predictor: Predictor, save_path: Path) -> Summary:
    """Write `<stem>.jpg` with the detections of each image, and `detections.json` with those of all.

    An image that cannot be decoded, or is too long for a JPEG, is named and left out.
    """
    _require_other_folder(paths, save_path)
    make_folder(save_path)
    summary = Summary()
    results: list[dict[str, Any]] = []
    stems = distinct_stems(paths)
    readable = _decode_all(tqdm(paths, desc="predict", unit="image"), summary)
    for batch in batches(readable, predictor.batch_size):
        found = predictor.predict([pixels for _, pixels in batch], summary)
        with summary.timed("draw and write"):
            for (index, pixels), detections in zip(batch, found):
                write_jpeg(save_path / f"{stems[index]}.jpg", predictor.draw(pixels, detections))
                more = {"file_name": paths[index].name}
                results += describe_detections(detections, predictor.detector.config, {"image_id": index + 1}, more)
    write_json(save_path / DETECTIONS_FILE, results, indent=None)
    return summary


def predict_video(source: Path, predictor: Predictor, save_path: Path, limit: int | None = None) -> Summary:
    """Write `<stem>.mp4`, the video with its detections drawn in, and `<stem>.json` with those of each frame.

    The copy has the video's frame rate and size, and no sound. Raises DatasetError when it cannot be read.
    """
    if not source.is_file():
        raise DatasetError(f"There is no video {source}.")
    _require_other_folder([source], save_path)
    make_folder(save_path)
    summary = Summary()
    frames: list[dict[str, Any]] = []
    config = predictor.detector.config
    with contextlib.closing(_Video(source)) as video:
        progress = tqdm(video.frames(limit, summary), desc="predict", unit="frame", total=limit)
        with video.copy(save_path / f"{source.stem}.mp4") as writer:
            for batch in batches(progress, predictor.batch_size):
                found = predictor.predict(batch, summary)
                with summary.timed("draw and write"):
                    for pixels, detections in zip(batch, found):
                        writer.write(predictor.draw(pixels, detections))
                        frames.append(
                            {
                                "frame": len(frames),
                                "detections": describe_detections(detections, config),
                            }
                        )
    described = {"video": source.name, "fps": video.fps, "width": video.size[0], "height": video.size[1]}
    write_json(save_path / f"{source.stem}.json", {**described, "frames": frames}, indent=None)
    return summary


def describe_detections(
    detections: Detections,
    config: ModelConfig,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return one entry for each detection: COCO's, with box and mask (if any) together, and the name of its class."""
    entries = bbox_results(detections, 0, config.category_ids)
    names = dict(zip(config.category_ids, config.class_names))
    shapes = [{}] * len(entries) if detections.masks is None else [{"segmentation": rle} for rle in detections.masks]
    return [
        {
            **(before or {}),
            "category_id": entry["category_id"],
            "bbox": entry["bbox"],
            **shape,
            "score": entry["score"],
            "class_name": names[entry["category_id"]],
            **(after or {}),
        }
        for entry, shape in zip(entries, shapes)
    ]


class _Video:
    """A video file that can be read; raises DatasetError when it cannot."""

    def __init__(self, source: Path) -> None:
        self._capture = cv2.VideoCapture(str(source))
        is_read, self._first = self._capture.read()
        if not is_read:
            self._capture.release()
            raise DatasetError(f"{source} ({source.stat().st_size} bytes) cannot be read as a video.")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and fps > 0 else UNKNOWN_FPS
        self.size = self._first.shape[1], self._first.shape[0]  # width, height

    def frames(self, limit: int | None, summary: Summary) -> Iterator[np.ndarray]:
        """Give the first `limit` frames, BGR."""
        frame = self._first
        for number in itertools.count(1):
            yield frame
            if number == limit:
                return
            with summary.timed("decode"):
                is_read, frame = self._capture.read()
            if not is_read:
                return

    @contextlib.contextmanager
    def copy(self, path: Path) -> Iterator[cv2.VideoWriter]:
        """Give a writer of frames of the same rate and size; `path` appears when all is written."""
        # A folder, not a name that ends in .part: the ending tells OpenCV the format.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".predict-") as folder:
            temporary = Path(folder) / path.name
            codec = cv2.VideoWriter.fourcc(*VIDEO_CODEC)
            writer = cv2.VideoWriter(str(temporary), codec, self.fps, self.size)
            if not writer.isOpened():
                raise ArtifactError(f"OpenCV cannot write {path} as {VIDEO_CODEC}. Is this build of it without video?")
            try:
                yield writer
            finally:
                writer.release()
            temporary.replace(path)

    def close(self) -> None:
        self._capture.release()


def _decode_all(paths: Iterable[Path], summary: Summary) -> Iterator[tuple[int, np.ndarray]]:
    """Give each image that can be decoded, and drawn as JPEG, with its position."""
    for index, path in enumerate(paths):
        try:
            with summary.timed("decode"):
                pixels = decode_image(path)
        except DatasetError:
            summary.skipped.append(path)
            tqdm.write(f"skipped: {path} cannot be decoded as an image.", file=sys.stderr)
            continue
        if max(pixels.shape) > JPEG_LONGEST_PX:
            summary.skipped.append(path)
            size = f"{pixels.shape[1]}×{pixels.shape[0]} pixels"
            tqdm.write(f"skipped: {path} has {size}, more than a JPEG can have ({JPEG_LONGEST_PX}).", file=sys.stderr)
            continue
        yield index, pixels


def _require_other_folder(sources: Sequence[Path], save_path: Path) -> None:
    """Raise UsageError when the pictures could take the place of what they are made from."""
    if any(path.parent.resolve() == save_path.resolve() for path in sources):
        raise UsageError(f"--save_path={save_path} is the folder of the source. Pass another folder for the results.")
