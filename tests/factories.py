"""Makes what tests need: weights, data sets, boxes and masks the other way round.

python tests/factories.py DIR    makes MODELS, for Pythons without PyTorch: EXPORTED_MODELS_DIR=DIR
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolact_ascend.detection.run_lengths import Rle
from yolact_ascend.models.class_record import add_classes
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG, ModelConfig
from yolact_ascend.models.description import KEY, Description, HostPart, to_json
from yolact_ascend.models.families import family_of
from yolact_ascend.models.family import Detector
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.rcnn.cuts import rcnn_of
from yolact_ascend.models.upstreams import UPSTREAMS
from yolact_ascend.pipeline import demo
from yolact_ascend.targets.ascend.atc import atc_command
from yolact_ascend.targets.ascend.tools import Tools
from yolact_ascend.targets.described import open_detector, read_description

if TYPE_CHECKING:  # PyTorch takes seconds to import: only the functions that need it do
    import torch

CHECKOUT = Path(__file__).resolve().parent.parent
SMALL_CONFIG = CONFIGS["yolact_edge_mobilenetv2_config"]  # the smallest that upstream has
# A tenth of the work, for tests that run whatever network there is: its weights are random here, not the demo's.
TINY_CONFIG = CONFIGS[DEMO_CONFIG]
# The same on a sixteenth of the pixels, for whole runs: its weights record it, as they do a user's own config.
QUICK_CONFIG = replace(
    TINY_CONFIG,
    name="quick_config",
    preprocessing=replace(TINY_CONFIG.preprocessing, height_px=138, width_px=138),
    anchors=replace(TINY_CONFIG.anchors, scales_px=(6, 12, 24, 48, 96)),
)


# By the name of the upstream: the marker of tests that need its checkout, and the fixture that is a patched one.
UPSTREAM_MARKERS = {"yolact_edge": pytest.mark.upstream, "yolact": pytest.mark.yolact}
UPSTREAM_FIXTURES = {"yolact_edge": "upstream_dir", "yolact": "yolact_dir"}


def configs_of_upstreams() -> list:
    """Return each config that upstream has, as a parameter with the marker of its upstream."""
    return [
        pytest.param(config, marks=UPSTREAM_MARKERS[upstream.name], id=config.name)
        for upstream in UPSTREAMS
        for config in CONFIGS.values()
        if config.upstream_url == upstream.url
    ]


def random_state_dict(config: ModelConfig, seed: int = 0, background: float = 0.0) -> dict[str, torch.Tensor]:
    """Return random weights, batch-norm statistics included, as upstream would save them.

    The confidence layer is scaled until its logits spread enough for scores above the threshold; `background` is
    the bias of the background's logit.
    """
    import torch

    from yolact_ascend.models.yolact.network import YolactEdge

    torch.manual_seed(seed)
    network = YolactEdge(config).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    head = network.prediction_layers[0]
    before_tanh: list[torch.Tensor] = []
    hook = head.mask_layer.register_forward_hook(lambda _, __, output: before_tanh.append(output.flatten()))
    with torch.inference_mode():
        shape = (1, 3, config.preprocessing.height_px, config.preprocessing.width_px)
        # As inputs are: around zero where they have a mean subtracted, else 0..1.
        images = torch.randn(shape) if any(config.preprocessing.mean_rgb) else torch.rand(shape)
        *levels, _ = network(images)
        outputs = head.predict_levels(levels)
    hook.remove()
    with torch.no_grad():
        for layer, values, spread in (
            (head.conf_layer, outputs.conf, 2.0),
            (head.bbox_layer, outputs.loc, 1.0),
            (head.mask_layer, torch.cat(before_tanh), 4.0),
            (network.proto_net[10], None, 1.0),
        ):
            layer.bias.zero_()
            if values is not None:
                layer.weight.mul_(spread / values.std())
        head.conf_layer.bias[:: config.num_classes + 1] = background
    state = {key: value.clone() for key, value in network.state_dict().items()}
    # Upstream's files also hold the layer of a training loss.
    state["semantic_seg_conv.weight"] = torch.randn(config.num_classes, config.fpn_channels, 1, 1)
    state["semantic_seg_conv.bias"] = torch.zeros(config.num_classes)
    return state


def tiny_rcnn(name: str = "mask_rcnn_R_50_FPN_3x", stages: tuple[int, ...] = (1, 1, 1, 1)) -> ModelConfig:
    """Return a config of the R-CNN family made narrow, with three classes and few proposals, on a canvas of 96×128."""
    config = CONFIGS[name]
    narrow = {"bottleneck_channels": 8, "res2_channels": 16, "box_channels": 32, "mask_channels": 16}
    return replace(
        config,
        name=f"tiny_{name}",
        backbone=replace(config.backbone, stages=stages, stem_channels=8),
        fpn_channels=16,
        class_names=("ball", "crate", "star"),
        category_ids=(7, 8, 9),
        preprocessing=replace(
            config.preprocessing, height_px=96, width_px=128, shortest_edge_px=90, longest_edge_px=120
        ),
        rcnn=replace(rcnn_of(config), rpn_candidates=200, rpn_proposals=150, max_detections=20, **narrow),
    )


def random_rcnn_state_dict(config: ModelConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return random weights of an R-CNN whose layers are scaled until their outputs spread.

    Scores are then on both sides of the threshold, and boxes overlap, so that each choice of the network matters.
    """
    import torch
    from torch.nn import init

    torch.manual_seed(seed)
    network = family_of(config).build(config).eval()
    spreads = {"objectness_logits": 2.0, "anchor_deltas": 0.3, "cls_score": 2.0, "bbox_pred": 1.0, "predictor": 1.0}
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            init.uniform_(module.weight, 0.8, 1.2)
            init.uniform_(module.bias, -0.1, 0.1)
            init.uniform_(module.running_mean, -0.1, 0.1)
            init.uniform_(module.running_var, 0.5, 1.5)
        elif getattr(module, "bias", None) is not None:
            init.uniform_(module.bias, -0.1, 0.1)

    done: set[str] = set()

    def scale(name: str, module: torch.nn.Module, _: object, output: torch.Tensor) -> torch.Tensor | None:
        """Centre and scale each output of a layer when it is first used."""
        if name in done:
            return None
        done.add(name)
        others = [axis for axis in range(output.ndim) if axis != 1]
        centred = output - output.mean(dim=others, keepdim=True)
        factor = spreads.get(name.rpartition(".")[2], 1.0) / centred.std()
        module.bias.sub_(output.mean(dim=others))
        for parameter in module.parameters():
            parameter.mul_(factor)
        return centred * factor

    for name, module in network.named_modules():
        if getattr(module, "bias", None) is not None and not isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(partial(scale, name))
    size = config.preprocessing
    with torch.no_grad():
        levels = network.features(torch.randn(1, 3, size.height_px, size.width_px) * 60)
        network.score_anchors(levels)
        generator = np.random.default_rng(seed)
        corners = generator.uniform(0, 0.5, (32, 2)) * [size.width_px, size.height_px]
        boxes = torch.tensor(np.concatenate([corners, corners * 2 + 4], axis=1), dtype=torch.float32)
        ids = torch.zeros(len(boxes), dtype=torch.int64)
        network.score_boxes(levels, boxes, ids)
        if network.roi_heads.mask_head is not None:
            network.roi_heads.mask_head(network.mask_features(levels, boxes, ids))
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


