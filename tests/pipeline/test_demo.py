"""When a run takes the demo, and what tells that its scenes are there."""

import pytest
from factories import describe_network, write_described_onnx

from yolact_ascend.analysis.doctor import check_weights
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import UsageError, WeightsError
from yolact_ascend.files import sha256_file
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, DEMO_CONFIG
from yolact_ascend.pipeline import demo, model_source
from yolact_ascend.pipeline.demo import Scenes, demo_scenes, with_demo
from yolact_ascend.pipeline.settings import parse_words


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """A current folder with neither weights nor data at the guide's paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_split(coco):
    (coco / "val2017").mkdir(parents=True)
    (coco / "annotations").mkdir()
    (coco / "annotations" / "instances_val2017.json").write_text("{}")


def test_nothing_named_and_nothing_found_is_a_demo(empty_folder):
    settings = with_demo(parse_words(["bs=8", "limit=3", "out=results"]))
    assert settings.is_demo
    assert settings.config == DEMO_CONFIG
    assert settings.weights == demo.WEIGHTS
    assert str(settings.coco) == "results/demo_data"
    assert (settings.batch_sizes, settings.limit) == ((8,), 3)
    assert with_demo(parse_words(["target=onnxruntime", "device=cpu"])).is_demo


def test_a_demo_takes_prototypes_of_the_type_that_is_asked_for(empty_folder):
    assert with_demo(parse_words(["output_type=fp16"])).model_config.proto_dtype == "float16"


@pytest.mark.parametrize("word", ["weights=a.pth", "coco=b", f"config={DEFAULT_CONFIG}", "upstream=u"])
def test_what_the_user_names_is_not_replaced(empty_folder, word):
    settings = parse_words([word])
    assert with_demo(settings) == settings


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.source.is_shipped])
def test_a_config_whose_weights_are_here_may_be_named(empty_folder, name):
    """Then what lies at the guide's paths, of another model and other classes, is left aside."""
    make_split(empty_folder / "data" / "coco")
    parse_words([]).weights.touch()
    settings = with_demo(parse_words([f"config={name}"]))
    assert (settings.is_demo, settings.config, settings.weights.name) == (True, name, CONFIGS[name].source.file_name)
    assert str(settings.coco) == "results/demo_data"
    own = parse_words([f"config={name}", "weights=a.pth"])
    assert with_demo(own) == own


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.source.is_shipped])
def test_weights_that_come_with_this_repository_may_be_named(empty_folder, name):
    weights = demo.WEIGHTS.with_name(CONFIGS[name].source.file_name)
    settings = with_demo(parse_words([f"weights={weights}"]))
    assert (settings.is_demo, settings.config, settings.weights) == (True, name, weights)
    assert not with_demo(parse_words([f"weights={weights}", "coco=own"])).is_demo
    make_split(empty_folder / "data" / "coco")
    assert not with_demo(parse_words([f"weights={weights}"])).is_demo


def test_what_lies_at_the_guides_paths_is_used(empty_folder):
    make_split(empty_folder / "data" / "coco")
    assert not with_demo(parse_words([])).is_demo
    (empty_folder / "data").rename(empty_folder / "elsewhere")
    assert with_demo(parse_words([])).is_demo
    parse_words([]).weights.touch()
    assert not with_demo(parse_words([])).is_demo


def test_scenes_are_drawn_once_for_each_version_of_the_code(tmp_path, monkeypatch):
    scenes = Scenes(tmp_path, 0, 100)
    assert not scenes.are_drawn()
    scenes.note_drawn()
    assert not scenes.are_drawn()  # the folder lost its images
    make_split(tmp_path)
    assert scenes.are_drawn()
    assert not Scenes(tmp_path, 0, 99).are_drawn()
    monkeypatch.setattr(demo, "SEED", 2)
    assert not scenes.are_drawn()


def test_the_command_draws_held_out_scenes_only(empty_folder):
    (scenes,) = demo_scenes(with_demo(parse_words(["out=r"])))
    words = scenes.draw_command()
    assert words[-5:] == ["draw", "--save_path=r/demo_data", "--train_images=0", "--val_images=100", "--seed=1"]


