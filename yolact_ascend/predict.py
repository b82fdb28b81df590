"""`predict`: images, a folder of them or a video through any engine, to pictures and detections in COCO's format."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from yolact_ascend.artifacts import (
    INPUTS,
    cut_outputs,
    distinct_stems,
    make_folder,
    sha256_file,
    sidecar_file,
    write_json,
)
from yolact_ascend.ascend import find_tools
from yolact_ascend.compiled import find_weights_sha256
from yolact_ascend.config import CUTS, ModelConfig
from yolact_ascend.detections import Detections, bbox_results, keep_scores
from yolact_ascend.engines import DeviceEngine, Engine, OnnxEngine, batches
from yolact_ascend.errors import ArtifactError, DatasetError, UsageError
from yolact_ascend.postprocess import Detector
from yolact_ascend.timings import Timings
from yolact_ascend.transforms import IMAGE_SUFFIXES, TRANSFORMS, decode_image, find_images
from yolact_ascend.visualize import JPEG_LONGEST_PX, draw_instances, from_detections, write_jpeg

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
VIDEO_CODEC = "mp4v"
UNKNOWN_FPS = 25.0  # for a video that does not say how fast it is
DETECTIONS_FILE = "detections.json"
STEPS = ("decode", "prepare", "infer", "heads and detections", "draw and write")


@dataclass
class Summary:
    """What a prediction did: counts, the images that were left out, and the seconds of each step."""

    images: int = 0
    detections: int = 0
    skipped: list[Path] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))

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
            f"ms an image: {shares}"
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
        transform = TRANSFORMS[input_dtype(self.engine)]
        with summary.timed("prepare"):
            batch = np.stack([transform(image) for image in images_bgr])
        with summary.timed("infer"):
            outputs = self.engine.infer(batch)
        with summary.timed("heads and detections"):
            found = [self._detect([o[i] for o in outputs], *image.shape[:2]) for i, image in enumerate(images_bgr)]
        summary.images += len(found)
        summary.detections += sum(map(len, found))
        return found

    def draw(self, image_bgr: np.ndarray, detections: Detections) -> np.ndarray:
        """Return the image with the detections drawn in."""
        return draw_instances(image_bgr, from_detections(detections, self.detector.config))

    def _detect(self, outputs: Sequence[np.ndarray], height: int, width: int) -> Detections:
        source, remedy = "The model's outputs", "Compile with precision=fp32, or export again."
        detections = self.detector.detect(outputs, height, width, source, remedy, Timings())
        return keep_scores(detections, self.detector.settings.score_threshold)


@contextlib.contextmanager
def open_engine(model: Path, weights: Path, device: str, npu: int) -> Iterator[tuple[Engine, str]]:
    """Open the engine that the model's ending tells, and say in words what it runs on.

    The words say, too, when nothing tells which weights the model is of. Raises UsageError for another ending,
    ArtifactError when there is no such file or it is of other weights.
    """
    if model.suffix not in (".onnx", ".om"):
        raise UsageError(f"--model={model}: expected an exported .onnx or a compiled .om.")
    if not model.is_file():
        raise ArtifactError(f"There is no model {model}. Name an exported .onnx or a compiled .om: --model=FILE.")
    if model.suffix == ".onnx":
        with OnnxEngine(model) as engine:
            remark = _compare_weights(model, engine.metadata.get("weights_sha256"), weights, "Export it from these.")
            yield engine, f"ONNX Runtime on the CPU{remark}"
        return
    remark = _compare_weights(model, find_weights_sha256(model), weights, "Compile it from these.")
    tools = find_tools(device, None, (npu,))
    with DeviceEngine(model, tools, npu) as engine:
        world = f"CPU emulation of {tools.soc_version}, not an NPU" if tools.is_emulated else tools.soc_version
        yield engine, f"{world}, device {npu}{remark}"


def _compare_weights(model: Path, found: str | None, weights: Path, remedy: str) -> str:
    """Raise ArtifactError when a model is of other weights; return a remark when that cannot be told, else nothing."""
    if found is None:
        kind = "metadata" if model.suffix == ".onnx" else f"fitting {sidecar_file(model).name}"
        return f" (not checked against {weights}: there is no {kind} that names its weights)"
    if not weights.is_file():  # a model with the heads inside runs without them
        return f" (not checked against its weights: there is no {weights})"
    if found != sha256_file(weights):
        raise ArtifactError(f"{model} was made from other weights than {weights}. {remedy}")
    return ""


def find_cut(engine: Engine, config: ModelConfig) -> str:
    """Tell by its outputs where a model ends; raises ArtifactError when it is none of the config's."""
    found = [(spec.shape, spec.dtype) for spec in engine.outputs]
    expected = {cut: [(spec.shape, spec.dtype) for spec in cut_outputs(config, cut)] for cut in CUTS}
    for cut, shapes in expected.items():
        if shapes == found:
            return cut
    listed = " or ".join(f"{shapes} (cut {cut})" for cut, shapes in expected.items())
    raise ArtifactError(
        f"The model's outputs are {found}, expected {listed} for {config.name}. Is it of another --config, "
        "or was it compiled with --output_type?"
    )


def input_dtype(engine: Engine) -> str:
    """Tell by its bytes whether a model takes normalised images or, with AIPP, uint8 ones."""
    for dtype, spec in INPUTS.items():
        if spec.size_bytes == engine.image_bytes:
            return dtype
    expected = " or ".join(f"{spec.size_bytes} ({dtype})" for dtype, spec in INPUTS.items())
    raise ArtifactError(
        f"The model takes {engine.image_bytes} bytes an image, expected {expected}. Compile pth2onnx.py's."
    )


def is_video(source: Path) -> bool:
    """Tell a video file by its ending."""
    return source.suffix.lower() in VIDEO_SUFFIXES and not source.is_dir()


def images_of(source: Path, limit: int | None = None) -> list[Path]:
    """Return the image, or the folder's first images by name; raises DatasetError when there is none."""
    if source.is_dir():
        return find_images(source, limit)
    if not source.exists():
        raise DatasetError(f"There is no {source}. Name an image, a folder of images or a video.")
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
    """Return one entry for each detection: COCO's, with box and mask together, and the name of its class."""
    entries = bbox_results(detections, 0, config.category_ids)
    names = dict(zip(config.category_ids, config.class_names))
    return [
        {
            **(before or {}),
            "category_id": entry["category_id"],
            "bbox": entry["bbox"],
            "segmentation": mask,
            "score": entry["score"],
            "class_name": names[entry["category_id"]],
            **(after or {}),
        }
        for entry, mask in zip(entries, detections.masks)
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
        raise UsageError(f"--save_path={save_path} is the folder of the source. Name another for the results.")
