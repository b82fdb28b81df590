"""`predict` on images and on a video: what is written, what is left out, what is refused."""

import contextlib
import io
import json
import math
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from factories import TINY_CONFIG, decode_mask
from formats import require_valid

from yolact_ascend.cli.main import main, parse_arguments
from yolact_ascend.errors import ArtifactError, DatasetError, WeightsError
from yolact_ascend.files import sha256_file
from yolact_ascend.host import footage, loading, predict
from yolact_ascend.host.footage import is_video
from yolact_ascend.host.found import Found
from yolact_ascend.host.loading import ModelRequest
from yolact_ascend.host.model import Model
from yolact_ascend.host.predict import images_of
from yolact_ascend.models.description import Description
from yolact_ascend.models.families import find_cut
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.yolact.cuts import CUTS, cut_outputs
from yolact_ascend.models.yolact.detect import YolactDetector
from yolact_ascend.targets.ascend.target import AscendTarget
from yolact_ascend.targets.compiled import Need, describe_model, write_sidecar
from yolact_ascend.targets.folder import sidecar_file
from yolact_ascend.targets.target import DeviceRequest

SIZES = {"a": (640, 480), "b": (100, 80), "c": (300, 500)}  # width, height


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of three images; tests may change `photographs`, a copy of it."""
    folder = tmp_path_factory.mktemp("drawn")
    generator = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        pixels = cv2.GaussianBlur(generator.integers(0, 255, (height, width, 3), dtype=np.uint8), (0, 0), 3)
        cv2.imwrite(str(folder / f"{name}.jpg"), pixels)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def photographs(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "photographs")


@pytest.fixture(params=["mp4v .mp4", "MJPG .avi"])
def video(request, tmp_path):
    """Three frames of 160×120 at 10 a second, each lighter than the one before."""
    codec, suffix = request.param.split()
    path = tmp_path / "videos" / f"walk{suffix}"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10.0, (160, 120))
    for level in range(0, 180, 60):
        writer.write(np.full((120, 160, 3), level, np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def words(tiny_onnx, tiny_weights):
    return [f"--config={TINY_CONFIG.name}", f"--trained_model={tiny_weights}", f"--model={tiny_onnx}"]


@pytest.fixture
def run(words, tmp_path):
    """Run the verb on the exported network; return its exit code. The results are in `out`."""

    def run(source, *more, **flags):
        flags = [f"--{name}={value}" for name, value in flags.items()]
        return main(["predict", str(source), *words, f"--save_path={tmp_path / 'out'}", *more, *flags])

    return run


@pytest.fixture(scope="module")
def predicted(words, drawn, tmp_path_factory):
    """The results of the three images by the exported network, and what was printed."""
    out = tmp_path_factory.mktemp("predicted")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["predict", str(drawn), *words, f"--save_path={out / 'out'}"]) == 0
    return out, printed.getvalue()


def read_detections(folder):
    return read_file(folder)["detections"]


def read_file(folder):
    return require_valid(json.loads((folder / "out" / "detections.json").read_text()), "detections")


def shown(folder):
    """What a user sees in a folder: not the lock, and not the list of our files."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_folder_gives_a_picture_each_and_one_file_of_detections(predicted, drawn):
    folder, said = predicted
    assert shown(folder / "out") == {"a.jpg", "b.jpg", "c.jpg", "detections.json"}
    for name, (width, height) in SIZES.items():
        picture, source = (cv2.imread(str(place / f"{name}.jpg")) for place in (folder / "out", drawn))
        assert picture.shape == (height, width, 3)
        assert np.abs(picture.astype(int) - source).max() > 60  # something is drawn in
    entries = read_detections(folder)
    assert {entry["file_name"] for entry in entries} == {"a.jpg", "b.jpg", "c.jpg"}
    names = dict(zip(TINY_CONFIG.category_ids, TINY_CONFIG.class_names))
    for entry in entries:
        assert list(entry) == [
            *("image_id", "category_id", "bbox", "segmentation", "score", "class_name", "file_name"),
        ]
        assert entry["class_name"] == names[entry["category_id"]] and entry["score"] > 0.3
        assert entry["image_id"] == 1 + list(SIZES).index(entry["file_name"][0])
        assert decode_mask(entry["segmentation"]).shape == SIZES[entry["file_name"][0]][::-1]
    assert f"3 images, {len(entries)} detections, " in said and " images/s end to end\n" in said
    assert all(step in said for step in predict.PREDICT_STEPS) and "yolact_edge.onnx on ONNX Runtime on the CPU" in said


