"""Images through an engine and a detector: whoever does it finds what `detect_batch` finds, by the config's values."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from factories import TINY_CONFIG, detector_of, write_coco

from yolact_ascend.detection.detections import bbox_results, mask_results
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError
from yolact_ascend.host.inference import detect_batch, input_dtype
from yolact_ascend.host.model import Model
from yolact_ascend.host.overlap import Spent, overlap
from yolact_ascend.host.postprocess import detect_image
from yolact_ascend.host.preprocess import preprocess
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.images.decode import decode_image
from yolact_ascend.images.reader import source_of_image
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.inputs import UINT8, input_tensor
from yolact_ascend.targets.ascend.engine import DeviceEngine
from yolact_ascend.targets.folder import input_bin, output_bin
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.tensors import TensorSpec, read_tensor
from yolact_ascend.timings import Timings

INPUT, UINT8_INPUT = input_tensor(TINY_CONFIG), input_tensor(TINY_CONFIG, UINT8)
CHANGED = replace(TINY_CONFIG.preprocessing, mean_rgb=(60.0, 150.0, 90.0), channel_order="BGR")


@pytest.fixture(
    scope="module", params=[TINY_CONFIG, replace(TINY_CONFIG, preprocessing=CHANGED)], ids=["its own", "changed"]
)
def config(request):
    """A config, and one of the same network with other preprocessing: nobody may take another's."""
    return request.param


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Three images, the first three by their name, too."""
    folder = write_coco(tmp_path_factory.mktemp("coco"), TINY_CONFIG)
    four = load_dataset(folder / "annotations" / "instances_val2017.json", folder / "val2017")
    return replace(four, images=four.images[:3])


@pytest.fixture(scope="module")
def photographs(dataset):
    return [decode_image(image.path) for image in dataset.images]


@pytest.fixture(scope="module")
def detector(tiny_onnx, config):
    return detector_of(tiny_onnx, config)


@pytest.fixture(scope="module", params=["float32", "uint8"])
def engine(request):
    """A model that takes normalised images, and one that takes pixels, which the device normalises."""
    if request.param == "float32":
        opened = OnnxEngine(request.getfixturevalue("tiny_onnx"))
    else:
        opened = DeviceEngine(request.getfixturevalue("compiled_with_aipp"), request.getfixturevalue("emulation"))
    with opened as engine:
        yield engine


@pytest.fixture(scope="module")
def expected(photographs, engine, detector):
    """What `detect_batch` finds in each image alone."""
    return [found for image in photographs for found in detect_batch([image], engine, detector, Timings().timed)]


def entries(found):
    """All that was found, image by image, as COCO's results have it."""
    return [
        [kind(each, image_id, TINY_CONFIG.category_ids) for kind in (bbox_results, mask_results)]
        for image_id, each in enumerate(found)
    ]


def test_the_preprocessing_matters_here(photographs, tiny_onnx):
    """Otherwise the comparisons below could not fail."""
    found = []
    with OnnxEngine(tiny_onnx) as engine:
        for preprocessing in (TINY_CONFIG.preprocessing, CHANGED):
            detector = detector_of(tiny_onnx, replace(TINY_CONFIG, preprocessing=preprocessing))
            found.append(detect_batch(photographs, engine, detector, Timings().timed))
    for ours, others in zip(*found):
        assert len(ours) > 0 and len(others) > 0
        assert not np.array_equal(ours.scores, others.scores)


def test_a_model_finds_the_same(photographs, dataset, engine, detector, expected):
    """By arrays and by paths."""
    model = Model([engine], detector)
    found = model(photographs[:2]) + model([image.path for image in dataset.images[2:]])
    assert entries([each.detections for each in found]) == entries(expected)


def test_stream_finds_the_same(dataset, engine, detector, expected):
    """By paths, whose pixels workers read, and by arrays, which are prepared here."""
    images = map(source_of_image, dataset.images)
    streamed = list(overlap([engine], images, detector, 1, 1, Spent()))
    assert entries([each.detections for each in streamed]) == entries(expected)
    given = (decode_image(image.path) for image in dataset.images)
    streamed = list(Model([engine], detector).stream(given, workers=1))
    assert entries([each.detections for each in streamed]) == entries(expected)


@pytest.mark.usefixtures("opened")
def test_preprocess_and_postprocess_find_the_same(dataset, engine, detector, expected, tmp_path):
    dtype = input_dtype(engine, detector.config)
    preprocess(dataset.images, tmp_path, detector.config, dtype)
    found = []
    for index, image in enumerate(dataset.images):
        tensor = read_tensor(input_bin(tmp_path, index), input_tensor(detector.config, dtype))
        for k, output in enumerate(engine.infer([tensor[None]])):
            output[0].tofile(output_bin(tmp_path, index, k))
        found.append(detect_image(tmp_path, index, detector, image.height, image.width, Timings()))
    assert entries(found) == entries(expected)


