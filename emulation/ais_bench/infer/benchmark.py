"""One run of the tool: load, warm up, infer batch by batch, save, sum up."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from ais_bench.infer import log, summary
from ais_bench.infer.inputs import Batch, collect_batches, pure_batches, read_group
from ais_bench.infer.interface import InferSession, MemorySummary
from ais_bench.infer.options import Options
from ais_bench.infer.outputs import prepare_folder, save_outputs


def _read_batch(batch: Batch, session: InferSession, pure_data_type: str) -> list[np.ndarray]:
    return [
        read_group(group, description.realsize, pure_data_type)
        for group, description in zip(batch, session.get_inputs())
    ]


def _choose_batchsize(session: InferSession, given: int | None) -> int:
    """--batchsize, which is not compared with the model, or the first dimension of the model's first input."""
    if given is not None:
        return given
    batchsize = session.get_inputs()[0].shape[0]
    log.info(f"try get model batchsize:{batchsize}")
    return batchsize


def _warm_up(session: InferSession, batch: Batch, options: Options) -> None:
    """Run the first batch a few times, then forget the times."""
    feeds = _read_batch(batch, session, options.pure_data_type)
    session.set_loop_count(1)
    for _ in range(options.warmup_count):
        session.run(feeds, out_array=True)
    session.set_loop_count(options.loop)
    session.reset_summaryinfo()
    MemorySummary.reset()
    log.info(f"warm up {options.warmup_count} done")


def _infer_batches(
    session: InferSession, batches: Sequence[Batch], options: Options, folder: str | None
) -> summary.FilesInfo:
    files: summary.FilesInfo = {}
    for index, batch in enumerate(tqdm(batches, file=sys.stdout, desc="Inference array Processing")):
        outputs = session.run(_read_batch(batch, session, options.pure_data_type))
        session.convert_tensors_to_host(outputs)
        if folder is not None:
            save_outputs(batch, index, outputs, folder, options.outfmt, options.output_batchsize_axis, files)
    return files


def run_benchmark(options: Options, arguments: Sequence[str]) -> None:
    """Do what `options` say; `arguments` is the command line for the summary.

    Raises RuntimeError, ValueError and OSError where the run cannot go on; the line that says why is on stdout.
    """
    session = InferSession(options.device, options.model, loop=options.loop)
    session.set_staticbatch()
    batchsize = _choose_batchsize(session, options.batchsize)
    folder = prepare_folder(options.output, options.output_dirname)
    if options.input is None:
        batches = pure_batches(session.get_inputs())
    else:
        batches = collect_batches(options.input.split(","), session.get_inputs())
    _warm_up(session, batches[0], options)
    files = _infer_batches(session, batches, options, folder)
    times = summary.RunTimes(
        compute=[end - start for start, end in session.summary().exec_time_list],
        h2d=MemorySummary.get_h2d_time_list(),
        d2h=MemorySummary.get_d2h_time_list(),
    )
    summary.report(times, batchsize, files, arguments, folder, options.display_all_summary)
    session.free_resource()
    InferSession.finalize()
