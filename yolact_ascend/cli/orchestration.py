"""A whole run: plan the steps, run those that are stale, then write the report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

from yolact_ascend.environment import stage_environment
from yolact_ascend.errors import ArtifactError, UsageError, YolactAscendError
from yolact_ascend.files import as_json
from yolact_ascend.folders import lock_folder
from yolact_ascend.models.classes import read_config
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.demo import NOTE, demo_scenes, with_demo
from yolact_ascend.pipeline.disk import in_gb, plan_disk, require_room
from yolact_ascend.pipeline.model_source import EXPORT, describe_exported, require_exporter, require_source
from yolact_ascend.pipeline.quantization import require_pruned
from yolact_ascend.pipeline.records import NO_RESULT, Record, Records, utc_now
from yolact_ascend.pipeline.settings import RunSettings, parse_words
from yolact_ascend.pipeline.stages.plan import plan_steps
from yolact_ascend.pipeline.steps import DONE, FRESH, Outcome, Step
from yolact_ascend.process import Runner, run_line
from yolact_ascend.progress import clock
from yolact_ascend.report.report import remove_report, write_report
from yolact_ascend.targets.folder import WorkFolder
from yolact_ascend.targets.registry import TARGETS
from yolact_ascend.targets.target import Target

FORCED = "forced"
REPORT = "report"  # the last stage, which is no step
WITHOUT_BAR = frozenset(("patch", "export", "compile"))  # stages whose work cannot be counted
NO_LOCK = -1  # of a run that starts no program


def run_stages(words: Sequence[str]) -> str:
    """Do what the key=value words ask for; return the summary for the user.

    Raises YolactAscendError before any work when something it needs is missing; finished stages are kept.
    """
    settings = with_demo(parse_words(words))
    config = settings.model_config
    require_source(settings.weights, config, settings.exported, settings.out)
    require_pruned(settings.quantization, config)
    if settings.exported is None:
        read_config(settings.weights, config)  # before the data set is looked for, which depends on it
        if EXPORT in settings.stages:
            require_exporter(settings.weights)
    kind = TARGETS[settings.target]
    kind.require_usable_paths(settings.out)
    target = kind.find(settings.devices)
    target.require_precision(settings.precision)
    with lock_folder(settings.out) as lock:
        records = Records(WorkFolder(settings.out))
        runner = Runner(lock, stage_environment(), lambda line: run.journal.note(f"$ {line}"))
        run = RunContext(settings, target, records, runner)
        run.journal.note(f"=== {run_line(*words)}")
        try:
            return _run_steps(run, words)
        except YolactAscendError as error:
            run.journal.note(f"error: {error}")
            raise


def _run_steps(run: RunContext, words: Sequence[str]) -> str:
    settings, say = run.settings, run.journal.say
    if settings.is_demo:
        say(f"No weights and no data set were given: this run uses {NOTE}")
        draw_demo(run)
    run.require_dataset()
    say_warnings(run)
    steps = plan_steps(run)
    reasons = {step.label: stale_reason(step, run) for step in steps}
    say(describe_plan(settings, run.target, steps, reasons))
    require_earlier(run, steps)
    require_disk(run, reasons)
    for step in steps:
        if step.stage in settings.stages and reasons[step.label] is not None:
            step.require()  # such as an ais_bench whose command line is not known
    claim_files(run, steps, reasons)
    run.journal.begin()
    outcomes = run_steps(steps, run)
    if all(outcome.status == FRESH for outcome in outcomes):
        say("Every stage is up to date; nothing was run. To rerun all: force=1.")
    if REPORT not in settings.stages:
        return f"Stopped after {settings.last} (to={settings.last})."
    say(f"[{REPORT}] running")
    start = time.perf_counter()
    with clock(REPORT):
        said = write_report(run, outcomes, words)
    say(f"[{REPORT}] done in {time.perf_counter() - start:.1f} s")
    return said


def plan_stages(words: Sequence[str]) -> str:
    """Return the plan of a run without running anything, or, in its place, what keeps it from being made."""
    try:
        settings = with_demo(parse_words(words))
        target = TARGETS[settings.target].find(settings.devices)
        run = RunContext(settings, target, Records(WorkFolder(settings.out)), Runner(NO_LOCK, stage_environment()))
        steps = plan_steps(run)
        reasons = {step.label: stale_reason(step, run) for step in steps}
        return describe_plan(settings, target, steps, reasons)
    except (YolactAscendError, OSError) as error:
        return f"No plan: {error}"


def say_warnings(run: RunContext) -> None:
    """Say what is odd about the data set, on every run; the report has it, too."""
    if run.settings.needs_dataset:
        for warning in run.dataset.warnings:
            run.journal.say(f"warning: {warning}")


def draw_demo(run: RunContext) -> None:
    """Draw the demo's scenes unless they are there."""
    for scenes in demo_scenes(run.settings):
        if not scenes.are_drawn():
            run.runner.run_own(scenes.draw_command())
            scenes.note_drawn()


def run_steps(steps: Sequence[Step], run: RunContext) -> list[Outcome]:
    """Run the steps of the chosen stages, and recall the others that were done before."""
    chosen = [step for step in steps if step.stage in run.settings.stages]
    ends = [*(step.label for step in chosen[1:]), *([REPORT] if REPORT in run.settings.stages else []), None]
    following = dict(zip((step.label for step in chosen), ends))
    return [
        run_step(step, run, following[step.label]) if step in chosen else recall(step, run.records)
        for step in steps
        if step in chosen or run.records.load(step.label)
    ]


