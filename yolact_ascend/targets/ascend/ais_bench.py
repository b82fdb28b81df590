"""The commands of ais_bench (CANN's inference tool), and its requirements on paths and folders."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.files import (
    FOLDER_MODE,
    make_folder,
)
from yolact_ascend.loops import LoopClock, watch_output
from yolact_ascend.process import Watch, capture
from yolact_ascend.targets.ascend.devices import device_words
from yolact_ascend.targets.ascend.explain import ACCEPTED_IN_PATHS, explain_device_failure
from yolact_ascend.targets.ascend.installation import CARD_GUIDE
from yolact_ascend.targets.folder import BENCHMARK_DIRNAME, OUTPUT_DIRNAME

NOT_FOR_OTHERS = 0o027  # the permissions that ais_bench refuses on an output folder
WRITABLE_BY_OTHERS = 0o022  # those that it refuses on a file

# What ais_bench accepts in a path; it checks the whole path, including the current folder.
_PATH_CHARACTERS = re.compile(r"[A-Za-z0-9_/.-]+")

_OUTPUT_DIRNAME = ("--output_dirname", "--output-dirname")
_DIVIDE_INPUT = ("--divide_input", "--divide-input")
_COMMON_FLAGS = ("--model", "--input", "--output", "--device", "--loop", "--batchsize")  # of all known releases
# A line of argparse (`  --x X`) or typer (`│ *  --x`, `│    --x  -x`); their descriptions, further right, may name
# flags by an older spelling.
_FLAG_OF_HELP = re.compile(r"^[\s│|*]{1,8}(?:-\w,? )?(--[A-Za-z][\w-]*)", re.MULTILINE)
# What releases print when the loops begin, and after each loop, at once: ModelInferenceProcessor.cpp of 2023 to 2025
# flushes after each of them.
_PROGRESS = r"warm up \d+ done|loop inference exec: \((\d+)/\d+\)"
_HELP_WIDTH = "200"  # columns: typer shortens names where the terminal is narrow


@dataclass(frozen=True)
class AisBenchFlags:
    """How an ais_bench spells what our commands need; the defaults are those of 2024 and 2025."""

    output_dirname: str = "--output_dirname"  # since 2026 --output-dirname
    divide: tuple[str, ...] = ("--divide_input", "1")  # 2023: none, it always divides; since 2026 without a value

    @property
    def always_divides(self) -> bool:
        """Whether it divides the files among several devices unasked."""
        return not self.divide


def ask_flags(python: str, env: Mapping[str, str]) -> AisBenchFlags:
    """Ask the ais_bench of that Python for its flags; raises ToolError when that fails, or for an unknown program."""
    command = [python, "-m", "ais_bench", "--help"]
    result = capture(command, {**env, "COLUMNS": _HELP_WIDTH, "TERM": "dumb", "NO_COLOR": "1"})
    if result.returncode != 0:
        output = result.stdout + result.stderr
        explained = explain_device_failure(output, result.returncode)
        last = "".join(output.strip().splitlines()[-1:])
        raise ToolError(
            f"{' '.join(command)} failed with exit code {result.returncode}: {last}"
            + (
                f"\n{explained}"
                if explained
                else f". Fix that, or name another Python in ASCEND_PYTHON ({CARD_GUIDE})."
            )
        )
    return read_flags(result.stdout, " ".join(command))


def read_flags(help_text: str, command: str) -> AisBenchFlags:
    """Choose the spellings by the text of `ais_bench --help`; raises ToolError for a command line of another kind."""
    known = set(_FLAG_OF_HELP.findall(help_text))
    dirname = next((flag for flag in _OUTPUT_DIRNAME if flag in known), None)
    missing = [flag for flag in _COMMON_FLAGS if flag not in known]
    if missing or dirname is None:
        lacking = ", ".join([*missing, *([] if dirname else [" or ".join(_OUTPUT_DIRNAME)])])
        first = next((line.strip() for line in help_text.splitlines() if line.strip()), "nothing")
        raise ToolError(
            f"{command} does not list {lacking}: it is not a release of the ais_bench inference tool that is known "
            f"here (2023 to 2026). It begins: {first}. Install a known release ({CARD_GUIDE}), or name a Python that "
            "has one in ASCEND_PYTHON."
        )
    divide = next((flag for flag in _DIVIDE_INPUT if flag in known), None)
    if divide is None:
        return AisBenchFlags(dirname, ())
    has_value = re.search(rf"{divide} +--no-", help_text) is None  # typer lists --x and --no-x for one without
    return AisBenchFlags(dirname, (divide, "1") if has_value else (divide,))


def watch_loops(loop: int) -> Watch:
    """Return what reads the progress of a benchmark from its output, and says how long it will take."""
    clock = LoopClock(loop)

    def note(found: re.Match[str]) -> None:
        if found.group(1) is None:
            clock.begin()
        else:
            clock.done(int(found.group(1)))

    return watch_output(note, _PROGRESS)


def require_usable_paths(work_folder: Path) -> None:
    """Raise UsageError for paths that ais_bench would refuse, long before it does.

    It accepts few characters in paths, and also looks for `--output_dirname` in the current folder.
    """
    for path, what in ((work_folder.absolute(), "the work folder"), (Path.cwd(), "the current folder")):
        if not _PATH_CHARACTERS.fullmatch(str(path)):
            raise UsageError(f"{ACCEPTED_IN_PATHS}, but {what} is '{path}'. Use another (out=DIR for the work folder).")
    for name in (OUTPUT_DIRNAME, BENCHMARK_DIRNAME):
        path = Path.cwd() / name
        if path.exists() and (not path.is_dir() or path.stat().st_mode & NOT_FOR_OTHERS):
            raise UsageError(
                f"ais_bench would fail on {path}: it has the name of the output folder and others can write to it. "
                f"Run from another folder, or: chmod 750 {path}"
            )


def require_plain_files(paths: Iterable[Path]) -> None:
    """Raise ArtifactError for a link, or a file that group or others may write: ais_bench refuses both, but late."""
    for path in paths:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise ArtifactError(f"{path} is a link, which ais_bench refuses. Put a copy of the file in its place.")
        if status.st_mode & WRITABLE_BY_OTHERS:
            raise ArtifactError(
                f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, and ais_bench refuses files that group or others "
                f"may write. chmod 640 {path}"
            )


def prepare_run_folder(folder: Path) -> None:
    """Make the folder that ais_bench gets as `--output`: today's version refuses one that others may read."""
    make_folder(folder)
    folder.chmod(FOLDER_MODE)


