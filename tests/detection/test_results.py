"""The two results files: the bytes of one JSON list each, whole or not at all; and the findings in memory."""

from __future__ import annotations

import json

import numpy as np
import pytest

from yolact_ascend.detection.detections import Detections, bbox_results, mask_results
from yolact_ascend.detection.results import Findings, ResultsFiles
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError

CATEGORY_IDS = (1, 90)


def detections(n: int) -> Detections:
    rng = np.random.default_rng(n)
    corners = np.sort(rng.integers(0, 50, (n, 2, 2)), axis=1).reshape(n, 4)
    masks = tuple({"size": [40, 60], "counts": f"P{i}`1"} for i in range(n))
    return Detections(rng.integers(0, 2, n), rng.random(n, dtype=np.float32), corners, masks)


IMAGES = [
    pytest.param([], id="no images"),
    pytest.param([(7, 0)], id="nothing found"),
    pytest.param([(7, 2)], id="one image"),
    pytest.param([(7, 0), (3, 2), (4, 0), (5, 1)], id="some empty"),
]


@pytest.fixture
def paths(tmp_path):
    return {BOX: tmp_path / "bbox.json", MASK: tmp_path / "mask.json"}


def fill(files, images):
    for image_id, n in images:
        files.add(image_id, detections(n))


def expected_entries(images):
    found = [(detections(n), image_id, CATEGORY_IDS) for image_id, n in images]
    return [[entry for one in found for entry in results(*one)] for results in (bbox_results, mask_results)]


@pytest.mark.parametrize("images", IMAGES)
def test_files_are_one_json_list_each(paths, images):
    with ResultsFiles(paths, CATEGORY_IDS) as files:
        fill(files, images)
        assert not any(path.exists() for path in paths.values())
    assert [path.read_text() for path in paths.values()] == [
        json.dumps(entries) + "\n" for entries in expected_entries(images)
    ]
    assert len(list(paths[BOX].parent.iterdir())) == 2


@pytest.mark.parametrize("images", IMAGES)
def test_findings_give_the_same_entries(images):
    findings = Findings(CATEGORY_IDS)
    fill(findings, images)
    assert [list(findings.entries(task)) for task in (BOX, MASK)] == expected_entries(images)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, ArtifactError])
def test_a_failure_leaves_nothing_and_what_was_there_before(paths, error):
    paths[BOX].write_text("before")
    with pytest.raises(error), ResultsFiles(paths, CATEGORY_IDS) as files:
        fill(files, [(7, 2)])
        raise error("in between")
    assert paths[BOX].read_text() == "before"
    assert list(paths[BOX].parent.iterdir()) == [paths[BOX]]


@pytest.mark.parametrize("images", IMAGES)
def test_what_was_done_before_an_interruption_can_be_kept(paths, images):
    with pytest.raises(KeyboardInterrupt), ResultsFiles(paths, CATEGORY_IDS) as files:
        fill(files, images)
        files.finish()
        raise KeyboardInterrupt
    assert [json.loads(path.read_text()) for path in paths.values()] == expected_entries(images)
    assert len(list(paths[BOX].parent.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_named(paths, tmp_path):
    (tmp_path / "mask.json").mkdir()  # a folder is in the way
    with (
        pytest.raises(ArtifactError, match="Cannot write .*mask.json"),
        ResultsFiles(paths, CATEGORY_IDS) as files,
    ):
        fill(files, [(7, 2)])
    assert [path.name for path in tmp_path.iterdir()] == ["mask.json"]


def test_a_network_of_boxes_has_one_file(paths):
    found = detections(2)
    only_boxes = Detections(found.class_ids, found.scores, found.boxes_xyxy_px)
    findings = Findings(CATEGORY_IDS)
    with ResultsFiles({BOX: paths[BOX]}, CATEGORY_IDS) as files:
        files.add(7, only_boxes)
        files.add(3, detections(0))
        findings.add(7, only_boxes)
    assert json.loads(paths[BOX].read_text()) == bbox_results(found, 7, CATEGORY_IDS) == list(findings.entries(BOX))
    assert not paths[MASK].exists()
