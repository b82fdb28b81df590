"""A Python that has imported what is slow to import, and runs each program in a fork of itself.

    python3 warm_python.py SOCKET

For a test a program run so is a process as any other: own arguments, environment, folder, output and exit code. Only
the second that the imports take is saved. `run_warm` asks for a run.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

IMPORTED = ("google.protobuf.text_format", "numpy", "onnx", "onnx.shape_inference", "tqdm")
NUMBER = struct.Struct("<i")


def is_program(words: Sequence[str]) -> bool:
    """Whether `run_words` can run it."""
    if Path(words[0]).name.startswith("python"):
        return words[1] in ("-m", "-c") or not words[1].startswith("-")
    with Path(words[0]).open("rb") as file:
        return file.readline() == b"#!/usr/bin/env python3\n"


def run_warm(
    address: Path, words: Sequence[str], cwd: Path, env: Mapping[str, str], stdout_fd: int, stderr_fd: int
) -> int:
    """Run `words`, the path of a Python script or a python3 with -m or -c; return the exit code as subprocess does."""
    request = json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env)}).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(address))
        socket.send_fds(connection, [NUMBER.pack(len(request))], [stdout_fd, stderr_fd])
        connection.sendall(request)
        answer = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    if len(answer) < NUMBER.size:
        raise RuntimeError(f"the process that runs {words[0]} ended without an exit code")
    return NUMBER.unpack(answer)[0]


def serve(address: str) -> list[str]:
    """Wait for requests; return only in a fork, with the words to run."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen(64)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                break
            connection.close()
    size, fds, _, _ = socket.recv_fds(connection, NUMBER.size, 2)
    request = json.loads(connection.recv(NUMBER.unpack(size)[0], socket.MSG_WAITALL))
    program = os.fork()
    if program:
        code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
        connection.sendall(NUMBER.pack(code))
        os._exit(0)
    connection.close()
    for fd, standard in zip(fds, (1, 2)):
        os.dup2(fd, standard)
        os.close(fd)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    return request["words"]


def run_words(words: Sequence[str]) -> None:
    """Do what Python's own command line does with a script, -m NAME or -c NUMBER."""
    words = list(words)
    if Path(words[0]).name.startswith("python"):
        del words[0]
    if words[0] == "-m":
        sys.argv, sys.path[0] = words[1:], str(Path.cwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *words[2:]], ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), main.__dict__)
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).absolute().parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # else each fork walks through all of it when it ends
    run_words(serve(sys.argv[1]))