def infer_command(
    python: str,
    om: Path,
    bin_folders: Sequence[Path],
    run_folder: Path,
    npus: Sequence[int] = (0,),
    flags: AisBenchFlags = AisBenchFlags(),
) -> list[str]:
    """Build the guide's ais_bench command over a folder of inputs; outputs land in `run_folder/output`.

    A model with several inputs gets a folder for each, in the model's order; the outputs are named by the first one's.
    Several devices divide the inputs between them, and each writes into a folder of its own in there.
    """
    return [
        *(python, "-m", "ais_bench", "--model", str(om), "--input", ",".join(f"{folder}/" for folder in bin_folders)),
        *("--output", str(run_folder), flags.output_dirname, OUTPUT_DIRNAME),
        *device_words(npus, flags.divide),
    ]


def benchmark_command(
    python: str,
    om: Path,
    batch_size: int,
    loop: int,
    run_folder: Path,
    dirname: str,
    batch: Sequence[Path] = (),
    npus: Sequence[int] = (0,),
    flags: AisBenchFlags = AisBenchFlags(),
) -> list[str]:
    """Build the guide's pure-inference command (zeros, `loop` times), with an output folder for the timings' JSON.

    `batch` is a file of a whole batch to run instead, one for each input of the model. `--pure_data_type random` does
    not replace it: it fills the input with random bytes, many of which are NaN or huge as float32. Every device runs
    it: a release that always divides gets it once for each.
    """
    batches = [str(path) for path in batch for _ in range(len(npus) if flags.always_divides else 1)]
    return [
        *(python, "-m", "ais_bench", f"--model={om}", f"--loop={loop}", f"--batchsize={batch_size}"),
        *(("--input", ",".join(batches)) if batches else ()),
        *("--output", str(run_folder), flags.output_dirname, dirname),
        *device_words(npus),
    ]
