"""The network's input and outputs have the sizes that Ascend ModelZoo's YolactEdge guide and ATC's guide state."""

import json

import pytest

from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, DEMO_CONFIG
from yolact_ascend.models.families import cut_outputs
from yolact_ascend.models.inputs import INPUT_DTYPES, input_tensor, takes_pixels
from yolact_ascend.tensors import TensorSpec

CONFIG = CONFIGS[DEFAULT_CONFIG]
INPUT, UINT8_INPUT = (input_tensor(CONFIG, dtype) for dtype in INPUT_DTYPES)
OUTPUTS = cut_outputs(CONFIG, "fpn")


def test_the_contract_has_the_guides_sizes():
    """The guide's README: 3 630 000 bytes in and 2 251 904 floats out an image."""
    assert INPUT.size_bytes == 3_630_000
    assert [spec.name for spec in OUTPUTS] == [f"output{i}" for i in range(6)]
    assert sum(spec.size_bytes for spec in OUTPUTS) == 2_251_904 * 4
    assert OUTPUTS[1].shape == (256, 35, 35)
    assert OUTPUTS[5].shape == (138, 138, 32)


def test_outputs_are_as_wide_as_the_configs_layers():
    shapes = [spec.shape for spec in cut_outputs(CONFIGS[DEMO_CONFIG], "fpn")]
    assert shapes == [*((64, size, size) for size in (69, 35, 18, 9, 5)), (138, 138, 24)]


@pytest.mark.parametrize("spec", [INPUT, UINT8_INPUT, *OUTPUTS], ids=lambda spec: f"{spec.name} {spec.dtype}")
def test_a_description_of_a_batch_tells_the_sample(spec):
    assert TensorSpec.of_sample(json.loads(json.dumps(spec.of_batch(8)))) == spec


def test_an_input_of_uint8_takes_a_quarter():
    """Static AIPP, by the ATC guide: uint8, NHWC, N*550*550*3 bytes."""
    assert UINT8_INPUT.size_bytes == 907_500 == INPUT.size_bytes / 4
    assert UINT8_INPUT.of_batch(4) == {"name": "image", "shape": [4, 550, 550, 3], "dtype": "uint8", "layout": "NHWC"}
    assert INPUT.of_batch(1)["shape"] == [1, 3, 550, 550]
    assert [takes_pixels(spec) for spec in (INPUT, UINT8_INPUT)] == [False, True]
