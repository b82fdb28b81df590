"""The key=value words of run_all.sh."""

from pathlib import Path

import pytest

from yolact_ascend.errors import UsageError
from yolact_ascend.pipeline.keys import KEYS, describe_keys
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.pipeline.ways import ALL_STAGES
from yolact_ascend.targets.registry import TARGETS


def test_no_words_give_the_defaults():
    settings = parse_words([])
    assert settings.batch_sizes == (1,)
    assert settings.weights == Path("yolact_edge_resnet50_54_800000.pth")
    assert settings.stages == ("patch", "export", "quantize", "compile", "preprocess", "infer", "postprocess", "report")
    assert settings.limit is None and settings.upstream is None and settings.force == frozenset()


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["bs=8"], "batch_sizes", (8,)),
        (["bs=1,4,8"], "batch_sizes", (1, 4, 8)),
        (["bs=4,1,4"], "batch_sizes", (4, 1)),
        (["limit=7"], "limit", 7),
        (["out=a=b"], "out", Path("a=b")),
        (["mode=perf"], "stages", ("patch", "export", "quantize", "compile", "benchmark", "report")),
        (["from=infer"], "stages", ("infer", "postprocess", "report")),
        (["from=infer", "to=infer"], "stages", ("infer",)),
        (["force=infer,export"], "force", frozenset({"infer", "export"})),
        (["force=1"], "force", frozenset(ALL_STAGES)),
        (["force=0"], "force", frozenset()),
        (["upstream=fork"], "upstream", Path("fork")),
        ([], "npus", (0,)),
        (["npus=1,0,1"], "npus", (1, 0)),
        ([], "precision", "fp16"),
        (["precision=fp32"], "precision", "fp32"),
        (["precision="], "precision", "fp16"),
        ([], "target", "ascend"),
        (["target=ascend"], "target", "ascend"),
        ([], "device", "auto"),
        (["device=npu"], "device", "npu"),
        (["device=emulation"], "device", "emulation"),
        (["device=cpu"], "device", "emulation"),
        (["target=onnxruntime"], "target", "onnxruntime"),
        (["target=onnxruntime"], "device", "auto"),
        (["target=onnxruntime"], "precision", "fp32"),
        (["precision=fp32", "device=cpu", "target=onnxruntime"], "precision", "fp32"),
        (["target=onnxruntime", "device=cpu"], "device", "cpu"),
        (["target=onnxruntime", "stream=1"], "stages", ("patch", "export", "quantize", "compile", "stream", "report")),
        ([], "input_dtype", "float32"),
        (["aipp=0"], "embed", "0"),
        (["aipp=1"], "embed", "1"),
        (["embed=1"], "input_dtype", "uint8"),
        (["target=openvino", "embed=resize", "stream=1"], "input_dtype", "uint8 of any size"),
        (["target=openvino", "mode=perf"], "input", "random"),
        (["target=openvino"], "precision", "fp32"),
        (["threads=3"], "threads", 3),
        (["limit=1000000000"], "limit", 10**9),
        ([], "input", "dataset"),
        (["input=dataset"], "needs_dataset", True),
        (["mode=perf"], "input", "zeros"),
        (["mode=perf", "input=random"], "needs_dataset", False),
        (["mode=perf", "input=dataset"], "needs_dataset", True),
        (["limit=7", "bs=8"], "image_limit", 7),
        ([], "image_limit", None),
        (["mode=perf", "bs=2,8"], "image_limit", 8),
        (["mode=perf", "bs=2,8", "limit=3"], "image_limit", 3),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_words_become_settings(words, name, value):
    assert getattr(parse_words(words), name) == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bs=0"], "bs=0: expected whole numbers from 1 to 4096"),
        (["bs=abc"], "bs=abc: expected whole numbers"),
        (["bs="], "bs=: expected whole numbers"),
        (["bs=8,"], "bs=8,: expected whole numbers"),
        (["bs=-1"], "bs=-1: expected"),
        (["bs=²"], "bs=²: expected"),
        (["batch=8"], "'batch=8' is not a setting of a run. Settings are KEY=VALUE; keys: bs, config, weights"),
        (["--bs"], "'--bs' is not a setting"),
        (["bs"], "'bs' is not a setting"),
        (["bs=1", "bs=2"], "bs= is given twice: '1' and '2'"),
        (["target=tensorrt"], "target=tensorrt: expected one of ascend, onnxruntime, openvino"),
        (["device=gpu"], "device=gpu: expected one of auto, npu, emulation (target=ascend)."),
        (["device="], "device=: expected one of auto, npu, emulation (target=ascend)."),
        (["device=npu", "target=onnxruntime"], "device=npu: expected one of auto, cpu (target=onnxruntime)."),
        (["target=onnxruntime", "device=emulation"], "device=emulation: expected one of auto, cpu"),
        (["target=onnxruntime", "precision=fp16"], "precision=fp16: expected one of fp32, int8 (target=onnxruntime)."),
        (["precision=fp16", "target=onnxruntime"], "precision=fp16: expected one of fp32, int8 (target=onnxruntime)."),
        (["mode=fast"], "mode=fast: expected one of full, perf"),
        (["config=yolact"], "Unknown config 'yolact'. Choose one of: yolact_edge_resnet50_config"),
        (["limit=0"], "limit=0: expected a whole number from 1 to 1000000000"),
        (["limit=1000000001"], "limit=1000000001: expected a whole number from 1"),
        (["loop=x"], "loop=x: expected a whole number from 1 to 100000"),
        (["weights="], "weights=: expected a path"),
        (["weights=~nosuchuser/a.pth"], "weights=~nosuchuser/a.pth: expected a path ("),
        (["out=~nosuchuser"], "out=~nosuchuser: expected a path"),
        (["from=score"], "from=score: expected one of patch, export"),
        (["from=benchmark"], "from=benchmark: mode=full does not have this stage. Its stages: patch, export"),
        (["mode=perf", "to=infer"], "to=infer: mode=perf does not have this stage. Its stages: patch, export"),
        (["from=report", "to=export"], "from=report comes after to=export"),
        (["force=infer,foo"], "force=infer,foo: expected one of"),
        (["npus="], "npus=: expected device numbers from 0 to 255, separated by commas"),
        (["npus=0,"], "npus=0,: expected device numbers"),
        (["npus=-1"], "npus=-1: expected device numbers"),
        (["npus=256"], "npus=256: expected device numbers"),
        (["precision=int4"], "precision=int4: expected one of fp16, fp32, int8 (target=ascend)."),
        (["precision=int4", "target=onnxruntime"], "precision=int4: expected one of fp32, int8 (target=onnxruntime)."),
        (["cut=masks"], "cut=masks: expected one of fpn, heads"),
        (["stream=1", "mode=perf"], "stream=1 and mode=perf cannot be combined: "),
        (["aipp=yes"], "embed=yes: expected one of 0, 1 (target=ascend)"),
        (["embed=resize"], "embed=resize: expected one of 0, 1 (target=ascend); target=openvino has it."),
        (["target=onnxruntime", "aipp=resize"], "embed=resize: expected one of 0, 1 (target=onnxruntime); target=op"),
        (["target=openvino", "embed=resize", "bs=8", "stream=1"], "embed=resize takes one image at a time, because"),
        (["target=openvino", "embed=resize"], "embed=resize cannot run from input files, which all have the network's"),
        (["aipp=1", "embed=1"], "embed= is given twice: '1' and '1'."),
        (["target=openvino", "mode=perf", "input=zeros"], "input=zeros: expected random (target=openvino)"),
        (["target=openvino", "device=MULTI:CPU"], "device=MULTI:CPU: expected one of auto, cpu, gpu, npu"),
        (["threads=0"], "threads=0: expected a whole number from 1"),
        (["mode=perf", "input=ones"], "input=ones: expected one of zeros, random, dataset"),
        (["input=zeros"], "input=zeros: mode=full runs the images of coco=. Leave out input=, or set mode=perf."),
        (["mode=full", "input=random"], "input=random: mode=full runs the images"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_bad_words_are_named(words, message):
    with pytest.raises(UsageError) as caught:
        parse_words(words)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("target", TARGETS)
def test_a_refusal_is_one_sentence_that_names_the_target(target):
    for word in ("device=tpu", "precision=fp4"):
        with pytest.raises(UsageError) as caught:
            parse_words([f"target={target}", word])
        assert str(caught.value).startswith(f"{word}: expected ")
        assert str(caught.value).endswith(f" (target={target}).") and str(caught.value).count(". ") == 0


@pytest.mark.parametrize("target", TARGETS)
def test_what_help_says_of_devices_and_precisions_is_what_a_target_takes(target):
    help_lines = {line.split()[0]: line for line in describe_keys().splitlines()}
    for key, values in (("device", TARGETS[target].devices), ("precision", TARGETS[target].precisions)):
        for value in values:
            assert getattr(parse_words([f"target={target}", f"{key}={value}"]), key) == value
            assert value in help_lines[key]
    assert target in help_lines["target"]


def test_help_describes_every_key():
    lines = describe_keys().splitlines()
    assert [line.split()[0] for line in lines] == list(KEYS)
