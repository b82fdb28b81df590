"""Make the demo's INT8 models by a shipped recipe, and put them into weights/ with the scores that a test checks.

.venv/bin/python benchmarks/publish_demo_int8.py --out FOLDER [--weights FILE] [--recipe NAME]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

from publish_demo_weights import draw_first  # noqa: E402

from yolact_ascend.compression.held_out import HeldOutScore  # noqa: E402
from yolact_ascend.files import read_json, sha256_file, write_json  # noqa: E402
from yolact_ascend.targets.folder import QuantizedFiles, WorkFolder  # noqa: E402

FIRST = 8  # held-out scenes that the test draws and scores


def main() -> None:
    """Run, copy, score, and write the note beside the models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="work folder of the run")
    parser.add_argument("--weights", type=Path, default=CHECKOUT / "weights" / "yolact_edge_demo_pruned.pth")
    parser.add_argument("--recipe", default="pruned_int8")
    arguments = parser.parse_args()
    words = [f"weights={arguments.weights}", "precision=int8", f"recipe={arguments.recipe}", "cut=heads"]
    command = [sys.executable, "-m", "yolact_ascend", "run", *words, "target=onnxruntime", f"out={arguments.out}"]
    subprocess.run(command, cwd=CHECKOUT, check=True)
    onnx = WorkFolder(arguments.out).onnx
    made = QuantizedFiles(onnx, arguments.out)
    described = read_json(made.description, "what quantize chose")
    shipped = QuantizedFiles(arguments.weights, arguments.weights.parent)
    for source, target in ((made.qdq, shipped.qdq), (made.ascend, shipped.ascend)):
        shutil.copyfile(source, target)
    seed = read_json(arguments.weights.with_suffix(".json"), "the note on the weights")["seed"]
    dataset = draw_first(arguments.out, FIRST, seed)
    score = HeldOutScore(onnx, dataset, dataset.images)
    note = {
        "weights": {"file": arguments.weights.name, "sha256": sha256_file(arguments.weights)},
        "recipe": arguments.recipe,
        "recipe_sha256": described["recipe_sha256"],
        "method": described["method"],
        "float32_layers": [layer["name"] for layer in described["layers"] if layer["precision"] == "float32"],
        "bytes": {"float32": onnx.stat().st_size, **{p.name: p.stat().st_size for p in (shipped.qdq, shipped.ascend)}},
        "sha256": {path.name: sha256_file(path) for path in (shipped.qdq, shipped.ascend)},
        "seed": seed,
        "first": {"images": FIRST, "mask_map": score(shipped.qdq), "float32_mask_map": score(onnx)},
    }
    path = shipped.qdq.with_suffix(".json")
    write_json(path, note)
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
