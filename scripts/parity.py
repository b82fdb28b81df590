"""Runs every referee that is available and writes docs/parity.md: which version, when, and how well it agrees with us.

A referee is other people's code that computes what we compute: upstream, Ascend's own tools. Each is a folder that an
environment variable names (see CONTRIBUTING.md); `make parity` runs all that are set. CI has none of them, so this
record is what shows a maintainer which versions were compared, and when.

A new referee is one entry in REFEREES. Its command prints figures as lines `parity: SENTENCE`, and ends with exit
code 0 when it agrees.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DOCUMENT = CHECKOUT / "docs" / "parity.md"
LIBRARIES = ("torch", "onnx", "onnxruntime", "numpy", "opencv-python-headless", "pycocotools")
PHOTOGRAPHS = "COCO_MINI_DIR"
COUNTS = ("passed", "failed", "error", "errors", "skipped")  # words of pytest's last line
FIGURE = re.compile(r"parity: (.*\S)")  # anywhere in a line: pytest may have printed a dot before it


def marked_tests(marker: str) -> Callable[[Path], list[str]]:
    """Return what builds the command for the tests with a marker; they read the referee's variable themselves."""
    return lambda _: [sys.executable, "-m", "pytest", "-m", marker, "-s", "-p", "no:cacheprovider"]


def guide_command(folder: Path) -> list[str]:
    """Build the command that scores the same outputs with the guide's scripts and with ours."""
    upstream, photographs = os.environ["YOLACT_EDGE_DIR"], os.environ[PHOTOGRAPHS]
    script = str(CHECKOUT / "benchmarks" / "compare_with_guide.py")
    return [sys.executable, script, f"--guide={folder}", f"--upstream={upstream}", f"--coco={photographs}"]


def describe_version(folder: Path) -> str:
    """Return the commit of the checkout that a folder is in; a digest of its Python files when it is in none."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top and Path(top).resolve() != CHECKOUT:
        changes = ", with local changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else ""
        return f"commit {_git(folder, 'rev-parse', '--short=12', 'HEAD')}{changes}"
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\n" + path.read_bytes())
    return f"not a git checkout; SHA-256 of its Python files {digest.hexdigest()[:12]}"


def describe_ais_bench(folder: Path) -> str:
    """Return the year of a real ais_bench, too: all releases call themselves 0.0.2."""
    sys.path.insert(0, str(CHECKOUT / "tests"))
    from emulation.cases import year_of

    return f"release of {year_of(folder)}; {describe_version(folder)}"


def describe_package(name: str, folder: Path) -> str:
    """Return the version of a package in a virtual environment."""
    found = metadata.distributions(name=name, path=[str(path) for path in folder.glob("lib/python3*/site-packages")])
    return " ".join(f"version {distribution.version}" for distribution in found)


@dataclass(frozen=True)
class Referee:
    """Code to compare with: where it is, what it judges, and the command that compares."""

    name: str
    variable: str  # names its folder; several folders, separated by ":", are run one after the other
    judges: str
    command: Callable[[Path], list[str]]
    needs: tuple[str, ...] = ()  # further variables, without which it cannot run
    version: Callable[[Path], str] = describe_version
    has_packages: bool = False  # its folder is followed by ":" and a folder of packages that it imports


REFEREES = (
    Referee(
        "yolact_edge (haotian-liu)",
        "YOLACT_EDGE_DIR",
        "preprocessing, network, detections and masks, export from the patched checkout",
        marked_tests("upstream"),
    ),
    Referee(
        "yolact (dbolya)",
        "YOLACT_DIR",
        "preprocessing, network, anchors, detections and masks of YOLACT's six configs; the export from the patched "
        "checkout, and yolact.onnx of its own eval.py",
        marked_tests("yolact"),
        needs=(PHOTOGRAPHS,),
    ),
    Referee(
        "Detectron2",
        "DETECTRON2_DIR",
        "R-CNN of the dialect detectron2: keys, sizes and pixels of inputs, detections and masks of whole models on "
        "ONNX Runtime and OpenVINO; its evaluation of the demo; its own export on OpenVINO",
        marked_tests("detectron2"),
        needs=(PHOTOGRAPHS,),
        has_packages=True,
    ),
    Referee(
        "maskrcnn-benchmark",
        "MASKRCNN_BENCHMARK_DIR",
        "R-CNN of the dialect detectron1: keys, detections and masks of a whole model",
        marked_tests("maskrcnn_benchmark"),
        needs=(PHOTOGRAPHS,),
        has_packages=True,
    ),
    Referee(
        "Detectron",
        "DETECTRON_DIR",
        "R-CNN of the dialect detectron1, on arrays: anchors, box coding, levels, sizes of inputs, pasting",
        marked_tests("detectron"),
        has_packages=True,
    ),
    Referee(
        "ais_bench (Ascend)",
        "AIS_BENCH_DIR",
        "files, messages and exit codes of our stand-in; streams",
        marked_tests("ais_bench"),
        version=describe_ais_bench,
    ),
    Referee(
        "Ultralytics",
        "ULTRALYTICS_DIR",
        "its `format=ascend` export and predict on the installed stand-ins: boxes",
        marked_tests("ultralytics"),
        version=lambda folder: describe_package("ultralytics", folder),
    ),
    Referee(
        "msmodelslim (Ascend)",
        "MSMODELSLIM_DIR",
        "its INT8 form of the demo: scales, zero points, int8 weights, int32 biases, deq_scales",
        marked_tests("msmodelslim"),
        version=lambda folder: describe_package("msmodelslim", folder),
    ),
    Referee(
        "LPRNet guide (Ascend ModelZoo)",
        "LPRNET_GUIDE_DIR",
        "its atc and ais_bench commands on the installed stand-ins: outputs, number plates",
        marked_tests("lprnet"),
    ),
    Referee(
        "YolactEdge guide (Ascend ModelZoo)",
        "GUIDE_DIR",
        "preprocess.py and postprocess.py: image order and the mAP table",
        guide_command,
        needs=("YOLACT_EDGE_DIR", PHOTOGRAPHS),
    ),
)


# What is no referee of its own: code, part of it, how it was compared.
COMPARED_OTHERWISE = (
    ("Detectron @ 04155a0", "its network, proposals and NMS (Caffe2, C++)", "not run; maskrcnn-benchmark has the same"),
    (
        "segmentoly @ 1c4634d, 762285e",
        "deltas, levels, 1000 candidates and proposals of each level, NMS and clipping with last pixels, 2 x 2 samples",
        "read, and compared by hand on small arrays: tests/models/test_rcnn_detectron1.py",
    ),
    ("segmentoly", "pasting of masks", "read; Detectron's segm_results, which ran, has the same steps"),
    ("segmentoly", "names of weights", "lists from its sources: tests/models"),
    ("segmentoly", "anchors (PriorBox)", "read; differ from Detectron's by a pixel: docs/decisions.md, 93"),
)


@dataclass(frozen=True)
class Verdict:
    """What came of one referee: a row of the table, and its figures."""

    referee: Referee
    version: str
    day: str
    result: str
    figures: tuple[str, ...] = ()
    agrees: bool = True


def main(referees: Sequence[Referee] = REFEREES, document: Path = DOCUMENT) -> int:
    """Run the referees and write the document; 1 when one disagrees."""
    verdicts = [verdict for referee in referees for verdict in run_referee(referee, os.environ)]
    document.write_text("\n".join(lines_of(verdicts)) + "\n")
    for verdict in verdicts:
        print(f"{verdict.referee.name}: {verdict.result}")
    print(f"Written: {document}")
    return 0 if all(verdict.agrees for verdict in verdicts) else 1


def run_referee(referee: Referee, env: Mapping[str, str]) -> Iterator[Verdict]:
    """Run one referee on each of its folders; when something is missing, say what."""
    missing = [variable for variable in (referee.variable, *referee.needs) if not env.get(variable)]
    if missing:
        yield Verdict(referee, "", "", f"not run: {' and '.join(missing)} not set")
        return
    named = env[referee.variable]
    for name in filter(None, [named] if referee.has_packages else named.split(os.pathsep)):
        checkout, separator, packages = name.partition(os.pathsep)
        folder = Path(checkout).resolve()
        today = date.today().isoformat()
        if not folder.is_dir():
            yield Verdict(
                referee, "", today, f"not run: {referee.variable} names {name}, which is not there", (), False
            )
            continue
        value = f"{folder}{separator}{packages}"
        code, output = run_and_show(referee.command(folder), {**env, referee.variable: value})
        result, agrees = judge(code, output)
        yield Verdict(referee, referee.version(folder), today, result, tuple(FIGURE.findall(output)), agrees)


def run_and_show(command: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in the checkout, with its output on stderr as it comes; return exit code and output."""
    print(f"$ {' '.join(command)}", file=sys.stderr, flush=True)
    lines = []
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stderr.write(line)
            lines.append(line)
    return process.returncode, "".join(lines)