def run_step(step: Step, run: RunContext, following: str | None = None) -> Outcome:
    """Run a step unless it is fresh; `following` is what comes after it.

    Its record goes before the work and comes back after: a kill leaves none.
    """
    records = run.records
    reason = stale_reason(step, run)
    if reason is None:
        run.journal.say(f"[{step.label}] up to date")
        return recall(step, records)
    records.forget(step.label)
    remove_report(run)  # of an earlier run: from here on it does not describe this folder
    run.journal.say(f"[{step.label}] running: {reason}")
    inputs = as_json(step.inputs())
    run.runner.commands.clear()
    start = time.perf_counter()
    with clock(step.label) if step.stage in WITHOUT_BAR else contextlib.nullcontext():
        images = step.work()
    seconds = time.perf_counter() - start
    done = Record(
        inputs,
        records.describe(step.outputs()),
        round(seconds, 3),
        images,
        step.note(),
        list(run.runner.commands),
        utc_now(),
    )
    records.save(step.label, done)
    then = "" if following is None else f"; next: {following}"
    run.journal.say(f"[{step.label}] done in {seconds:.1f} s{then}")
    return Outcome(step.stage, step.batch_size, DONE, seconds, images, done.commands, done.finished)


def recall(step: Step, records: Records) -> Outcome:
    """Return the outcome of a step that was done before."""
    record = records.load(step.label)
    assert record is not None
    seconds, images = record.seconds, record.images
    return Outcome(step.stage, step.batch_size, FRESH, seconds, images, record.commands, record.finished)


def stale_reason(step: Step, run: RunContext) -> str | None:
    """Say why a step must run; None when it is fresh."""
    return FORCED if step.stage in run.settings.force else _why_stale(step, run.records)


def _why_stale(step: Step, records: Records) -> str | None:
    try:
        return records.why_stale(step.label, step.inputs())
    except ArtifactError:
        # It reads a file of an earlier step that is not there yet.
        return NO_RESULT if records.load(step.label) is None else "an earlier stage must run first"


def describe_plan(
    settings: RunSettings, target: Target, steps: Sequence[Step], reasons: Mapping[str, str | None]
) -> str:
    """Return what the run is about to do, stage by stage, and where; `reasons` say why, by a step's label."""
    lines = [target.describe()]
    how_to_paste = target.how_to_paste()
    if how_to_paste:
        lines.append(f"To paste the commands below into a shell, first run: {how_to_paste}")
    if settings.exported is not None:
        why = "PyTorch is not installed" if settings.weights.is_file() else f"{settings.weights} is not there"
        found = describe_exported(WorkFolder(settings.out).onnx, settings.exported)
        lines.append(f"Weights: {why}, so nothing is exported. The model is {found}.")
    is_all_fresh = True
    for step in steps:
        reason = reasons[step.label]
        if step.stage not in settings.stages:
            status = "not selected" + ("" if reason is None else f" ({reason})")
        elif reason is not None:
            status = f"to run: {reason}"
        else:
            status = "up to date" if is_all_fresh else "up to date, unless an earlier stage changes its inputs"
        is_all_fresh = is_all_fresh and reason is None
        lines.append(f"  {step.label:<18} {status}")
    return "\n".join(lines)


def require_earlier(run: RunContext, steps: Sequence[Step]) -> None:
    """Refuse a range without a step, and `from=` when a stage before it has not run, or ran on something else."""
    settings = run.settings
    if settings.last != "report" and not any(step.stage in settings.stages for step in steps):
        raise UsageError(
            f"There is nothing to run from {settings.first} to {settings.last}: the patch stage needs upstream=DIR."
        )
    for step in steps:
        if step.stage in settings.stages:
            return
        reason = _why_stale(step, run.records)
        if reason is not None:
            raise UsageError(
                f"from={settings.first}: {step.label} must run first ({reason}). "
                f"Set from={step.stage}, or leave out from=.{_explain_model(step, run)}"
            )


def require_disk(run: RunContext, reasons: Mapping[str, str | None]) -> None:
    """Show what the run writes to the disk; refuse a run that cannot but fill it."""
    settings = run.settings
    images = len(run.images) if settings.mode == "full" and settings.needs_dataset else 0
    disk = plan_disk(settings, images, [label for label, reason in reasons.items() if reason is None])
    if disk.needed:
        run.journal.say(disk.describe())
    require_room(settings, images, disk)
    if disk.needed and disk.is_tight:
        left = in_gb(disk.free - disk.needed)
        run.journal.say(f"warning: only {left} GB will be left, and this does not count detections and logs.")


def claim_files(run: RunContext, steps: Sequence[Step], reasons: Mapping[str, str | None]) -> None:
    """Note what the steps are going to write; raises UsageError when other people's files lie in its place."""
    selected = [step for step in steps if step.stage in run.settings.stages]
    if all(reasons[step.label] is None for step in selected):
        return
    files = [path for step in selected for path in step.files]
    run.records.ledger.claim([*files, *run.folder.reports], "out=DIR")


def _explain_model(step: Step, run: RunContext) -> str:
    """Say what is wrong with a compiled model that is there, such as one that was compiled by hand."""
    if step.stage == "compile" and step.batch_size and run.model(step.batch_size).exists():
        try:
            run.require_model(step.batch_size)
        except ArtifactError as error:
            return f" {error}"
    return ""
