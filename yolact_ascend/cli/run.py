"""A run: plan the steps, redo what is not fresh, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.models.classes import read_config, require_weights
from yolact_ascend.models.config import get_config
from yolact_ascend.pipeline.demo import NOTE, with_demo
from yolact_ascend.pipeline.disk import in_gb, plan_disk, require_room
from yolact_ascend.pipeline.records import (
    Record,
    Records,
    as_json,
    lock_folder,
)
from yolact_ascend.pipeline.settings import RunSettings, parse_words
from yolact_ascend.pipeline.stages import Stages
from yolact_ascend.pipeline.steps import (
    DONE,
    FRESH,
    Outcome,
    Step,
)
from yolact_ascend.report.report import describe_world, remove_report, write_report
from yolact_ascend.targets.ascend.ais_bench import require_usable_paths
from yolact_ascend.targets.ascend.tools import Tools, find_tools
from yolact_ascend.targets.folder import WorkFolder


def run(words: Sequence[str]) -> str:
    """Do what the key=value words ask for; return the summary for the user.

    Raises YolactAscendError before any work when something it needs is missing; what was finished stays.
    """
    settings = with_demo(parse_words(words))
    require_weights(settings.weights, settings.config)
    read_config(settings.weights, get_config(settings.config))  # before the data set is looked for, which depends on it
    require_usable_paths(settings.out)
    tools = find_tools(settings.device, settings.soc, settings.npus)
    with lock_folder(settings.out) as lock:
        folder = WorkFolder(settings.out)
        records = Records(folder)
        stages = Stages(settings, tools, records, lock)
        if settings.is_demo:
            _say(f"No weights, no data set: this is a run on {NOTE}")
            stages.prepare_demo()
        if settings.needs_dataset:
            stages.images  # noqa: B018  a data set that is not whole ends the run here, before the work
        steps = stages.steps()
        reasons = {step.label: "forced" if step.stage in settings.force else why_stale(step, records) for step in steps}
        _say(describe_plan(settings, tools, steps, reasons))
        _require_earlier(settings, steps, records, stages)
        images = len(stages.images) if settings.mode == "full" else 0
        disk = plan_disk(settings, images, [label for label, reason in reasons.items() if reason is None])
        if disk.needed:
            _say(disk.describe())
        require_room(settings, images, disk)
        if disk.needed and disk.is_tight:
            _say(f"warning: detections and logs come on top, and then {in_gb(disk.free - disk.needed)} GB are left.")
        outcomes = [
            run_step(step, records, settings) if step.stage in settings.stages else recall(step, records)
            for step in steps
            if step.stage in settings.stages or records.load(step.label)
        ]
        if all(outcome.status == FRESH for outcome in outcomes):
            _say("Nothing to do: every stage is fresh. force=1 redoes them.")
        if "report" not in settings.stages:
            return f"Stopped after {settings.last}, as asked."
        return write_report(stages, outcomes, words)


def run_step(step: Step, records: Records, settings: RunSettings) -> Outcome:
    """Run a step unless it is fresh. Its record goes before the work and comes back after: a kill leaves none."""
    reason = "forced" if step.stage in settings.force else why_stale(step, records)
    if reason is None:
        _say(f"[{step.label}] fresh")
        return recall(step, records)
    records.forget(step.label)
    remove_report(settings)  # of an earlier run: from here on it no longer says what lies here
    _say(f"[{step.label}] {reason}")
    inputs = as_json(step.inputs())
    start = time.perf_counter()
    images = step.work()
    seconds = time.perf_counter() - start
    records.save(step.label, Record(inputs, records.describe(step.outputs()), round(seconds, 3), images))
    _say(f"[{step.label}] done in {seconds:.1f} s")
    return Outcome(step.stage, step.batch_size, DONE, seconds, images)


def recall(step: Step, records: Records) -> Outcome:
    """Return the outcome of a step that was done before."""
    record = records.load(step.label)
    assert record is not None
    return Outcome(step.stage, step.batch_size, FRESH, record.seconds, record.images)


def why_stale(step: Step, records: Records) -> str | None:
    """Say why a step must run; None when it is fresh."""
    try:
        return records.why_stale(step.label, step.inputs())
    except ArtifactError:
        # It reads a file of an earlier step that is not there yet.
        return "not done yet" if records.load(step.label) is None else "an earlier stage must run first"


def describe_plan(settings: RunSettings, tools: Tools, steps: Sequence[Step], reasons: Mapping[str, str | None]) -> str:
    """Return what the run is about to do, stage by stage, and in which world; `reasons` say why by a step's label."""
    lines = [describe_world(tools)]
    if tools.set_env is not None:
        lines.append(f"To paste the commands below into a shell: source {tools.set_env}")
    if settings.upstream is None:
        lines.append(f"  {'patch':<18} not needed: without upstream= the network is our own definition")
    is_all_fresh = True
    for step in steps:
        reason = reasons[step.label]
        if step.stage not in settings.stages:
            status = "not asked for" + ("" if reason is None else f" ({reason})")
        elif reason is not None:
            status = f"to do: {reason}"
        else:
            status = "fresh" if is_all_fresh else "fresh, unless a stage before it gives something new"
        is_all_fresh = is_all_fresh and reason is None
        lines.append(f"  {step.label:<18} {status}")
    return "\n".join(lines)


def _require_earlier(settings: RunSettings, steps: Sequence[Step], records: Records, stages: Stages) -> None:
    """Refuse a range that no step lies in, and `from=` when a stage before it is not done, or from something else."""
    if settings.last != "report" and not any(step.stage in settings.stages for step in steps):
        raise UsageError(
            f"There is nothing from {settings.first} to {settings.last}: without upstream= there is no patch."
        )
    for step in steps:
        if step.stage in settings.stages:
            return
        reason = why_stale(step, records)
        if reason is not None:
            raise UsageError(
                f"from={settings.first} needs {step.label} to be done, but: {reason}. "
                f"Start there instead (from={step.stage}), or leave from= out.{_explain_model(step, stages)}"
            )


def _explain_model(step: Step, stages: Stages) -> str:
    """Say what is wrong with a compiled model that is there, such as one that was compiled by hand."""
    if step.stage == "compile" and step.batch_size and stages.folder.om(step.batch_size).exists():
        try:
            stages.require_model(step.batch_size)
        except ArtifactError as error:
            return f" {error}"
    return ""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
