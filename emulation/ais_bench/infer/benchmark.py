"""One run of the tool on one device: load, warm up, infer batch by batch, save, sum up."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Callable

from tqdm import tqdm

from ais_bench.infer import log, summary
from ais_bench.infer.inputs import Batch, collect_batches, pure_batches, read_group, require_raw_files
from ais_bench.infer.interface import InferSession, MemorySummary
from ais_bench.infer.options import Options
from ais_bench.infer.outputs import prepare_folder, save_outputs

PROGRESS_TITLES = {
    "array": "Inference array Processing",
    "tensor": "Inference tensor Processing",
    "files": "Inference files Processing",
    "full": "Inference Processing full",
}


class Part:
    """The part of a run that one process does; several devices have one each."""

    folder = ""  # below the folder of the results

    def wait(self) -> None:
        """Called when all is ready for the measured batches."""

    def done(self, throughput: float, start: float, end: float) -> None:
        """Called with the result, and the seconds since the epoch between which the batches ran."""


def open_session(options: Options) -> tuple[InferSession, int]:
    """The session on the first device, and the batch size for the throughput.

    That is --batchsize, which is not compared with the model, or the first dimension of the model's first input.
    """
    session = InferSession(options.devices[0], options.model, loop=options.loop)
    session.set_staticbatch()
    if options.batchsize is not None:
        return session, options.batchsize
    batchsize = session.get_inputs()[0].shape[0]
    log.info(f"try get model batchsize:{batchsize}")
    return session, batchsize


def _read_arrays(batch: Batch, session: InferSession, options: Options) -> list[Any]:
    return [
        read_group(group, description.realsize, options.pure_data_type)
        for group, description in zip(batch, session.get_inputs())
    ]


def _read_tensors(batch: Batch, session: InferSession, options: Options) -> list[Any]:
    # One after the other, as the real tool does: where the second file is bad, the first tensor is on the device.
    return [
        session.create_tensor_from_arrays_to_device(read_group(group, description.realsize, options.pure_data_type))
        for group, description in zip(batch, session.get_inputs())
    ]


def _load_files(batch: Batch, session: InferSession, options: Options) -> list[Any]:
    return [
        session.create_tensor_from_fileslist(description, require_raw_files(group))
        for group, description in zip(batch, session.get_inputs())
    ]


# How --run_mode brings a batch to the device; the warm-up of files and full reads arrays.
_READERS = {"array": _read_arrays, "tensor": _read_tensors, "files": _load_files, "full": _read_tensors}
_WARM_UP_READERS = {"tensor": _read_tensors}


def _warm_up(session: InferSession, batch: Batch, options: Options) -> None:
    """Run the first batch a few times, then forget the times."""
    feeds = _WARM_UP_READERS.get(options.run_mode, _read_arrays)(batch, session, options)
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

    def finish(index: int, outputs: list[Any]) -> None:
        session.convert_tensors_to_host(outputs)
        if folder is not None:
            save_outputs(batches[index], index, outputs, folder, options.outfmt, options.output_batchsize_axis, files)

    read: Callable[[Batch, InferSession, Options], list[Any]] = _READERS[options.run_mode]
    title = PROGRESS_TITLES[options.run_mode]
    if options.run_mode == "full":  # everything to the device, then everything through the model, then everything back
        all_feeds = [read(batch, session, options) for batch in batches]
        all_outputs = [session.run(feeds) for feeds in tqdm(all_feeds, file=sys.stdout, desc=title)]
        for index, outputs in enumerate(all_outputs):
            finish(index, outputs)
    else:
        for index, batch in enumerate(tqdm(batches, file=sys.stdout, desc=title)):
            finish(index, session.run(read(batch, session, options)))
    return files


def run_benchmark(options: Options, arguments: Sequence[str], part: Part | None = None) -> None:
    """Do what `options` say on their first device; `arguments` is the command line for the summary.

    Raises RuntimeError, ValueError and OSError where the run cannot go on; the line that says why is on stdout.
    """
    part = part or Part()
    session, batchsize = open_session(options)
    folder = prepare_folder(options.output, options.output_dirname, part.folder)
    if options.input is None:
        batches = pure_batches(session.get_inputs())
    else:
        batches = collect_batches(options.input.split(","), session.get_inputs())
    _warm_up(session, batches[0], options)
    part.wait()
    start = time.time()
    files = _infer_batches(session, batches, options, folder)
    end = time.time()
    times = summary.RunTimes(
        compute=[end - start for start, end in session.summary().exec_time_list],
        h2d=MemorySummary.get_h2d_time_list(),
        d2h=MemorySummary.get_d2h_time_list(),
    )
    throughput = summary.report(times, batchsize, files, arguments, folder, options.display_all_summary)
    part.done(throughput, start, end)
    session.free_resource()
    InferSession.finalize()