def test_one_image_is_the_same_as_in_its_folder(run, predicted, drawn, tmp_path):
    assert run(drawn / "b.jpg") == 0
    alone = read_detections(tmp_path)
    together = [entry for entry in read_detections(predicted[0]) if entry["file_name"] == "b.jpg"]
    assert together == [{**entry, "image_id": 2} for entry in alone] and alone


def test_threshold_top_k_and_limit_choose_the_best(run, predicted, photographs, tmp_path):
    everything = [entry for entry in read_detections(predicted[0]) if entry["file_name"] == "a.jpg"]
    scores = [entry["score"] for entry in everything]
    assert len(scores) > 3 and scores == sorted(scores, reverse=True)
    assert run(photographs, "--top_k=3", "--limit=1") == 0
    assert read_detections(tmp_path) == everything[:3]
    middle = scores[len(scores) // 2]
    assert run(photographs, f"--score_threshold={middle}", "--limit=1") == 0
    fewer = [entry["score"] for entry in read_detections(tmp_path)]
    assert 0 < len(fewer) < len(scores) and min(fewer) > middle
    assert run(photographs, "--score_threshold=1", "--limit=1") == 0
    assert read_detections(tmp_path) == []


@pytest.mark.parametrize("video", ["mp4v .mp4"], indirect=True)
def test_a_video_gives_a_video_and_the_detections_of_each_frame(run, video, tmp_path, capsys):
    assert run(video) == 0
    assert shown(tmp_path / "out") == {"walk.mp4", "walk.json"}
    found = require_valid(json.loads((tmp_path / "out" / "walk.json").read_text()), "video")
    assert (found["video"], found["fps"], found["width"], found["height"]) == (video.name, 10.0, 160, 120)
    assert [(frame["frame"], frame["time_ms"]) for frame in found["frames"]] == [(0, 0.0), (1, 100.0), (2, 200.0)]
    assert found["copy"] == {"fps": 10.0, "width": 160, "height": 120}
    some = [entry for frame in found["frames"] for entry in frame["detections"]]
    assert set(some[0]) == {"category_id", "bbox", "segmentation", "score", "class_name"}
    copy = cv2.VideoCapture(str(tmp_path / "out" / "walk.mp4"))
    assert copy.get(cv2.CAP_PROP_FPS) == 10.0
    frames = [copy.read()[1] for _ in range(3)]
    assert [frame.shape for frame in frames] == [(120, 160, 3)] * 3 and not copy.read()[0]
    medians = [np.median(frame) for frame in frames]
    assert medians == sorted(medians) and medians[-1] - medians[0] > 50  # in the source's order
    assert "3 images, " in capsys.readouterr().out


@pytest.mark.parametrize("video", ["MJPG .avi"], indirect=True)
def test_only_the_first_frames_of_a_video(run, video, tmp_path):
    assert run(video, "--limit=1") == 0
    assert len(json.loads((tmp_path / "out" / "walk.json").read_text())["frames"]) == 1


@pytest.mark.needs("torch")  # these have no side-car, so their heads are made from the weights
@pytest.mark.parametrize("name", ["compiled", "compiled_with_aipp"])
def test_a_compiled_model_finds_the_same(run, predicted, name, request, drawn, tmp_path, capsys):
    """Three images in batches of two, the last one filled up; with AIPP the resize rounds to whole levels."""
    expected = read_detections(predicted[0])
    model = request.getfixturevalue(name)
    assert run(drawn, model=model, device="emulation") == 0
    assert f"{model} on CPU emulation of Ascend310P3, not an NPU, device 0" in capsys.readouterr().out
    found = read_detections(tmp_path)
    if name == "compiled":  # float32 as well: only the order of sums differs
        assert [(entry["file_name"], entry["category_id"]) for entry in found] == [
            (entry["file_name"], entry["category_id"]) for entry in expected
        ]
        np.testing.assert_allclose([e["score"] for e in found], [e["score"] for e in expected], atol=1e-3)
    else:
        for file_name in ("a.jpg", "c.jpg"):
            best, *_ = (entry for entry in expected if entry["file_name"] == file_name)
            same = [entry for entry in found if entry["file_name"] == file_name]
            # Random weights make much of half a level; far from 1, where scores do not tell models apart.
            assert same[0]["score"] == pytest.approx(best["score"], abs=0.1)  # seen: 0.065
            assert any(
                entry["category_id"] == best["category_id"]
                and np.allclose(entry["bbox"], best["bbox"], rtol=0, atol=10)
                for entry in same
            )


def test_a_bad_image_is_named_and_the_others_are_done(run, photographs, tmp_path, capsys):
    (photographs / "a.jpg").write_bytes(b"\xff\xd8 no picture")
    assert run(photographs, "--limit=2") == 1
    out, err = capsys.readouterr()
    assert f"skipped: {photographs / 'a.jpg'} (" in err and " bytes) cannot be decoded as an image." in err
    assert "error: 1 of 2 images were skipped; they" in err and out.startswith("1 image, ")
    assert {entry["image_id"] for entry in read_detections(tmp_path)} == {2}
    assert not (tmp_path / "out" / "a.jpg").exists() and (tmp_path / "out" / "b.jpg").exists()


def test_every_image_is_listed_with_its_size_also_without_detections(run, photographs, tmp_path):
    assert run(photographs, "--score_threshold=1") == 0
    assert read_file(tmp_path) == {
        "schema_version": 1,
        "images": [
            {
                **{"id": number, "file_name": f"{name}.jpg", "width": width, "height": height},
                **{"is_cut_short": False, "detections": 0, "picture": f"{name}.jpg"},
            }
            for number, (name, (width, height)) in enumerate(SIZES.items(), start=1)
        ],
        "detections": [],
    }


def test_an_interrupt_keeps_what_is_done(run, photographs, tmp_path, monkeypatch, capsys):
    draw = Found.draw

    def interrupt_the_second(found, **_):
        monkeypatch.setattr(Found, "draw", interrupt)
        return draw(found)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Found, "draw", interrupt_the_second)
    assert run(photographs) == 130
    assert [image["picture"] for image in read_file(tmp_path)["images"]] == ["a.jpg"]
    assert {entry["image_id"] for entry in read_detections(tmp_path)} == {1}
    assert "detections.json holds the 1 image done so far; the same command begins anew." in capsys.readouterr().err


