"""`scale` on one host: the files of `stream`, whatever was done where and when, and what goes wrong in a sentence."""

import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys

import pyarrow
import pyarrow.parquet as pq
import pytest
from factories import CHECKOUT, TINY_CONFIG
from formats import SCHEMAS, require_valid

from yolact_ascend.cli import main as main_module
from yolact_ascend.cli.main import main
from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.host.loading import ModelRequest
from yolact_ascend.scale import planning
from yolact_ascend.scale.actor import Job, ShardWorker
from yolact_ascend.scale.merge import merge
from yolact_ascend.scale.parts import rows_of
from yolact_ascend.scale.places import find_place
from yolact_ascend.scale.plan import SCHEMA, Planned, read_plan
from yolact_ascend.scale.planning import ScaleRequest


@pytest.fixture(scope="session")
def scale(streamed):
    """Run the verb; returns its exit code."""

    def run(out, *words, source=streamed.images, annotations=streamed.annotations):
        return main(
            [
                *("scale", str(source), f"--out={out}", f"--model={streamed.model}", "--bs=2", "--shard_size=2"),
                *("--workers=1", *([] if annotations is None else [f"--json_file={annotations}"]), *words),
            ]
        )

    return run


@pytest.fixture(scope="session")
def by_shards(scale, tmp_path_factory):
    """A finished run, by two processes one after the other, the last shard first."""
    out = tmp_path_factory.mktemp("by_shards") / "out"
    for words in (["--shard=1/2"], ["--shard=0/2"], []):
        assert scale(out, *words) == 0
    return out


def parts_in(out):
    return {path.name: path.read_bytes() for path in sorted((out / "parts").iterdir())}


@pytest.fixture
def copied(by_shards, tmp_path):
    return shutil.copytree(by_shards, tmp_path / "out")


def refused(capsys, code):
    """The one sentence on stderr of a run that was refused."""
    said = capsys.readouterr().err
    assert code in (1, 2) and said.startswith("error: ") and "Traceback" not in said
    return said


def test_the_merged_files_are_those_of_stream(by_shards, streamed):
    assert (by_shards / "bbox_detections.json").read_bytes() == streamed.box
    assert (by_shards / "mask_detections.json").read_bytes() == streamed.mask
    found, expected = json.loads((by_shards / "scores.json").read_text()), json.loads(streamed.scores)
    assert found["failed"] == [] and found["images"] == 4
    assert {key: found[key] for key in ("box", "mask", "metrics", "curves", "classes")} == {
        key: expected[key] for key in ("box", "mask", "metrics", "curves", "classes")
    }


@pytest.mark.needs("torch")
def test_a_card_finds_the_same(compiled, tiny_weights, streamed, tmp_path, capsys):
    """On the CPU emulation in float32, by a model whose side-car was lost: its weights and batch size are named."""
    data = [str(streamed.images), f"--json_file={streamed.annotations}", "--workers=1", "--shard_size=2"]
    words = ["scale", *data, f"--model={compiled}", f"--weights={tiny_weights}", f"--config={TINY_CONFIG.name}"]
    assert main([*words, f"--out={tmp_path / 'new'}"]) == 2
    assert "takes batches of 2, and its side-car does not say so. Pass --batch_size=2" in capsys.readouterr().err
    out = tmp_path / "out"
    assert main([*words, f"--out={out}", "--bs=2"]) == 0
    assert (out / "bbox_detections.json").read_bytes() == streamed.box
    assert (out / "mask_detections.json").read_bytes() == streamed.mask
    engine = json.loads((out / "plan.json").read_text())["engine"]
    assert (engine["target"], engine["kind"], engine["batch_size"]) == ("ascend", "cpu-emulation", 2)


def test_one_process_writes_the_same_parts_and_does_only_what_is_missing(scale, by_shards, copied, capsys):
    lost = copied / "parts" / "part-000001.parquet"
    lost.unlink()
    kept = copied / "parts" / "part-000000.parquet"
    (copied / "parts" / f".{lost.name}.0123.part").write_bytes(b"of a process that was killed")
    before = kept.stat().st_mtime_ns
    assert scale(copied) == 0
    assert "4 images in 2 shards, 1 of them done before." in capsys.readouterr().out
    assert {name: data for name, data in parts_in(copied).items() if name[0] != "."} == parts_in(by_shards)
    assert kept.stat().st_mtime_ns == before