@pytest.fixture(scope="module")
def trained(tiny_weights, config):
    """The network in PyTorch, as an engine and the detector behind it."""
    from yolact_ascend.models.weights import load_network
    from yolact_ascend.training.score import NetworkEngine

    network = load_network(tiny_weights, config)
    engine = NetworkEngine(network, config, "cpu")
    return network, engine, load_detector(tiny_weights, config, engine.cut)


def test_a_score_in_training_finds_the_same(dataset, photographs, config, trained, monkeypatch):
    from yolact_ascend.host import score
    from yolact_ascend.training.score import score_network

    network, engine, detector = trained
    expected = [detect_batch([image], engine, detector, Timings().timed)[0] for image in photographs]
    seen = []
    monkeypatch.setattr(score, "evaluate", lambda _, ids, found: seen.append((ids, found)))
    score_network(network, config, dataset)
    ((image_ids, found),) = seen
    assert image_ids == [image.image_id for image in dataset.images]
    assert [entry["score"] for entry in found[BOX]] == [float(s) for each in expected for s in each.scores]
    assert [entry["segmentation"] for entry in found[MASK]] == [mask for each in expected for mask in each.masks]


def test_cuts_find_the_same(dataset, photographs, config, tiny_weights, trained, monkeypatch):
    """At both cuts, each with the outputs that the network has there."""
    from yolact_ascend.analysis import cuts

    seen = []

    def call(function, *arguments):
        result = function(*arguments)
        if function is cuts._detect_at_cuts:
            outputs, (height, width) = arguments
            seen.append(
                {
                    cut: cuts._detectors[cut].detect(values, height, width, "", "", Timings())
                    for cut, values in outputs.items()
                }
            )
        return result

    @contextlib.contextmanager
    def open_none(_, start, detectors):
        start(detectors)
        yield SimpleNamespace(submit=call, result=lambda result: result)

    monkeypatch.setattr(cuts, "open_workers", open_none)
    cuts.measure_cuts(config, tiny_weights, dataset.image_folder, len(photographs))
    _, engine, detector = trained
    by_name = sorted(zip(dataset.images, photographs), key=lambda pair: pair[0].path.name)
    expected = [detect_batch([pixels], engine, detector, Timings().timed)[0] for _, pixels in by_name]
    assert entries([each["heads"] for each in seen[1:]]) == entries(expected)  # the first one warms up
    # The heads run on ONNX Runtime there: only the order of sums differs.
    for each, found in zip(seen[1:], expected):
        assert each["fpn"].scores[:5] == pytest.approx(found.scores[:5], abs=1e-4)


def test_a_batch_is_its_images_one_by_one(photographs, tiny_onnx):
    detector = detector_of(tiny_onnx)
    seen = []

    @contextlib.contextmanager
    def timed(step):
        yield
        seen.append(step)

    with OnnxEngine(tiny_onnx) as engine:
        alone = [detect_batch([image], engine, detector, Timings().timed)[0] for image in photographs]
        assert entries(detect_batch(photographs, engine, detector, timed)) == entries(alone)
    assert seen == ["prepare", "infer", "detect"]


def test_boxes_and_masks_are_for_the_sizes_that_are_named(photographs, tiny_onnx):
    """Else for those of the images, whose first and last differ here."""
    detector = detector_of(tiny_onnx)
    images, named = [photographs[0], photographs[-1]], [(160, 100), (55, 110)]
    with OnnxEngine(tiny_onnx) as engine:
        own = detect_batch(images, engine, detector, Timings().timed)
        others = detect_batch(images, engine, detector, Timings().timed, named)
    for found, sizes in ((own, [image.shape[:2] for image in images]), (others, named)):
        assert [{tuple(mask["size"]) for mask in each.masks} for each in found] == [{tuple(size)} for size in sizes]
    assert [list(each.scores) for each in own] == [list(each.scores) for each in others]


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [
        (INPUT, "float32"),
        (UINT8_INPUT, "uint8"),
        # A runtime that tells bytes alone: their number has to do.
        (TensorSpec("image", (3_630_000,), "uint8"), "float32"),
        (TensorSpec("image", (907_500,), "uint8"), "uint8"),
    ],
)
def test_the_models_input_tells_its_dtype(spec, dtype):
    assert input_dtype(SimpleNamespace(inputs=(spec,)), TINY_CONFIG) == dtype


@pytest.mark.parametrize(
    "specs",
    [
        (TensorSpec("image", (5,), "uint8"),),
        (TensorSpec("image", (3, 224, 224)),),
        (TensorSpec("image", (550, 550, 3)),),  # as many values as ours, in another order
        (INPUT, INPUT),
    ],
    ids=["bytes", "size", "layout", "two"],
)
def test_a_model_with_another_input_is_refused(specs):
    with pytest.raises(
        ArtifactError, match=r"takes .* for one image, expected \[3, 550, 550\] float32 or \[550, 550, 3\]"
    ):
        input_dtype(SimpleNamespace(inputs=specs), TINY_CONFIG)
