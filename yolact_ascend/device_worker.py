"""A process that holds a model on a device: runs in the Python that has ais_bench, which may be another than ours.

Started by `engines.DeviceEngine` as a script, so it imports nothing of this package; Python 3.7 and numpy 1 suffice.
Images and outputs pass through one shared file, because pipes would copy them twice; commands and answers, one line of
JSON each, pass through two pipes. Standard output stays ais_bench's, whose runtime prints there.
"""

import json
import mmap
import os
import sys
from pathlib import Path

import numpy as np


def main(model, device, shared, commands, answers):
    """Load `model` on `device`, describe it, then run it on the shared input once for each line that comes."""
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
        memory = None
        for line in requests:
            try:
                if memory is None:
                    memory = map_file(shared)
                outputs = session.infer([np.frombuffer(memory, np.uint8, json.loads(line)["input_bytes"])])
                write_outputs(memory, json.loads(line)["input_bytes"], outputs)
                reply(
                    shapes=[list(output.shape) for output in outputs], dtypes=[output.dtype.name for output in outputs]
                )
            except Exception as error:
                reply(error=f"{type(error).__name__}: {error}")
                return 1
    return 0


def open_session(model, device):
    """Return ais_bench's session; what its import prints goes where its messages go."""
    from ais_bench.infer.interface import InferSession  # type: ignore[import-not-found]

    return InferSession(device, model)


def describe(tensors):
    """Return name and bytes of each input or output."""
    return [
        {"name": tensor.name, "shape": list(tensor.shape), "size_bytes": int(tensor.realsize)} for tensor in tensors
    ]


def map_file(path):
    """Map the shared file, which the engine has made as large as the model needs."""
    with Path(path).open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def write_outputs(memory, start, outputs):
    """Write the outputs one behind the other, behind the input."""
    for output in outputs:
        flat = np.ascontiguousarray(output).view(np.uint8).reshape(-1)
        np.frombuffer(memory, np.uint8, flat.size, start)[:] = flat
        start += flat.size


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
