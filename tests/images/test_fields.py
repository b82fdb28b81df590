"""Values of an annotation file's fields: which are taken, and the sentence for the others."""

import pytest
from annotation_files import annotation, image

from yolact_ascend.errors import DatasetError

NAN, INFINITE = float("nan"), float("inf")
TOO_LONG = 10**400  # no float is so large

# field, value
REFUSED_IMAGES = [
    *[("id", value) for value in ("7", [7], None, 1.5, True, 2**63, -(2**63) - 1, 2**70, 1e300, NAN, TOO_LONG)],
    *[("width", value) for value in (None, "abc", 0, -20, 1.5, 10**9, 2**20 + 1, INFINITE, TOO_LONG)],
    *[("height", value) for value in (0, 1e9)],
    *[("file_name", value) for value in (7, None, "", ".", "..", "a/..", "a/", "/", "a\0.b", "a" * 256, "\ud800.b")],
]
REFUSED_ANNOTATIONS = [
    *[("image_id", value) for value in ("1", [1], None, 2**70, -TOO_LONG)],
    *[("category_id", value) for value in ("18", [18], 0.5, 2**70)],
    *[("bbox", value) for value in ([1, 2], "1234", {}, [1, 2, 3, "4"], [1, 2, 3, True], [[1, 2, 3, 4]])],
    *[("bbox", value) for value in ([1, 2, -3, 4], [1, 2, 3, -1e-9], [1, 2, 3, NAN], [1, 2, INFINITE, 4])],
    *[("bbox", value) for value in ([-INFINITE, 2, 3, 4], [1, 2, 3, 1e300], [1e7, 2, 3, 4], [0.5, 2, TOO_LONG, 4])],
    ("bbox", [0, 0, 2**19, 2**19]),  # more than COCOeval's largest area
    *[("area", value) for value in ("x", True, -1, -1e-9, NAN, INFINITE, -INFINITE, 1e11, 1e300, TOO_LONG)],
    *[("iscrowd", value) for value in (2, -1, 0.5, "0", "no", [1], NAN, TOO_LONG)],
]
REFUSED_CATEGORIES = [
    *[("id", value) for value in ("1", None, 2**70)],
    *[("name", value) for value in (["a"], True, {}, "\ud800")],
]
REFUSED = [
    *[("images", *case) for case in REFUSED_IMAGES],
    *[("annotations", *case) for case in REFUSED_ANNOTATIONS],
    *[("categories", *case) for case in REFUSED_CATEGORIES],
]
SECTIONS = {"images": image, "annotations": annotation, "categories": lambda **fields: {"id": 1, "name": "a", **fields}}


@pytest.mark.parametrize(
    ("section", "key", "value"), REFUSED, ids=[f"{key} {str(value)[:20]!a}" for _, key, value in REFUSED]
)
def test_what_cannot_be_used_is_refused(read, section, key, value):
    entry = SECTIONS[section](**{key: value})
    arguments = [entry] if section == "annotations" else []
    others = {} if section == "annotations" else {section: [entry]}
    with pytest.raises(DatasetError, match=f'1 of 1 {section} have no usable "{key}"; .*: expected .*, found '):
        read(*arguments, **others)


# What public files have, and pycocotools scores as it looks; field, value, what it becomes
ACCEPTED = [
    ("images", "id", 2**63 - 1, 2**63 - 1),
    ("images", "id", -(2**63), -(2**63)),
    ("images", "id", 7.0, 7),
    ("images", "width", 2**20, 2**20),
    ("images", "width", 20.0, 20),
    *[
        ("images", "file_name", name, name)
        for name in ("../a.jpg", "/a/b.jpg", "a\nb.jpg", "..\\a.jpg", "é" * 127, "a.b")
    ],
    ("annotations", "bbox", [3, 4, 0, 0.0], [3, 4, 0, 0.0]),
    ("annotations", "bbox", [-5.5, -1, 40, 30], [-5.5, -1, 40, 30]),
    ("annotations", "bbox", [-0.0, 0, 1e-9, 1], [-0.0, 0, 1e-9, 1]),
    ("annotations", "area", 0, 0),
    ("annotations", "area", 1e10, 1e10),
    ("annotations", "iscrowd", True, 1),
    ("annotations", "iscrowd", 1.0, 1),
    ("categories", "id", -1.0, -1),
    ("categories", "name", "", ""),
]