def judge(code: int, output: str) -> tuple[str, bool]:
    """Return the result in words, and whether the referee agrees; tests that were all skipped are no agreement."""
    last = next((line for line in reversed(output.splitlines()) if re.search(r"\bin [\d.]+s\b", line)), "")
    counts = [f"{number} {word}" for number, word in re.findall(r"(\d+) (\w+)", last) if word in COUNTS]
    if not counts:
        return ("agrees", True) if code == 0 else (f"**disagrees** (exit code {code})", False)
    result = ", ".join(counts)
    if code == 0 and " passed" in result:
        return result, True
    return f"**{result}**", False


def lines_of(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Give the lines of the document."""
    yield "# Parity with other implementations"
    yield ""
    yield "Written by `make parity`; do not edit. Each row compares this project with code that others wrote. CI does"
    yield "not have that code, so this record shows which versions were compared, and when."
    yield ""
    commit = _git(CHECKOUT, "describe", "--always", "--dirty", "--abbrev=12") or "unknown"
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    yield f"This project: commit {commit}, Python {platform.python_version()}, {libraries}. No NPU was involved."
    if not os.environ.get(PHOTOGRAPHS):
        yield f"{PHOTOGRAPHS} was not set: comparisons on photographs were skipped."
    yield ""
    yield "| referee | what it judges | version | date | result |"
    yield "|---|---|---|---|---|"
    for verdict in verdicts:
        referee = verdict.referee
        yield f"| {referee.name} | {referee.judges} | {verdict.version} | {verdict.day} | {verdict.result} |"
    yield ""
    yield "Code that did not run, or only in parts:"
    yield ""
    yield "| code | part | compared |"
    yield "|---|---|---|"
    yield from (f"| {code} | {part} | {how} |" for code, part, how in COMPARED_OTHERWISE)
    for verdict in verdicts:
        if verdict.figures:
            yield ""
            yield f"## Figures: {verdict.referee.name}, {verdict.version}"
            yield ""
            yield from (f"- {figure}" for figure in verdict.figures)


def _git(folder: Path, *words: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