def test_an_int8_demo_draws_training_scenes_to_calibrate_on(empty_folder):
    """100 to measure ranges on, as the recipe says, and 100 to choose by; of another split than the scored ones."""
    _, scenes = demo_scenes(with_demo(parse_words(["out=r", "target=onnxruntime", "precision=int8"])))
    words = scenes.draw_command()
    assert words[-4:] == ["--save_path=r/demo_calibration", "--train_images=200", "--val_images=0", "--seed=1"]
    (own,) = demo_scenes(with_demo(parse_words(["target=onnxruntime", "precision=int8", "calibration=photographs"])))
    assert own.val_images == 100


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (
            [f"config={DEMO_CONFIG}", "upstream=u"],
            UsageError,
            f"{DEMO_CONFIG} is this repository's own: upstream does not have it. Leave out upstream=",
        ),
        (
            [f"weights={demo.WEIGHTS}", f"config={DEFAULT_CONFIG}"],
            WeightsError,
            f"use --config={DEMO_CONFIG} .* `run config={DEMO_CONFIG}` without weights= and coco= runs a demo",
        ),
    ],
    ids=["upstream", "another config"],
)
def test_half_a_demo_is_refused_with_what_fits(empty_folder, monkeypatch, words, error, said):
    monkeypatch.setattr(model_source, "has_torch", lambda: True)
    with pytest.raises(error, match=said):
        run_stages([*words, "device=emulation"])
    assert not any(path.is_file() and path.name != ".lock" for path in empty_folder.rglob("*"))


def test_an_export_from_upstream_of_the_config_that_it_lacks_is_refused(tmp_path):
    pytest.importorskip("torch")
    from yolact_ascend.models.export import load_upstream

    with pytest.raises(UsageError, match=f"{DEMO_CONFIG} is this repository's own"):
        load_upstream(tmp_path, demo.WEIGHTS, CONFIGS[DEMO_CONFIG])


def test_the_doctor_says_that_weights_are_of_another_config(empty_folder):
    with pytest.raises(WeightsError, match=f"holds weights of {DEMO_CONFIG}"):
        check_weights(parse_words([f"weights={demo.WEIGHTS}", f"config={DEFAULT_CONFIG}"]))


def exported_demo(folder, cut, weights=demo.WEIGHTS):
    """Write an ONNX that states the demo's network."""
    (folder / "results").mkdir()
    description = describe_network(CONFIGS[DEMO_CONFIG], cut, sha256_file(weights))
    write_described_onnx(folder / "results" / "yolact_edge.onnx", description)
    return description


@pytest.mark.parametrize("words", [[], ["cut=fpn"], ["cut=boxes"]], ids=" ".join)
def test_a_demo_at_another_cut_exports_again(empty_folder, monkeypatch, words):
    """Its weights come with the repository, so what lies in the work folder does not stand in for them."""
    monkeypatch.setattr(model_source, "has_torch", lambda: True)
    exported_demo(empty_folder, "heads")
    settings = with_demo(parse_words(words))
    assert settings.is_demo and settings.exported is None
    assert settings.cut == (words[0][len("cut=") :] if words else "fpn")


def test_without_pytorch_an_exported_demo_goes_on_as_it_is(empty_folder, monkeypatch):
    description = exported_demo(empty_folder, "heads")
    monkeypatch.setattr(model_source, "has_torch", lambda: False)
    settings = with_demo(parse_words([]))
    assert (settings.is_demo, settings.exported, settings.cut) == (True, description, "heads")
    with pytest.raises(UsageError, match="cut=fpn: the exported model ends at heads"):
        with_demo(parse_words(["cut=fpn"]))


@pytest.mark.parametrize("has_torch", [True, False])
def test_an_onnx_of_others_that_cannot_be_read_stands_in_for_nothing(empty_folder, monkeypatch, has_torch):
    """Without a record of its export; `doctor --bundle` must not end there."""
    monkeypatch.setattr(model_source, "has_torch", lambda: has_torch)
    (empty_folder / "results").mkdir()
    (empty_folder / "results" / "yolact_edge.onnx").write_text("no ONNX")
    assert with_demo(parse_words([])).exported is None


def test_the_exported_model_of_own_weights_is_no_demo(empty_folder):
    """A demo would overwrite it."""
    (empty_folder / "a.pth").write_bytes(b"own")
    description = exported_demo(empty_folder, "fpn", empty_folder / "a.pth")
    settings = with_demo(parse_words(["mode=perf"]))
    assert (settings.is_demo, settings.exported, settings.config) == (False, description, DEMO_CONFIG)