# Files that many tests use, by their path in a folder. With eight classes the background has a larger share than with
# eighty: without a bias all 19248 anchors are candidates.
SMALL_WEIGHTS, TINY_WEIGHTS = "small/yolact_edge_mobilenetv2_0_0.pth", "tiny/yolact_edge_tiny.pth"
QUICK_WEIGHTS = "quick/yolact_edge_quick.pth"
WEIGHTS = {  # config, bias of the background
    SMALL_WEIGHTS: (SMALL_CONFIG, 0.0),
    TINY_WEIGHTS: (TINY_CONFIG, 8.0),
    QUICK_WEIGHTS: (QUICK_CONFIG, 3.15),  # more than 1000 of the 1329 anchors pass in one image of `write_coco`
}
TINY_ONNX, TINY_HEADS_ONNX = "exported/yolact_edge.onnx", "exported_heads/yolact_edge.onnx"
QUICK_ONNX, QUICK_HEADS_ONNX = "quick_exported/yolact_edge.onnx", "quick_heads/yolact_edge.onnx"
CUTS = {  # weights, cut
    TINY_ONNX: (TINY_WEIGHTS, "fpn"),
    TINY_HEADS_ONNX: (TINY_WEIGHTS, "heads"),
    QUICK_ONNX: (QUICK_WEIGHTS, "fpn"),
    QUICK_HEADS_ONNX: (QUICK_WEIGHTS, "heads"),
}
DEMO_ONNX = "demo/yolact_edge.onnx"  # of the weights that come with the repository
ORACLE_HEADS = "oracle/heads.onnx"  # the heads of `oracle.head_state`, as the host runs them
MODELS = (*WEIGHTS, *CUTS, DEMO_ONNX, ORACLE_HEADS)


def make_model(name: str, root: Path) -> Path:
    """Make one of `MODELS` in a folder, by PyTorch: weights, or ONNX; return the file."""
    from yolact_ascend.models.export import export_onnx

    path = root / name
    path.parent.mkdir(parents=True)
    if name == ORACLE_HEADS:
        from oracle import save_heads

        save_heads(path, SMALL_CONFIG)
    elif name == DEMO_ONNX:
        export_onnx(demo.WEIGHTS, TINY_CONFIG, path)
    elif name in CUTS:
        of, cut = CUTS[name]
        weights = root / of
        export_onnx(weights if weights.exists() else make_model(of, root), WEIGHTS[of][0], path, cut=cut)
    else:
        config, background = WEIGHTS[name]
        save_weights(random_state_dict(config, background=background), config, path)
    return path


