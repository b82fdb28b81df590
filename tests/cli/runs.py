"""A work folder with its inputs, runs in it, and what changes them: for the tests of whole runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from factories import CHECKOUT, QUICK_CONFIG, save_weights
from formats import require_valid

from yolact_ascend import process
from yolact_ascend.cli.main import main
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.process import Runner
from yolact_ascend.targets.folder import WorkFolder, sidecar_file

PER_BATCH = ("compile bs3", "infer bs3", "postprocess bs3")
ALL = ("export", "compile bs3", "preprocess", "infer bs3", "postprocess bs3")


class Run:
    """A work folder with its inputs, and runs in it."""

    def __init__(self, folder: Path, weights: Path, coco: Path) -> None:
        self.out = folder / "results"
        self.weights = weights
        self.coco = coco
        self.words = {
            "bs": "3",
            "config": QUICK_CONFIG.name,
            "weights": str(weights),
            "coco": str(coco),
            "out": str(self.out),
            "device": "emulation",
        }
        self.folder = WorkFolder(self.out)

    def command(self, **words: str) -> list[str]:
        return [f"{key}={value}" for key, value in {**self.words, **words}.items()]

    def __call__(self, **words: str) -> list[str]:
        """Run, and return the labels of the steps that were done, not fresh."""
        run_stages(self.command(**words))
        stages = self.report()["stages"]
        label = "{name} bs{batch_size}".format_map
        return [s["name"] if s["batch_size"] is None else label(s) for s in stages if s["status"] == "done"]

    def om(self, batch_size: int) -> Path:
        return self.folder.model(batch_size, ".om")

    def sidecar(self, batch_size: int) -> dict:
        return require_valid(json.loads(sidecar_file(self.om(batch_size)).read_text()), "sidecar")

    def detections(self, batch_size: int) -> dict[str, Path]:
        return self.folder.detections(batch_size, QUICK_CONFIG.tasks)

    def markdown(self) -> str:
        """The report as text, without what aligns its tables."""
        return re.sub(" +", " ", self.folder.report_md.read_text())

    def report(self) -> dict:
        """The report, which fits its schema whatever the run was."""
        return require_valid(json.loads(self.folder.report_json.read_text()), "report")


def kill_in(words: list[str], stage: str, sign: Path | None = None) -> None:
    """Start a run, and kill all of it at once in the middle of a stage: as it begins, or when the file `sign` is there.

    As a lost connection or a full machine does.
    """
    command = [sys.executable, "-m", "yolact_ascend", "run", *words]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    started = ""
    while not re.search(rf"^\[{stage}( bs\d+)?\] running", started, re.MULTILINE):
        line = process.stderr.readline().decode()
        assert line, started
        started += line
    deadline = time.monotonic() + 60
    while sign is not None and not sign.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def verb_words(command: list[str]) -> list[str]:
    """The verb of a command of our own, and its flags."""
    return command[[Path(word).name for word in command].index("yolact_ascend") + 1 :]


def start_own_verbs_here(monkeypatch):
    """Let a run call its own verbs in this process, which has imported PyTorch; other programs are started as ever."""
    start = process._run

    def run(command, env, log, pass_fds, watch=None):
        if "yolact_ascend" not in [Path(word).name for word in command]:
            return start(command, env, log, pass_fds, watch)
        text = None if log is None else io.StringIO()
        with contextlib.ExitStack() as stack:
            before = stack.enter_context(pytest.MonkeyPatch.context())
            for name in os.environ.keys() - env.keys():
                before.delenv(name)
            for name, value in env.items():
                before.setenv(name, value)
            for number in (signal.SIGTERM, signal.SIGHUP):
                stack.callback(signal.signal, number, signal.getsignal(number))
            if text is not None:
                stack.enter_context(contextlib.redirect_stdout(text))
                stack.enter_context(contextlib.redirect_stderr(text))
            code = main(verb_words(command))
        if text is None:
            return code, ""
        log.write(text.getvalue().encode())
        return code, text.getvalue()

    monkeypatch.setattr(process, "_run", run)


def change_weights(run):
    import torch

    state = torch.load(run.weights, weights_only=True)
    state["prediction_layers.0.conf_layer.bias"] += 0.1
    save_weights(state, QUICK_CONFIG, run.weights)


def forget_classes(run):
    """Make the weights upstream's, which name no classes."""
    import torch

    torch.save(torch.load(run.weights, weights_only=True), run.weights)


def change_image(run):
    path = run.coco / "val2017" / "000000000002.jpg"
    shutil.copy(run.coco / "val2017" / "000000000001.jpg", path)


def change_annotations(run):
    path = run.coco / "annotations" / "instances_val2017.json"
    data = json.loads(path.read_text())
    data["annotations"][0]["bbox"][0] += 1
    path.write_text(json.dumps(data))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def read_outputs(run: Run, batch_size: int) -> list[np.ndarray]:
    """Each output of the four images, end to end."""
    folder = run.folder.outputs(batch_size)
    return [np.concatenate([np.fromfile(folder / f"{i}_{k}.bin", np.float32) for i in range(4)]) for k in range(6)]


def read_detections(run: Run, batch_size: int = 3) -> list[bytes]:
    return [path.read_bytes() for path in run.detections(batch_size).values()]


def refuse_tools(monkeypatch):
    """Make a run fail as soon as it starts one of CANN's tools."""

    def fail(self, command, *_):
        pytest.fail(f"started {command}")

    monkeypatch.setattr(Runner, "run", fail)
