"""Pixels of drawings on images small enough to count."""

import cv2
import numpy as np
import pytest
from factories import rectangle_rle

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.draw import (
    BLACK,
    GAP_PX,
    Instance,
    class_colour,
    draw_instances,
    from_annotations,
    from_detections,
    from_results,
    side_by_side,
    split_panels,
    write_jpeg,
)
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.labels import COCO_CATEGORY_IDS

GREY = 100
NAMES = {1: "person", 18: "dog"}


def canvas(height=120, width=160):
    return np.full((height, width, 3), GREY, np.uint8)


def rle_of(box, height=120, width=160):
    return rectangle_rle(*box, height, width)


def instance(box=(40, 60, 100, 110), category_id=1, **more):
    return Instance(category_id, "person", box, rle_of(box), **more)


def test_nothing_to_draw_leaves_the_image_alone_and_gives_a_copy():
    image = canvas()
    drawn = draw_instances(image, [])
    assert np.array_equal(drawn, image) and drawn is not image


def test_mask_is_blended_and_box_is_drawn_where_they_are():
    image = canvas()
    drawn = draw_instances(image, [instance(score=0.5)])
    assert (image == GREY).all()
    colour = np.array(class_colour(1))
    assert np.abs(drawn[85, 70] - (0.55 * GREY + 0.45 * colour)).max() <= 0.5  # inside
    for y, x in ((85, 40), (85, 99), (109, 70)):  # on the box: left, right, bottom
        assert (drawn[y, x] == colour).all()
    for y, x in ((85, 39), (85, 100), (110, 70)):  # just outside
        assert (drawn[y, x] == GREY).all()


@pytest.mark.parametrize(
    ("box", "rows"), [((40, 60, 100, 110), (44, 60)), ((40, 0, 100, 110), (1, 14))], ids=["above", "inside, at the top"]
)
def test_a_label_stands_above_its_box_or_inside_where_there_is_no_room(box, rows):
    drawn = draw_instances(canvas(), [instance(box, score=0.5)])
    assert (drawn[slice(*rows), 40:100] == BLACK).all(axis=-1).any()  # text


def test_a_label_at_the_right_border_stays_in_the_image():
    drawn = draw_instances(canvas(), [instance((150, 60, 160, 110), score=0.5)])
    text = (drawn[44:60] < 50).all(axis=-1)
    assert text[:, :158].any() and not text[:, :60].any()


def test_the_better_of_two_lies_on_top():
    two = [instance(category_id=1), instance(category_id=18)]
    first = draw_instances(canvas(), two)[109, 70]
    assert (first == class_colour(1)).all()
    assert (draw_instances(canvas(), two[::-1])[109, 70] == class_colour(18)).all()


def test_a_crowd_is_striped_and_says_so():
    crowd = instance(is_crowd=True)
    assert crowd.label == "crowd: person"
    inside = draw_instances(canvas(), [crowd])[62:108, 42:98]
    share = (inside != GREY).any(axis=-1).mean()
    assert 0.4 < share < 0.6
    assert (draw_instances(canvas(), [instance()])[62:108, 42:98] != GREY).any(axis=-1).all()


def test_labels():
    assert instance(score=0.987).label == "person 0.99"
    assert instance().label == "person"


def test_a_mask_has_an_outline_inside_in_its_colour_beside_black():
    image = canvas()
    drawn = draw_instances(image, [Instance(1, "a", (0, 0, 0, 0), rle_of((40, 60, 100, 110)))])
    row = drawn[85, 38:46].tolist()
    assert row[:2] == [[GREY] * 3] * 2
    assert row[2:4] == [list(class_colour(1)), list(BLACK)]
    assert row[5] == drawn[85, 70].tolist()


def test_an_empty_mask_has_no_outline():
    empty = Instance(1, "a", (40, 60, 100, 110), rle_of((0, 0, 0, 0)))
    assert (draw_instances(canvas(), [empty])[85, 70] == GREY).all()


def test_labels_of_objects_at_one_place_do_not_cover_each_other():
    box = (40, 60, 100, 110)
    two = draw_instances(canvas(), [instance(box, 1, score=0.9), instance(box, 18, score=0.8)])
    alone = draw_instances(canvas(), [instance(box, 1, score=0.9)])
    assert np.array_equal(two[:60], alone[:60])  # the better one's label, above the box
    assert (two[61:] == class_colour(18)).all(axis=-1).sum() > 300  # the other's


def test_each_class_has_its_own_colour():
    colours = [class_colour(category_id) for category_id in COCO_CATEGORY_IDS]
    assert len(set(colours)) == len(colours)
    assert class_colour(0) == (77, 77, 255)  # hue 0 is red
    assert all(0.114 * blue + 0.587 * green + 0.299 * red > 90 for blue, green, red in colours)  # black text on it


