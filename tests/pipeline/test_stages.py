"""What each stage depends on, and nothing else: of settings, data and sources."""

import dataclasses
import itertools

import pytest
from factories import CHECKOUT, SMALL_CONFIG, describe_network, write_coco, write_described_onnx

from yolact_ascend import sources
from yolact_ascend.files import sha256_file
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.upstreams import UPSTREAMS
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.records import Records
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.pipeline.stages.plan import STEPS_OF_STAGE, plan_steps
from yolact_ascend.pipeline.ways import STAGES_OF_WAY
from yolact_ascend.process import Runner
from yolact_ascend.targets.ascend.target import AscendTarget
from yolact_ascend.targets.compiled import files_of_model
from yolact_ascend.targets.folder import WorkFolder
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget
from yolact_ascend.targets.openvino.target import OpenVinoTarget
from yolact_ascend.targets.registry import TARGETS
from yolact_ascend.targets.torch.target import TorchTarget

WAYS = (["mode=full"], ["stream=1"], ["mode=perf"])
TARGETS_HERE = [
    pytest.param(name, marks=pytest.mark.needs("openvino")) if name == OpenVinoTarget.name else name for name in TARGETS
]


@pytest.fixture
def plan(tmp_path, emulation):
    """Return what gives the steps of a run of these words, by label: its files are there, its models hold a word."""
    write_coco(tmp_path / "coco")
    folder = WorkFolder(tmp_path / "out")
    folder.root.mkdir()
    models = [files_of_model(folder.model(2, target.model_suffix)) for target in TARGETS.values()]
    for path in (tmp_path / "a.pth", *itertools.chain(*models)):
        path.write_bytes(b"word")
    write_described_onnx(folder.onnx, describe_network(SMALL_CONFIG))

    def plan(*words):
        places = [f"weights={tmp_path}/a.pth", f"coco={tmp_path}/coco", f"out={folder.root}"]
        settings = parse_words([*places, f"config={SMALL_CONFIG.name}", "bs=2", *words])
        made = {
            "onnxruntime": OnnxRuntimeTarget,
            "openvino": lambda: OpenVinoTarget("CPU", None),
            "torch": TorchTarget,
        }
        target = made.get(settings.target, lambda: AscendTarget(emulation))()
        run = RunContext(settings, target, Records(folder), Runner(0, {}))
        return {step.label: step for step in plan_steps(run)}

    return plan


@pytest.fixture
def code(plan, monkeypatch):
    """Return what gives the files that each step of a run depends on, from the package's folder, by label."""
    monkeypatch.setattr(sources, "digest_files", lambda paths: tuple(map(str, paths)))

    def code(*words):
        prefix = f"{sources.PACKAGE}/"
        return {
            label: {path.removeprefix(prefix) for path in step.inputs().get("code", ())}
            for label, step in plan(*words).items()
        }

    return code


def test_every_stage_of_a_way_has_its_steps():
    assert set(STEPS_OF_STAGE) == set(itertools.chain(*STAGES_OF_WAY.values())) - {"report"}


@pytest.mark.parametrize("target", TARGETS_HERE)
@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_what_only_runs_stages_or_reads_their_results_makes_none_stale(code, target, way):
    """A change in cli/, training/, report/, analysis/ or scenes/ leaves all records fresh."""
    for label, files in code(f"target={target}", *way).items():
        assert {file.split("/")[0] for file in files} <= {
            *("host", "images", "models", "detection", "targets"),
            *(file for file in files if "/" not in file),
        }, label


def test_of_the_pipeline_only_what_makes_a_batch_counts(code):
    files = code("mode=perf", "input=random")["benchmark bs2"]
    assert [file for file in files if file.startswith("pipeline/")] == ["pipeline/batch_file.py"]
    assert "images/transforms.py" in files


