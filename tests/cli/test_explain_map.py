"""explain_map on a run whose model can run again: staged, and as a stream leaves it, without outputs."""

import json
import shutil
from dataclasses import replace

from yolact_ascend.analysis.explain import explain_run
from yolact_ascend.cli.main import main
from yolact_ascend.pipeline.records import Records


def test_a_staged_run_and_its_stream_have_the_same_rows(copied, capsys):
    run, records = copied.folder.run(3), Records(copied.folder)
    before = {path: path.stat().st_mtime_ns for path in copied.out.rglob("*")}
    assert main(["explain_map", str(run), "--json", "--workers=1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    rows = {row["key"]: row for row in printed["rows"]}
    assert {key for key, row in rows.items() if row["reason"]} == {"size_of_the_file"}
    assert rows["resize"]["scores"].keys() == {"box", "mask"}
    assert {path: path.stat().st_mtime_ns for path in copied.out.rglob("*")} == before

    record = records.load("postprocess bs3")
    records.forget("postprocess bs3")
    records.save("stream bs3", replace(record, outputs={}))
    shutil.copy(copied.folder.summary(3), copied.folder.stream_summary(3))
    shutil.rmtree(copied.folder.outputs(3))
    scores = json.loads((run / "scores.json").read_text())
    (run / "scores.json").write_text(json.dumps({**scores, "failed": []}))
    streamed = explain_run(run, workers=1, infers=False)
    assert dict(streamed.own) == printed["own"]
    same = [row.key for row in streamed.rows if dict(row.points) == rows[row.key]["points"]]
    assert same == [key for key in rows if key != "resize"]
    assert streamed.notes == ("The run was streamed and kept no outputs: its model ran again on this host.",)
