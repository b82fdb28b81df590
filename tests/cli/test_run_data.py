"""What people bring as data: a run verifies it before any work, and says what is odd on every run."""

import json
import shutil

import pytest
from runs import forget_classes

from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.errors import DatasetError, UsageError, WeightsError

OWN_CLASSES = [f"part {n}" for n in range(8)]


def annotation_file(run):
    return run.coco / "annotations" / "instances_val2017.json"


def change(run, change_data):
    """Change a run's annotation file."""
    data = json.loads(annotation_file(run).read_text())
    change_data(data)
    annotation_file(run).write_text(json.dumps(data))


def add_sliver(data):
    next(entry for entry in data["annotations"] if not entry["iscrowd"])["segmentation"].append([1, 1, 2, 2])


def test_warnings_are_said_and_reported_on_every_run(copied, capfd):
    change(copied, add_sliver)
    said = "instances_val2017.json: pieces of masks with fewer than three points are left out: 1."
    for done in (["postprocess bs3"], []):
        assert copied() == done
        assert capfd.readouterr().err.count(f"warning: {said}\n") == 1
        assert copied.report()["dataset"]["warnings"] == [said]
        assert f"- **Warning**: {said}\n" in copied.markdown()


def test_a_sliver_changes_no_score(copied):
    before = copied.report()["results"]
    change(copied, add_sliver)
    copied()
    assert [result["coco"] for result in copied.report()["results"]] == [result["coco"] for result in before]


def renumber(data):
    """Give each class the id of the next one."""
    ids = [category["id"] for category in data["categories"]]
    following = dict(zip(ids, ids[1:] + ids[:1]))
    for entry in data["categories"]:
        entry["id"] = following[entry["id"]]
    for entry in data["annotations"]:
        entry["category_id"] = following[entry["category_id"]]


@pytest.mark.parametrize("words", [{}, {"stream": "1"}], ids=["staged", "streamed"])
def test_classes_under_other_ids_score_the_same(copied, words):
    """maskrcnn-benchmark#970, label-studio#9366."""
    (before,) = copied.report()["results"]
    change(copied, renumber)
    copied(**words)
    (after,) = copied.report()["results"]
    assert after["coco"] == before["coco"] and after["box"] == before["box"]
    assert "the classes are matched by name" in copied.report()["dataset"]["warnings"][0]
    listed = {entry["id"]: entry["name"] for entry in json.loads(annotation_file(copied).read_text())["categories"]}
    found = json.loads(copied.detections(3)["box"].read_text())
    assert {entry["category_id"] for entry in found} <= listed.keys()


def test_a_list_without_annotations_gives_detections_and_no_scores(copied, capfd):
    """COCO's image_info_test-dev2017.json: yolact#375."""
    change(copied, lambda data: data.pop("annotations"))
    copied()
    (result,) = copied.report()["results"]
    assert (result["box"], result["mask"], result["images"]) == (None, None, 4)
    assert "Nothing is scored: these images have no annotations." in copied.markdown()
    assert "Nothing is scored" in capfd.readouterr().out
    assert json.loads(copied.detections(3)["mask"].read_text())


def test_a_data_set_of_any_layout_is_named_by_its_folder_and_file(copied, tmp_path):
    images, annotations = tmp_path / "pictures", tmp_path / "labels.json"
    shutil.move(copied.coco / "val2017", images)
    shutil.move(annotation_file(copied), annotations)
    del copied.words["coco"]
    copied(images=str(images), annotations=str(annotations))
    named = copied.report()["dataset"]["name"]
    assert named.startswith("pictures, 8 classes (") and named.endswith(", …)")
    assert copied(images=str(images), annotations=str(annotations)) == []
    with pytest.raises(UsageError, match=r"images=.*pictures needs annotations=FILE"):
        copied(images=str(images))


def test_a_file_that_is_no_picture_ends_a_staged_run_before_any_work(copied):
    (copied.coco / "val2017" / "000000000002.jpg").write_text("<html>404 Not Found</html>")
    shutil.rmtree(copied.out)
    with pytest.raises(DatasetError, match=r"1 of 4 images cannot be decoded: 000000000002\.jpg"):
        copied()
    assert not list(copied.out.glob("*.onnx"))


def test_masks_that_cannot_be_scored_end_a_run_that_scores(copied):
    """cvat#1277. Up to the outputs, masks do not matter."""
    change(copied, lambda data: data["annotations"][0].update(segmentation=[]))
    with pytest.raises(DatasetError, match=r"1 of 4 annotations have a mask that is empty.*to=infer"):
        copied()
    shutil.rmtree(copied.out)
    run_stages(copied.command(to="infer"))
    assert len(list(copied.folder.outputs(3).glob("*.bin"))) == 4 * 6


@pytest.fixture
def own_classes(copied):
    """Make the weights upstream's, which name no classes, and give the data set's categories other names."""
    forget_classes(copied)
    change(copied, lambda data: [c.update(name=name) for c, name in zip(data["categories"], OWN_CLASSES)] and None)


@pytest.mark.usefixtures("own_classes")
def test_weights_of_own_classes_are_named_by_the_annotation_file(copied):
    """yolact_edge#27, #10: trained in upstream, whose files hold no names."""
    assert copied() == ["export", "compile bs3", "infer bs3", "postprocess bs3"]
    model = copied.report()["model"]
    assert (model["classes"], model["classes_from"]) == (8, "instances_val2017.json")
    assert copied() == []
    assert "- Classes: 8, from instances_val2017.json\n" in copied.markdown()


@pytest.mark.usefixtures("own_classes")
def test_a_list_of_names_stands_for_them(copied):
    copied(classes=",".join(OWN_CLASSES))
    assert copied.report()["model"]["classes_from"] == "the list of names"
    with pytest.raises(WeightsError, match="has 8 classes, but the list of names has 2") as caught:
        copied(classes="screw,nut")
    assert "classes=FILE" in str(caught.value)
