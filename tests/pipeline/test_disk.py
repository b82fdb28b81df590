"""What a run is to write, what is free, and what a run that does not fit is told."""

import shutil
from types import SimpleNamespace

import pytest

from yolact_ascend.errors import UsageError
from yolact_ascend.pipeline import disk
from yolact_ascend.pipeline.disk import DiskPlan, describe_remedies, plan_disk, require_room
from yolact_ascend.pipeline.settings import parse_words

WEIGHTS_BYTES = 1000
INPUT_BYTES = 3 * 550 * 550 * 4
OUTPUT_BYTES = 4 * (256 * (69**2 + 35**2 + 18**2 + 9**2 + 5**2) + 138 * 138 * 32)
GB = 10**9


@pytest.fixture
def free(monkeypatch):
    """Set the bytes that are free."""

    def set_free(size_bytes):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size_bytes))

    set_free(10**12)
    return set_free


@pytest.fixture
def parse(tmp_path, free):
    """Read the words of a run whose weights and work folder lie in `tmp_path`."""
    (tmp_path / "a.pth").write_bytes(bytes(WEIGHTS_BYTES))
    return lambda *words: parse_words([f"weights={tmp_path}/a.pth", f"out={tmp_path}/out", *words])


@pytest.mark.parametrize(
    ("words", "images", "expected"),
    [
        ([], 0, 2 * WEIGHTS_BYTES),
        ([], 5000, 2 * WEIGHTS_BYTES + 5000 * (INPUT_BYTES + OUTPUT_BYTES)),
        (["bs=1,8"], 10, 3 * WEIGHTS_BYTES + 10 * (INPUT_BYTES + 2 * OUTPUT_BYTES)),
        (["aipp=1"], 10, 2 * WEIGHTS_BYTES + 10 * (INPUT_BYTES // 4 + OUTPUT_BYTES)),
        (["mode=perf", "bs=2,8", "from=benchmark"], 0, 8 * OUTPUT_BYTES),
        (["mode=perf", "input=random", "from=benchmark"], 0, INPUT_BYTES + OUTPUT_BYTES),
        (["mode=perf", "target=openvino", "from=benchmark"], 0, OUTPUT_BYTES),  # its program fills the batch itself
        (["mode=perf", "input=dataset", "aipp=1", "bs=8"], 0, 2 * WEIGHTS_BYTES + 8 * (907_500 + OUTPUT_BYTES)),
        (["from=infer"], 10, 10 * OUTPUT_BYTES),
        (["from=postprocess"], 10, 0),
        (["to=compile"], 10, 2 * WEIGHTS_BYTES),
    ],
)
def test_the_disk_that_a_run_needs(parse, words, images, expected):
    assert plan_disk(parse(*words), images).needed == expected


def test_what_is_written_already_is_not_needed_again(parse):
    settings = parse()
    before = plan_disk(settings, 2).needed
    for name, size in (("yolact_edge.onnx", WEIGHTS_BYTES - 1), ("inputs/bin_file/0.bin", INPUT_BYTES)):
        path = settings.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    assert plan_disk(settings, 2).needed == before - INPUT_BYTES - WEIGHTS_BYTES + 1


def test_a_fresh_step_writes_nothing(parse):
    """An `.om` may be smaller than the weights, and still nothing is to be written."""
    assert plan_disk(parse("bs=1,8"), 2, fresh=["export", "compile bs8", "infer bs1"]).added == {
        "compile bs1": WEIGHTS_BYTES,
        "preprocess": 2 * INPUT_BYTES,
        "infer bs8": 2 * OUTPUT_BYTES,
    }


@pytest.mark.parametrize(("target", "ending"), [("ascend", ".om"), ("onnxruntime", ".onnx")])
def test_a_compiled_model_that_is_there_counts_by_its_targets_ending(parse, target, ending):
    """And a model of another target does not: both may lie in one work folder."""
    settings = parse(f"target={target}", "bs=4", "from=compile", "to=compile")
    settings.out.mkdir()
    for other in {".om", ".onnx"} - {ending}:
        (settings.out / f"yolact_edge_bs4{other}").write_bytes(bytes(WEIGHTS_BYTES))
    assert plan_disk(settings, 0).added == {"compile bs4": WEIGHTS_BYTES}
    (settings.out / f"yolact_edge_bs4{ending}").write_bytes(bytes(WEIGHTS_BYTES - 1))
    assert plan_disk(settings, 0).added == {"compile bs4": 1}


def test_both_targets_take_the_same_room(parse):
    words = ["bs=1,8", "aipp=1"]
    assert plan_disk(parse(*words, "target=onnxruntime"), 9).added == plan_disk(parse(*words), 9).added


def test_without_a_weights_file_a_large_one_is_planned_for(parse, tmp_path):
    settings = parse("to=compile")
    (tmp_path / "a.pth").unlink()
    assert plan_disk(settings, 1).added == {"export": 200 * 10**6, "compile bs1": 200 * 10**6}


def test_the_table_leaves_out_what_adds_nothing_and_aligns_the_rest():
    assert DiskPlan({"export": 2 * GB, "compile bs1": 0, "infer bs16": 98 * GB + 10**7}, 200 * GB).describe() == (
        "  stage         writes GB    total GB    left of 200.00 GB\n"
        "  export             2.00        2.00               198.00\n"
        "  infer bs16        98.01      100.01                99.99"
    )
    assert DiskPlan({"export": 0}, GB).describe() == ""


def test_the_plan_is_a_table(parse, free):
    free(40 * GB)
    assert plan_disk(parse("from=preprocess"), 5000).describe().splitlines() == [
        "  stage         writes GB    total GB    left of 40.00 GB",
        "  preprocess        18.15       18.15               21.85",
        "  infer bs1         45.04       63.19              -23.19",
    ]
    assert plan_disk(parse("from=postprocess"), 5000).describe() == ""


SAID = "This run would write 63.19 GB more to {out}, where {free} GB are free. Use "


@pytest.mark.parametrize(
    ("free_gb", "words", "expected"),
    [
        (63.1, [], ["stream=1 (0.00 GB)", "embed=1 (49.58 GB)", "limit=4913 (62.09 GB)"]),
        (50, [], ["stream=1 (0.00 GB)", "limit=3877 (49.00 GB)"]),  # embed=1 would leave less than what comes on top
        (50, ["to=infer", "from=preprocess"], ["stream=1 (0.00 GB)", "limit=3877 (49.00 GB)"]),
        (1, [], ["stream=1 (0.00 GB)", "limit=39 (0.49 GB)"]),
        (0.001, [], ["stream=1 (0.00 GB)"]),
        (0, [], []),
    ],
)
def test_a_run_that_does_not_fit_is_told_what_would(parse, free, free_gb, words, expected):
    """And nothing that would not; what it names fits by its own plan."""
    settings = parse(*words)
    free(int(free_gb * GB))
    with pytest.raises(UsageError) as caught:
        require_room(settings, 5000, plan_disk(settings, 5000))
    last = "another disk with 63.19 GB (out=DIR)."
    choices = f"{', '.join(expected)}, or {last}" if expected else last
    assert str(caught.value) == SAID.format(out=settings.out, free=f"{free_gb:.2f}") + choices


def test_of_several_batch_sizes_one_may_fit(parse, free):
    free(90 * GB)
    settings = parse("bs=8,4", "aipp=1")
    said = describe_remedies(settings, 5000, plan_disk(settings, 5000))
    assert said.startswith("Use stream=1 (0.00 GB), bs=4 only (49.58 GB), limit=4703 (")
    assert "embed" not in said


def test_the_limit_is_the_largest_that_fits(parse, free):
    free(10 * GB)
    settings = parse()
    limits = dict(disk._alternatives(settings, 5000, 10 * GB))
    limit = next(int(words.removeprefix("limit=")) for words in limits if words.startswith("limit="))
    assert plan_disk(settings, limit).needed <= 9 * GB < plan_disk(settings, limit + 1).needed


def test_a_benchmark_that_does_not_fit_knows_no_images(parse, free):
    free(10**6)
    settings = parse("mode=perf", "bs=8,2", "input=random")
    said = describe_remedies(settings, 0, plan_disk(settings, 0))
    assert said == "Use another disk with 0.10 GB (out=DIR)."


def test_a_run_that_fits_is_not_refused(parse, free):
    settings = parse()
    free(plan_disk(settings, 10).needed)
    plan = plan_disk(settings, 10)
    require_room(settings, 10, plan)
    assert plan.is_tight and not plan.is_refused
