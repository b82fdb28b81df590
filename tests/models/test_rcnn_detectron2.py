"""R-CNN of the dialect detectron2 beside Detectron2's own models: their keys, and each of their layers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from detectron2_parity import YAML_OF_CONFIG, network_state, random_detectron2, yaml_and_options
from detectron2_shim import build_detectron2, detectron2_config

from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.families import family_of
from yolact_ascend.models.resized_size import resized_size
from yolact_ascend.models.values import DETECTRON2

pytestmark = pytest.mark.detectron2
MASK_R50 = CONFIGS["mask_rcnn_R_50_FPN_3x"]
OF_DIALECT = [config for config in CONFIGS.values() if config.rcnn and config.rcnn.dialect == DETECTRON2]


def test_the_zoos_four_configs_are_there():
    assert {config.name for config in OF_DIALECT} >= set(YAML_OF_CONFIG)


@pytest.mark.parametrize("config", OF_DIALECT, ids=lambda config: config.name)
def test_keys_and_shapes_are_those_of_a_model_that_detectron2_builds(detectron2, config):
    expected = shapes_of(network_state(build_detectron2(*yaml_and_options(config))))
    with torch.device("meta"):
        state = family_of(config).build(config).state_dict()
    assert shapes_of(state) == expected
    print(f"parity: {config.name}: {len(state)} keys and shapes are those of Detectron2's own model")


@pytest.mark.parametrize("name", YAML_OF_CONFIG)
def test_values_of_a_config_are_those_of_its_yaml(detectron2, name):
    """The options that would make Detectron2 build our config change nothing in its own YAML."""
    cfg = detectron2_config(YAML_OF_CONFIG[name])
    _, options = yaml_and_options(dataclasses.replace(CONFIGS[name], name="as options"))
    ours = detectron2_config(YAML_OF_CONFIG[name], options)
    assert len(options) > 60
    assert ours == cfg


@pytest.mark.parametrize(("shortest", "longest"), [(800, 1333), (240, 320), (400, 401)])
def test_sizes_are_those_of_detectron2(detectron2, shortest, longest):
    """All sizes up to 64 px, a hundred thousand larger ones, and the ones with an edge at a limit."""
    from detectron2.data.transforms import ResizeShortestEdge

    canvas = -(-longest // 32) * 32
    pixels = dataclasses.replace(
        MASK_R50.preprocessing,
        **{"shortest_edge_px": shortest, "longest_edge_px": longest, "height_px": canvas, "width_px": canvas},
    )
    generator = np.random.default_rng(0)
    sizes = [(height, width) for height in range(1, 65) for width in range(1, 65)]
    sizes += generator.integers(1, 5000, (100_000, 2)).tolist()
    sizes += [(edge, int(other)) for edge in (shortest, longest) for other in generator.integers(1, 3000, 500)]
    checked = 0
    for height, width in sizes:
        expected = ResizeShortestEdge.get_output_shape(height, width, shortest, longest)
        if min(expected):  # Detectron2 itself cannot resize to nothing
            assert resized_size(height, width, pixels) == expected
            checked += 1
    print(f"parity: {checked} sizes of pictures are those of Detectron2's get_output_shape({shortest}, {longest})")
    assert checked > 100_000


@torch.no_grad()
def test_layers_give_what_detectron2s_give(detectron2):
    """On random weights and batch norms; tolerance: float32 in another order of operations, of the largest value."""
    picture = torch.randn(3, 64, 96, generator=torch.Generator().manual_seed(1)) * 60
    theirs = random_detectron2(MASK_R50, picture.numpy())
    ours = family_of(MASK_R50).build(MASK_R50).eval()
    ours.load_state_dict(network_state(theirs), strict=True)
    levels = theirs.backbone(picture[None])
    assert_close(ours.features(picture[None]), list(levels.values()))
    logits, deltas = ours.score_anchors(list(levels.values()))
    expected_logits, expected_deltas = theirs.proposal_generator.rpn_head(list(levels.values()))
    assert_close([*logits, *deltas], [*expected_logits, *expected_deltas])
    heads, pooled = theirs.roi_heads, torch.randn(5, 256, 7, 7, generator=torch.Generator().manual_seed(2))
    assert_close(
        ours.roi_heads.box_predictor(ours.roi_heads.box_head(pooled)), heads.box_predictor(heads.box_head(pooled))
    )
    assert_close([ours.roi_heads.mask_head(pooled)], [heads.mask_head.layers(pooled)])


def shapes_of(state):
    return {key: tuple(value.shape) for key, value in state.items()}


def assert_close(ours, theirs, tolerance=2e-5):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= tolerance * other.abs().max()
