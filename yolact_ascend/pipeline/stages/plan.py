"""The steps of a run, from the modules of its stages."""

from __future__ import annotations

from collections.abc import Callable

from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.stages import (
    benchmark,
    compile,
    export,
    infer,
    patch,
    postprocess,
    preprocess,
    quantize,
    stream,
)
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.pipeline.ways import STAGES_OF_WAY

# In the order of the pipeline. `report`, which is made of all steps, is none.
STEPS_OF_STAGE: dict[str, Callable[[RunContext], list[Step]]] = {
    "patch": patch.steps,
    "export": export.steps,
    "quantize": quantize.steps,
    "compile": compile.steps,
    "preprocess": preprocess.steps,
    "infer": infer.steps,
    "postprocess": postprocess.steps,
    "stream": stream.steps,
    "benchmark": benchmark.steps,
}


def plan_steps(run: RunContext) -> list[Step]:
    """Return the steps of a run in the order of its stages; where no data set is needed, without the later ones."""
    stages = STAGES_OF_WAY[run.settings.way]
    if not run.settings.needs_dataset:
        stages = stages[: stages.index(run.settings.last) + 1]
    return [step for stage in stages if stage in STEPS_OF_STAGE for step in STEPS_OF_STAGE[stage](run)]
