"""The paths inside a work folder, and whether all outputs are in one."""

from pathlib import Path

import pytest

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import write_json
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG
from yolact_ascend.models.families import cut_outputs
from yolact_ascend.targets.folder import (
    WorkFolder,
    bin_folder,
    ids_file,
    input_bin,
    locate_run,
    output_bin,
    recipe_file,
    require_outputs,
    sidecar_file,
    timings_file,
)

OUTPUTS = cut_outputs(CONFIGS[DEFAULT_CONFIG], "fpn")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: None, None),
        (lambda folder: (folder / "1_3.bin").unlink(), "1_3.bin is missing"),
        (lambda folder: (folder / "0_5.bin").write_bytes(b"short"), "0_5.bin holds 5 bytes, expected 2437632"),
    ],
    ids=["all there", "one missing", "one short"],
)
def test_require_outputs_looks_at_each(tmp_path, change, message):
    for index in range(2):
        for k, spec in enumerate(OUTPUTS):
            with (tmp_path / f"{index}_{k}.bin").open("wb") as file:
                file.truncate(spec.size_bytes)
    change(tmp_path)
    if message is None:
        require_outputs(tmp_path, 2, OUTPUTS)
    else:
        with pytest.raises(ArtifactError, match=message):
            require_outputs(tmp_path, 2, OUTPUTS)


def test_names_are_those_that_others_know():
    """Ascend ModelZoo's YolactEdge guide, its scripts and ais_bench read and write these."""
    folder = WorkFolder(Path("results"))
    names = [
        *(folder.onnx, folder.model(8, ".om"), sidecar_file(folder.model(8, ".om")), folder.aipp_config),
        *(bin_folder(folder.inputs), input_bin(folder.inputs, 3), ids_file(folder.inputs), recipe_file(folder.inputs)),
        *(timings_file(folder.inputs), folder.run(8), folder.outputs(8), output_bin(folder.outputs(8), 3, 5)),
        *(folder.summary(8), folder.stream_summary(8), folder.benchmark_summary(8), folder.benchmark_input(8)),
        *(folder.scores(8), *folder.detections(8, (BOX, MASK)).values(), folder.log("infer_bs8")),
        *(*folder.reports, folder.overlays, folder.records, folder.demo_data),
    ]
    assert [path.relative_to("results").as_posix() for path in names] == [
        *("yolact_edge.onnx", "yolact_edge_bs8.om", "yolact_edge_bs8.om.json", "yolact_edge_aipp.cfg"),
        *("inputs/bin_file", "inputs/bin_file/3.bin", "inputs/ids.json", "inputs/recipe.json"),
        *("inputs/timings.json", "bs8", "bs8/output", "bs8/output/3_5.bin"),
        *("bs8/output_summary.json", "bs8/stream_summary.json", "bs8/perf_summary.json", "bs8/perf_input/batch.bin"),
        *("bs8/scores.json", "bs8/bbox_detections.json", "bs8/mask_detections.json", "logs/infer_bs8.log"),
        *("report.json", "report.md", "report.html", "overlays", ".stages", "demo_data"),
    ]


def test_detections_are_those_of_the_tasks():
    assert list(WorkFolder(Path("r")).detections(1, (BOX,))) == [BOX]


def test_a_run_folder_tells_its_work_folder_and_batch_size(tmp_path, monkeypatch):
    for name in ("results/bs16", "results/x", "results/bs"):
        write_json(tmp_path / name / "scores.json", {})
    (tmp_path / "results" / "bs8").mkdir()
    monkeypatch.chdir(tmp_path / "results" / "bs16")
    found = WorkFolder(tmp_path / "results"), 16
    assert [locate_run(path) for path in (Path(), Path("../bs16"), tmp_path / "results" / "bs16")] == [found] * 3
    for name in ("bs8", "x", "bs", "bs4", ""):
        with pytest.raises(ArtifactError, match="is not a run folder with scores"):
            locate_run(tmp_path / "results" / name)
