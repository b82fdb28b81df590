"""Shards through a stream: batches that do not depend on the order, parts that are whole or not there."""

import errno
import subprocess
import sys
from concurrent.futures import Future

import numpy as np
import pytest
from factories import CHECKOUT, TINY_CONFIG

from yolact_ascend.detection.detections import Detections
from yolact_ascend.errors import ArtifactError
from yolact_ascend.host.overlap import Detected, Spent
from yolact_ascend.scale import work
from yolact_ascend.scale.manifest import number_images
from yolact_ascend.scale.parts import Row, part_of, read_part, rows_of
from yolact_ascend.scale.places import find_place
from yolact_ascend.scale.plan import Plan, place_plan
from yolact_ascend.scale.reading import Reader
from yolact_ascend.scale.source import Entry
from yolact_ascend.scale.work import Done, Going, Tools, do_shards

SHARD_SIZE, IMAGES = 4, 10  # so the third shard is short


def found_in(name):
    """Two detections, one without a mask's pixels; an image called "empty" has none."""
    count = 0 if name == "empty" else 2
    scores = np.array([0.75, 0.1], np.float32)[:count]
    boxes = np.array([[1, 2, 3, 4], [0, 0, 5, 5]])[:count]
    masks = tuple({"size": [6, 8], "counts": counts} for counts in ("05b1", ""))[:count]
    return Detections(np.array([1, 0])[:count], scores, boxes, masks)


class Streaming:
    """In place of a model: notes what is put through each stream, and finds the same in every image."""

    def __init__(self):
        self.streams = []

    def overlap(self, sources, spent, workers=None, total=None):
        self.streams.append([])
        for source in sources:
            self.streams[-1].append(source.name)
            if source.failure:
                yield Detected(source, (0, 0), None, source.failure)
            else:
                yield Detected(source, (6, 8), found_in(source.name))


class Packer:
    """In place of the process that packs parts: does so at once."""

    def submit(self, work, *words):
        call = Future()
        call.set_result(work(*words))
        return call

    def result(self, call):
        return call.result()


@pytest.fixture
def planned(tmp_path):
    images = number_images([Entry(f"{number}.png", f"{number}.png") for number in range(IMAGES)])
    (tmp_path / "images").mkdir()
    for image in images[1:]:  # the first is missing
        (tmp_path / "images" / image.entry.file).touch()
    plan = Plan("s", IMAGES, "0" * 64, {}, "c", "0" * 64, {"batch_size": 2}, SHARD_SIZE, ("box", "mask"), (5, 7))
    return place_plan(find_place(str(tmp_path / "out")), plan, images)


@pytest.fixture
def do(planned, tmp_path):
    reader = Reader(find_place(str(tmp_path / "images")), TINY_CONFIG.preprocessing)

    def do(*shards):
        model = Streaming()
        tools = Tools(model, reader, Packer())
        return model.streams, list(do_shards(planned, tools, iter(shards), Spent()))

    return do


def parts_of(planned):
    return [planned.part(shard).read() for shard in range(planned.plan.shards)]


def test_a_short_shard_ends_a_stream_so_that_batches_are_those_of_shards(do, planned):
    streams, done = do(2, 1, 0)
    names = [f"{number}.png" for number in range(IMAGES)]
    assert streams == [names[8:], [*names[4:8], *names[:4]]]
    assert [(each.shard, each.images, each.failed) for each in done] == [(2, 2, 0), (1, 4, 0), (0, 4, 1)]
    assert planned.missing() == []
    before = parts_of(planned)
    do(0, 1, 2)
    assert parts_of(planned) == before


def test_news_come_between_parts_and_change_none(do, planned, monkeypatch):
    do(0, 1)
    before = planned.part(0).read()
    monkeypatch.setattr(work, "NEWS_S", 0.0)
    _, news = do(0, 1)
    assert [each.images for each in news] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert [type(each) for each in news] == [Going, Going, Going, Done] * 2 and planned.part(0).read() == before


