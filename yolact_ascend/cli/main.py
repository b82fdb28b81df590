"""The command line: verbs, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

from yolact_ascend import __version__
from yolact_ascend.cli import (
    benchmark,
    compare,
    compile,
    cuts,
    doctor,
    download,
    draw,
    explain_map,
    export,
    infer,
    pack,
    postprocess,
    predict,
    preprocess,
    prune,
    quantize,
    rehearse,
    run,
    scale,
    stream,
    train,
    verify,
)
from yolact_ascend.cli.flags import HelpFormatter, held_work_folders
from yolact_ascend.console import print_on_any_terminal
from yolact_ascend.environment import limit_opencv, prefer_own_packages
from yolact_ascend.errors import YolactAscendError, describe_os_error
from yolact_ascend.extras import describe_missing

INTERRUPTED = 130  # as shells report SIGINT
# Each verb is a module: its HELP, `add_arguments(parser)` and `run(arguments)`.
VERBS: dict[str, ModuleType] = {
    "run": run,
    "doctor": doctor,
    "verify": verify,
    "download": download,
    "export": export,
    "compile": compile,
    "quantize": quantize,
    "preprocess": preprocess,
    "infer": infer,
    "postprocess": postprocess,
    "stream": stream,
    "scale": scale,
    "benchmark": benchmark,
    "compare": compare,
    "explain_map": explain_map,
    "rehearse": rehearse,
    "cuts": cuts,
    "predict": predict,
    "pack": pack,
    "draw": draw,
    "train": train,
    "prune": prune,
}


def main(argv: Sequence[str] | None = None) -> int:
    """`yolact-ascend VERB …`, the same as `python -m yolact_ascend VERB …`."""
    with _to_any_reader():
        arguments = parse_arguments(argv)
        return run_cli(VERBS[arguments.verb].run, arguments)
    return 0  # who read our --help has gone


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line; `verb` is which of `VERBS` it is. Exits with code 2 when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="yolact-ascend", description="Instance segmentation on Ascend NPUs: export, compile, run, score."
    )
    parser.add_argument("--version", action="version", version=f"yolact-ascend {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        verb.add_arguments(verbs.add_parser(name, help=verb.HELP, description=verb.HELP, formatter_class=HelpFormatter))
    arguments, unknown = parser.parse_known_args(argv)
    if unknown and "words" not in arguments:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if unknown:
        arguments.words += unknown  # --bs=8: the settings say how it is spelled
    return arguments


def run_script(verb: str, argv: Sequence[str] | None = None) -> int:
    """One verb as a script of its own: pth2onnx.py, preprocess.py, postprocess.py."""
    module = VERBS[verb]
    parser = argparse.ArgumentParser(description=module.HELP, formatter_class=HelpFormatter)
    module.add_arguments(parser)
    with _to_any_reader():
        return run_cli(module.run, parser.parse_args(argv))
    return 0


def run_cli(work: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Do the work; turn what users can cause into one message on stderr and an exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    prefer_own_packages()
    try:
        limit_opencv()
        with held_work_folders(arguments):
            work(arguments)
    except YolactAscendError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        _drop_output()
        return 1
    except ModuleNotFoundError as error:
        print(f"error: {describe_missing(error.name or str(error))}", file=sys.stderr)
        return 1
    except MemoryError:
        said = "Memory ran out. Use fewer workers (workers=N), a smaller batch size, or smaller pictures."
        print(f"error: {said} Finished work is kept.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {describe_os_error(error)} Finished work is kept.", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        said = str(interrupt) or "finished work is kept; rerun the same command to resume."
        print(f"\ninterrupted: {said}", file=sys.stderr)
        return INTERRUPTED
    return 0


@contextlib.contextmanager
def _to_any_reader() -> Iterator[None]:
    """Print for any encoding; at the end, also after --help, write the rest while an error of that can be caught."""
    print_on_any_terminal()
    try:
        yield
    except BrokenPipeError:  # of --help; Pythons from 3.11 on catch it themselves
        pass
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()


def _drop_output() -> None:
    """Whoever read our output (head, less) has gone; nothing more can be said there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
