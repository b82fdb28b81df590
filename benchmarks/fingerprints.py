"""SHA-256 of everything that three runs of a checkout write: shows whether a change of the code changed a result.

    python benchmarks/fingerprints.py --checkout DIR --photographs DIR --weights FILE.pth --out FILE.json
    python benchmarks/fingerprints.py --compare BEFORE.json AFTER.json

The runs are the demo, staged; the demo with stream=1 cut=heads aipp=1; and ResNet-50 with random weights, staged, on
the first 24 images of a COCO folder. They use the checkout's own .venv and the CPU emulation, in a temporary folder.
FILE.pth is written when it is missing; use the same file for both checkouts.

An emulated .om holds atc's arguments and the hash of the ONNX file as well as the graph. Its parts have digests of
their own, and so has the graph of the ONNX file without metadata, so that a difference can be explained.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from journal import commit_of

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

PHOTOGRAPHS = 24
CONFIG = "yolact_edge_resnet50_config"
SEED = 0
LIBRARIES = ("torch", "onnx", "onnxruntime", "numpy", "opencv-python-headless")
OM_PATHS = ("atc_arguments", "onnx_sha256", "model_sha256")  # of an .om's header: what may differ for the same model

Fingerprint = dict[str, str]  # what of a run -> its SHA-256


def main() -> int:
    """Fingerprint a checkout, or compare two files; 1 when they differ."""
    args = parse_args()
    if args.compare:
        before, after = (json.loads(path.read_text()) for path in args.compare)
        rows = compare(before, after)
        print("\n".join(rows))
        return int(any("different" in row for row in rows))
    if not args.weights.exists():
        write_random_weights(args.weights)
    found: dict[str, Fingerprint] = {}
    result = {
        "commit": commit_of(args.checkout),
        "versions": versions_of(args.checkout),
        "weights": sha256([args.weights]),
        "runs": found,
    }
    for name, words in runs(args.photographs.resolve(), args.weights.resolve()).items():
        with tempfile.TemporaryDirectory(prefix="fingerprints-", dir=args.scratch) as folder:
            run(args.checkout, words, Path(folder))
            found[name] = fingerprint(Path(folder) / "results")
        args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{args.out} holds {sum(map(len, found.values()))} digests of {len(found)} runs.")
    return 0


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="whose code runs, with its .venv")
    parser.add_argument("--photographs", type=Path, help="COCO folder with val2017 and annotations")
    parser.add_argument("--weights", type=Path, help="random ResNet-50 weights; written when missing")
    parser.add_argument("--out", type=Path, help="JSON file for the digests")
    parser.add_argument("--scratch", type=Path, help="where the work folders go, about 2 GB")
    parser.add_argument("--compare", type=Path, nargs=2, metavar="FILE", help="print what differs between two files")
    args = parser.parse_args()
    if not args.compare and not (args.photographs and args.weights and args.out):
        parser.error("pass --photographs, --weights and --out, or --compare with two files")
    args.checkout = args.checkout.resolve()
    return args


def runs(photographs: Path, weights: Path) -> dict[str, list[str]]:
    """Return the settings of each run, as run_all.sh takes them."""
    return {
        "demo": [],
        "demo, streamed": ["stream=1", "cut=heads", "aipp=1"],
        "ResNet-50": [f"config={CONFIG}", f"weights={weights}", f"coco={photographs}", f"limit={PHOTOGRAPHS}"],
    }


def write_random_weights(path: Path) -> None:
    """Write weights whose network finds something: normalisation statistics and logits are spread, too."""
    import torch
    from factories import random_state_dict

    from yolact_ascend.models.config import CONFIGS

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(random_state_dict(CONFIGS[CONFIG], SEED), path)


def run(checkout: Path, words: list[str], folder: Path) -> None:
    """Run the pipeline in `folder`; its messages go to stderr."""
    # Relative paths, and `cpu` for the emulation: the same words for every version.
    command = [
        str(checkout / ".venv" / "bin" / "python"),
        "-m",
        "yolact_ascend",
        "run",
        "out=results",
        "device=cpu",
        *words,
    ]
    print(" ".join(command), file=sys.stderr, flush=True)
    subprocess.run(command, cwd=folder, stdout=sys.stderr, check=True)


def fingerprint(work: Path) -> Fingerprint:
    """Return the digests of what a run has left in its work folder."""
    found: Fingerprint = {}
    for onnx in sorted(work.glob("*.onnx")):
        found[onnx.name] = sha256([onnx])
        found[f"{onnx.name}: graph"] = graph_digest(onnx.read_bytes())
    for om in sorted(work.glob("*.om")):
        found[om.name] = sha256([om])
        _, header, model = om.read_bytes().split(b"\n", 2)
        fields = {key: value for key, value in json.loads(header).items() if key not in OM_PATHS}
        found[f"{om.name}: header without paths and hashes"] = hashlib.sha256(
            json.dumps(fields, sort_keys=True).encode()
        ).hexdigest()
        found[f"{om.name}: graph"] = graph_digest(model)
    for what, pattern in {"inputs": "inputs/**/*.bin", "outputs": "bs*/output/*.bin"}.items():
        files = sorted(work.glob(pattern))
        if files:
            found[f"{what} ({len(files)} files)"] = sha256(files, work)
    for detections in sorted(work.rglob("*_detections.json")):
        found[detections.relative_to(work).as_posix()] = sha256([detections])
    return found


def sha256(files: Iterable[Path], root: Path | None = None) -> str:
    """Return one digest of files, with their names below `root`."""
    digest = hashlib.sha256()
    for path in files:
        if root is not None:
            digest.update(path.relative_to(root).as_posix().encode() + b"\n")
        digest.update(path.read_bytes())
    return digest.hexdigest()


def graph_digest(model: bytes) -> str:
    """Return the digest of a model's graph without metadata, names of its producer, and texts."""
    import onnx

    graph = onnx.load_from_string(model).graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()


def versions_of(checkout: Path) -> dict[str, str]:
    """Return the versions of the libraries that decide on the last bits."""
    code = f"import importlib.metadata as m; print(*[m.version(name) for name in {LIBRARIES}])"
    command = [str(checkout / ".venv" / "bin" / "python"), "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(LIBRARIES, result.stdout.split()))


def compare(before: dict, after: dict) -> list[str]:
    """Return the lines of a Markdown table: what is identical, and what is not."""
    rows = [f"Before: {before['commit']}. After: {after['commit']}.", ""]
    for what in ("versions", "weights"):
        if before[what] != after[what]:
            rows[1:1] = [f"Note: the {what} are different: {before[what]} and {after[what]}."]
    rows += ["| run | what | before | after | |", "|---|---|---|---|---|"]
    for name in {**before["runs"], **after["runs"]}:
        old, new = before["runs"].get(name, {}), after["runs"].get(name, {})
        for what in {**old, **new}:
            pair = old.get(what, "missing"), new.get(what, "missing")
            verdict = "identical" if pair[0] == pair[1] else "**different**"
            rows.append(f"| {name} | {what} | {pair[0][:12]} | {pair[1][:12]} | {verdict} |")
    return rows


if __name__ == "__main__":
    sys.exit(main())
