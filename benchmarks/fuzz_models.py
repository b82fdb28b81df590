"""A small model for the stand-ins: its ONNX, its compiled form, its AIPP file, and what a run would expect of it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import aclruntime
import numpy as np
import onnx
from ascend_emulation import atc_cli
from ascend_emulation.atc_options import parse_options
from ascend_emulation.cann import played_release
from onnx import TensorProto, helper

from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.description import Description, HostPart
from yolact_ascend.targets.compiled import Need
from yolact_ascend.tensors import TensorSpec

SIDE = 8
SMALL_AIPP = f"""aipp_op {{
  aipp_mode: static
  related_input_rank: 0
  input_format: RGB888_U8
  src_image_size_w: {SIDE}
  src_image_size_h: {SIDE}
  crop: false
  csc_switch: false
  rbuv_swap_switch: false
  min_chn_0: 123.5
  min_chn_1: 116.25
  min_chn_2: 103.5
  var_reci_chn_0: 0.0171
  var_reci_chn_1: 0.0175
  var_reci_chn_2: 0.0174
}}
"""


def small_onnx(folder: Path) -> Path:
    """Write a network of one operator."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["output0"], name="relu")], "g", [image], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 7
    path = folder / "small.onnx"
    onnx.save(model, path)
    return path


def compile_small(onnx_file: Path, aipp_file: Path | None = None) -> Path:
    """Compile it as the stand-in of atc does; raises AtcError."""
    prefix = onnx_file.with_suffix("")
    words = [f"--model={onnx_file}", "--framework=5", f"--output={prefix}", "--soc_version=Ascend310P3"]
    words += [f"--input_shape=image:1,3,{SIDE},{SIDE}"]
    words += [] if aipp_file is None else [f"--insert_op_conf={aipp_file}"]
    cann = played_release({})
    atc_cli.compile_model(parse_options(words, cann), cann)
    return prefix.with_suffix(".om")


def run_once(om: Path) -> None:
    """Load a model on the stand-in of the device and run it; raises RuntimeError."""
    with contextlib.redirect_stdout(io.StringIO()):
        session = aclruntime.InferenceSession(str(om), 0, aclruntime.session_options())
        zeros = [aclruntime.Tensor(np.zeros(desc.realsize, np.uint8)) for desc in session.get_inputs()]
        session.run([output.name for output in session.get_outputs()], zeros)


def small_description() -> Description:
    """Return what the ONNX of such a model states."""
    config = CONFIGS["yolact_base_config"]
    return Description(config, "fpn", "2" * 64, "yolact_ascend", "fuzz", HostPart("small_heads.onnx", "3" * 64))


def small_need() -> Need:
    """Return what a run expects of a compiled model."""
    return Need(
        target="ascend",
        made_for={"soc_version": "Ascend310P3", "cann": "8.0"},
        onnx_sha256="1" * 64,
        weights_sha256="2" * 64,
        batch_size=2,
        config="yolact_base_config",
        cut="fpn",
        precision="fp16",
        inputs=(TensorSpec("image", (3, SIDE, SIDE), "float32", "NCHW"),),
        outputs=(TensorSpec("output0", (3, SIDE, SIDE)), TensorSpec("output1", (4,))),
    )
