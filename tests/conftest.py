"""Fixtures that several test modules use: data sets, weights, a checkout of upstream, a pretended CANN."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from factories import (
    CHECKOUT,
    CUTS,
    DEMO_ONNX,
    SMALL_WEIGHTS,
    TINY_CONFIG,
    TINY_HEADS_ONNX,
    TINY_ONNX,
    TINY_WEIGHTS,
    UPSTREAM_FIXTURES,
    compile_model,
    make_model,
    write_coco,
)

from yolact_ascend.extras import extra_of
from yolact_ascend.models.upstreams import upstream_with
from yolact_ascend.targets.ascend import cards, installation, tools
from yolact_ascend.targets.ascend.aipp import aipp_config

OF_THE_TESTS = {"hypothesis"}  # of requirements-dev.txt


def reason_without(error: BaseException | None) -> str | None:
    """Why tests are skipped on which this error came: a module of an extra is not installed here. None: no reason."""
    if isinstance(error, ModuleNotFoundError) and error.name and (extra_of(error.name) or error.name in OF_THE_TESTS):
        return f"{error.name} is not installed in this environment"
    return None


def pytest_collection_modifyitems(items):
    """Let the Detectrons warn: they were written for older libraries. Long files, such as trainings, do not come last.

    A worker of xdist takes file by file (scripts/test.sh), and waits for the other one at the end.
    """
    items.sort(key=lambda item: "training" not in item.path.parts)
    for item in items:
        if {"detectron", "detectron2", "maskrcnn_benchmark"} & {marker.name for marker in item.iter_markers()}:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Skip a file of tests that imports what is not installed here, or whose subject does."""
    report = yield
    error = report.call.excinfo and report.call.excinfo.value
    reason = reason_without(error and error.__cause__)
    if reason:
        report.outcome, report.longrepr = "skipped", (str(collector.path), 1, f"Skipped: {reason}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Skip a test that is marked with what is not installed here, or whose fixtures need it; its own code must not."""
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            if importlib.util.find_spec(name) is None:
                pytest.skip(f"{name} is not installed in this environment")
    try:
        return (yield)
    except ModuleNotFoundError as error:
        reason = reason_without(error)
        if reason is None:
            raise
        pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def hears_interrupts():
    """Where the tests run in the background of a shell, SIGINT is ignored, and their children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """Real COCO photographs: val2017/ and annotations/; a data set that the project does not contain."""
    named = os.environ.get("COCO_MINI_DIR")
    if not named:
        pytest.skip("no COCO photographs: COCO_MINI_DIR is not set")
    folder = Path(named).resolve()
    if not (folder / "annotations" / "instances_val2017.json").is_file():
        pytest.fail(f"COCO_MINI_DIR={named} holds no annotations/instances_val2017.json")
    return folder


@pytest.fixture(scope="session")
def upstream_dir(tmp_path_factory) -> Path:
    """A patched copy of the checkout of yolact_edge that YOLACT_EDGE_DIR names."""
    return patched_copy("YOLACT_EDGE_DIR", tmp_path_factory.mktemp("upstream") / "yolact_edge")


@pytest.fixture(scope="session")
def yolact_dir(tmp_path_factory) -> Path:
    """A patched copy of the checkout of dbolya/yolact that YOLACT_DIR names."""
    return patched_copy("YOLACT_DIR", tmp_path_factory.mktemp("upstream") / "yolact")


def skip_unless_set(variable: str, name: str) -> None:
    """Skip the test when the variable that names the checkout of a referee is not set."""
    if not os.environ.get(variable):
        pytest.skip(f"no checkout of {name}: {variable} is not set")


@pytest.fixture(scope="session")
def detectron2():
    """The package detectron2, running unbuilt from the checkout that DETECTRON2_DIR names; see `detectron2_shim`."""
    skip_unless_set("DETECTRON2_DIR", "Detectron2")
    from detectron2_shim import import_detectron2

    return import_detectron2()


@pytest.fixture(scope="session")
def maskrcnn_benchmark():
    """The package maskrcnn_benchmark, running unbuilt; see `detectron1_shims`."""
    skip_unless_set("MASKRCNN_BENCHMARK_DIR", "maskrcnn-benchmark")
    from detectron1_shims import import_maskrcnn_benchmark

    return import_maskrcnn_benchmark()


@pytest.fixture(scope="session")
def detectron():
    """The package detectron, of which the functions on NumPy arrays run; see `detectron1_shims`."""
    skip_unless_set("DETECTRON_DIR", "Detectron")
    from detectron1_shims import import_detectron

    return import_detectron()


@pytest.fixture
def checkout_with(request):
    """What gives the patched copy of the checkout that has a config."""
    return lambda config: request.getfixturevalue(UPSTREAM_FIXTURES[upstream_with(config).name])


def patched_copy(variable: str, folder: Path) -> Path:
    """Copy the checkout that a variable names, and patch it; skips the test when it is not set."""
    skip_unless_set(variable, "upstream")
    source = os.environ[variable]
    shutil.copytree(source, folder)
    git = ["git", "-C", folder]
    # Not `checkout .`: files that the given checkout skips stay skipped.
    changed = subprocess.check_output([*git, "diff", "--name-only", "--diff-filter=M", "HEAD"], text=True).split()
    subprocess.run([*git, "checkout", "--quiet", "--force", "HEAD", "--", "eval.py", *changed], check=True)
    subprocess.run(["bash", CHECKOUT / "scripts" / "apply_patch.sh", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """What fills a folder once for all processes of xdist, which must not change it: `once(name, fill)` returns it."""
    folder = tmp_path_factory.getbasetemp()
    root = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def get(name: str, fill: Callable[[Path], object]) -> Path:
        path, done = root / "once" / name, root / "once" / f"{name}.done"
        done.parent.mkdir(exist_ok=True)
        with (root / "once" / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(path, ignore_errors=True)  # of a process that failed
                path.mkdir()
                fill(path)
                done.touch()
        return path

    return get


@pytest.fixture(scope="session")
def made(tmp_path_factory, once):
    """What gives a file of `factories.MODELS`, as a copy: made by PyTorch, or elsewhere (EXPORTED_MODELS_DIR)."""
    root, given = tmp_path_factory.mktemp("models"), os.environ.get("EXPORTED_MODELS_DIR")

    def fill(name: str, folder: Path) -> None:
        if name in CUTS:
            weights, _ = CUTS[name]
            shutil.copytree(get(weights).parent, (folder / weights).parent)
        make_model(name, folder)

    def get(name: str) -> Path:
        path = root / name
        if not path.parent.exists():
            source = Path(given) if given else once(path.parent.name, partial(fill, name))
            shutil.copytree((source / name).parent, path.parent)
        return path

    return get


@pytest.fixture(scope="session")
def small_weights(made) -> Path:
    """Random weights of the smallest config that detect something in nearly every image."""
    return made(SMALL_WEIGHTS)


@pytest.fixture(scope="session")
def tiny_weights(made) -> Path:
    """Random weights of the demo's network, for tests that run it and do not look into it."""
    return made(TINY_WEIGHTS)


@pytest.fixture(scope="session")
def tiny_onnx(made) -> Path:
    """The network of `tiny_weights` as an ONNX file."""
    return made(TINY_ONNX)


@pytest.fixture(scope="session")
def tiny_heads_onnx(made) -> Path:
    """The same with its heads inside: the host needs no part of the network."""
    return made(TINY_HEADS_ONNX)


@pytest.fixture(scope="session")
def exported_elsewhere(made):
    """What puts the demo's exported model into a work folder where there is no PyTorch, as a copy of it would be."""

    def put(folder: Path) -> None:
        if importlib.util.find_spec("torch") is None:
            shutil.copytree(made(DEMO_ONNX).parent, folder)

    return put


@pytest.fixture(scope="session")
def emulation() -> tools.Tools:
    """The stand-ins, as a run with device=emulation finds them."""
    return tools.find_tools("emulation")


@pytest.fixture(scope="session")
def compiled(tiny_onnx, emulation) -> Path:
    """`tiny_onnx` for batches of two, in float32: its outputs are those of the ONNX."""
    return compile_model(tiny_onnx, emulation, "yolact_edge_bs2", precision="fp32")


@pytest.fixture(scope="session")
def compiled_with_aipp(tiny_onnx, emulation) -> Path:
    """The same for uint8 images, which the device normalises, one at a time."""
    aipp = tiny_onnx.with_name("aipp.cfg")
    aipp.write_text(aipp_config(TINY_CONFIG.preprocessing))
    return compile_model(tiny_onnx, emulation, "yolact_edge_aipp", 1, "fp32", aipp)


@pytest.fixture
def small_coco(tmp_path) -> Path:
    """A COCO folder of four drawn images: three annotated (one only by a crowd), and 4 is not; see `write_coco`."""
    return write_coco(tmp_path / "coco")


@pytest.fixture
def annotation_file(small_coco) -> Path:
    return small_coco / "annotations" / "instances_val2017.json"


@pytest.fixture
def dataset(small_coco, annotation_file):
    """`small_coco`, loaded."""
    from yolact_ascend.images.coco import load_dataset

    return load_dataset(annotation_file, small_coco / "val2017")


def leave_host(folder, monkeypatch):
    """Let no CANN, driver or card of this machine be found: the root of the file system and HOME lie in `folder`."""
    for name in (*installation.HOMES, cards.VISIBLE_DEVICES, "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(installation, "ROOT", folder / "root")
    monkeypatch.setenv("HOME", str(folder / "home"))


@pytest.fixture
def fake_cann(tmp_path, monkeypatch):
    """A PATH with a pretended CANN in front: an npu-smi, an atc, and Python packages of the inference tool."""
    programs = tmp_path / "cann" / "bin"
    packages = tmp_path / "cann" / "python"
    (packages / "ais_bench" / "infer").mkdir(parents=True)
    programs.mkdir()
    for name in (
        "ais_bench/__init__.py",
        "ais_bench/infer/__init__.py",
        "ais_bench/infer/interface.py",
        "aclruntime.py",
    ):
        (packages / name).touch()
    flags = ["model", "input", "output", "output_dirname", "device", "loop", "batchsize", "divide_input"]
    (packages / "ais_bench" / "__main__.py").write_text(f"for flag in {flags!r}: print('  --' + flag)\n")
    (tmp_path / "npu-smi.txt").write_text("| 0       310P3     | OK              | 15.8     |\n")
    for name, body in (("npu-smi", f"cat {tmp_path / 'npu-smi.txt'}"), ("atc", "exit 0")):
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    leave_host(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def no_cann(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    leave_host(tmp_path, monkeypatch)
