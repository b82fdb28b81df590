"""A process that holds a model on a device: runs in the Python that has ais_bench, which may be another than ours.

Started by `engine.DeviceEngine` as a script, so it imports nothing of this package; Python 3.7 and numpy 1 suffice.
Images and outputs pass through a shared file (slots.py), because pipes would copy them twice; requests and answers, one
line of JSON each, pass through two pipes. Standard output stays ais_bench's, whose runtime prints there.
"""

import json
import mmap
import os
import signal
import sys
from pathlib import Path

import numpy as np


def main(model, device, commands, answers):
    """Load `model` on `device`, describe it, then run it once for each line that comes, on the input that it names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine gets it, too, and ends this process
    with os.fdopen(int(commands)) as requests, os.fdopen(int(answers), "w") as replies:

        def reply(**fields):
            replies.write(json.dumps(fields) + "\n")
            replies.flush()

        try:
            session = open_session(model, int(device))
            reply(inputs=describe(session.get_inputs()), outputs=describe(session.get_outputs()))
        except Exception as error:  # whatever the tool raises becomes the engine's message
            reply(error=f"{type(error).__name__}: {error}")
            return 1
        files: dict = {}
        for line in requests:
            try:
                request = json.loads(line)
                memory = mapped(request["file"], files)
                inputs = [np.frombuffer(memory, np.uint8, size, start) for start, size in request["inputs"]]
                outputs = session.infer(inputs)
                write_outputs(memory, request["outputs"], outputs)
                reply(ms=last_execution(session))
            except Exception as error:
                reply(error=f"{type(error).__name__}: {error}")
                return 1
    return 0


def open_session(model, device):
    """Return ais_bench's session; what its import prints goes where its messages go."""
    from ais_bench.infer.interface import InferSession  # type: ignore[import-not-found]

    return InferSession(device, model)


def describe(tensors):
    """Return name, shape, type (aclDataType's number) and bytes of each input or output."""
    return [
        {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": int(tensor.datatype),
            "size_bytes": int(tensor.realsize),
        }
        for tensor in tensors
    ]


def mapped(path, files):
    """Map the shared file, which the engine has made as large as the model needs, once.

    The path is of a descriptor (/proc/PID/fd/N): when one file is closed, the next may have the same.
    """
    there = Path(path).stat()
    found = there.st_dev, there.st_ino
    if path not in files or files[path][0] != found:
        with Path(path).open("r+b") as file:
            files[path] = found, mmap.mmap(file.fileno(), 0)
    return files[path][1]


def write_outputs(memory, places, outputs):
    """Write each output to its place, given as first byte and size."""
    for (start, size), output in zip(places, outputs):
        np.frombuffer(memory, np.uint8, size, start)[:] = np.ascontiguousarray(output).view(np.uint8).reshape(-1)


def last_execution(session):
    """Return when the device began and ended the last batch, in ms; then the session may forget it."""
    summary = session.summary() if hasattr(session, "summary") else session.sumary()  # until 2023
    last = summary.exec_time_list[-1]
    if hasattr(session, "reset_summaryinfo"):
        session.reset_summaryinfo()
    else:
        session.reset_sumaryinfo()
    return list(last) if isinstance(last, (list, tuple)) else [0.0, float(last)]


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)  # its ais_bench.py is not the tool's package
    sys.path[:] = [folder for folder in sys.path if str(Path(folder).resolve()) != here]
    sys.exit(main(*sys.argv[1:]))
