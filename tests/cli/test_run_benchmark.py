"""mode=perf."""

import re
from pathlib import Path

import numpy as np
import pytest
from factories import QUICK_CONFIG
from runs import (
    change_image,
)

from yolact_ascend import loops, process
from yolact_ascend.errors import DatasetError, ToolError
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.process import Runner


def test_perf_mode_needs_no_data_set(copied, capfd, monkeypatch):
    monkeypatch.setattr(loops, "LEAST_S", 0.0)
    monkeypatch.setattr(loops, "LEAST_MEASURED_S", 0.0)
    assert copied(mode="perf", bs="1,2", loop="2", coco="nowhere") == [
        *("compile bs1", "compile bs2", "benchmark bs1", "benchmark bs2")
    ]
    said = re.findall(r"benchmark: about \d+ s for 2 loops", capfd.readouterr().err)
    assert len(said) == 2  # from ais_bench's progress, at each batch size
    report = copied.report()
    assert report["mode"] == "perf" and report["dataset"] is None
    assert [(r["batch_size"], r["batches"], r["input"]) for r in report["results"]] == [
        (1, 2, "zeros"),
        (2, 2, "zeros"),
    ]
    assert report["results"][0]["box"] is None
    assert "zeros" in copied.folder.report_md.read_text()
    assert copied(mode="perf", bs="1", loop="2") == []
    assert copied(mode="perf", bs="1", loop="3") == ["benchmark bs1"]


def test_nothing_of_the_benchmark_but_its_timings_stays(copied):
    copied(mode="perf", loop="1")
    assert list((copied.out / "bs3" / "perf").iterdir()) == []
    assert (copied.out / "bs3" / "perf_summary.json").is_file()
    assert copied.report()["overlays"] == [] and not (copied.out / "overlays").exists()  # those of the full run went


def test_a_benchmark_of_random_values_or_images_leaves_only_its_timings(copied, monkeypatch, capfd):
    seen = []
    real = process.run_tool

    def look(command, env, log=None, explain=None, pass_fds=(), watch=None):
        if "--input" in command:
            batch = Path(command[command.index("--input") + 1])
            assert batch.stat().st_mode & 0o777 == 0o640 and batch.parent.stat().st_mode & 0o777 == 0o750
            first = np.fromfile(batch, np.float32, input_tensor(QUICK_CONFIG).size_bytes // 4).tobytes()
            seen.append(
                (
                    batch.stat().st_size / input_tensor(QUICK_CONFIG).size_bytes,
                    first == before,
                    "--batchsize=5" in command,
                )
            )
        return real(command, env, log, explain, pass_fds, watch)

    monkeypatch.setattr(process, "run_tool", look)
    before = (copied.folder.inputs / "bin_file" / "0.bin").read_bytes()
    words = {"mode": "perf", "bs": "5", "loop": "1"}
    assert copied(**words, input="random", coco="nowhere") == ["compile bs5", "benchmark bs5"]
    assert copied.report()["results"][0]["input"] == "random"
    assert copied(**words, input="dataset") == ["benchmark bs5"]
    (result,) = copied.report()["results"]
    assert (result["input"], result["batches"], result["batch_size"]) == ("dataset", 1, 5)
    assert copied(**words, input="dataset") == []
    # 4 images fill a batch of 5: the fifth is the first again.
    assert seen == [(5, False, True), (5, True, True)]
    assert "| 310P3 (emulated) | 5 | fp16 | dataset |" in copied.markdown()
    left = {path.name for path in (copied.out / "bs5").rglob("*")}
    assert left == {"perf", "perf_summary.json"}
    change_image(copied)
    assert copied(**words, input="dataset") == ["benchmark bs5"]


def test_a_benchmark_that_fails_leaves_no_batch(copied, monkeypatch):
    def fail(*_):
        assert copied.folder.benchmark_input(3).exists()
        raise ToolError("failed")

    monkeypatch.setattr(Runner, "run", fail)
    with pytest.raises(ToolError):
        copied(mode="perf", input="random")
    assert not copied.folder.benchmark_input(3).parent.exists()


def test_a_benchmark_of_images_needs_those_of_its_batch(copied):
    (copied.coco / "val2017" / "000000000002.jpg").unlink()  # the third by the annotations' order
    with pytest.raises(DatasetError, match=r"1 of 3 images .* the first is 000000000002\.jpg"):
        copied(mode="perf", input="dataset")


@pytest.mark.parametrize("batch", ["random"])
def test_perf_mode_runs_the_loop_on_every_device(copied, monkeypatch, batch):
    monkeypatch.setenv("EMULATED_NPUS", "2")
    assert copied(mode="perf", loop="2", npus="0,1", input=batch) == ["benchmark bs3"]
    (result,) = copied.report()["results"]
    assert (result["batches"], result["npus"]) == (4, [0, 1])
    assert list((copied.folder.run(3) / "perf").iterdir()) == []