def test_memory_that_runs_out_leaves_one_picture_out(run, photographs, tmp_path, monkeypatch, capsys):
    draw = Found.draw

    def run_out(found, **_):
        if (found.width_px, found.height_px) == SIZES["b"]:
            raise MemoryError
        return draw(found)

    monkeypatch.setattr(Found, "draw", run_out)
    assert run(photographs) == 1
    assert f"skipped: {photographs / 'b.jpg'} needs more memory than there is." in capsys.readouterr().err
    assert [image["file_name"] for image in read_file(tmp_path)["images"]] == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize("kind", ["a picture of others", "a link into the results"])
def test_pictures_that_are_not_of_predict_are_not_replaced(run, photographs, tmp_path, capsys, kind):
    mine = tmp_path / "out" / "a.jpg"
    mine.parent.mkdir()
    mine.write_bytes((photographs / "a.jpg").read_bytes())
    before = mine.read_bytes()
    if kind == "a link into the results":
        (photographs / "a.jpg").unlink()
        (photographs / "a.jpg").symlink_to(mine)
    assert run(photographs) == 2
    assert ("was not made by an earlier run" if kind.startswith("a pic") else "is the folder of the source") in (
        capsys.readouterr().err
    )
    assert mine.read_bytes() == before and shown(tmp_path / "out") == {"a.jpg"}