@pytest.mark.parametrize(
    ("words", "label", "inside", "outside"),
    [
        ([], "export", "models/export.py models/yolact/network.py models/weights.py", "host images targets"),
        ([], "preprocess", "host/preprocess.py images/transforms.py images/decode.py", "models/yolact host/stream.py"),
        (
            [],
            "postprocess bs2",
            "host/postprocess.py detection/masks.py detection/evaluate.py models/yolact/detect.py",
            "images/transforms.py host/preprocess.py targets/ascend targets/onnxruntime",
        ),
        (
            ["stream=1"],
            "stream bs2",
            "host/stream.py host/inference.py images/transforms.py detection/masks.py models/yolact/detect.py "
            "targets/ascend/engine.py targets/ascend/worker.py slots.py",
            "targets/onnxruntime host/postprocess.py models/export.py",
        ),
        (
            ["stream=1", "target=onnxruntime"],
            "stream bs2",
            "host/stream.py targets/onnxruntime/engine.py",
            "targets/ascend targets/onnxruntime/compile.py",
        ),
        (["target=onnxruntime"], "compile bs2", "targets/onnxruntime/compile.py", "host targets/ascend images"),
        (["target=onnxruntime"], "infer bs2", "host/infer.py targets/onnxruntime/engine.py", "targets/ascend images"),
        (
            ["target=onnxruntime", "mode=perf"],
            "benchmark bs2",
            "host/infer.py targets/onnxruntime/engine.py",
            "targets/ascend images",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.split()[0],
)
def test_a_stage_depends_on_the_modules_that_do_its_work(code, words, label, inside, outside):
    files = code(*words)[label]
    assert set(inside.split()) <= files
    assert not [file for file in files if any(f"{file}/".startswith(f"{room}/") for room in outside.split())]


@pytest.mark.parametrize("label", ["compile bs2", "infer bs2"])
def test_what_canns_tools_do_depends_on_flags_and_not_on_our_code(code, label):
    assert code()[label] == set()


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (["workers=1"], []),
        (["limit=4"], []),  # all there are
        (["to=export"], []),
        (["force=1"], []),
        (["limit=3"], ["preprocess"]),
        (["precision=fp32"], ["compile bs2"]),
        (["target=onnxruntime"], ["compile bs2", "infer bs2"]),
        pytest.param(["target=openvino"], ["compile bs2", "infer bs2"], marks=pytest.mark.needs("openvino")),
        (["aipp=1"], ["compile bs2", "preprocess"]),
        (["cut=heads"], ["export", "postprocess bs2"]),
        (["upstream=u"], ["patch"]),  # and the export through the patch's record
        (["stream=1", "workers=1"], []),
        (["stream=1", "limit=3"], ["stream bs2"]),
        (["stream=1", "cut=heads"], ["export", "stream bs2"]),
        (["stream=1", "aipp=1"], ["compile bs2"]),
        (["mode=perf", "loop=7"], ["benchmark bs2"]),
        (["mode=perf", "input=random"], ["benchmark bs2"]),
        (["mode=perf", "aipp=1"], ["compile bs2"]),
        (["mode=perf", "target=onnxruntime", "threads=1"], ["compile bs2", "benchmark bs2"]),
    ],
    ids=lambda value: " ".join(value) or "none",
)
def test_a_setting_changes_the_inputs_of_the_stages_that_read_it(plan, words, changed):
    """By itself; a compiled model and records that are made anew change those of later stages."""
    way = [word for word in words if [word] in WAYS]
    before = {label: step.inputs() for label, step in plan(*way).items()}
    after = {label: step.inputs() for label, step in plan(*words).items()}
    assert [label for label in after if after[label] != before.get(label)] == changed


@pytest.mark.parametrize("target", TARGETS_HERE)
def test_outputs_name_the_targets_model_and_the_tasks_of_the_network(plan, target):
    steps = plan(f"target={target}")
    suffix = TARGETS[target].model_suffix
    assert [path.name for path in steps["compile bs2"].outputs()] == [
        f"yolact_edge_bs2{suffix}",
        *(["yolact_edge_bs2.bin"] if target == "openvino" else []),
        f"yolact_edge_bs2{suffix}.json",
    ]
    assert [path.name for path in steps["postprocess bs2"].outputs()] == [
        *("bbox_detections.json", "mask_detections.json", "scores.json"),
    ]


@pytest.mark.parametrize("upstream", UPSTREAMS, ids=lambda upstream: upstream.name)
def test_the_patch_is_that_of_the_project_that_has_the_config(plan, tmp_path, monkeypatch, upstream):
    monkeypatch.setitem(CONFIGS, SMALL_CONFIG.name, dataclasses.replace(SMALL_CONFIG, upstream_url=upstream.url))
    commands = []
    monkeypatch.setattr(Runner, "run_own", lambda _, command: commands.append(command))
    step = plan(f"upstream={tmp_path / 'u'}")["patch"]
    step.work()
    script = str(CHECKOUT / "scripts" / "apply_patch.sh")
    assert commands == [["bash", script, f"--upstream={upstream.name}", str(tmp_path / "u")]]
    assert step.inputs()["patch_sha256"] == sha256_file(CHECKOUT / "patches" / f"{upstream.name}.patch")
    assert step.outputs() == []
    network = tmp_path / "u" / upstream.network_file
    network.parent.mkdir(parents=True)
    network.touch()
    assert step.outputs() == [network]