def test_the_plan_has_its_published_form(by_shards):
    require_valid(json.loads((by_shards / "plan.json").read_text()), "plan")
    assert SCHEMAS["plan"]["properties"]["schema"]["const"] == SCHEMA


def test_logs_have_what_parts_leave_out(by_shards):
    logs = [json.loads(path.read_text()) for path in (by_shards / "logs").iterdir()]
    assert [log["images"] for log in logs] == [2, 2] and all(log["seconds"] > 0 and log["host"] for log in logs)
    assert {"decode", "detect"} < set(logs[0]["host_work"]["core_ms_per_image"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard_size=4"], "shard_size 2, now 4"),
        (["--limit=3"], "images 4, now 3"),
        (["--bs=1"], "batch_size 2, now 1"),
    ],
)
def test_another_plan_is_refused(scale, by_shards, capsys, words, said):
    code = scale(by_shards, *words)
    sentence = refused(capsys, code)
    assert "plan.json is another plan: " in sentence and said in sentence and "another --out=URI" in sentence


def test_other_annotations_are_another_plan(scale, by_shards, streamed, tmp_path, capsys):
    changed = json.loads(streamed.annotations.read_text())
    changed["annotations"][0]["area"] += 1
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    code = scale(by_shards, annotations=tmp_path / "changed.json")
    assert "other images or annotations" in refused(capsys, code)


def test_a_worker_with_other_instructions_is_refused(scale, by_shards, monkeypatch, capsys):
    """Its libraries would compute in another order (oneDNN's documentation, "CPU Dispatcher Control")."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX")
    code = scale(by_shards)
    assert "ONEDNN_MAX_CPU_ISA None, now 'AVX'" in refused(capsys, code)


def test_another_model_and_other_libraries_are_another_plan(scale, by_shards, tiny_heads_onnx, monkeypatch, capsys):
    """apache/arrow#39399: versions of pyarrow write other bytes."""
    code = scale(by_shards, f"--model={tiny_heads_onnx}")
    assert "plan.json is another plan: " in refused(capsys, code)
    monkeypatch.setattr("yolact_ascend.scale.planning.library_versions", lambda names: dict.fromkeys(names, "1"))
    code = scale(by_shards)
    assert f"pyarrow '{pyarrow.__version__}', now '1'" in refused(capsys, code)


def test_a_full_disk_is_one_sentence_and_the_same_command_resumes(scale, by_shards, tmp_path, monkeypatch, capsys):
    """The system refuses what is larger than a limit, as it does where a disk is full."""
    commit, before = Planned.commit, resource.getrlimit(resource.RLIMIT_FSIZE)

    def commit_on_full_disk(planned, shard, part):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000 if shard else before[0], before[1]))
        try:
            commit(planned, shard, part)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    out = tmp_path / "out"
    monkeypatch.setattr(Planned, "commit", commit_on_full_disk)
    code = scale(out)
    assert re.match(r"error: No room to write .*part-000001\.parquet: ", refused(capsys, code))
    assert list(parts_in(out)) == ["part-000000.parquet"]
    monkeypatch.undo()
    assert scale(out) == 0
    assert "1 of them done before." in capsys.readouterr().out and parts_in(out) == parts_in(by_shards)


