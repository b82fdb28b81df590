"""COCO's archives: where they are published, and what public evidence says of their content.

Addresses: https://cocodataset.org/#download. MD5: mlcommons/ck (get-dataset-coco), PaddlePaddle's test of its COCO
reader and others agree. Sizes and SHA-256 of val2017 and the annotations: public notes of users with these MD5.
"""

from __future__ import annotations

from pathlib import Path

from yolact_ascend.download import Published

COCO_URL = "http://images.cocodataset.org"
ANNOTATIONS = Published(
    "annotations_trainval2017.zip",
    (f"{COCO_URL}/annotations/annotations_trainval2017.zip",),
    252_907_541,
    {
        "md5": "f4bbac642086de4f52a3fdda2de5fa2c",
        "sha256": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    },
)
IMAGES = {
    "val2017": Published(
        "val2017.zip",
        (f"{COCO_URL}/zips/val2017.zip",),
        815_585_330,
        {
            "md5": "442b8da7639aecaf257c1dceb8ba8c80",
            "sha256": "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        },
    ),
    "train2017": Published(
        "train2017.zip",
        (f"{COCO_URL}/zips/train2017.zip",),
        19_336_861_798,
        {"md5": "cced6f7f71b7629ddf16f17bbcfab6b2"},
    ),
}
FILES = {"val2017.zip": ("val2017/*.jpg", 5000), "train2017.zip": ("train2017/*.jpg", 118_287)}
FILES[ANNOTATIONS.name] = ("annotations/instances_*2017.json", 2)


def is_unpacked(published: Published, folder: Path) -> bool:
    """Whether all files of an archive that `download` unpacks are in the folder; each appears when it is whole."""
    pattern, count = FILES[published.name]
    return len(list(folder.glob(pattern))) >= count
