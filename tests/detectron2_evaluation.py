"""Detectron2's own way from image files to mAP: its loader, model, postprocessing and COCOEvaluator."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path

import numpy as np
import torch
from detectron2_parity import Rows, yaml_and_options
from detectron2_shim import build_detectron2
from torch import nn

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.models.config import ModelConfig

TASKS = {"bbox": BOX, "segm": MASK}  # as Detectron2 names them -> as we do
COLUMNS = {"AP": "all", "AP50": "50", "AP75": "75"}


def load_into_detectron2(config: ModelConfig, state: dict[str, torch.Tensor]) -> nn.Module:
    """Build Detectron2's model of a config of ours, with our weights; all of its own weights must be among them."""
    yaml, options = yaml_and_options(config)
    model = build_detectron2(yaml, [*options, "DATALOADER.NUM_WORKERS", 0])
    missing, unknown = model.load_state_dict(state, strict=False)
    surplus = [key for key in missing if not key.startswith("proposal_generator.anchor_generator.")]
    if surplus or unknown:
        raise ValueError(f"These weights are not Detectron2's of {config.name}: missing {surplus}, unknown {unknown}.")
    return model


def evaluate_detectron2(
    model: nn.Module, images: Path, annotations: Path, out: Path, canvas_px: int = 0
) -> dict[str, dict[str, float]]:
    """Return Detectron2's mAP in percent of each task by IoU: `all`, `50`, `75`; its results lie in `out` as JSON.

    It pads pictures to multiples of 32, or to a square of `canvas_px`, which is an option of its FPN (`square_pad`).
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
    from detectron2.data.datasets import register_coco_instances
    from detectron2.evaluation import COCOEvaluator, inference_on_dataset

    model.backbone._square_pad = canvas_px
    name = f"scenes of {images}"
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    register_coco_instances(name, {}, str(annotations), str(images))
    logging.getLogger("detectron2").setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        evaluator = COCOEvaluator(name, output_dir=str(out), use_fast_impl=False)
        scores = inference_on_dataset(model, build_detection_test_loader(model.cfg, name), evaluator)
    return {TASKS[task]: {ours: table[theirs] for theirs, ours in COLUMNS.items()} for task, table in scores.items()}


@torch.no_grad()
def predict_by_detectron2(model: nn.Module, image: np.ndarray) -> Rows:
    """Detect in a picture [h,w,3] BGR as Detectron2's DefaultPredictor does; boxes in px of it, masks [N,h,w]."""
    from detectron2.data.transforms import ResizeShortestEdge

    shortest, longest = model.cfg.INPUT.MIN_SIZE_TEST, model.cfg.INPUT.MAX_SIZE_TEST
    resized = ResizeShortestEdge([shortest, shortest], longest).get_transform(image).apply_image(image)
    pixels = torch.as_tensor(resized.astype(np.float32).transpose(2, 0, 1))
    (answer,) = model([{"image": pixels, "height": image.shape[0], "width": image.shape[1]}])
    found = answer["instances"]
    boxes, masks = found.pred_boxes.tensor.numpy(), found.pred_masks.numpy().astype(np.float32)
    return Rows(boxes, found.scores.numpy(), found.pred_classes.numpy(), masks)