@pytest.mark.parametrize(
    ("section", "key", "value", "becomes"), ACCEPTED, ids=[f"{case[1]} {str(case[2])[:20]!a}" for case in ACCEPTED]
)
def test_what_is_odd_but_right_is_taken(read, section, key, value, becomes):
    entry = SECTIONS[section](**{key: value})
    arguments = [entry] if section == "annotations" else []
    others = {} if section == "annotations" else {section: [entry]}
    assert read(*arguments, **others).data[section][0][key] == becomes


def test_the_sentence_names_count_annotation_image_expected_and_found(read):
    wrong = [annotation(id=7, bbox=[1, 2, -3, 4]), annotation(id=8, bbox=None, area=-1), annotation(id=9, bbox=[1])]
    with pytest.raises(DatasetError) as error:
        read(annotation(), *wrong)
    assert str(error.value).split("a.json: ")[1] == (
        '2 of 4 annotations have no usable "bbox"; the first is annotation 7 of image 1 (a.jpg): expected [x, y, '
        "width, height] in pixels, at most 1048576, no negative size, found [1, 2, -3, 4]. "
        '1 of 4 annotations have no usable "area"; the first is annotation 8 of image 1 (a.jpg): expected 0 to 1e+10 '
        "square pixels, found -1. Fix or remove these entries."
    )


def test_all_sections_are_checked_at_once(read):
    with pytest.raises(DatasetError) as error:
        read(annotation(iscrowd=5), images=[image(width=0)], categories=[{"id": "x"}])
    found = str(error.value)
    assert '1 of 1 images have no usable "width"; the first is image 1 (a.jpg): expected 1 to 1048576 pixels' in found
    assert '1 of 1 categories have no usable "id"; the first is category x: expected a whole number' in found
    assert '1 of 1 annotations have no usable "iscrowd"; the first is annotation 1 of image 1 (a.jpg)' in found


@pytest.mark.parametrize(
    ("entry", "label"),
    [
        (annotation(id=..., area=-1), r'entry 1 of "annotations" of image 1 \(a\.jpg\):'),
        (annotation(id=[7], area=-1), r'entry 1 of "annotations" of image 1 \(a\.jpg\):'),
        (annotation(id="x\n", area=-1), r"annotation x\\n of image 1 \(a\.jpg\):"),
        (annotation(image_id=77, area=-1), "annotation 1 of image 77:"),
        (annotation(image_id=..., area=-1), "annotation 1:"),
        (annotation(id=10**4000, area=-1), r"annotation 10{20,}\.\.\.0+ of image"),
    ],
    ids=["no id", "odd id", "id of text", "unknown image", "no image", "long id"],
)
def test_the_first_is_named_by_what_is_known(read, entry, label):
    with pytest.raises(DatasetError, match=label):
        read(annotation(), entry)


@pytest.mark.parametrize("value", ["x" * 10**5, [[[[0] * 100] * 100]], 10**4000], ids=["long", "nested", "digits"])
def test_long_values_are_cut(read, value):
    with pytest.raises(DatasetError) as error:
        read(annotation(area=value))
    assert len(str(error.value)) < 600


def test_pictures_of_more_pixels_than_opencv_reads_are_refused(read):
    """CV_IO_MAX_IMAGE_PIXELS, 2^30: OpenCV 4.x, modules/imgcodecs/src/loadsave.cpp."""
    assert read(images=[image(width=2**15, height=2**15)])
    with pytest.raises(DatasetError, match=r"have too many pixels; .*image 1 \(a\.jpg\): .*1073741824.*32769×32768"):
        read(images=[image(width=2**15 + 1, height=2**15)])
