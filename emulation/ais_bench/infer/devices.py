"""A run on several devices: one process for each, which all begin to measure at the same moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import Manager, Pool
from typing import Any

from ais_bench.infer import log
from ais_bench.infer.benchmark import Part, open_session, run_benchmark
from ais_bench.infer.inputs import divide_files, list_inputs
from ais_bench.infer.options import Options

WAIT_SECONDS = 10


class DevicePart(Part):
    """What one of the processes does besides: wait for the others, and hand over its result."""

    def __init__(self, index: int, devices: Sequence[int], queue: Any) -> None:
        self.folder = f"device{devices[index]}_{index}"
        self._index, self._count, self._queue = index, len(devices), queue

    def wait(self) -> None:
        """Say that this process is ready, and wait until all are; ten seconds at most."""
        log.info(f"subprocess_{self._index} qsize:{self._queue.qsize()} now waiting")
        self._queue.put(self._index)
        seconds = 0
        while self._queue.qsize() < self._count:
            seconds += 1
            if seconds > WAIT_SECONDS:
                log.warning(f"subprocess_{self._index} qsize:{self._queue.qsize()} time:{seconds} s elapsed")
                break
            time.sleep(1)
        log.info(f"subprocess_{self._index} qsize:{self._queue.qsize()} ready to infer run")

    def done(self, throughput: float, start: float, end: float) -> None:
        """Hand the result to the process that began all."""
        self._queue.put([self._index, throughput, start, end])


def _run_part(options: Options, arguments: Sequence[str], index: int, devices: Sequence[int], queue: Any) -> None:
    log.info(f"subprocess_{index} main run")
    run_benchmark(options, arguments, DevicePart(index, devices, queue))


def _report_failure(error: BaseException) -> None:
    log.error(f"subprocess run failed error_callback:{error}")


def _divide(options: Options, inputs: str) -> list[Options]:
    """The same options with a part of the files each; looks at the model on device 0, whichever are asked for."""
    paths = list_inputs(inputs.split(","))
    session, batchsize = open_session(replace(options, devices=(0,)))
    shares = divide_files(paths, len(session.get_inputs()), len(options.devices))
    return [replace(options, batchsize=batchsize, input=",".join(share)) for share in shares]


def run_on_devices(options: Options, arguments: Sequence[str]) -> int:
    """Do what `options` say on each of their devices; returns the exit code, 1 where one of the processes failed.

    Every device gets all inputs, or with --divide_input a part of them.
    """
    devices = options.devices
    log.info(f"multidevice:{list(devices)} run begin")
    # The queue's process first: the pool has threads, and a fork beside threads may never end. And both before this
    # process opens a device, since what is open here would look open there.
    queue = Manager().Queue()
    pool = Pool(len(devices))
    if options.divide_input and options.input is not None:
        parts = _divide(options, options.input)
    else:
        parts = [options] * len(devices)
    for index, (device, part) in enumerate(zip(devices, parts)):
        own = replace(part, devices=(device,))
        pool.apply_async(_run_part, (own, arguments, index, devices, queue), error_callback=_report_failure)
    pool.close()
    pool.join()
    code = 0 if queue.qsize() == 2 * len(devices) else 1
    log.info(f"multidevice run end qsize:{queue.qsize()} result:{code}")
    throughputs = []
    while queue.qsize():
        entry = queue.get()
        if isinstance(entry, list):
            index, throughput, start, end = entry
            gap = " " * 16  # the real line is broken in its source
            log.info(
                f"i:{index} device_{devices[index]} throughput:{throughput} {gap}start_time:{start} end_time:{end}"
            )
            throughputs.append(throughput)
    log.info(f"summary throughput:{sum(throughputs)}")
    return code
