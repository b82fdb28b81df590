"""When a run takes the demo, and what tells that its scenes are there."""

import pytest

from yolact_ascend import demo
from yolact_ascend.config import DEFAULT_CONFIG, DEMO_CONFIG
from yolact_ascend.demo import draw_command, is_drawn, note_drawn, with_demo
from yolact_ascend.settings import parse_words


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


@pytest.mark.parametrize("word", ["weights=a.pth", "coco=b", f"config={DEFAULT_CONFIG}", "upstream=u"])
def test_what_the_user_names_is_not_replaced(empty_folder, word):
    settings = parse_words([word])
    assert with_demo(settings) == settings


def test_what_lies_at_the_guides_paths_is_used(empty_folder):
    make_split(empty_folder / "data" / "coco")
    assert not with_demo(parse_words([])).is_demo
    (empty_folder / "data").rename(empty_folder / "elsewhere")
    assert with_demo(parse_words([])).is_demo
    parse_words([]).weights.touch()
    assert not with_demo(parse_words([])).is_demo


def test_scenes_are_drawn_once_for_each_version_of_the_code(tmp_path, monkeypatch):
    assert not is_drawn(tmp_path)
    note_drawn(tmp_path)
    assert not is_drawn(tmp_path)  # the folder lost its images
    make_split(tmp_path)
    assert is_drawn(tmp_path)
    monkeypatch.setattr(demo, "SEED", 2)
    assert not is_drawn(tmp_path)


def test_the_command_draws_held_out_scenes_only():
    words = draw_command(["python", "-m", "yolact_ascend"], "d")
    assert words[3:] == ["draw", "--save_path=d", "--train_images=0", "--val_images=100", "--seed=1"]
