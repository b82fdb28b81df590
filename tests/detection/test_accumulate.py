"""mAP from matches on disk, against pycocotools; however few detections are in memory."""

import numpy as np
import pytest
import referee

from yolact_ascend.detection import accumulate
from yolact_ascend.detection.evaluate import evaluate, open_scorer
from yolact_ascend.detection.image_matches import Scoring
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError


@pytest.mark.parametrize("seed", range(6))
def test_all_numbers_are_those_of_pycocotools(seed, monkeypatch):
    """Areas, crowds and ties, too; with 7 detections in memory a class is sorted in many pieces."""
    for name in ("MOST_SORTED", "MOST_HELD", "MOST_GATHERED"):
        monkeypatch.setattr(accumulate, name, 7)
    annotations, boxes, masks = referee.random_dataset(seed, images=12)
    image_ids = [image["id"] for image in annotations["images"]]
    evaluation = evaluate(annotations, image_ids, {BOX: boxes, MASK: masks})
    referee.assert_agrees(evaluation, annotations, image_ids, boxes, masks)


def test_no_room_for_what_is_scored_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(accumulate, "MOST_HELD", 1)
    monkeypatch.setattr(accumulate, "MOST_GATHERED", 1)
    annotations, boxes, _ = referee.random_dataset(1)
    monkeypatch.setattr(accumulate.Path, "open", no_room)
    with pytest.raises(ArtifactError, match=r"Cannot write what is scored to .*: No space left on device\. Free some"):
        evaluate(annotations, [image["id"] for image in annotations["images"]], {BOX: boxes})


def no_room(*_):
    raise OSError(28, "No space left on device")


def test_without_annotations_images_are_counted():
    with open_scorer(None, [1, 2]) as scorer:
        scorer.add(2, None)
        assert scorer.evaluation().images == 1 and scorer.evaluation().scores == {}
    with open_scorer(Scoring((BOX,), (1,), (1,)), [1]) as scorer:
        assert scorer.evaluation().scores[BOX].table["all"] is None  # no objects


def test_ranges_split_scores_by_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(accumulate, "MOST_SORTED", 10)
    scores = np.concatenate([np.linspace(0.01, 1, 60), np.full(25, 0.5), [0.0]]).astype(np.float32)
    records = np.zeros(len(scores), accumulate.RECORD)
    records["score"] = scores
    records.tofile(tmp_path / "0.bin")
    ranges = list(accumulate._ranges(tmp_path / "0.bin"))
    held = [int(((scores >= low) & (scores < high)).sum()) for low, high in ranges]
    assert sum(held) == len(scores) and len(ranges) >= 5
    assert [high for _, high in ranges[1:]] == [low for low, _ in ranges[:-1]]
    assert sum(count > 10 for count in held) == 1  # equal scores stay together