def test_a_jpeg_that_is_cut_short_is_named_and_marked_and_a_motion_photo_is_not(run, photographs, tmp_path, capsys):
    """yolact#587; a motion photo is a whole JPEG with a video behind it."""
    for name, change in (("a", lambda data: data[: len(data) // 2]), ("b", lambda data: data + bytes(40_000))):
        path = photographs / f"{name}.jpg"
        path.write_bytes(change(path.read_bytes()))
    assert run(photographs) == 0
    assert [image["is_cut_short"] for image in read_file(tmp_path)["images"]] == [True, False, False]
    said = capsys.readouterr().err
    assert said.count("is cut short: its lower part is made up.") == 1
    assert f"warning: {photographs / 'a.jpg'} is cut short" in said


def test_what_else_is_in_a_folder_is_named_and_sub_folders_are_taken_on_request(run, photographs, tmp_path, capsys):
    (photographs / "inside").mkdir()
    (photographs / "a.jpg").rename(photographs / "inside" / "a.jpg")
    (photographs / "notes.txt").touch()
    assert run(photographs, "--score_threshold=1") == 0
    said = "1 file (notes.txt) and 1 sub-folder (inside); --recursive takes sub-folders, too."
    assert f"Not used in {photographs}: {said}\n" in capsys.readouterr().err
    assert [image["file_name"] for image in read_file(tmp_path)["images"]] == ["b.jpg", "c.jpg"]
    assert run(photographs, "--score_threshold=1", "--recursive") == 0
    assert f"Not used in {photographs}: 1 file (notes.txt).\n" in capsys.readouterr().err
    assert [image["file_name"] for image in read_file(tmp_path)["images"]] == ["b.jpg", "c.jpg", "inside/a.jpg"]


def test_nothing_but_bad_images(run, tmp_path, capsys):
    (tmp_path / "bad.png").touch()
    assert run(tmp_path / "bad.png") == 1
    assert read_detections(tmp_path) == [] and "No image was predicted." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", r"There is no .*none\. Pass an image, a folder of images or a video\."),
        ("none.mp4", r"There is no video .*none\.mp4\."),
        ("empty", r"There is no image in the folder .*empty \(\.jpg, "),
        ("text.txt", r"text\.txt is neither an image \(\.jpg.* nor a video \(\.mp4"),
        ("text.mp4", r"text\.mp4 \(2 bytes\) cannot be read as a video\."),
    ],
)
def test_a_source_that_is_none_is_one_sentence(run, tmp_path, capfd, name, said):
    (tmp_path / "empty").mkdir()
    for suffix in ("txt", "mp4"):
        (tmp_path / f"text.{suffix}").write_text("no")
    assert run(tmp_path / name) == 1
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    with pytest.raises(DatasetError, match=said):
        raise DatasetError(*errors)


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        ("none.onnx", "error: There is no model ", 1),
        ("m.pt", "ends in .om (ascend) or .onnx (onnxruntime) or .xml (openvino) or .torch (torch).", 2),
        ("m.pth", "error: There is no weights file ", 1),
        ("m.onnx", "m.onnx cannot be read as ONNX", 1),
    ],
)
def test_a_model_that_is_none_is_one_sentence(run, photographs, tmp_path, capsys, name, said, code):
    (tmp_path / "m.onnx").write_text("no")
    assert run(photographs, model=tmp_path / name) == code
    assert said in capsys.readouterr().err


def test_a_model_of_other_weights_is_refused(run, photographs, tiny_weights, tmp_path, capsys):
    (tmp_path / "other.pth").write_bytes(tiny_weights.read_bytes() + b"more")
    assert run(photographs, trained_model=tmp_path / "other.pth") == 1
    assert "was made from other weights than " in capsys.readouterr().err


@pytest.fixture
def om(tmp_path, monkeypatch):
    """A compiled model that any device opens, with a side-car that names `weights.pth` beside it."""
    outputs = cut_outputs(TINY_CONFIG, "heads")
    tools = SimpleNamespace(kind="cpu-emulation", npus=(0,), is_emulated=True, soc_version="Ascend310P3")
    monkeypatch.setattr("yolact_ascend.targets.ascend.target.find_tools", lambda *_: tools)

    @contextlib.contextmanager
    def open_device(model, tools, npu):
        yield SimpleNamespace(metadata={}, batch_size=1, outputs=outputs)

    monkeypatch.setattr("yolact_ascend.targets.ascend.engine.DeviceEngine", open_device)
    om, weights = tmp_path / "m.om", tmp_path / "weights.pth"
    om.write_bytes(b"compiled")
    weights.write_bytes(b"weights")
    made_for = {"soc_version": "Ascend310P3", "cann": "8.0"}
    image = input_tensor(TINY_CONFIG)
    weights_sha256 = sha256_file(weights)
    described = Description(TINY_CONFIG, "heads", weights_sha256, "yolact_ascend", "a test", None)
    need = Need("ascend", made_for, "0" * 64, weights_sha256, 1, TINY_CONFIG.name, "heads", "fp16", (image,), outputs)
    write_sidecar(om, describe_model(om, need, described, [], "atc"))
    return om


