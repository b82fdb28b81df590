"""What the package takes: megabytes installed, seconds of set-up, and time and memory until the first image is done.

    python benchmarks/footprint.py CHECKOUT[@PYTHON] ... [--rounds 9]         time and memory, checkouts in turn
    python benchmarks/footprint.py CHECKOUT ... --install [--python PYTHON]   size and set-up of each kind

PYTHON is one with the packages (default: that of the checkout's .venv). The model is the demo's, exported by the first
checkout whose Python can; the image is the first of `golden/`. --install fills empty environments; each kind is
installed twice, and the second time counts, when pip's cache is warm. Medians of the rounds; "CPU s" is user and system
time of the process and its children.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from math import nan
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from yolact_ascend.tables import markdown_table

CONFIG, WEIGHTS, IMAGE = "yolact_edge_demo_config", "weights/yolact_edge_demo.pth", "golden/images/00.png"
KINDS = ("core", "runtime", "run", "dev")  # core: requirements.txt alone; the others are kinds of scripts/setup.sh


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="+", metavar="CHECKOUT[@PYTHON]")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--python", default=sys.executable, help="makes the empty environments of --install")
    arguments = parser.parse_args()
    if arguments.install:
        heads = ["checkout", "kind", "MB installed", "set-up s", "CPU s"]
        rows = [row for name in arguments.subjects for row in measure_kinds(Path(name), arguments.python)]
    else:
        heads = ["what", "checkout", "seconds", "CPU s", "peak MB"]
        rows = measure_commands([read_subject(name) for name in arguments.subjects], arguments.rounds)
    print(markdown_table(heads, rows))


def read_subject(word: str) -> tuple[Path, str]:
    """Return the checkout and its Python."""
    name, _, python = word.partition("@")
    checkout = Path(name).resolve()
    return checkout, python or str(checkout / ".venv" / "bin" / "python")


def measure_commands(subjects: list[tuple[Path, str]], rounds: int) -> list[list[str]]:
    """Time each command in each checkout, in turn, and return rows of medians."""
    with tempfile.TemporaryDirectory(prefix="footprint-") as name:
        folder = Path(name)
        models = {cut: export_demo(subjects, folder / cut, cut) for cut in ("fpn", "heads")}
        found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
        for number in range(rounds + 1):  # the first writes Python's caches
            for checkout, python in subjects:
                for what, words in commands(checkout, models, folder / f"{number}").items():
                    spent = run([python, "-I", *words], folder)
                    if number:
                        found[what, f"{checkout.name}, {Path(python).parent.parent.name}"].append(spent)
    rows = []
    for (what, subject), each in sorted(found.items()):
        seconds, cpu, memory = (median(values) for values in zip(*each))
        rows.append([what, subject, f"{seconds:.2f}", f"{cpu:.2f}", f"{memory:.0f}"])
    return rows


def commands(checkout: Path, models: dict[str, Path], out: Path) -> dict[str, list[str]]:
    """Return what is measured, as words for a Python."""
    here = f"import sys; sys.path.insert(0, {str(checkout)!r}); "
    flags = [f"--weights={checkout / WEIGHTS}", f"--config={CONFIG}", f"--save_path={out}"]
    predict = [str(checkout / "yolact_ascend"), "predict", str(checkout / IMAGE), *flags]
    return {
        "1 Python alone": ["-c", "pass"],
        "2 import yolact_ascend": ["-c", f"{here}import yolact_ascend"],
        "3 --help": [str(checkout / "yolact_ascend"), "--help"],
        "4 predict, one image": [*predict, f"--model={models['fpn']}"],
        "5 the same, heads inside": [*predict, f"--model={models['heads']}"],
    }


def export_demo(subjects: list[tuple[Path, str]], folder: Path, cut: str) -> Path:
    """Export the demo's network with the first Python that has what it takes; ends the script when none has."""
    model = folder / "yolact_edge.onnx"
    for checkout, python in subjects:
        words = [f"--weights={checkout / WEIGHTS}", f"--config={CONFIG}", f"--output={model}", f"--cut={cut}"]
        command = [python, "-I", str(checkout / "yolact_ascend"), "export", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return model
    sys.exit(f"error: no Python could export the demo's network; the last said: {done.stderr[-500:]}")


def run(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a command; return its wall and CPU time in seconds, and its peak memory (RSS) in MB: all NaN if it fails.

    Such as `predict` of a version that rebuilds the heads, in a Python without PyTorch; its message is printed.
    """
    with (folder / "log").open("w") as log:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
    if status:
        print(f"failed: {' '.join(command)}\n{(folder / 'log').read_text()[-500:]}", file=sys.stderr)
        return nan, nan, nan
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def measure_kinds(checkout: Path, python: str) -> list[list[str]]:
    """Install each kind of set-up into an empty environment, twice; return its size and the second time."""
    rows = []
    for kind in KINDS:
        lists = ["requirements.txt"] if kind == "core" else lists_of(checkout, kind)
        if not lists:
            continue  # a checkout that does not know the kind
        for _ in range(2):
            with tempfile.TemporaryDirectory(prefix="footprint-") as name:
                seconds, cpu = install(checkout, lists, python, Path(name))
                size = size_mb(Path(name))
        rows.append([checkout.name, kind, f"{size:.0f}", f"{seconds:.0f}", f"{cpu:.0f}"])
    return rows


def lists_of(checkout: Path, kind: str) -> list[str]:
    """Return the lists of packages of a kind of set-up, none where the checkout does not know it."""
    command = ["bash", str(checkout / "scripts" / "setup.sh"), "--lists", kind]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def install(checkout: Path, lists: list[str], python: str, folder: Path) -> tuple[float, float]:
    """Make an environment and install lists of packages and the checkout; return wall and CPU time in seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([python, "-I", "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv" / "bin" / "python", "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    named = [word for name in lists for word in ("-r", checkout / name)]
    subprocess.run([*pip, *named], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, spent


def size_mb(folder: Path) -> float:
    """Return the size of all files in a folder, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 10**6


if __name__ == "__main__":
    main()
