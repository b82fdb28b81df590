"""What an OpenVINO IR states about itself, for us and for other programs."""

from dataclasses import replace

import onnx
import pytest
from factories import TINY_CONFIG, describe_network

from yolact_ascend.errors import NotDescribedError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.description import KEY
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, input_tensor
from yolact_ascend.targets.described import read_description
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.targets.openvino.engine import OpenVinoEngine
from yolact_ascend.targets.openvino.model_info import MODEL_INFO, model_info

openvino = pytest.importorskip("openvino")
BOXES = describe_network(replace(TINY_CONFIG, class_names=("bolt", "washer, flat"), category_ids=(1, 2)), "boxes")


def compile_tiny(source, path, embed="0"):
    image = input_tensor(TINY_CONFIG, DTYPE_OF_EMBED["0"])
    compile_ir(source, path, 1, "fp32", [image], TINY_CONFIG.preprocessing, embed)
    return path


@pytest.mark.parametrize("embed", ["0", "1", "resize"])
def test_an_ir_without_its_side_car_states_what_its_onnx_does(tiny_onnx, tmp_path, embed):
    model = compile_tiny(tiny_onnx, tmp_path / "m.xml", embed)
    assert read_description(model) == read_description(tiny_onnx)


def test_an_ir_that_openvino_converted_by_hand_does_so_too(tiny_onnx, tmp_path):
    """The converter keeps the metadata of an ONNX in rt_info, under `framework`."""
    openvino.save_model(openvino.convert_model(tiny_onnx), tmp_path / "m.xml", compress_to_fp16=False)
    assert read_description(tmp_path / "m.xml") == read_description(tiny_onnx)


def test_an_ir_of_an_onnx_that_states_nothing_is_compiled_all_the_same(tiny_onnx, tmp_path):
    graph = onnx.load(tiny_onnx)
    kept = [entry for entry in graph.metadata_props if entry.key != KEY]
    del graph.metadata_props[:]
    graph.metadata_props.extend(kept)
    onnx.save(graph, tmp_path / "old.onnx")
    model = compile_tiny(tmp_path / "old.onnx", tmp_path / "m.xml")
    with pytest.raises(NotDescribedError, match=r"There is no .*m\.xml\.json"):
        read_description(model)
    with OpenVinoEngine(model) as engine:
        assert engine.metadata["config"] == TINY_CONFIG.name


def test_model_info_is_there_for_other_programs(tiny_onnx, tmp_path):
    model = openvino.Core().read_model(compile_tiny(tiny_onnx, tmp_path / "m.xml"))
    found = {key: str(value) for key, value in model.get_rt_info([MODEL_INFO]).value.items()}
    assert found == model_info(read_description(tiny_onnx), "0")


@pytest.mark.parametrize(
    ("description", "embed", "expected"),
    [
        (
            BOXES,
            "0",
            {
                "labels": "background bolt washer,_flat",
                "model_type": "Yolact",
                "reverse_input_channels": "YES",
                "resize_type": "standard",
                "mean_values": "123.68 116.78 103.94",
                "scale_values": "58.4 57.12 57.38",
            },
        ),
        (
            BOXES,
            "1",
            {
                "labels": "background bolt washer,_flat",
                "model_type": "Yolact",
                "reverse_input_channels": "YES",
                "resize_type": "standard",
            },
        ),
        (
            replace(BOXES, cut="heads"),
            "resize",
            {"labels": "background bolt washer,_flat", "reverse_input_channels": "YES"},
        ),
    ],
    ids=["bare", "normalises", "resizes, and another cut"],
)
def test_its_entries_are_model_apis(description, embed, expected):
    assert model_info(description, embed) == expected


def test_x_over_255_is_a_scale():
    """YOLACT's DarkNet-53 takes x/255, and Model API divides pixels of 0..255."""
    entries = model_info(describe_network(CONFIGS["yolact_darknet53_config"]), "0")
    assert (entries["mean_values"], entries["scale_values"]) == ("0 0 0", "255 255 255")