def choose(model, weights):
    request = ModelRequest(model, weights, TINY_CONFIG.name, devices=DeviceRequest("emulation"))
    return loading.choose_model(request)


CHECKED = "CPU emulation of Ascend310P3, not an NPU, device 0"


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (lambda om, weights: None, ""),
        (
            lambda om, weights: sidecar_file(om).unlink(),
            " (not checked against {weights}: neither the model nor a fitting side-car states its weights)",
        ),
    ],
    ids=["its own", "no side-car"],
)
def test_a_compiled_model_is_compared_with_the_weights_or_said_not_to_be(om, change, remark):
    weights = om.with_name("weights.pth")
    change(om, weights)
    with choose(om, weights).open() as model:
        assert model.device == CHECKED + remark.format(weights=weights)


def test_weights_that_are_not_there_are_no_proof(om):
    weights = om.with_name("weights.pth")
    weights.unlink()
    with pytest.raises(WeightsError, match=r"no weights file .*\.pth\. Leave it out: .*m\.om states what it was made"):
        choose(om, weights)


def test_a_compiled_model_of_other_weights_is_refused_before_the_device_opens(om, monkeypatch):
    monkeypatch.setattr(AscendTarget, "open", lambda *_: pytest.fail("opened"))
    om.with_name("weights.pth").write_bytes(b"others")
    with pytest.raises(ArtifactError, match=r"m\.om was made from other weights than .*weights\.pth\. Export or com"):
        choose(om, om.with_name("weights.pth"))


def test_a_side_car_of_another_file_is_refused(om):
    om.write_bytes(b"another")
    with pytest.raises(ArtifactError, match=r"m\.om is not the file that m\.om\.json describes"):
        choose(om, om.with_name("weights.pth"))


def test_a_model_for_another_chip_is_refused_before_the_emulated_device_opens(om):
    sidecar = om.with_name("m.om.json")
    sidecar.write_text(sidecar.read_text().replace("Ascend310P3", "Ascend310B4"))
    with pytest.raises(ArtifactError, match=r"m\.om was compiled for Ascend310B4, but .*Pass --soc=Ascend310B4"):
        choose(om, om.with_name("weights.pth")).open()


def test_results_never_take_the_place_of_their_source(run, photographs, capsys):
    before = (photographs / "a.jpg").read_bytes()
    assert run(photographs, f"--save_path={photographs / '..' / photographs.name}") == 2
    assert "is the folder of the source" in capsys.readouterr().err
    assert (photographs / "a.jpg").read_bytes() == before


@pytest.mark.parametrize("word", ["--score_threshold=1.5", "--score_threshold=x", "--score_threshold=nan", "--top_k=0"])
def test_flags_out_of_range_are_refused(run, photographs, word):
    with pytest.raises(SystemExit, match="2"):
        run(photographs, word)


@pytest.mark.parametrize("words", [["-pt", "0.3"], ["--prob_threshold=0.3"]])
def test_the_threshold_has_segmentolys_names_too(words):
    """openvinotoolkit/training_extensions @ 1c4634dca, pytorch_toolkit/instance_segmentation/tools/demo.py."""
    assert parse_arguments(["predict", "0", *words]).score_threshold == 0.3


def test_images_are_found_by_name_in_order(photographs):
    (photographs / "B.PNG").touch()
    (photographs / "folder.jpg").mkdir()
    assert [path.name for path in images_of(photographs)[0]] == ["B.PNG", "a.jpg", "b.jpg", "c.jpg"]
    assert [path.name for path in images_of(photographs, 1)[0]] == ["B.PNG"]