def test_instances_of_detections():
    config = CONFIGS["yolact_edge_demo_config"]
    boxes = np.array([[40, 60, 100, 110]], np.int32)
    found = Detections(np.array([2]), np.array([0.5], np.float32), boxes, (rle_of((40, 60, 100, 110)),))
    (one,) = from_detections(found, config.class_names, config.category_ids)
    assert (one.category_id, one.name, one.box_xyxy_px, one.score) == (103, "star", (40, 60, 100, 110), 0.5)
    assert (
        from_detections(
            Detections(np.zeros(0, int), np.zeros(0), np.zeros((0, 4), int), ()),
            config.class_names,
            config.category_ids,
        )
        == []
    )


def test_instances_of_result_files():
    rle = rle_of((40, 60, 100, 110))
    boxes = [{"image_id": 1, "category_id": 18, "bbox": [40, 60, 60, 50], "score": 0.25}]
    masks = [{"image_id": 1, "category_id": 18, "segmentation": rle, "score": 0.25}]
    assert from_results(boxes, masks, NAMES) == [Instance(18, "dog", (40, 60, 100, 110), rle, 0.25)]
    assert from_results([], [], NAMES) == []


def annotation(**changes):
    polygon = [[2, 1, 5, 1, 5, 4, 2, 4]]
    return {"id": 7, "category_id": 18, "bbox": [2, 1, 3, 3], "iscrowd": 0, "segmentation": polygon, **changes}


def test_instances_of_annotations():
    one, crowd = from_annotations([annotation(), annotation(iscrowd=1)], 6, 8, NAMES)
    assert (one.name, one.box_xyxy_px, one.score, one.is_crowd) == ("dog", (2, 1, 5, 4), None, False)
    assert crowd.is_crowd and from_annotations([], 6, 8, NAMES) == []


def test_a_mask_of_another_size_is_refused():
    wrong = annotation(segmentation={"size": [5, 8], "counts": [40]})
    with pytest.raises(DatasetError, match="annotation 7 has 8×5 pixels, but its image is listed with 8×6"):
        from_annotations([wrong], 6, 8, NAMES)


def test_pictures_stand_side_by_side_below_their_titles():
    white = np.full((40, 30, 3), 255, np.uint8)
    panel = side_by_side([("left", canvas(60, 50)), ("right", white)])
    bar = panel.shape[0] - 60
    assert panel.shape[1] == 50 + GAP_PX + 30 and bar > 0
    assert (panel[bar:, :50] == GREY).all() and (panel[bar : bar + 40, 50 + GAP_PX :] == 255).all()
    assert (panel[:, 50 : 50 + GAP_PX] == 0).all() and (panel[bar + 40 :, 50 + GAP_PX :] == 0).all()
    assert (panel[:bar, :50] > 200).any() and (panel[:bar, 50 + GAP_PX :] > 200).any()  # the titles


@pytest.mark.parametrize("height", [1, 40, 350, 351, 480, 1500])
def test_panels_are_found_again(height):
    pictures = [np.full((height, 30, 3), grey, np.uint8) for grey in (90, 200)]
    panels = split_panels(side_by_side([("left", pictures[0]), ("right", pictures[1])]))
    assert all(np.array_equal(panel, picture) for panel, picture in zip(panels, pictures))


def test_a_picture_is_written_whole(tmp_path):
    write_jpeg(tmp_path / "new" / "a.jpg", canvas())
    read = cv2.imread(str(tmp_path / "new" / "a.jpg"))
    assert read.shape == (120, 160, 3) and np.abs(read.astype(int) - GREY).max() <= 2
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.jpg"]


def test_a_picture_that_no_jpeg_can_hold_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="a.jpg: it would have 2×65501 pixels, and a JPEG has at most 65500 on"):
        write_jpeg(tmp_path / "a.jpg", np.zeros((65501, 2, 3), np.uint8))
    write_jpeg(tmp_path / "a.jpg", np.zeros((65500, 2, 3), np.uint8))
    assert (tmp_path / "a.jpg").stat().st_size > 0


def test_boxes_without_masks_are_drawn():
    config = CONFIGS["yolact_edge_demo_config"]
    found = Detections(np.array([2]), np.array([0.5]), np.array([[40, 60, 100, 110]]))
    (one,) = from_detections(found, config.class_names, config.category_ids)
    boxes = [{"image_id": 1, "category_id": 18, "bbox": [40, 60, 60, 50], "score": 0.25}]
    assert one.mask is None and from_results(boxes, None, NAMES)[0].mask is None
    drawn = draw_instances(canvas(), [one])
    assert (drawn[85, 70] == GREY).all() and (drawn[85, 40] == class_colour(one.category_id)).all()
