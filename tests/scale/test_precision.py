"""mAP from matches on disk, against pycocotools; however few detections are in memory."""

import json

import numpy as np
import pytest
import referee

from yolact_ascend.detection.evaluate import Evaluation
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.scale import precision
from yolact_ascend.scale.manifest import Image
from yolact_ascend.scale.matching import match_shard, objects_of
from yolact_ascend.scale.merge import records_of
from yolact_ascend.scale.source import Entry


def images_of(annotations):
    """The images of a data set as a plan has them, in the order of the file."""
    return [
        Image(
            Entry(image["file_name"], image["file_name"]),
            image["id"],
            (image["height"], image["width"]),
            json.dumps([entry for entry in annotations["annotations"] if entry["image_id"] == image["id"]]),
        )
        for image in annotations["images"]
    ]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [precision.MOST_SORTED, 7])
def test_all_numbers_are_those_of_pycocotools(seed, most, tmp_path, monkeypatch):
    """Areas, crowds and ties, too; with 7 detections in memory a class is sorted in many pieces."""
    monkeypatch.setattr(precision, "MOST_SORTED", most)
    monkeypatch.setattr(precision, "MOST_HELD", most)
    annotations, boxes, masks = referee.random_dataset(seed, images=12)
    images, category_ids = images_of(annotations)[::-1], [each["id"] for each in annotations["categories"]]
    ranks = {image_id: rank for rank, image_id in enumerate(sorted(image.image_id for image in images))}
    scores = {}
    for task, results in ((BOX, boxes), (MASK, masks)):
        (tmp_path / task).mkdir()
        disk = precision.DetectionsOnDisk(tmp_path / task, len(category_ids))
        for shard in (images[:5], images[5:]):
            matches = match_shard(shard, results, category_ids, task)
            for image in shard:
                disk.add_objects(*objects_of(image, category_ids))
                disk.add(*records_of(matches[image.image_id]._asdict(), ranks[image.image_id]))
        scores[task] = disk.score(category_ids)
    evaluation = Evaluation(scores, len(images))
    referee.assert_agrees(evaluation, annotations, [*ranks], boxes, masks)


def test_ranges_split_scores_by_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "MOST_SORTED", 10)
    scores = np.concatenate([np.linspace(0.01, 1, 60), np.full(25, 0.5), [0.0]]).astype(np.float32)
    records = np.zeros(len(scores), precision.RECORD)
    records["score"] = scores
    records.tofile(tmp_path / "0.bin")
    ranges = list(precision._ranges(tmp_path / "0.bin"))
    held = [int(((scores >= low) & (scores < high)).sum()) for low, high in ranges]
    assert sum(held) == len(scores) and len(ranges) >= 5
    assert [high for _, high in ranges[1:]] == [low for low, _ in ranges[:-1]]
    assert sum(count > 10 for count in held) == 1  # equal scores stay together