def test_a_folder_is_no_video_whatever_its_name(tmp_path):
    (tmp_path / "frames.mp4").mkdir()
    assert (
        is_video(tmp_path / "clip.MP4") and not is_video(tmp_path / "frames.mp4") and not is_video(tmp_path / "a.jpg")
    )


class PlayedEngine:
    """Gives the same outputs for every image."""

    name, batch_size, inputs = "played", 2, (input_tensor(TINY_CONFIG),)

    def __init__(self, specs, value=0.0):
        self.outputs = [np.full(spec.shape, value, np.float32) for spec in specs]
        self.batches = []

    def infer(self, inputs):
        self.batches.append(len(inputs[0]))
        return [np.stack([output] * len(inputs[0])) for output in self.outputs]


def finds_nothing():
    return YolactDetector(TINY_CONFIG, "fpn", nothing_found)


def nothing_found(levels):
    conf = np.zeros((19248, TINY_CONFIG.num_classes + 1), np.float32)
    conf[:, 0] = 10
    return np.zeros((19248, 4), np.float32), conf, np.zeros((19248, TINY_CONFIG.proto_channels), np.float32)


def test_images_come_in_batches_of_the_engine(photographs, tmp_path):
    engine = PlayedEngine(cut_outputs(TINY_CONFIG, "fpn"))
    model = Model([engine], finds_nothing())
    summary = predict.predict_images(images_of(photographs)[0], model, tmp_path / "out")
    assert engine.batches == [2, 1] and (summary.images, summary.detections) == (3, 0)
    assert read_detections(tmp_path) == []


def test_images_of_one_stem_have_pictures_of_their_own(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("a.jpg", "a.png", "a_2.png"):
        cv2.imwrite(str(folder / name), np.zeros((20, 30, 3), np.uint8))
    model = Model([PlayedEngine(cut_outputs(TINY_CONFIG, "fpn"))], finds_nothing())
    predict.predict_images(images_of(folder)[0], model, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.jpg")} == {"a.jpg", "a_2.jpg", "a_2_2.jpg"}


def test_an_image_that_no_jpeg_can_hold_is_named_and_left_out(tmp_path, capsys):
    folder = tmp_path / "photographs"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((2, 65501, 3), np.uint8))
    cv2.imwrite(str(folder / "b.png"), np.zeros((20, 30, 3), np.uint8))
    model = Model([PlayedEngine(cut_outputs(TINY_CONFIG, "fpn"))], finds_nothing())
    summary = predict.predict_images(images_of(folder)[0], model, tmp_path / "out")
    assert summary.skipped == [folder / "a.png"] and summary.images == 1
    assert f"skipped: {folder / 'a.png'} has 65501×2 pixels, more than a JPEG can" in capsys.readouterr().err
    assert shown(tmp_path / "out") == {"b.jpg", "detections.json"}


def test_outputs_that_are_not_finite_are_refused():
    engine = PlayedEngine(cut_outputs(TINY_CONFIG, "fpn"), math.inf)
    model = Model([engine], finds_nothing())
    with pytest.raises(ArtifactError, match="not finite numbers. Did float16 overflow"):
        model(np.zeros((20, 30, 3), np.uint8))


def test_the_cut_is_told_by_the_outputs():
    def shapes(cut):
        return cut_outputs(TINY_CONFIG, cut)

    assert {cut: find_cut(shapes(cut), TINY_CONFIG) for cut in CUTS} == {cut: cut for cut in CUTS}
    other = shapes("fpn")[:5]
    with pytest.raises(ArtifactError, match=f"outputs are .* expected .* for {TINY_CONFIG.name}"):
        find_cut(other, TINY_CONFIG)


def test_a_video_that_fails_midway_leaves_no_half_copy(video, tmp_path):
    class Failing(PlayedEngine):
        def infer(self, inputs):
            if self.batches:
                raise ArtifactError("failed")
            return super().infer(inputs)

    model = Model([Failing(cut_outputs(TINY_CONFIG, "fpn"))], finds_nothing())
    with pytest.raises(ArtifactError, match="failed"):
        footage.predict_video(video, model, tmp_path / "out")
    assert shown(tmp_path / "out") == set()
