"""The ways of a run (all stages by files, in memory, a benchmark), and the stages of each."""

from __future__ import annotations

from yolact_ascend.targets.target import COMPILE, RUN

FULL_STAGES = ("patch", "export", "quantize", "compile", "preprocess", "infer", "postprocess", "report")
STREAM_STAGES = ("patch", "export", "quantize", "compile", "stream", "report")
PERF_STAGES = ("patch", "export", "quantize", "compile", "benchmark", "report")
# What a stage needs a target's programs for; a stage that is not here needs none of them.
WORK_OF_STAGE = {"compile": COMPILE, "infer": RUN, "stream": RUN, "benchmark": RUN}
WITHOUT_DATASET = frozenset(("patch", "export", "quantize", "compile"))
# The ways of a run: the word that chooses one, and its stages.
STAGES_OF_WAY = {"mode=full": FULL_STAGES, "stream=1": STREAM_STAGES, "mode=perf": PERF_STAGES}
MODES = ("full", "perf")
ALL_STAGES = tuple(dict.fromkeys((*FULL_STAGES, *STREAM_STAGES, *PERF_STAGES)))
