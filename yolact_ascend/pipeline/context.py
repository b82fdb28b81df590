"""What the stages of one run share: settings, target, records, and what is read once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from yolact_ascend.errors import DatasetError
from yolact_ascend.files import sha256_file
from yolact_ascend.images.coco import CocoDataset, CocoImage, load_dataset
from yolact_ascend.images.layout import find_image_folder, find_split
from yolact_ascend.images.pictures import require_fitting, require_proportions, verify, verify_pictures
from yolact_ascend.models.classes import ClassChoice, choose_classes
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.description import Description
from yolact_ascend.models.families import cut_outputs
from yolact_ascend.models.family import ONNX
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.models.onnx_metadata import own_operators
from yolact_ascend.pipeline.journal import Journal
from yolact_ascend.pipeline.model_source import name_of_exported
from yolact_ascend.pipeline.records import Records
from yolact_ascend.pipeline.settings import RunSettings
from yolact_ascend.process import Runner
from yolact_ascend.targets.compiled import Need, SideCar, require_model
from yolact_ascend.targets.described import read_description
from yolact_ascend.targets.folder import QuantizedFiles, WorkFolder
from yolact_ascend.targets.target import Target
from yolact_ascend.tensors import TensorSpec

SCORING = frozenset(("postprocess", "stream", "report"))  # stages that need classes and masks


def find_dataset(settings: RunSettings) -> tuple[Path, Path]:
    """Return (image folder, annotation file) of a run; raises DatasetError when they are not there."""
    if settings.annotations is None:
        return find_split(settings.coco)
    if settings.images is None and not settings.coco.is_dir():
        raise DatasetError(
            f"There is no folder {settings.coco} with the images that {settings.annotations} lists. Pass images=DIR."
        )
    return settings.images or find_image_folder(settings.coco), settings.annotations


def find_classes_word(settings: RunSettings) -> str | None:
    """Return where the names of the classes are from when the weights name none: `classes=`, else the data set.

    Raises DatasetError when the data set is needed and not there.
    """
    if settings.classes or not (settings.input == "dataset" or settings.annotations):
        return settings.classes
    try:
        return str(find_dataset(settings)[1])
    except DatasetError:
        if settings.needs_dataset:
            raise
        return None


class RunContext:
    """One run: what it was asked to do, where it runs, and what its stages read more than once."""

    def __init__(self, settings: RunSettings, target: Target, records: Records, runner: Runner) -> None:
        self.settings = settings
        self.target = target
        self.records = records
        self.runner = runner
        self.folder = WorkFolder(settings.out)
        self.journal = Journal(self.folder.log("run"))

    @cached_property
    def weights_sha256(self) -> str:
        exported = self.settings.exported
        return sha256_file(self.settings.weights) if exported is None else exported.weights_sha256

    @property
    def weights_name(self) -> str:
        """The file name of the weights, "" when it is not known."""
        settings = self.settings
        return settings.weights.name if settings.exported is None else name_of_exported(settings.out) or ""

    @property
    def description(self) -> Description:
        """What the exported ONNX, as it is now, states about itself; raises ArtifactError when there is none."""
        return read_description(self.folder.onnx)

    def sha256_host_part(self) -> str | None:
        """Return the SHA-256 of the heads that the host runs; None when the device runs the whole network."""
        part = self.description.host_part
        return None if part is None else part.sha256

    @cached_property
    def class_choice(self) -> ClassChoice:
        """The config with the classes of the weights, and where these are from."""
        exported = self.settings.exported
        if exported is not None:
            return ClassChoice(exported.config, "the exported model")
        return choose_classes(self.settings.weights, self.settings.model_config, self.classes_word)

    @cached_property
    def classes_word(self) -> str | None:
        """Where the names of the classes are from when the weights name none."""
        return find_classes_word(self.settings)

    @property
    def config(self) -> ModelConfig:
        """The config, with the classes of the weights."""
        return self.class_choice.config

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the compiled model takes for one image, the picture first."""
        return input_tensors(self.config, self.settings.input_dtype)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the compiled model gives for one image."""
        return cut_outputs(self.config, self.settings.cut)

    @cached_property
    def whole_dataset(self) -> CocoDataset:
        """The data set of `coco=`, or of `images=` and `annotations=`."""
        image_folder, annotation_file = find_dataset(self.settings)
        return load_dataset(annotation_file, image_folder)

    @cached_property
    def _checked(self) -> tuple[CocoDataset, ModelConfig]:
        if SCORING.isdisjoint(self.settings.stages):
            return verify_pictures(self.whole_dataset, limit=self.settings.image_limit), self.config
        return verify(self.whole_dataset, self.config, limit=self.settings.image_limit)

    @property
    def dataset(self) -> CocoDataset:
        """The images of this run and their annotations, checked; `warnings` are for the user and the report."""
        return self._checked[0]

    @property
    def scored_config(self) -> ModelConfig:
        """The config with the data set's ids for its classes."""
        return self._checked[1]

    @property
    def images(self) -> tuple[CocoImage, ...]:
        """The images of this run, in the order of their indices; all their files are there."""
        return self.dataset.images

    def require_dataset(self) -> None:
        """Raise DatasetError, before any work, when the data set that this run needs is not whole."""
        if self.settings.needs_dataset:
            dataset = self.dataset
            if dataset.pictures is not None:
                require_proportions(dataset.pictures, self.config.preprocessing)
            if not self.settings.stream:  # a stream goes on without those that cannot be decoded, and says so
                dataset.require_readable()
                require_fitting(dataset.images, self.config.preprocessing)

    @property
    def quantized(self) -> QuantizedFiles:
        """What the stage `quantize` writes."""
        return QuantizedFiles(self.folder.onnx, self.folder.root)

    @property
    def runnable_onnx(self) -> Path | None:
        """The second export that INT8 is measured on; None where the first one can be run."""
        settings = self.settings
        operators = settings.operators if settings.exported is None else own_operators(self.folder.onnx) or ONNX
        return None if settings.quantization is None or operators == ONNX else self.folder.runnable_onnx

    @property
    def compiled_from(self) -> Path:
        """The ONNX that is compiled: the exported one, or for int8 the form of it that the target takes."""
        return self.folder.onnx if self.settings.quantization is None else self.quantized.form(self.target.name)

    def model(self, batch_size: int) -> Path:
        """Return the path of the compiled model."""
        return self.folder.model(batch_size, self.target.model_suffix)

    def detections(self, batch_size: int) -> dict[str, Path]:
        """Return the files of detections, by task."""
        return self.folder.detections(batch_size, self.config.tasks)

    def need(self, batch_size: int) -> Need:
        """Return what this run expects of its model, whatever lies in the work folder."""
        return Need(
            target=self.target.name,
            made_for=self.target.made_for(),
            onnx_sha256=sha256_file(self.compiled_from),
            weights_sha256=self.weights_sha256,
            batch_size=batch_size,
            config=self.config.name,
            cut=self.settings.cut,
            precision=self.settings.precision,
            inputs=self.inputs,
            outputs=self.outputs,
            recipe={} if self.settings.quantization is None else self.settings.quantization.named,
        )

    def require_model(self, batch_size: int) -> SideCar:
        """Return the side-car of the compiled model; raises ArtifactError unless it is the one of this run."""
        return require_model(self.model(batch_size), self.need(batch_size))