def test_an_actor_has_the_threads_that_it_was_granted(streamed, tmp_path):
    """openvino#37838, ray-project/ray#28044: quotas are not seen, and ONNX Runtime ignores OMP_NUM_THREADS."""
    code = f"""
import pathlib, threading
from yolact_ascend.host.loading import ModelRequest
from yolact_ascend.scale.actor import Job, ShardWorker
from yolact_ascend.scale.planning import ScaleRequest
from yolact_ascend.targets.target import RUN, DeviceRequest
request, found, opened = ScaleRequest({str(streamed.images)!r}, None), [], []
def count():  # without Python's own, some of which start a little later
    return len(list(pathlib.Path("/proc/self/task").iterdir())) - threading.active_count()
for threads in (1, 1, 3):  # the first starts what stays, too
    devices = DeviceRequest(threads=threads, work=frozenset((RUN,)))
    model = ModelRequest(pathlib.Path({str(streamed.model)!r}), devices=devices, batch_size=2)
    worker = ShardWorker(Job({str(tmp_path / "out")!r}, request, model, workers=1))
    worker.plan()
    before = count()
    worker.open()
    found.append(count() - before)
    opened.append(worker)  # its threads stay, so that none ends meanwhile
print(found[2] - found[1])
for worker in opened:
    worker.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.stdout == "2\n", done.stderr


ENGINE = {"target": "onnxruntime", "code": "0", "libraries": {"numpy": "2.0", "onnxruntime": "1.20"}}
OTHER = {"target": "openvino", "code": "1", "libraries": {"numpy": "2.0", "onnxruntime": "1.19"}}


@pytest.mark.parametrize(
    ("what", "change", "said"),
    [
        ("config_to_json", lambda config: {"nms_threshold": 0.4}, "another config"),
        *(
            ("describe_engine", lambda chosen, size, engine=engine: engine, said)
            for engine, said in (
                ({**ENGINE, "target": OTHER["target"]}, "target 'onnxruntime', now 'openvino'"),
                ({**ENGINE, "code": OTHER["code"]}, "code '0', now '1'"),
                ({**ENGINE, "libraries": OTHER["libraries"]}, "onnxruntime '1.20', now '1.19'"),
            )
        ),
    ],
    ids=["config", "target", "code", "library"],
)
def test_what_differs_from_the_plan_is_named(what, change, said, scale, copied, monkeypatch, capsys):
    plan = copied / "plan.json"
    value = json.loads(plan.read_text())
    if what == "describe_engine":
        plan.write_text(json.dumps({**value, "engine": ENGINE}))
    monkeypatch.setattr(planning, what, change)
    code = scale(copied)
    assert f"plan.json is another plan: {said}. Pass another --out=URI." in refused(capsys, code)


def test_other_images_are_another_plan(scale, streamed, tmp_path, capsys):
    images, out = shutil.copytree(streamed.images, tmp_path / "images"), tmp_path / "out"
    assert scale(out, source=images, annotations=None) == 0
    (images / "000000000004.jpg").rename(images / "5.jpg")
    code = scale(out, source=images, annotations=None)
    assert "plan.json is another plan: other images or annotations" in refused(capsys, code)


def test_a_shard_size_that_is_no_multiple_is_refused(scale, tmp_path, capsys):
    code = scale(tmp_path / "new", "--shard_size=3")
    assert "--shard_size=3: expected a multiple of the batch size, 2, such as 4." in refused(capsys, code)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_others_is_refused(scale, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    code = scale(tmp_path)
    assert "is not empty, and has no plan.json" in refused(capsys, code)


def test_a_broken_image_is_a_row_with_its_error(scale, streamed, tmp_path, capsys):
    images = shutil.copytree(streamed.images, tmp_path / "images")
    (images / "000000000001.jpg").write_bytes(b"\xff\xd8 no photograph")
    out = tmp_path / "out"
    assert scale(out, source=images) == 0
    said = capsys.readouterr().err
    assert "1 image failed and not scored:" in said and "image 1: 000000000001.jpg (16 bytes) cannot be" in said
    assert json.loads((out / "scores.json").read_text())["failed"] == [1]
    for name, whole in (("bbox_detections.json", streamed.box), ("mask_detections.json", streamed.mask)):
        kept = [entry for entry in json.loads(whole) if entry["image_id"] != 1]
        assert json.loads((out / name).read_text()) == kept and kept


def test_missing_parts_are_not_merged(scale, copied, capsys):
    (_, second) = files_of(copied)
    assert scale(copied, "--shard=0/1") == 0
    assert "All parts are there: merge them without --shard." in capsys.readouterr().out
    second.unlink()
    with pytest.raises(ArtifactError, match="1 of 2 parts are not in .*out yet: shard 1"):
        out = find_place(str(copied))
        merge(Planned(out, read_plan(out)), {})


def cut_short(first, second):
    second.write_bytes(second.read_bytes()[:300])


def other_table(first, second):
    pq.write_table(pyarrow.table({"image_id": [1]}), second)


def fewer_rows(first, second):
    pq.write_table(pq.read_table(second).slice(0, 1), second)


def of_another_shard(first, second):
    shutil.copyfile(first, second)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut_short, "part-000001.parquet is damaged: Parquet magic bytes not found in footer. "),
        (other_table, "part-000001.parquet is a table of another kind: ['image_id']."),
        (fewer_rows, "part-000001.parquet has other images than shard 1 of this plan."),
        (of_another_shard, "part-000001.parquet has other images than shard 1 of this plan."),
    ],
)
def test_a_part_that_was_harmed_is_not_merged_and_done_again(harm, said, scale, copied, by_shards, capsys):
    harm(*files_of(copied))
    code = scale(copied)
    told = refused(capsys, code)
    assert said in told and told.endswith("Remove it, and rerun the same command.\n")
    files_of(copied)[1].unlink()
    assert scale(copied) == 0
    assert parts_in(copied) == parts_in(by_shards)


@pytest.mark.parametrize("word", ["4/4", "1", "a/b", "0/0", "-1/2"])
def test_a_share_is_a_number_and_how_many_there_are(word, capsys):
    assert main_module.parse_arguments(["scale", "s", "--shard=3/4"]).shard == (3, 4)
    with pytest.raises(SystemExit, match="2"):
        main_module.parse_arguments(["scale", "s", f"--shard={word}"])
    assert "expected I/N with I from 0 to N-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scale", "photos"], "Pass SOURCE, the images, and --out=URI"),
        (["scale", "photos", "--out=o", "--cluster=local", "--shard=0/2"], "Pass either --cluster or --shard"),
        (["scale", "photos", "--out=o", "--actors=2"], "--actors says nothing without --cluster. Leave it out"),
        (["scale", "photos", "--out=o", "--images=2"], "--images says nothing without --plan_only. Leave it out"),
        (["scale", "photos", "--out=photos/o"], "--out=photos/o lies in photos. Pass a folder elsewhere."),
        (["scale", "s3://KEY:SECRET@b/a", "--out=s3://b/a/o"], "--out=s3://b/a/o lies in s3://b/a. Pass a folder"),
    ],
)
def test_words_that_do_not_fit_are_refused(words, said, capsys):
    assert said in refused(capsys, main(words))


def test_without_annotations_images_are_numbered_and_nothing_is_scored(scale, tmp_path, capsys):
    assert scale(tmp_path / "out", "--limit=1", annotations=None) == 0
    said = capsys.readouterr().out
    assert said.startswith("1 image in 1 shard, 0 of them done before.\n")
    assert said.endswith("out.\nNothing is scored: there are no annotations.\n") and "mAP" not in said
    found = json.loads((tmp_path / "out" / "bbox_detections.json").read_text())
    assert {entry["image_id"] for entry in found} == {1}


def test_all_that_failed_is_no_result(scale, streamed, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.jpg").write_bytes(b"no photograph")
    code = scale(tmp_path / "out", source=images, annotations=None)
    said = capsys.readouterr().err
    assert code == 1 and "Traceback" not in said
    assert "error: None of the 1 images could be read; the first: a.jpg (13 bytes) cannot be decoded" in said


def test_without_a_cluster_nothing_of_ray_is_imported():
    modules = "yolact_ascend.cli.scale, yolact_ascend.scale.run, yolact_ascend.scale.planning"
    code = f"import sys, {modules}; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout == "False\n"


def test_an_actor_takes_numbers_as_they_come(by_shards, streamed, tmp_path, monkeypatch):
    """As the driver calls it: two shards ahead, and one more for each that is done."""
    request = ScaleRequest(str(streamed.images), streamed.annotations, shard_size=1)
    job = Job(str(tmp_path / "out"), request, ModelRequest(streamed.model, batch_size=1), workers=1)
    worker = ShardWorker(pickle.loads(pickle.dumps(job)))
    assert worker.plan() == ()
    opened = worker.open()
    assert opened.device == "ONNX Runtime on the CPU" and opened.pid == os.getpid()
    done = [worker.do([3, 0]), worker.do([1]), worker.do([]), worker.do([2]), worker.do([])]
    assert [each and each.shard for each in done] == [3, 0, 1, 2, None]
    worked = worker.close()
    assert (worked.shards, worked.images, worked.failed) == (4, 4, 0)
    assert len(list((tmp_path / "out" / "logs").iterdir())) == 1
    rows = [rows_of(pq.read_table(path)) for folder in (tmp_path / "out", by_shards) for path in files_of(folder)]
    found = [(row.image_id, row.detections.scores.tolist()) for part in rows for row in part]
    assert found[:4] == found[4:]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX")
    with pytest.raises(UsageError, match="The host .* differs from the plan: ONEDNN_MAX_CPU_ISA is AVX, planned None"):
        ShardWorker(job).open()


def files_of(out):
    return sorted((out / "parts").iterdir())