def test_a_part_says_what_was_found_and_why_not(do, planned):
    do(0)
    failed, *others = rows_of(read_part(planned.part(0)))
    assert failed.detections is None and failed.error == "There is no image 0.png. Was it moved or removed?"
    assert [row.image_id for row in (failed, *others)] == [1, 2, 3, 4] and others[0].name == "1.png"
    expected = found_in("1.png")
    for row in others:
        assert row.size == (6, 8) and row.detections.masks == expected.masks
        for name in ("class_ids", "scores", "boxes_xyxy_px"):
            found, right = getattr(row.detections, name), getattr(expected, name)
            assert found.tolist() == right.tolist() and found.dtype == right.dtype
    assert planned.missing() == [1, 2]


@pytest.mark.parametrize("boxes", [np.array([[0.1, 2.5, 3.3, 4.7]], np.float32), np.zeros((0, 4), np.float32)])
def test_boxes_of_fractions_and_none_at_all_come_back(boxes, tmp_path):
    """R-CNN's boxes; and a network without masks."""
    found = Detections(np.zeros(len(boxes), np.int64), np.ones(len(boxes), np.float32), boxes)
    place = find_place(str(tmp_path / "part.parquet"))
    place.write(part_of([Row(1, "a", (5, 5), found)]))
    (row,) = rows_of(read_part(place))
    assert row.detections.masks is None and row.detections.boxes_xyxy_px.dtype == np.float32
    assert row.detections.boxes_xyxy_px.tolist() == boxes.tolist()


def test_a_lost_store_is_not_made_again(do, planned, tmp_path):
    """An unmounted folder is an empty one: parts that went there would be without a plan."""
    (tmp_path / "out" / "plan.json").unlink()
    with pytest.raises(ArtifactError, match=r"out has no plan\.json any more: the store was lost"):
        do(1)
    assert planned.missing() == [0, 1, 2]


def test_a_full_disk_leaves_no_half_part(do, planned, tmp_path, monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    do(0)
    monkeypatch.setattr("pathlib.Path.replace", no_room)
    with pytest.raises(ArtifactError, match=r"No room to write .*part-000001\.parquet: No space left"):
        do(1)
    assert [path.name for path in (tmp_path / "out" / "parts").iterdir()] == ["part-000000.parquet"]


def test_a_process_that_was_stopped_before_it_renamed_changes_nothing(do, planned, tmp_path):
    """A zombie: the shard was done elsewhere meanwhile. Each has a temporary file of its own, and the same bytes."""
    place = planned.part(1)
    waiting = f"""
import sys, pathlib
from yolact_ascend.scale.places import find_place
real = pathlib.Path.replace
def replace(self, target):
    print("stopped", flush=True)
    sys.stdin.readline()
    return real(self, target)
pathlib.Path.replace = replace
find_place({place.path!r}).write(pathlib.Path({str(tmp_path / "same")!r}).read_bytes())
"""
    do(0, 1, 2)
    part = place.read()
    (tmp_path / "same").write_bytes(part)
    planned.part(1).system.delete_file(place.path)
    command = [sys.executable, "-c", waiting]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as zombie:
        assert zombie.stdout.readline() == "stopped\n"
        do(1)
        assert place.read() == part
        zombie.communicate("\n", timeout=30)
    assert zombie.returncode == 0 and place.read() == part
    assert sorted(path.name for path in (tmp_path / "out" / "parts").iterdir()) == [
        f"part-00000{shard}.parquet" for shard in range(3)
    ]


def test_ten_thousand_parts_are_listed_by_one_look_at_the_folder(planned, monkeypatch):
    calls = []
    monkeypatch.setattr(type(planned.out), "files", lambda place: calls.append(place.path) or ["x/part-000001.parquet"])
    assert planned.missing() == [0, 2] and len(calls) == 1


def test_a_damaged_plan_is_said(planned, tmp_path):
    (tmp_path / "out" / "plan.json").write_text('{"schema": 1}')
    with pytest.raises(ArtifactError, match=r"plan\.json is not a plan"):
        place_plan(planned.out, planned.plan, [])
    (tmp_path / "out" / "plan.json").write_text('{"schema": 2}')
    with pytest.raises(ArtifactError, match=r"plan\.json has schema 2, expected 1"):
        place_plan(planned.out, planned.plan, [])