def save_weights(state: dict[str, torch.Tensor], config: ModelConfig, path: Path) -> None:
    """Save as upstream does; `QUICK_CONFIG` travels inside, also where a test has listed it."""
    import torch

    torch.save(state, path)
    if config is QUICK_CONFIG:
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(CONFIGS, config.name, raising=False)
            add_classes(path, config)


def as_published_by_yolact(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights as the published files of dbolya/yolact have them: the FPN in one piece, and a surplus level."""
    renamed = {re.sub(r"^fpn_phase_\d\.", "fpn.", key): value for key, value in state.items()}
    for kind in ("weight", "bias"):
        renamed[f"fpn.downsample_layers.2.{kind}"] = renamed[f"fpn.downsample_layers.1.{kind}"].clone()
    return renamed


def compile_model(
    onnx: Path, tools: Tools, name: str, batch_size=2, precision="fp32", aipp=None, config=TINY_CONFIG
) -> Path:
    """Compile an exported model by the stand-in for atc, in the ONNX's folder; return the `.om`."""
    prefix = onnx.with_name(name)
    image = input_tensor(config)
    command = atc_command(onnx, prefix, batch_size, [image], tools.soc_version, precision, aipp)
    subprocess.run(command, env=dict(tools.env), check=True, capture_output=True)
    om = prefix.with_suffix(".om")
    om.chmod(0o640)
    return om


def detector_of(model: Path, config: ModelConfig = TINY_CONFIG) -> Detector:
    """Return the host's part behind a model, by what the model states but for the config."""
    return open_detector(model, replace(read_description(model), config=config))


def describe_network(config: ModelConfig = TINY_CONFIG, cut: str = "fpn", weights: str = "2" * 64) -> Description:
    """Return what the export of a network would state; `weights` is the SHA-256 of its file."""
    part = HostPart("yolact_edge_heads.onnx", "3" * 64) if cut == "fpn" else None
    return Description(config, cut, weights, "yolact_ascend", "yolact-ascend 1.0", part)


def write_described_onnx(path: Path, description: Description, **more: str) -> None:
    """Write an ONNX file that states a description, and `more`; its graph copies one number."""
    from onnx import TensorProto, helper, save

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", values[:1], values[1:])
    model = helper.make_model(graph)
    helper.set_model_props(model, {KEY: json.dumps(to_json(description)), **more})
    save(model, path)


def write_coco(folder: Path, config: ModelConfig = SMALL_CONFIG) -> Path:
    """Draw a COCO folder with `val2017` and annotations of the config's first, last and another class.

    The annotations name the images in the order 3, 1, 2, so that dataset order is not id order.
    """
    sizes = {1: (640, 480), 2: (300, 500), 3: (100, 80), 4: (550, 550)}  # image id: (width, height)
    first, another, last = (config.category_ids[i] for i in (0, config.num_classes // 5, -1))  # COCO's: 1, 18, 90
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    generator = np.random.default_rng(0)
    images = []
    for image_id, (width, height) in sizes.items():
        name = f"{image_id:012d}.jpg"
        pixels = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "val2017" / name), cv2.GaussianBlur(pixels, (0, 0), 3))
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
    annotations = [
        {**_box(3, another, 10, 10, 40, 30), "id": 1},
        {**_box(1, first, 100, 50, 200, 300), "id": 2},
        {**_box(1, last, 400, 200, 100, 100), "id": 3},
        {
            **_box(2, first, 0, 0, 300, 250),
            "id": 4,
            "iscrowd": 1,
            "segmentation": {"size": [500, 300], "counts": [0, 250] + [250, 250] * 299 + [250]},
        },
    ]
    categories = [
        {"id": category_id, "name": name} for category_id, name in zip(config.category_ids, config.class_names)
    ]
    data = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(data))
    return folder


def _box(image_id: int, category_id: int, x: int, y: int, w: int, h: int) -> dict:
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, w, h],
        "area": w * h,
        "iscrowd": 0,
        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
    }


def rectangle_rle(left: int, top: int, right: int, bottom: int, height: int, width: int) -> dict:
    """Return a rectangle's mask as COCO's results have it: {"size", "counts"}."""
    pixels = np.zeros((height, width), np.uint8, order="F")
    pixels[top:bottom, left:right] = 1
    rle = coco_mask.encode(pixels)
    return {"size": [height, width], "counts": rle["counts"].decode()}


def decode_mask(rle: Rle) -> np.ndarray:
    """Return the pixels [H,W] of an encoded mask as booleans."""
    with warnings.catch_warnings():
        # pycocotools 2.0.11 has an __array__ without the `copy` keyword that numpy 2 asks for.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return coco_mask.decode(rle).astype(bool)


if __name__ == "__main__":
    for model in MODELS:
        if not (Path(sys.argv[1]) / model).exists():
            make_model(model, Path(sys.argv[1]))
