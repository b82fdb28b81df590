"""What was found in one picture, as callers of the Python API get it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from yolact_ascend.detection.detections import RESULTS_OF, Detections, whole_results
from yolact_ascend.detection.draw import draw_instances, from_detections
from yolact_ascend.detection.run_lengths import Rle
from yolact_ascend.errors import DatasetError, ToolError, UsageError, show_value
from yolact_ascend.host import arguments
from yolact_ascend.images.reader import Picture, PictureSource, take_picture
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.labels import LEAST_ID, MOST_ID

if TYPE_CHECKING:  # a package of the user's
    import supervision

NAMED = 5  # objects that a repr lists


@dataclass(frozen=True, eq=False, repr=False)
class FoundObject:
    """One object of a picture: its class, its score 0..1, its box in pixels, and its mask."""

    class_name: str
    class_id: int  # 0..K-1
    category_id: int  # of the data set
    score: float
    box_xyxy_px: NDArray[np.float32]  # [4]: left, top, right, bottom; right and bottom are exclusive
    rle: Rle | None  # the mask as COCO's compressed run lengths; None: the network finds boxes only
    track_id: int | None = None  # by a `Tracker`; None: not tracked, or not yet confirmed

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The mask [H,W], decoded when first asked for; raises UsageError where the network finds boxes only."""
        return decode_mask(self.rle)

    def __repr__(self) -> str:
        return f"{self.class_name} {self.score:.2f}"


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """What was found in one picture, best score first; nothing found is normal: every array then has N = 0.

    It holds no part of the model, is pickled like any value, and iterates as `FoundObject`s.
    """

    detections: Detections  # the compact form: masks as run lengths
    config: ModelConfig  # whose classes they are
    height_px: int
    width_px: int
    picture: PictureSource  # what it was found in: a path, bytes, or a copy of the pixels
    track_ids: tuple[int | None, ...] | None = None  # N, by a `Tracker`; None: not tracked

    @property
    def name(self) -> str:
        """The picture's path as it was given; for pictures without one, which it was."""
        return self.picture.name

    @property
    def boxes_xyxy_px(self) -> NDArray[np.float32]:
        """The boxes [N,4] in pixels: left, top, right, bottom; right and bottom are exclusive."""
        return self.detections.boxes_xyxy_px.astype(np.float32)

    @property
    def scores(self) -> NDArray[np.float32]:
        """The scores [N], 0..1."""
        return self.detections.scores.astype(np.float32)

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """The classes [N] by their number in the model, 0..K-1."""
        return self.detections.class_ids.astype(np.int64)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, N of them."""
        return [self.config.class_names[class_id] for class_id in self.detections.class_ids]

    @property
    def category_ids(self) -> NDArray[np.int64]:
        """The classes [N] by the ids that their data set gives them (COCO's: 1..90)."""
        return np.array([self.config.category_ids[class_id] for class_id in self.detections.class_ids], np.int64)

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        """The masks [N,H,W], decoded when first asked for; raises UsageError where the network finds boxes only."""
        masks = np.zeros((len(self), self.height_px, self.width_px), bool)
        if self.detections.masks is None:
            decode_mask(None)
        for mask, rle in zip(masks, self.detections.masks or ()):
            mask[:] = decode_mask(rle)
        return masks

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, number: int) -> FoundObject:
        return list(self)[number]

    def __iter__(self) -> Iterator[FoundObject]:
        rles = self.detections.masks or [None] * len(self)
        columns = (self.class_names, self.class_ids.tolist(), self.category_ids.tolist(), self.scores.tolist())
        track_ids = self.track_ids or [None] * len(self)
        for name, class_id, category_id, score, box, rle, track_id in zip(
            *columns, self.boxes_xyxy_px, rles, track_ids
        ):
            yield FoundObject(name, class_id, category_id, score, box, rle, track_id)

    def __repr__(self) -> str:
        some = ", ".join(map(repr, list(self)[:NAMED])) + (", …" if len(self) > NAMED else "")
        return f"<Found {len(self)} in {self.name}{': ' if some else ''}{some}>"

    def draw(
        self, picture: Picture | None = None, *, show_boxes: bool = True, show_scores: bool = True
    ) -> NDArray[np.uint8]:
        """Return a BGR picture uint8 [H,W,3] with masks, boxes, names and scores drawn in, and the numbers of tracks.

        A picture that was given as a path or as bytes is decoded again; `picture` is drawn on in its place. Raises
        DatasetError when it cannot be read, or does not have the size of the one that was searched.
        """
        pixels = (self.picture if picture is None else take_picture(picture)).read()
        if pixels.shape[:2] != (self.height_px, self.width_px):
            raise DatasetError(
                f"{self.name} had {self.width_px}×{self.height_px} pixels when it was searched, but the picture to "
                f"draw on has {pixels.shape[1]}×{pixels.shape[0]}. Pass the picture itself: draw(picture)."
            )
        config = self.config
        instances = from_detections(self.detections, config.class_names, config.category_ids, self.track_ids)
        return draw_instances(pixels, instances, show_boxes=show_boxes, show_scores=show_scores)

    def to_coco(self, image_id: int, task: str | None = None) -> list[dict[str, Any]]:
        """Return entries of COCO's results format, one for each object.

        With `task` "box" or "mask" they are those of the verbs' files for COCOeval; without it each has box and mask,
        and the name of its class, as in `predict`'s detections.json. Raises UsageError for another task, and for an id
        that is no whole number.
        """
        ids = self.config.category_ids
        image_id = arguments.read_whole("image_id", image_id, LEAST_ID, MOST_ID)
        if task is None:
            return whole_results(self.detections, self.config.class_names, ids, image_id, self.track_ids)
        if task not in self.config.tasks:
            expected = " or ".join(map(repr, self.config.tasks))
            raise UsageError(f"task={show_value(task)}: expected {expected}, or none for both together.")
        return RESULTS_OF[task](self.detections, image_id, ids)

    def to_supervision(self) -> supervision.Detections:
        """Return them as `Detections` of the package supervision; raises ToolError where that is not installed."""
        try:
            from supervision import Detections as Supervised
        except ModuleNotFoundError as error:
            raise ToolError("supervision is not installed: pip install supervision.") from error
        return Supervised(
            xyxy=self.boxes_xyxy_px,
            mask=None if self.detections.masks is None else self.masks,
            confidence=self.scores,
            class_id=self.class_ids,
            data={"class_name": np.array(self.class_names, dtype=str)},
        )


def decode_mask(rle: Rle | None) -> NDArray[np.bool_]:
    """Return a mask [H,W] from its run lengths; raises UsageError when there is none."""
    if rle is None:
        raise UsageError("This network finds boxes only, no masks.")
    return np.asarray(coco_mask.decode(rle)).astype(bool)
